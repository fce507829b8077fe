"""The engine's own environment: made once, outside the tree, from the Python package index alone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests import caches
from tests.caches import Progress

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CACHE_VARIABLE = "INFERPLAN_ENGINE_CACHE"
TOLD_EVERY_S = 30.0
TAIL_LINES = 25


class EnvironmentFailedError(Exception):
    """The environment cannot be made here; the message ends with what the installer said."""


def cache_folder() -> Path:
    """Return where environments are kept, by what is in them: nothing in it belongs to a checkout."""
    return caches.cache_folder("engine", CACHE_VARIABLE)


def environment_folder() -> Path:
    """Return the folder of the environment that ``requirements.txt`` and this Python make."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + python.encode()).hexdigest()[:16]
    return cache_folder() / f"python{python}-{digest}"


def find_or_make(progress: Progress) -> Path:
    """Return the environment's Python; make the environment first where there is none (about 7 GB, minutes).

    Raises
    ------
    EnvironmentFailedError
        If the packages cannot be installed.
    """
    folder = environment_folder()
    python = folder / "bin" / "python"
    if python.exists():
        return python
    cache = cache_folder()
    with caches.locked(cache, "making the engine's environment", progress):
        if not python.exists():
            caches.remove_half_built(cache)
            _make(folder, caches.half_built(cache), progress)
    return python


def _make(folder: Path, half: Path, progress: Progress) -> None:
    progress(f"making the engine's environment in {folder}, once (about 7 GB)")
    start = time.monotonic()
    try:
        uv = [sys.executable, "-m", "uv"]
        _run(
            [*uv, "venv", "--quiet", "--relocatable", "--seed", "--python", sys.executable, str(half / "it")], progress
        )
        python = str(half / "it" / "bin" / "python")
        packages = ["--no-deps", "--requirement", str(REQUIREMENTS)]
        try:
            _run([*uv, "pip", "install", "--quiet", "--python", python, *packages], progress)
        except EnvironmentFailedError:
            progress("uv could not; trying pip")  # where only a mirror of the package index can be reached
            _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], progress)
        (half / "it").rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    progress(f"made the engine's environment in {int(time.monotonic() - start)} s")


def _run(command: list[str], progress: Progress) -> None:
    """Run an installer and say every half minute that it still runs."""
    over = threading.Event()

    def tell() -> None:
        start = time.monotonic()
        while not over.wait(TOLD_EVERY_S):
            progress(f"installing, {int(time.monotonic() - start)} s so far")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    finally:
        over.set()
        teller.join()
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        message = f"{' '.join(command[:4])} … ended with exit status {done.returncode}:\n{tail}"
        raise EnvironmentFailedError(message)
