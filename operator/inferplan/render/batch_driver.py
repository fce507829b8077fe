"""Run a batch, or a share of one: keep its answers until they are whole, and go on where a run was cut short.

Inferplan never runs this module: its text travels in the pod's command and runs inside the engine's image with nothing
but Python's standard library, as ::

    python3 -c TEXT generate --input FILE --output FILE --image IMAGE -- vllm run-batch --model MODEL ...
    python3 -c TEXT classify --input FILE --output FILE --image IMAGE --parallel N -- vllm serve MODEL ...

``generate`` gives the items to the engine's batch runner; an item and its answer are as OpenAI's batch files have them.
``classify`` starts the engine beside us and asks it: an item is one line ``{"id": …, "text": …}``, its answer one line
``{"id": …, "label": …, "probabilities": […]}``, or ``{"id": …, "error": …}`` if the engine refuses it. The variables
SHARD and SHARDS say which share of the lines is ours: every SHARDS-th one, from line SHARD on.

The file of answers, in the order of the items, gets its final name in a single rename, once complete: a run that was
cut short never looks done, and the answers from before stay until then. Beside it lie, while there is work left,

* ``.part``: every answer so far with the place of its item. The first line names the run by a digest of its items, its
  command line and its image: nothing of another run is ever taken over;
* ``.items`` and ``.runner``: what the batch runner was given, and has answered; a new start takes over its whole lines;
* ``.whole``: the answers in order, on their way to their name.

Afterwards ``.done`` names the run and its Job (the variable JOB): a pod that this Job starts again has nothing to do.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import ctypes
import fcntl
import functools
import hashlib
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

HOST, PORT = "127.0.0.1", 8000
ITEMS_PER_REQUEST = 32
TRIES = 5
"""How often a request is sent before an error is its answer; it is sent again after 1, 2, 4 and 8 s."""
ROUNDS = 3
"""How often an item is given to the batch runner before an error is its answer."""
STARTS = 5
"""How often the batch runner is started in one pod."""
REQUEST_S = 600
SYNC_S = 5.0
"""Answers that are younger than this may be lost with the node, and are then asked for again."""
GRACE_S = 10.0
"""An engine that has not ended this long after it was told to is killed; a pod has 30 s for everything."""
GOOD, CLIENT_FAULT, SERVER_FAULT = 200, 400, 500
BUSY = frozenset({408, 429})
PARENT_DEATH_SIGNAL = 1
LINE = re.compile(rb'\{"item": (\d+), "kind": "(answer|refusal|fault)", "answer": (.*)\}\n')
"""A line of ``.part``. A refusal is the engine's last word about an item; a fault is the engine's own and may pass."""
START = b'{"start": "runner"}\n'
TEXT: dict[str, type] = {"id": object, "text": str}
REQUEST: dict[str, type] = {"custom_id": str, "method": str, "url": str, "body": dict}
"""What an item must have. One that the batch runner cannot read ends it (vLLM's ``BatchRequestInput``)."""

Ask = Callable[[list[str]], tuple[int, str]]
Numbered = tuple[int, bytes]
"""A line and its number, from 0 on."""


class RunError(Exception):
    """The run cannot go on."""


def fail(text: str) -> NoReturn:
    """End the run."""
    raise RunError(text)


def log(text: str) -> None:
    """Write a line to the log of the container."""
    print(f"batch: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the log of a container


def shard_of(lines: Iterable[bytes], shard: int, shards: int) -> Iterator[Numbered]:
    """Yield the lines of one shard that are not empty, without byte order marks, with their numbers in the file."""
    for number, line in enumerate(lines):
        if number % shards == shard and (item := line.removeprefix(b"\xef\xbb\xbf")).strip():
            yield number, item


class Items:
    """The items of our share, checked before an engine is started; ``digest`` names them and what they are asked."""

    def __init__(self, what: str, file: BinaryIO, shard: int, shards: int, asked: Sequence[str]) -> None:
        self.file, self.shard, self.shards, self.count = file, shard, shards, 0
        keys = TEXT if what == "classify" else REQUEST
        digest = hashlib.sha256(json.dumps([what, *asked]).encode())
        for number, line in shard_of(file, shard, shards):
            try:
                item = json.loads(line.decode())
                sound = all(isinstance(item[name], kind) for name, kind in keys.items())
            except (ValueError, KeyError, TypeError, RecursionError):
                sound = False
            if not sound:
                wanted = ", ".join(f'"{name}": …' for name in keys)
                fail(f"line {number + 1} is not {{{wanted}}} in UTF-8: {line[:100].decode(errors='replace')!r}")
            digest.update(line.strip() + b"\n")
            self.count += 1
        file.seek(0)
        if next(shard_of(file, 0, 1), None) is None:
            fail("the file of items is empty, so there is nothing to answer, and the answers from before stay")
        self.digest = digest.hexdigest()

    def __iter__(self) -> Iterator[Numbered]:
        """Yield the items and their places in the share."""
        self.file.seek(0)
        return ((place, line) for place, (_, line) in enumerate(shard_of(self.file, self.shard, self.shards)))

    def pick(self, places: Iterable[int]) -> Iterator[Numbered]:
        """Yield the items at some places, in the order of the file."""
        wanted = bytearray(self.count)
        for place in places:
            wanted[place] = True
        return (item for item in self if wanted[item[0]])


def beside(path: Path, ending: str) -> Path:
    """Name a file beside another."""
    return path.with_name(path.name + ending)


def sync_folder(path: Path) -> None:
    """Make the names in a file's folder last."""
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def published(target: Path, digest: str) -> str:
    """Name a run, the Job that it belongs to and the answers that lie there now; empty if one is not known."""
    if not os.environ.get("JOB") or not target.exists():
        return ""
    found = target.stat()
    return json.dumps([os.environ["JOB"], digest, found.st_size, found.st_mtime_ns])


class Answers:
    """The answers so far: read back from ``.part``, added to it, and in the end put in order under their name."""

    def __init__(self, target: Path, items: Items) -> None:
        self.target, self.path, self.runner = target, beside(target, ".part"), beside(target, ".runner")
        self.digest = items.digest
        self.at = array("q", [-1]) * items.count
        self.kinds: list[str] = [""] * items.count
        self.faults: Counter[int] = Counter()
        self.given: list[int] = []
        """Places of the items that the batch runner was last given, and how many of its answers are here already."""
        self.taken = 0
        self.file = self.path.open("a+b", buffering=0)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self.file, fcntl.LOCK_EX)  # a run that is still ending is waited for
        self.end, self.synced = 0, time.monotonic()
        header = (json.dumps({"run": items.digest, "items": items.count}) + "\n").encode()
        with self.path.open("rb") as lines:
            if lines.readline() == header:
                self.end = len(header)
                for line in itertools.takewhile(self._read, lines):
                    self.end += len(line)
        self.file.truncate(self.end)
        if not self.end:
            self.runner.unlink(missing_ok=True)
            self._write(header)
            self.sync()
            sync_folder(self.path)

    def _read(self, line: bytes) -> bool:
        """Take one line; tell whether it is whole and sound."""
        try:
            json.loads(line)
        except ValueError:
            return False
        if line == START:
            self.given, self.taken = self.missing(), 0
            return True
        found = LINE.fullmatch(line)
        if found is None or int(found[1]) >= len(self.at):
            return False
        self._note(int(found[1]), found[2].decode(), self.end)
        return True

    def _note(self, item: int, kind: str, at: int) -> None:
        self.at[item], self.kinds[item] = at, kind
        self.faults.update([item] if kind == "fault" else [])
        self.taken += 1

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.file.write(rest) :]
        self.end += len(data)

    def add(self, answers: Iterable[tuple[int, str, bytes]]) -> None:
        """Add answers: the item's place, the kind of answer and its text without a line end."""
        data = b""
        for item, kind, text in answers:
            self._note(item, kind, self.end + len(data))
            data += b'{"item": %d, "kind": "%s", "answer": %s}\n' % (item, kind.encode(), text)
        self._write(data)
        if time.monotonic() - self.synced > SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Make what was written last."""
        os.fsync(self.file.fileno())
        self.synced = time.monotonic()

    def missing(self) -> list[int]:
        """Places of the items without a last word; those that met a fault of the engine's are given to it again."""
        faults = self.faults
        return [i for i, kind in enumerate(self.kinds) if not kind or (kind == "fault" and faults[i] < ROUNDS)]

    def give(self, items: Items) -> Path:
        """Write the items that are missing to a file for the batch runner, and note that it was given them."""
        self.runner.unlink(missing_ok=True)
        sync_folder(self.runner)
        self.given, self.taken = self.missing(), 0
        path = beside(self.target, ".items")
        with path.open("wb") as file:
            for _, line in items.pick(self.given):
                file.write(line.rstrip(b"\r\n") + b"\n")
        self._write(START)
        self.sync()
        return path

    def take(self, items: Items) -> int:
        """Take over what the batch runner has answered; return how many answers are new.

        It answers in the order of its items. A line without an end, or an answer to something else, is where it
        was cut short.
        """
        if not self.runner.exists():
            return 0
        before = self.taken
        with self.runner.open("rb") as lines:
            pairs = zip(items.pick(self.given), lines, strict=False)
            found = ((place, kind_of(line, item), line.strip()) for (place, item), line in pairs)
            new = itertools.islice(itertools.takewhile(lambda answer: answer[1], found), before, None)
            while group := list(itertools.islice(new, ITEMS_PER_REQUEST)):
                self.add(group)
        self.sync()
        self.runner.unlink()
        return self.taken - before

    def publish(self) -> None:
        """Put the answers in order, give them their name in one step, and note whose they are."""
        whole = beside(self.target, ".whole")
        with self.path.open("rb") as lines, whole.open("wb") as out:
            for at in self.at:
                lines.seek(at)
                found = LINE.fullmatch(lines.readline())
                if found is None:
                    fail(f"{self.path} was changed by somebody else")
                out.write(found[3] + b"\n")
            out.flush()
            os.fsync(out.fileno())
        whole.replace(self.target)
        sync_folder(self.target)
        if mark := published(self.target, self.digest):
            beside(self.target, ".done").write_text(mark, encoding="utf-8")
        for ending in (".runner", ".items", ".refused", ".part"):
            beside(self.target, ending).unlink(missing_ok=True)


