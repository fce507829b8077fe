"""The driver of a batch run, against engines that answer as vLLM does: what is asked of it, and what it makes of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inferplan.render import batch_driver
from inferplan.render.batch_driver import RunError, ask_engine, classify, end, main, passing, start
from tests.unit.render.fake_engine import Server

REQUEST: dict[str, Any] = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {}}
WRONG: tuple[dict[str, Any], ...] = ({"custom_id": 1}, {"method": 1}, {"url": ["/v1/chat/completions"]}, {"body": 1})
ENGINE = (sys.executable, str(Path(__file__).with_name("fake_engine.py")))


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.chdir(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def free_port(monkeypatch: pytest.MonkeyPatch) -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        found = int(one.getsockname()[1])
    monkeypatch.setattr(batch_driver.ask_engine, "__defaults__", (found, 0.01, None))
    monkeypatch.setattr(batch_driver.wait_for, "__defaults__", (found, 0.05))
    return found


class Run:
    """A folder with items, and the driver started on it in this process."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.items, self.answers = folder / "items.jsonl", folder / "answers.jsonl"

    def write(self, *keys: str, what: str = "generate") -> None:
        lines: list[dict[str, Any]]
        if what == "generate":
            asked = {"method": "POST", "url": "/v1/chat/completions"}
            lines = [{"custom_id": key, **asked, "body": {"n": n}} for n, key in enumerate(keys)]
        else:
            lines = [{"id": n, "text": key} for n, key in enumerate(keys)]
        self.items.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def start(self, what: str = "generate", *flags: str, engine: tuple[str, ...] = ENGINE) -> int:
        command = [*engine, "run-batch"] if what == "generate" else [*engine, "serve", str(self.port)]
        words = [what, f"--input={self.items}", f"--output={self.answers}", "--parallel=2", "--start-within=20"]
        return main([*words, "--", *command, *flags])

    def found(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.answers.read_text(encoding="utf-8").splitlines()]

    def asked(self) -> Counter[str]:
        return Counter((self.folder / "asked").read_text(encoding="utf-8").split())

    def beside(self, ending: str) -> Path:
        return self.answers.with_name(self.answers.name + ending)

    def tidy(self) -> bool:
        return not [path for path in self.folder.iterdir() if path.name.startswith("answers.jsonl.")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path, free_port)


def lines(*items: tuple[object, str]) -> list[bytes]:
    return [json.dumps({"id": name, "text": text}).encode() for name, text in items]


# ── asking the engine's server ───────────────────────────────────────────────────────────────────────────────


def test_a_refused_item_costs_no_other_its_answer(port: int) -> None:
    found = classify(lines((1, "good"), (2, "bad"), (3, "fine")), partial(ask_engine, port=port))
    assert [(kind, answer["id"]) for kind, answer in found] == [("answer", 1), ("refusal", 2), ("answer", 3)]
    assert "400 it is" in found[1][1]["error"]


def test_an_engine_that_is_busy_is_asked_again(port: int) -> None:
    assert ask_engine(["ill"], port=port, pause_s=0.0)[0] == 200


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_is_the_engines_own_fault_may_pass(status: int) -> None:
    assert passing(status)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
def test_what_is_wrong_with_an_item_is_the_last_word(status: int) -> None:
    assert not passing(status)


def test_an_engine_that_is_gone_ends_the_run() -> None:
    with pytest.raises(RunError, match="no answer after 5 tries"):
        ask_engine(["x"], port=1, pause_s=0.0)


def test_an_item_that_always_breaks_the_engine_costs_no_other_its_answer(port: int) -> None:
    found = classify(lines((1, "good"), (2, "sick")), partial(ask_engine, port=port, pause_s=0.0))
    assert [(kind, answer["id"]) for kind, answer in found] == [("answer", 1), ("refusal", 2)]


def test_an_engine_that_answers_nothing_but_errors_ends_the_run() -> None:
    with pytest.raises(RunError, match="nothing but errors: busy"):
        classify(lines((1, "a"), (2, "b")), lambda _: (503, "busy"))


def test_an_answer_for_every_item_or_none() -> None:
    with pytest.raises(RunError, match="2 items in, 1 answers out"):
        classify(lines((1, "a"), (2, "b")), lambda _: (200, '{"data": [{"index": 0, "label": "x", "probs": []}]}'))
    with pytest.raises(RunError, match="cannot be read"):
        classify(lines((1, "a")), lambda _: (200, '{"data": [{"index"'))


