"""Processes that never outlive the one that started them."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from tests.controlplane.toolchain import die_with_parent

GRACE_S = 5.0
TAIL_LINES = 15


class ProcessDiedError(Exception):
    """A process that should run has ended; the message has the end of its log."""


class Processes:
    """Named processes, each in a group of its own with its output in a file, stopped together.

    They are stopped by :meth:`stop`, at the interpreter's exit, and on SIGTERM and SIGHUP; on Linux the kernel
    kills them when this process is killed outright.
    """

    def __init__(self, logs: Path, *, grace_s: float = GRACE_S) -> None:
        self._logs = logs
        self._grace_s = grace_s
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, tuple[Sequence[str | Path], Mapping[str, str] | None]] = {}

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start a process; its output goes to ``<logs>/<name>.log``, after that of an earlier one of that name."""
        _guard(self)
        self._started[name] = (command, environment)
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(word) for word in command],
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - nothing but one system call, prepared at import
            )

    def log(self, name: str) -> Path:
        """Return the file that holds the output of a process."""
        return self._logs / f"{name}.log"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: process.pid for name, process in self._running.items()}

    def check(self) -> None:
        """Make sure that all are still running.

        Raises
        ------
        ProcessDiedError
            If one is not.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                tail = "\n".join(self.log(name).read_text(errors="replace").splitlines()[-TAIL_LINES:])
                message = f"{name} ended with status {process.returncode}; see {self.log(name)}:\n{tail}"
                raise ProcessDiedError(message)

    def memory_bytes(self) -> dict[str, int]:
        """Return the memory that each process holds now [bytes]; empty where there is no ``/proc``."""
        sizes = {}
        for name, pid in self.pids.items():
            with contextlib.suppress(OSError):
                pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
                sizes[name] = pages * os.sysconf("SC_PAGE_SIZE")
        return sizes

    def kill(self, name: str) -> None:
        """Kill one process and whatever it started, at once, as a crash would."""
        process = self._running.pop(name)
        _signal(process, signal.SIGKILL)
        process.wait()

    def terminate(self, name: str) -> int:
        """Ask one process to end, wait until it has, and return its status; it is killed if it takes too long."""
        process = self._running.pop(name)
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(GRACE_S, self._grace_s))
        _signal(process, signal.SIGKILL)
        return process.wait()

    def ended(self, name: str) -> int | None:
        """Return the status of a process that has ended by itself, None while it runs."""
        return self._running[name].poll()

    def restart(self, name: str) -> None:
        """Start a process again as it was started, after killing it if it still runs."""
        if name in self._running:
            self.kill(name)
        self.start(name, *self._started[name])

    @contextlib.contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Let a process hang for the time of the block: it keeps its connections and answers nobody."""
        _signal(self._running[name], signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(self._running[name], signal.SIGCONT)

    def stop(self) -> None:
        """Stop all, the last one started first; kill those that do not stop in time. Safe to call again."""
        stopping = list(reversed(self._running.values()))
        for process in stopping:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s
        for process in stopping:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)
            process.wait()
        self._running.clear()
        _GUARDED.discard(self)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a process and what it started; its group outlives it for as long as there is something in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


_GUARDED: set[Processes] = set()
_HANDLED = (signal.SIGTERM, signal.SIGHUP)


def _guard(processes: Processes) -> None:
    if not _GUARDED:
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)
        # only the main thread may set handlers, and one that somebody else has set stays
        with contextlib.suppress(ValueError):
            for number in _HANDLED:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, _stop_all_and_exit)
    _GUARDED.add(processes)


def _stop_all() -> None:
    for processes in list(_GUARDED):
        processes.stop()


def _stop_all_and_exit(number: int, _frame: FrameType | None) -> None:
    _stop_all()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(signal.Signals(number))


@contextlib.contextmanager
def stopped_at_the_end(logs: Path, *, grace_s: float = GRACE_S) -> Iterator[Processes]:
    """Yield processes that are stopped when the block is left, however it is left."""
    processes = Processes(logs, grace_s=grace_s)
    try:
        yield processes
    finally:
        processes.stop()