def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the engine as the head of a group of processes, to be killed with us if we are."""
    with_us = functools.partial(ctypes.CDLL(None).prctl, PARENT_DEATH_SIGNAL, signal.SIGKILL)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=with_us)  # noqa: S603, PLW1509 - the manifest's own command line; no thread runs yet


def end(engine: subprocess.Popen[bytes]) -> None:
    """Tell the engine to stop, and kill it and all that it started if it does not."""
    engine.terminate()
    try:
        engine.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        log("the engine does not stop and is killed")
    with contextlib.suppress(OSError):  # nobody is left
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()


def check_running(engine: subprocess.Popen[bytes]) -> None:
    """Check that the engine has not ended."""
    if engine.poll() is not None:
        fail(f"the engine ended with status {engine.returncode}")


def wait_for(engine: subprocess.Popen[bytes], within_s: float, port: int = PORT, pause_s: float = 2.0) -> None:
    """Wait until the engine is healthy."""
    latest = time.monotonic() + within_s
    while time.monotonic() < latest:
        check_running(engine)
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")  # refused until the engine is ready
            if connection.getresponse().status == GOOD:
                return
        time.sleep(pause_s)
    fail(f"the engine was not ready within {within_s:.0f} s")


def passing(status: int) -> bool:
    """Whether an error is the engine's own and may pass: it is busy, or broke."""
    return status in BUSY or status >= SERVER_FAULT


