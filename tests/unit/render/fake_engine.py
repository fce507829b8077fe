"""What a batch driver starts in place of vLLM: ``python fake_engine.py run-batch|serve PORT ...``.

``run-batch`` does as vLLM 0.33.0 does: it checks every line, empties its file of answers, and writes answers in the
order of the items as they come. What an item's key begins with decides its fate: "bad" is refused, "ill" fails the
first time it is asked, "sick" fails always, "deadly" ends the engine once. Every item asked about is noted in the file
``asked`` in the working folder. PAUSE_MS in the environment is what an answer takes; ``--stubborn`` ignores SIGTERM and
has a child that does so as well.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def status_of(key: str) -> int:
    """Note that an item was asked about; decide what becomes of it."""
    before = Path("asked").read_text(encoding="utf-8").split() if Path("asked").exists() else []
    with Path("asked").open("a", encoding="utf-8") as asked:
        asked.write(f"{key}\n")
    if key.startswith("deadly") and key not in before:
        os._exit(9)
    if key.startswith("sick") or (key.startswith("ill") and key not in before):
        return 503
    return 400 if key.startswith("bad") else 200


def run_batch(source: Path, target: Path, pause_s: float) -> None:
    """Answer a file of items."""
    items = [json.loads(line) for line in source.read_text(encoding="utf-8").split("\n") if line.strip()]
    with target.open("w", encoding="utf-8") as out:
        for item in items:
            status = status_of(item["custom_id"])
            error = None if status == 200 else {"error": {"message": f"{status} it is", "code": status}}
            text = None if error else {"choices": [{"message": {"content": f"re: {item['body']['n']} é"}}]}
            answer: dict[str, Any] = {"id": "vllm-1", "custom_id": item["custom_id"], "error": error}
            answer["response"] = {"status_code": status, "request_id": "r", "body": text}
            half = json.dumps(answer)
            out.write(half[:20])  # a kill between the two tears the line
            out.flush()
            time.sleep(pause_s)
            out.write(half[20:] + "\n")
            out.flush()


class Server(BaseHTTPRequestHandler):
    """Answers ``/classify``: the class of a text is its length."""

    pause_s = 0.0

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        self._answer(200, {})

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        time.sleep(self.pause_s)
        worst = max(status_of(text) for text in texts)
        rows = [{"index": i, "label": f"L{len(text)}", "probs": [1.0]} for i, text in enumerate(texts)]
        self._answer(worst, {"data": rows[::-1]} if worst == 200 else {"error": f"{worst} it is"})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main(words: list[str]) -> None:
    """Read the command line as the driver writes it."""
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
    if "stubborn" in flags:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path("child").write_text(str(child.pid), encoding="utf-8")
    pause_s = float(os.environ.get("PAUSE_MS", "0")) / 1000
    if words[0] == "run-batch":
        run_batch(Path(flags["input-file"]), Path(flags["output-file"]), pause_s)
    else:
        Server.pause_s = pause_s
        ThreadingHTTPServer.allow_reuse_address = True
        ThreadingHTTPServer(("127.0.0.1", int(words[1])), Server).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