# ── a run ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_answers_keep_the_order_of_the_items(run: Run) -> None:
    run.write(*("x" * (1 + number % 7) for number in range(200)), what="classify")
    assert run.start("classify") == 0
    assert [answer["id"] for answer in run.found()] == list(range(200))
    assert run.found()[6] == {"id": 6, "label": "L7", "probabilities": [1.0]}
    with pytest.raises(RunError):
        ask_engine(["x"])  # the engine is gone
    assert run.tidy()


@pytest.mark.parametrize("what", ["generate", "classify"])
def test_every_shard_answers_its_own_lines(run: Run, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARD", "1")
    monkeypatch.setenv("SHARDS", "3")
    run.write(*(f"item{number}" for number in range(10)), what=what)
    assert run.start(what) == 0
    assert run.asked() == {"item1": 1, "item4": 1, "item7": 1}
    assert len(run.found()) == 3


def test_refusals_are_kept_in_the_engines_words_and_faults_are_tried_again(run: Run) -> None:
    run.write("a", "ill1", "bad1", "b", "sick1", "c")
    assert run.start() == 0
    assert [(a["custom_id"], a["response"]["status_code"]) for a in run.found()] == [
        ("a", 200), ("ill1", 200), ("bad1", 400), ("b", 200), ("sick1", 503), ("c", 200),
    ]  # fmt: skip
    assert run.found()[2]["error"]["error"]["message"] == "400 it is"
    assert run.asked() == {"a": 1, "ill1": 2, "bad1": 1, "b": 1, "sick1": batch_driver.ROUNDS, "c": 1}


def test_items_of_the_same_key_each_have_their_answer(run: Run) -> None:
    run.write("a", "a", "ill", "a", "ill")
    assert run.start() == 0
    bodies = [answer["response"]["body"]["choices"][0]["message"]["content"] for answer in run.found()]
    assert bodies == ["re: 0 é", "re: 1 é", "re: 2 é", "re: 3 é", "re: 4 é"]


def test_a_batch_runner_that_dies_is_started_again_while_that_brings_answers(run: Run) -> None:
    run.write("a", "b", "deadly1", "c", "deadly2", "d")
    assert run.start() == 0
    assert [answer["custom_id"] for answer in run.found()] == ["a", "b", "deadly1", "c", "deadly2", "d"]
    assert run.asked() == {"a": 1, "b": 1, "deadly1": 2, "c": 1, "deadly2": 2, "d": 1}


@pytest.mark.parametrize("what", ["generate", "classify"])
def test_an_engine_that_dies_at_once_ends_the_run_and_leaves_the_answers_from_before(
    run: Run, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write("a", what=what)
    run.answers.write_text("last night's\n", encoding="utf-8")
    assert run.start(what, engine=(sys.executable, "-c", "raise SystemExit(7)")) == 1
    assert "ended with status 7" in capsys.readouterr().err
    assert run.answers.read_text(encoding="utf-8") == "last night's\n"


@pytest.mark.parametrize("what", ["generate", "classify"])
def test_a_run_that_was_refused_everything_is_not_done(run: Run, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    run.write("bad1", "bad2", what=what)
    assert run.start(what) == 1
    assert "every item was refused; " in capsys.readouterr().err
    assert not run.answers.exists()
    assert run.beside(".refused").read_text(encoding="utf-8").count("400 it is") == 2
    assert run.start(what) == 1
    assert run.asked()["bad1"] > 1  # asked anew


@pytest.mark.parametrize("what", ["generate", "classify"])
@pytest.mark.parametrize("items", [b"", b"\n\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_items_fails_and_keeps_the_answers_from_before(
    run: Run, what: str, items: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    run.items.write_bytes(items)
    run.answers.write_text("last night's\n", encoding="utf-8")
    assert run.start(what, engine=("/no/such/engine",)) == 1
    assert "the file of items is empty" in capsys.readouterr().err
    assert run.answers.read_text(encoding="utf-8") == "last night's\n"
    assert run.tidy()


def test_a_share_without_items_has_no_answers_and_needs_no_engine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARD", "2")
    monkeypatch.setenv("SHARDS", "3")
    run.write("a", "b")
    run.answers.write_text("last night's\n", encoding="utf-8")
    assert run.start(engine=("/no/such/engine",)) == 0
    assert run.answers.read_text(encoding="utf-8") == ""
    assert run.tidy()


@pytest.mark.parametrize("what", ["generate", "classify"])
def test_byte_order_marks_are_no_part_of_an_item(run: Run, what: str) -> None:
    run.write("a", "b", what=what)
    first, second = run.items.read_bytes().splitlines(keepends=True)
    run.items.write_bytes(b"\xef\xbb\xbf" + first + b"\xef\xbb\xbf" + second)  # two files, one behind the other
    assert run.start(what) == 0
    assert names(run, what, ["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize("what", ["generate", "classify"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_items_in_another_encoding_are_found_before_an_engine_is_started(
    run: Run, what: str, encoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write("é", what=what)
    run.items.write_bytes(run.items.read_text(encoding="utf-8").strip().encode(encoding))
    assert run.start(what, engine=("/no/such/engine",)) == 1
    assert "in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["generate", "classify"])
def test_what_was_refused_is_forgotten_after_a_good_run(run: Run, what: str) -> None:
    run.write("bad1", what=what)
    assert run.start(what) == 1
    assert run.beside(".refused").exists()
    run.write("a", what=what)
    assert run.start(what) == 0
    assert run.tidy()


@pytest.mark.parametrize("what", ["generate", "classify"])
def test_a_job_that_has_published_its_answers_asks_nothing_again(
    run: Run, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB", "tonight")
    run.write("a", "b", what=what)
    assert run.start(what) == 0
    before = run.answers.read_bytes()
    assert run.start(what, engine=ENGINE) == 0
    assert run.answers.read_bytes() == before
    assert run.asked() == {"a": 1, "b": 1}


@pytest.mark.parametrize("changed", ["job", "items", "command", "answers", "no answers"])
def test_another_run_is_asked_for_although_answers_were_published(
    run: Run, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB", "tonight")
    run.write("a", "b")
    assert run.start() == 0
    if changed == "job":
        monkeypatch.setenv("JOB", "tomorrow")
    elif changed == "items":
        run.write("a", "b", "a")
    elif changed == "answers":
        run.answers.write_text("somebody else's\n", encoding="utf-8")
    elif changed == "no answers":
        run.answers.unlink()
    assert run.start("generate", *(["--kv-cache-dtype=fp8"] if changed == "command" else [])) == 0
    assert run.asked()["a"] > 1
    assert run.found()[0]["custom_id"] == "a"


@pytest.mark.parametrize(
    ("what", "bad"),
    [
        *(("classify", bad) for bad in ("no json", '{"id": 1}', '{"text": "a"}', '{"id": 1, "text": 5}', '"text id"')),
        *(("generate", json.dumps({**REQUEST, **changed})) for changed in WRONG),
        *(("generate", json.dumps({key: REQUEST[key] for key in REQUEST if key != left})) for left in REQUEST),
        ("generate", "[1]"),
        ("generate", "[" * 100_000),
    ],
)
def test_a_line_that_is_no_item_is_found_before_an_engine_is_started(
    run: Run, what: str, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write("a", what=what)
    with run.items.open("a", encoding="utf-8") as items:
        items.write(f"\n{bad}\n")
    assert run.start(what, engine=("/no/such/engine",)) == 1
    assert "line 3 is not {" in capsys.readouterr().err


def test_items_cannot_be_the_file_of_their_own_answers(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.write("a")
    before = run.items.read_bytes()
    run.answers.hardlink_to(run.items)
    assert run.start() == 1
    assert "cannot be the file of its own answers" in capsys.readouterr().err
    assert run.items.read_bytes() == before


def test_every_line_belongs_to_one_share() -> None:
    assert list(batch_driver.shard_of([b"a", b"b", b"", b"d"], 0, 2)) == [(0, b"a")]
    assert list(batch_driver.shard_of([b"a", b"b", b"", b"d"], 1, 2)) == [(1, b"b"), (3, b"d")]


# ── going on ─────────────────────────────────────────────────────────────────────────────────────────────────


def cut_short(run: Run, what: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer the first 64 of 101 items, and lose the engine."""
    keys = [f"item{number}" for number in range(101)]
    keys[64] = "deadly"
    run.write(*keys, what=what)
    with monkeypatch.context() as patched:
        patched.setattr(batch_driver, "STARTS", 1)
        patched.setenv("PAUSE_MS", "50" if what == "classify" else "0")
        assert run.start(what) == 1
    assert not run.answers.exists()
    assert run.beside(".part").exists()
    (run.folder / "asked").write_text("deadly\n", encoding="utf-8")
    return keys


def names(run: Run, what: str, keys: list[str]) -> list[str]:
    return [answer["custom_id"] if what == "generate" else keys[answer["id"]] for answer in run.found()]


@pytest.mark.parametrize("what", ["generate", "classify"])
def test_a_new_start_asks_only_for_what_is_missing(run: Run, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = cut_short(run, what, monkeypatch)
    assert run.start(what) == 0
    assert names(run, what, keys) == keys
    assert not {f"item{number}" for number in range(32)} & {*run.asked()}
    assert run.tidy()


@pytest.mark.parametrize("what", ["generate", "classify"])
@pytest.mark.parametrize(
    "torn", [b"", b'{"item": 3, "ki', b'{"item": 3}\n{"item"', b"\0\0\0\n", b'{"item": 999999, "ki']
)
def test_only_whole_lines_are_trusted(run: Run, what: str, torn: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = cut_short(run, what, monkeypatch)
    path = run.beside(".part")
    *whole, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole) + last[: len(last) // 2] + torn)
    assert run.start(what) == 0
    assert names(run, what, keys) == keys
    assert len(run.asked()) < len(keys)  # still goes on from what is whole


@pytest.mark.parametrize("what", ["generate", "classify"])
@pytest.mark.parametrize("changed", ["items", "command", "nothing is known"])
def test_nothing_of_another_run_is_taken_over(
    run: Run, what: str, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = cut_short(run, what, monkeypatch)
    if changed == "items":
        keys[5] = "other"
        run.write(*keys, what=what)
    elif changed == "nothing is known":
        path = run.beside(".part")
        path.write_bytes(path.read_bytes().partition(b"\n")[2])
    assert run.start(what, *(["--kv-cache-dtype=fp8"] if changed == "command" else [])) == 0
    assert names(run, what, keys) == keys
    assert {*run.asked()} >= {*keys}


def test_answers_that_are_whole_need_no_engine_to_get_their_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write("a", "b")
    run.answers.write_text("last night's\n", encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_when_published)
        assert run.start() == 1
    assert run.answers.read_text(encoding="utf-8") == "last night's\n"
    assert run.start() == 0
    assert [answer["custom_id"] for answer in run.found()] == ["a", "b"]
    assert run.asked() == {"a": 1, "b": 1}
    assert run.tidy()


def full_when_published(number: int) -> None:
    if Path(f"/proc/self/fd/{number}").readlink().name.endswith(".whole"):
        raise OSError(28, "No space left on device")


def test_a_full_volume_is_told_and_costs_no_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run.write(*(f"item{number}" for number in range(100)))

    class Full:
        """Takes a part of the second group and then no more."""

        def __init__(self, file: Any) -> None:  # the file underneath
            self.file, self.left = file, 9000

        def write(self, data: memoryview) -> int:
            if not self.left:
                raise OSError(28, "No space left on device")
            taken = int(self.file.write(data[: self.left]))
            self.left -= taken
            return taken

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with monkeypatch.context() as patched:
        made = batch_driver.Answers.__init__

        def on_full(self: batch_driver.Answers, *arguments: Any) -> None:
            made(self, *arguments)
            self.file = Full(self.file)  # type: ignore[assignment]

        patched.setattr(batch_driver.Answers, "__init__", on_full)
        assert run.start() == 1
    assert "No space left on device; what is answered so far is beside" in capsys.readouterr().err
    assert run.start() == 0
    assert [answer["custom_id"] for answer in run.found()] == [f"item{number}" for number in range(100)]
    assert set(run.asked().values()) == {1}


# ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_engine_that_hangs_in_shutdown_is_killed_with_all_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch_driver, "GRACE_S", 0.2)
    engine = start([*ENGINE, "serve", str(free_port), "--stubborn"])
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text(encoding="utf-8"):
        time.sleep(0.01)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    began = time.monotonic()
    end(engine)
    assert time.monotonic() - began < 5
    assert engine.returncode == -signal.SIGKILL
    assert ended(child)


def ended(process: int) -> bool:
    """Whether a process is gone, or waits for whoever inherited it to notice."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False
