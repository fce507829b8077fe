"""The driver of a batch run, against a server that answers as the engine does."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from inferplan.render import batch_driver
from inferplan.render.batch_driver import RunError, answer_all, ask_engine, checked, classify, main


class Engine(BaseHTTPRequestHandler):
    """Answers ``/classify``: the class of a text is its length; "bad" is refused, "ill" fails once."""

    ill: set[str] = set()  # noqa: RUF012 - emptied by the fixture

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        if "bad" in texts:
            self._answer(400, {"error": "bad text"})
        elif "ill" in texts and "ill" not in self.ill:
            self.ill.add("ill")
            self._answer(503, {"error": "busy"})
        else:
            rows = [{"index": i, "label": f"L{len(text)}", "probs": [1.0]} for i, text in enumerate(texts)]
            self._answer(200, {"data": rows[::-1]})

    def _answer(self, status: int, body: object) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def port() -> Iterator[int]:
    Engine.ill.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def line(name: object, text: str) -> str:
    return json.dumps({"id": name, "text": text}) + "\n"


def test_items_are_answered_in_their_order(port: int) -> None:
    written: list[str] = []
    lines = [line(number, "x" * (number % 7)) for number in range(500)]
    assert answer_all(lines, written.append, parallel=4, ask=partial(ask_engine, port=port)) == (500, 0)
    answers = [json.loads(text) for text in written]
    assert [answer["id"] for answer in answers] == list(range(500))
    assert answers[6] == {"id": 6, "label": "L6", "probabilities": [1.0]}


def test_a_refused_item_costs_no_other_its_answer(port: int) -> None:
    found = classify([line(1, "good"), line(2, "bad"), line(3, "fine")], partial(ask_engine, port=port))
    assert [("error" in answer, answer["id"]) for answer in found] == [(False, 1), (True, 2), (False, 3)]
    assert "bad text" in found[1]["error"]


def test_an_engine_that_is_busy_is_asked_again(port: int) -> None:
    status, _ = ask_engine(["ill"], port=port, pause_s=0.0)
    assert status == 200


def test_an_engine_that_is_gone_ends_the_run() -> None:
    with pytest.raises(RunError, match="no good answer after 5 tries"):
        ask_engine(["x"], port=1, pause_s=0.0)


def test_an_answer_for_every_item_or_none() -> None:
    with pytest.raises(RunError, match="2 items in, 1 answers out"):
        classify([line(1, "a"), line(2, "b")], lambda _: (200, '{"data": [{"index": 0, "label": "x", "probs": []}]}'))


@pytest.mark.parametrize("bad", ["no json", '{"id": 1}', '{"text": "a"}', '{"id": 1, "text": 5}', "[1]", '"text"'])
def test_a_line_that_is_no_item_is_found_before_an_engine_is_started(bad: str) -> None:
    assert checked([line(1, "a"), "\n"]) == 1
    with pytest.raises(RunError, match="line 2"):
        checked([line(1, "a"), bad])


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.jsonl"
    path.write_text("".join(line(number, "x") for number in range(10)), encoding="utf-8")
    return path


def run(items: Path, *engine: str, what: str = "classify") -> tuple[int, Path]:
    output = items.with_name("answers.jsonl")
    words = [what, f"--input={items}", f"--output={output}", "--parallel=2", "--start-within=20"]
    return main([*words, "--", *engine] if engine else words), output


SERVE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from test_batch_driver import Engine;"
    "from http.server import ThreadingHTTPServer as S;"
    "Engine.do_GET = lambda self: self._answer(200, {});"
    "S(('127.0.0.1', int(sys.argv[2])), Engine).serve_forever()"
)


@pytest.fixture
def free_port(monkeypatch: pytest.MonkeyPatch) -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        found = server.server_port
    monkeypatch.setattr(batch_driver.ask_engine, "__defaults__", (found, 0.01))
    monkeypatch.setattr(batch_driver.wait_for, "__defaults__", (found, 0.05))
    return found


def test_a_run_starts_its_engine_answers_and_ends_it(
    items: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARD", "1")
    monkeypatch.setenv("SHARDS", "3")
    code, output = run(items, sys.executable, "-c", SERVE, str(Path(__file__).parent), str(free_port))
    assert code == 0
    answers = [json.loads(text) for text in output.read_text(encoding="utf-8").splitlines()]
    assert [answer["id"] for answer in answers] == [1, 4, 7]
    with pytest.raises(RunError):
        ask_engine(["x"])  # the engine is gone


def test_an_engine_that_dies_ends_the_run_and_leaves_no_answers(
    items: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert free_port
    code, output = run(items, sys.executable, "-c", "raise SystemExit(7)")
    assert code == 1
    assert "the engine ended with status 7" in capsys.readouterr().err
    assert not output.exists()


def test_bad_items_start_no_engine(items: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items.write_text("nonsense\n", encoding="utf-8")
    code, _ = run(items, "/no/such/engine")
    assert code == 1
    assert "line 1 is no" in capsys.readouterr().err


def test_a_share_is_cut_out_for_the_batch_runner(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARD", "0")
    monkeypatch.setenv("SHARDS", "4")
    code, output = run(items, what="share")
    assert code == 0
    assert [json.loads(text)["id"] for text in output.read_text(encoding="utf-8").splitlines()] == [0, 4, 8]
