"""The programs of a control plane: found, or built once and kept by version outside the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import caches
from tests.caches import Progress
from tests.controlplane.parts import HELM, KUBECTL, KUBERNETES, KWOK, Part
from tests.controlplane.toolchain import Answer, BuildError, Toolchain, find_or_fetch_go

ALL_PARTS = (KUBERNETES, KUBECTL, KWOK, HELM)
CACHE_VARIABLE = "INFERPLAN_CONTROLPLANE_CACHE"
ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs are: what :func:`locate_or_build` returns."""

    programs: Mapping[str, Path]
    stages: Path
    """kwok's ``kustomize/stage``: how its nodes, pods and volumes live and die."""
    built: tuple[str, ...] = ()
    """Parts that had to be built just now."""

    def __getitem__(self, program: str) -> Path:
        """Return the path of a program: ``binaries["kubectl"]``."""
        return self.programs[program]


def cache_folder() -> Path:
    """Return where built programs are kept, by version: nothing in it belongs to a checkout."""
    return caches.cache_folder("controlplane", CACHE_VARIABLE)


def locate(part: Part) -> Path | None:
    """Return the folder that holds a part's programs, or ``None`` if it has to be built.

    A folder named by ``KUBEBUILDER_ASSETS`` (as for envtest) comes first, then the cache. The folder must hold all of
    a part: a controller manager newer than its API server is not supported, so the two are never mixed.
    """
    names = [name for name, _ in part.programs]
    assets = os.environ.get(ASSETS_VARIABLE)
    if assets and not part.files and all(os.access(Path(assets) / name, os.X_OK) for name in names):
        return Path(assets)
    cached = cache_folder() / part.key
    return cached if cached.is_dir() else None


def locate_or_build(progress: Progress = print, parts: Sequence[Part] = ALL_PARTS) -> Binaries:
    """Return the programs, building those that are neither given nor cached.

    A part appears in the cache all at once, so a build that is killed leaves nothing half done, and what was finished
    before is not built again. Of two processes that need a part one builds and the other waits.

    Parameters
    ----------
    progress
        Told, while building, which part is being built and how long it has taken.
    parts
        What is needed.

    Raises
    ------
    BuildError
        If a part cannot be built: no Go to be had, no module proxy, or a compiler's complaint.
    """
    folders = {part: locate(part) for part in parts}
    missing = [part for part, folder in folders.items() if folder is None]
    if missing:
        cache = cache_folder()
        with caches.locked(cache, "building the control plane", progress):
            missing = [part for part in missing if locate(part) is None]
            _build_all(missing, cache, progress)
        folders = {part: locate(part) for part in parts}
    programs: dict[str, Path] = {}
    stages = Path()
    for part, folder in folders.items():
        if folder is None:
            message = f"{part.name} vanished from {cache_folder()}"
            raise BuildError(message)
        programs.update({name: folder / name for name, _ in part.programs})
        if part is KWOK:
            stages = folder / "files"
    return Binaries(programs, stages, tuple(part.name for part in missing))


def _build_all(parts: Sequence[Part], cache: Path, progress: Progress) -> None:
    caches.remove_half_built(cache)
    if not parts:
        return
    toolchain = find_or_fetch_go(cache, progress)
    names = ", ".join(f"{part.name} {part.version}" for part in parts)
    progress(f"building {names} with Go {toolchain.version}, once; kept in {cache}")
    for part in parts:
        _build(part, toolchain, cache, progress)
    shutil.rmtree(toolchain.work, ignore_errors=True)  # kept after a failure, so that the next try is short


def _build(part: Part, toolchain: Toolchain, cache: Path, progress: Progress) -> None:
    start = time.monotonic()

    def tell(what: str) -> None:
        progress(f"{part.name} {part.version}: {what} ({_elapsed(time.monotonic() - start)})")

    half = caches.half_built(cache)
    try:
        packages = [package for _, package in part.programs]
        tell("fetching its source")
        listing = ["list", "-mod=readonly", "-deps", "-f", "{{.ImportPath}}", *packages]
        total = len(_twice(toolchain, listing, part.folder, tell).output.split())
        flags = ["-v", "-mod=readonly", "-trimpath", "-ldflags", part.linker_flags]
        done = 0
        for name, package in part.programs:

            def tell_packages(more: int, name: str = name, done: int = done) -> None:
                tell(f"compiling {name}, {min(done + more, total)} of {total} packages done")

            tell_packages(0)
            output = str(half / name)
            done += toolchain.run(["build", *flags, "-o", output, package], part.folder, tell_packages).remarks
        if part.files:
            module = toolchain.run(["list", "-m", "-f", "{{.Dir}}", part.required], part.folder).output.strip()
            # the module cache is read-only, this cache is not
            shutil.copytree(Path(module) / part.files, half / "files", copy_function=shutil.copyfile)
            for folder in (half / "files", *(path for path in (half / "files").rglob("*") if path.is_dir())):
                folder.chmod(0o755)
        half.chmod(0o755)
        half.rename(cache / part.key)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    tell("built")


def _twice(toolchain: Toolchain, arguments: Sequence[str], folder: Path, tell: Progress) -> Answer:
    """Run what downloads a second time if the first failed: what came through is kept, and networks have hiccups."""
    try:
        return toolchain.run(arguments, folder)
    except BuildError:
        tell("could not be fetched; trying once more")
        return toolchain.run(arguments, folder)


def _elapsed(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def docker_answers() -> bool:
    """Tell whether a Docker engine can be asked for containers."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        answer = subprocess.run(
            [docker, "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