def ask_engine(
    texts: list[str], port: int = PORT, pause_s: float = 1.0, engine: subprocess.Popen[bytes] | None = None
) -> tuple[int, str]:
    """Ask the engine for the classes of texts: until it has a last word, or TRIES times."""
    status, text = 0, ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        if engine is not None:
            check_running(engine)
        body, kind = json.dumps({"input": texts}), {"Content-Type": "application/json"}
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=REQUEST_S)) as connection:
            try:
                connection.request("POST", "/classify", body, kind)
                response = connection.getresponse()
                status, text = response.status, response.read().decode(errors="replace")
            except (OSError, http.client.HTTPException) as error:
                status, text = 0, repr(error)
        if status and not passing(status):
            return status, text
        log(f"no answer, status {status}: {text[:200]}")
    if not status:
        fail(f"no answer after {TRIES} tries: {text}")
    return status, text


def classify(lines: Sequence[bytes], ask: Ask = ask_engine) -> list[tuple[str, dict[str, Any]]]:
    """Answer a group of items; where the engine has no answer for the group, each item by itself."""
    items = [json.loads(line) for line in lines]
    status, text = ask([item["text"] for item in items])
    if status == GOOD:
        try:
            data = json.loads(text)["data"]
            rows = {int(row["index"]): {"label": row["label"], "probabilities": row["probs"]} for row in data}
        except (ValueError, KeyError, TypeError):
            fail(f"the engine's answer cannot be read: {text[:200]!r}")
        if sorted(rows) != list(range(len(items))):
            fail(f"{len(items)} items in, {len(rows)} answers out")
        return [("answer", {"id": item["id"], **rows[place]}) for place, item in enumerate(items)]
    if len(items) == 1:
        return [("refusal", {"id": items[0]["id"], "error": text})]
    answers = [answer for line in lines for answer in classify([line], ask)]
    if passing(status) and all(kind == "refusal" for kind, _ in answers):
        fail(f"the engine answers nothing but errors: {text[:200]}")
    return answers


