"""Run a share of a batch: start the engine beside us and ask it about every item, or cut the share out of a file.

Inferplan never runs this module: its text travels in the pod's command and runs inside the engine's image with nothing
but Python's standard library, as ::

    python3 -c TEXT classify --input FILE --output FILE --parallel N --start-within S -- vllm serve MODEL ...
    python3 -c TEXT share --input FILE --output FILE

The variables SHARD and SHARDS say which share of the lines is ours: every SHARDS-th one, from line SHARD on.

An item is one line ``{"id": …, "text": …}``; its answer is one line ``{"id": …, "label": …, "probabilities": […]}``,
or ``{"id": …, "error": …}`` if the engine refuses it. Answers keep the order of the items. The file of answers appears
under its name when it is whole, so that a run that was cut short never looks done.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

HOST, PORT = "127.0.0.1", 8000
ITEMS_PER_REQUEST = 32
TRIES = 5
REQUEST_S = 600
GOOD, SERVER_FAULT = 200, 500

Ask = Callable[[list[str]], tuple[int, str]]


class RunError(Exception):
    """The run cannot go on."""


def log(text: str) -> None:
    """Write a line to the log of the container."""
    sys.stderr.write(f"batch: {text}\n")
    sys.stderr.flush()


def shard_of(lines: Iterable[str], shard: int, shards: int) -> Iterator[str]:
    """Yield the lines of one shard that are not empty.

    >>> list(shard_of(["a", "b", "", "d"], 0, 2)), list(shard_of(["a", "b", "", "d"], 1, 2))
    (['a'], ['b', 'd'])
    """
    for number, line in enumerate(lines):
        if number % shards == shard and line.strip():
            yield line


def checked(lines: Iterable[str]) -> int:
    """Count the items and check that each has an id and a text, before an engine is started for them."""
    count = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            sound = isinstance(item["text"], str) and "id" in item
        except (ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            message = f'line {number} is no {{"id": …, "text": …}}: {line[:100]!r}'
            raise RunError(message)
        count += 1
    return count


def grouped(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield lists of up to ``size`` lines.

    >>> list(grouped("abc", 2))
    [['a', 'b'], ['c']]
    """
    group: list[str] = []
    for line in lines:
        group.append(line)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def ask_engine(texts: list[str], port: int = PORT, pause_s: float = 1.0) -> tuple[int, str]:
    """Ask the engine for the classes of texts; a refusal (4xx) is an answer, everything else is tried again."""
    for attempt in range(TRIES):
        connection = http.client.HTTPConnection(HOST, port, timeout=REQUEST_S)
        try:
            connection.request("POST", "/classify", json.dumps({"input": texts}), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            log(f"no answer: {error!r}")
        else:
            if response.status < SERVER_FAULT:
                return response.status, text
            log(f"status {response.status}: {text[:200]}")
        finally:
            connection.close()
        time.sleep(pause_s * 2**attempt)
    message = f"no good answer after {TRIES} tries"
    raise RunError(message)


def classify(group: list[str], ask: Ask = ask_engine) -> list[dict[str, Any]]:
    """Answer a group of lines; if the engine refuses the group, each item by itself."""
    items = [json.loads(line) for line in group]
    status, text = ask([item["text"] for item in items])
    if status == GOOD:
        rows = sorted(json.loads(text)["data"], key=lambda row: int(row["index"]))
        if len(rows) != len(items):
            message = f"{len(items)} items in, {len(rows)} answers out"
            raise RunError(message)
        return [
            {"id": item["id"], "label": row["label"], "probabilities": row["probs"]}
            for item, row in zip(items, rows, strict=True)
        ]
    if len(items) == 1:
        return [{"id": items[0]["id"], "error": text}]
    return [answer for line in group for answer in classify([line], ask)]


def answer_all(
    lines: Iterable[str], write: Callable[[str], object], parallel: int, ask: Ask = ask_engine
) -> tuple[int, int]:
    """Answer all lines in order with ``parallel`` groups in flight; return how many items and how many refusals."""
    done = refused = 0
    waiting: deque[concurrent.futures.Future[list[dict[str, Any]]]] = deque()

    def flush() -> None:
        nonlocal done, refused
        for answer in waiting.popleft().result():
            write(json.dumps(answer, ensure_ascii=False) + "\n")
            done += 1
            refused += "error" in answer

    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        for group in grouped(lines, ITEMS_PER_REQUEST):
            waiting.append(pool.submit(classify, group, ask))
            while len(waiting) >= 2 * parallel:
                flush()
        while waiting:
            flush()
    return done, refused


def wait_for(engine: subprocess.Popen[bytes], within_s: float, port: int = PORT, pause_s: float = 2.0) -> None:
    """Wait until the engine is healthy."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if engine.poll() is not None:
            message = f"the engine ended with status {engine.returncode}"
            raise RunError(message)
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == GOOD:
                return
        except (OSError, http.client.HTTPException):
            pass  # not listening yet: it opens its port when it is ready
        finally:
            connection.close()
        time.sleep(pause_s)
    message = f"the engine was not ready within {within_s:.0f} s"
    raise RunError(message)


def run_classify(options: argparse.Namespace, command: Sequence[str], shard: int, shards: int) -> None:
    """Check the items, start the engine, answer our share, stop the engine."""
    source, target = Path(options.input), Path(options.output)
    partial = target.with_name(target.name + ".part")
    with source.open(encoding="utf-8") as lines:
        count = checked(shard_of(lines, shard, shards))
    log(f"{count} items in shard {shard} of {shards}")
    engine = subprocess.Popen(command)  # noqa: S603 - the command line is the manifest's own
    try:
        wait_for(engine, options.start_within)
        with source.open(encoding="utf-8") as lines, partial.open("w", encoding="utf-8") as answers:
            done, refused = answer_all(shard_of(lines, shard, shards), answers.write, options.parallel)
    finally:
        engine.terminate()
        engine.wait()
    log(f"{done} items answered, {refused} of them refused")
    if done and done == refused:
        message = "every item was refused"
        raise RunError(message)
    partial.replace(target)


def run_share(options: argparse.Namespace, shard: int, shards: int) -> None:
    """Cut our share out of the items."""
    with Path(options.input).open(encoding="utf-8") as lines, Path(options.output).open("w", encoding="utf-8") as out:
        out.writelines(line if line.endswith("\n") else f"{line}\n" for line in shard_of(lines, shard, shards))


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["classify", "share"])
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--start-within", type=float, default=3600.0)
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    options, command = parser.parse_args(words[:cut]), words[cut + 1 :]
    shard, shards = int(os.environ.get("SHARD") or 0), int(os.environ.get("SHARDS") or 1)
    try:
        if options.what == "classify":
            run_classify(options, command, shard, shards)
        else:
            run_share(options, shard, shards)
    except (RunError, OSError) as error:
        log(str(error))
        return 1
    return 0


if __name__ == "__main__":
    # The first process of a container has no default for SIGTERM; leaving this way ends the engine as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
