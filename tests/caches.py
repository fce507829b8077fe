"""Folders outside the tree for what tests build once and keep: found by name, filled by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

Progress = Callable[[str], None]
"""Takes one line that says how things are going."""

HALF_BUILT = ".building-"


def cache_folder(name: str, variable: str) -> Path:
    """Return the folder that an environment variable names, or the user's own: nothing in it belongs to a checkout."""
    if named := os.environ.get(variable):
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "inferplan" / name


@contextlib.contextmanager
def locked(cache: Path, busy: str, progress: Progress) -> Iterator[None]:
    """Hold a cache for building; the lock goes with the process, however that ends.

    Parameters
    ----------
    busy
        What another process is doing when there is a wait for it: "building the control plane".
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"another process is {busy}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_half_built(cache: Path) -> None:
    """Remove what builds that were killed have left; only while the cache is held."""
    for leftover in cache.glob(f"{HALF_BUILT}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def half_built(cache: Path) -> Path:
    """Make a folder to build in, beside where the result will be: to be renamed when it is whole."""
    return Path(tempfile.mkdtemp(prefix=HALF_BUILT, dir=cache))