def classify_all(items: Iterable[Numbered], answers: Answers, parallel: int, ask: Ask = ask_engine) -> None:
    """Answer items in their order with ``parallel`` groups in flight."""
    waiting: deque[tuple[list[Numbered], concurrent.futures.Future[list[tuple[str, dict[str, Any]]]]]] = deque()
    pool = concurrent.futures.ThreadPoolExecutor(parallel)
    try:
        rest = iter(items)
        while (group := list(itertools.islice(rest, ITEMS_PER_REQUEST))) or waiting:
            if group:
                waiting.append((group, pool.submit(classify, [line for _, line in group], ask)))
            if not group or len(waiting) >= 2 * parallel:
                first, found = waiting.popleft()
                answers.add(
                    (place, kind, json.dumps(answer, ensure_ascii=False).encode(errors="backslashreplace"))
                    for (place, _), (kind, answer) in zip(first, found.result(), strict=True)
                )
    finally:
        # Whoever is still asking hears of the engine's end before we do: not waited for here.
        pool.shutdown(wait=False, cancel_futures=True)


def run_classify(options: argparse.Namespace, command: Sequence[str], items: Items, answers: Answers) -> None:
    """Start the engine, ask it about the items that are missing, end it."""
    engine = start(command)
    try:
        wait_for(engine, options.start_within)
        ask = functools.partial(ask_engine, engine=engine)
        classify_all(items.pick(answers.missing()), answers, options.parallel, ask)
    finally:
        end(engine)


def kind_of(line: bytes, item: bytes) -> str:
    """Tell what kind of answer the batch runner has for an item; empty if the line is not whole or no answer to it."""
    if not line.endswith(b"\n"):
        return ""
    try:
        answer = json.loads(line)
        if answer["custom_id"] != json.loads(item)["custom_id"]:
            return ""
        status = int((answer["response"] or {}).get("status_code", SERVER_FAULT))
        failed = answer["error"] is not None
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    if not failed and status < CLIENT_FAULT:
        return "answer"
    return "fault" if passing(status) or status < CLIENT_FAULT else "refusal"


def run_generate(command: Sequence[str], items: Items, answers: Answers) -> None:
    """Give the items that are missing to the batch runner, as often as that brings answers."""
    for _ in range(STARTS):
        if not answers.missing():
            return
        given = answers.give(items)
        runner = start([*command, f"--input-file={given}", f"--output-file={answers.runner}"])
        try:
            status = runner.wait()
        finally:
            end(runner)
            new = answers.take(items)
        log(f"the batch runner ended with status {status} and has answered {new} of {len(answers.given)} items")
        if not new:
            break


def run(options: argparse.Namespace, command: Sequence[str], shard: int, shards: int) -> None:
    """Answer our share of the items and publish the answers."""
    source, target = Path(options.input), Path(options.output)
    if target.exists() and target.samefile(source):
        fail(f"{source} cannot be the file of its own answers")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as file:
        written_ns = os.fstat(file.fileno()).st_mtime_ns
        items = Items(options.what, file, shard, shards, [options.image, *command])
        mark, done = published(target, items.digest), beside(target, ".done")
        if mark and done.exists() and done.read_text(encoding="utf-8") == mark:
            log(f"{items.count} items were answered by this Job before, and their answers published")
            return
        answers = Answers(target, items)
        with contextlib.closing(answers.file):
            answers.take(items)
            before = items.count - len(answers.missing())
            log(f"{items.count} items in shard {shard} of {shards}, {before} of them answered before")
            if answers.missing() and options.what == "classify":
                run_classify(options, command, items, answers)
            elif answers.missing():
                run_generate(command, items, answers)
            if os.fstat(file.fileno()).st_mtime_ns != written_ns:
                fail(f"{source} changed while its items were answered; start again")
            if answers.missing():
                fail(f"{len(answers.missing())} items have no answer")
            refused = items.count - answers.kinds.count("answer")
            log(f"{items.count} items answered, {refused} of them refused")
            if items.count and refused == items.count:
                refusals = answers.path.replace(beside(target, ".refused"))
                fail(f"every item was refused; {refusals} has the engine's words")
            answers.publish()


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["classify", "generate"])
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--image", default="")
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--start-within", type=float, default=3600.0)
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    options, command = parser.parse_args(words[:cut]), words[cut + 1 :]
    shard, shards = int(os.environ.get("SHARD") or 0), int(os.environ.get("SHARDS") or 1)
    try:
        run(options, command, shard, shards)
    except (RunError, OSError) as error:
        log(f"{error}; what is answered so far is beside {options.output}")
        return 1
    return 0


def leave(*_: object) -> None:
    """Leave in order, once: the engine is ended and its answers are kept on the way."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


if __name__ == "__main__":
    # The first process of a container has no default for SIGTERM.
    signal.signal(signal.SIGTERM, leave)
    sys.exit(main())
