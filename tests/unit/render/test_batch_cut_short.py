"""A batch run, as a pod runs it, that is killed again and again: no answer is lost, none stands there twice."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from inferplan.render import batch_driver

ENGINE = (sys.executable, str(Path(__file__).with_name("fake_engine.py")))
ITEMS = 400
BEFORE = "last night's answers\n"
LONGEST_S = 60
"""Far beyond what a start takes: reached only by a driver that hangs."""


@pytest.fixture
def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(folder: Path, what: str, port: int) -> subprocess.Popen[bytes]:
    """Start the driver as a container does: its text is a word of the command."""
    text = Path(batch_driver.__file__).read_text(encoding="utf-8")
    text = text.replace('HOST, PORT = "127.0.0.1", 8000', f'HOST, PORT = "127.0.0.1", {port}')
    for pause in ("pause_s: float = 1.0", "pause_s: float = 2.0"):
        text = text.replace(pause, "pause_s: float = 0.02")
    words = [what, "--input=items.jsonl", "--output=answers.jsonl", "--parallel=2", "--start-within=20", "--"]
    command = [*ENGINE, "run-batch"] if what == "generate" else [*ENGINE, "serve", str(port)]
    return subprocess.Popen(
        [sys.executable, "-c", text, *words, *command],
        cwd=folder,
        env={**os.environ, "JOB": "one", "PAUSE_MS": "3" if what == "generate" else "60"},
        stderr=subprocess.DEVNULL,
    )


def write_items(folder: Path, what: str) -> list[str]:
    keys = [f"bad{number}" if number % 200 == 7 else f"item{number}" for number in range(ITEMS)]
    fields = ("custom_id", "body") if what == "generate" else ("id", "text")
    values = [{"n": number} if what == "generate" else key for number, key in enumerate(keys)]
    asked = {"method": "POST", "url": "/v1/chat/completions"} if what == "generate" else {}
    items = [{**asked, **dict(zip(fields, pair, strict=True))} for pair in zip(keys, values, strict=True)]
    lines = [json.dumps(item) + "\n" for item in items]
    (folder / "items.jsonl").write_text("".join(lines), encoding="utf-8")
    return keys


def asked_for(folder: Path) -> int:
    """Count what the engine was asked for in all starts."""
    asked = folder / "asked"
    return asked.read_bytes().count(b"\n") if asked.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("what", ["generate", "classify"])
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_that_is_killed_at_any_moment_is_finished_by_those_after_it(
    tmp_path: Path, port: int, what: str, ending: signal.Signals, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable moments, no secrets
    keys = write_items(tmp_path, what)
    answers = tmp_path / "answers.jsonl"
    answers.write_text(BEFORE, encoding="utf-8")
    kills = 0
    # told by what was asked for and not by a clock, so that a fast machine and a busy one are cut at the same places
    for progress in sorted(chance.sample(range(ITEMS), 7)):
        one = started(tmp_path, what, port)
        while one.poll() is None and asked_for(tmp_path) < progress:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        if one.poll() is None:
            one.send_signal(ending)
            kills += 1
        one.wait(LONGEST_S)
        # still those from before, or whole: the kill may have come between the new name and the end
        whole = answers.read_text(encoding="utf-8")
        assert whole == BEFORE or whole.count("\n") == ITEMS
    assert kills >= 3
    assert started(tmp_path, what, port).wait(LONGEST_S) == 0
    name = "custom_id" if what == "generate" else "id"
    found = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    assert [answer[name] for answer in found] == keys
    refused = [answer[name] for answer in found if answer.get("error")]
    assert refused == [key for key in keys if key.startswith("bad")]
    assert [path.name for path in tmp_path.glob("answers.jsonl.*")] == ["answers.jsonl.done"]
    # a start asks again only for what was on its way when the one before was killed
    asked = Counter((tmp_path / "asked").read_text(encoding="utf-8").split())
    again = sum(asked.values()) - len(asked)
    on_its_way = kills if what == "generate" else kills * 4 * batch_driver.ITEMS_PER_REQUEST + ITEMS
    assert again <= on_its_way


def test_last_nights_answers_stay_until_tonights_are_whole(tmp_path: Path, port: int) -> None:
    keys = write_items(tmp_path, "generate")[:20]
    text = (tmp_path / "items.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    nights = [[*text[:10]], [*text[10:20]]]
    for night, lines in enumerate(nights):
        (tmp_path / "items.jsonl").write_text("".join(lines), encoding="utf-8")
        one = started(tmp_path, "generate", port)
        if night:
            before = (tmp_path / "answers.jsonl").read_text(encoding="utf-8")
            while not (tmp_path / "answers.jsonl.runner").exists():
                assert one.poll() is None
            assert (tmp_path / "answers.jsonl").read_text(encoding="utf-8") == before
        assert one.wait(LONGEST_S) == 0
    found = [json.loads(line)["custom_id"] for line in (tmp_path / "answers.jsonl").read_text("utf-8").splitlines()]
    assert found == keys[10:]
