"""The flags and templates that are there for an engine's version."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

from inferplan._assets import asset_folder
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.errors import Fault, UnrenderableError
from inferplan.domain.flags import Command, Flag, FlagList, Owner

FILE_NAME = "flags.toml"


def template_folder(engine: EngineSpec) -> Path:
    """Find the folder with the templates and flags of an engine's version (``vllm/0.33.x``).

    Raises
    ------
    UnrenderableError
        Naming the versions that there are.
    """
    folder = asset_folder("templates") / engine.id / f"{'.'.join(engine.version.split('.')[:2])}.x"
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in folder.parent.glob("*") if path.is_dir()))
        problem = f"there are no templates for {engine.name} {engine.version}"
        raise UnrenderableError([Fault("spec.engine.version", problem, f"known: {known}")])
    return folder


def flags_of(engine: EngineSpec) -> FlagList:
    """Read the flags of an engine's version, each version once.

    Raises
    ------
    UnrenderableError
        If the version is not known.
    """
    return _read_once(template_folder(engine))


@functools.cache
def _read_once(folder: Path) -> FlagList:
    return read_flag_list(folder)


def read_flag_list(folder: Path) -> FlagList:
    """Read the flags beside the templates of an engine's version."""
    document: dict[str, Any] = tomllib.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    owners = {name: Owner(owner) for owner, names in document["owned"].items() for name in names}
    users, harmless = set(document["users"]["flags"]), document.get("harmless", {})
    flags: dict[str, Flag] = {}
    spellings: dict[str, str] = {}
    for name, record in document["flags"].items():
        flags[name] = Flag(
            name=name,
            kind=record["type"],
            several=record.get("nargs") == "+",
            optional=record.get("nargs") == "?",
            choices=tuple(str(choice) for choice in record.get("choices", ())),
            commands=_commands(record),
            owner=None if name in users else owners.get(name, Owner.CODE),  # what nobody has judged may do anything
            instead=document["instead"].get(name, ""),
            harmless=tuple(harmless.get(name, ())),
        )
        for other in (*record.get("aliases", ()), *record.get("negations", ())):
            spellings[other] = name
    return FlagList(document["engine"], document["version"], flags, spellings, document.get("removed", {}))


def _commands(record: dict[str, Any]) -> tuple[Command, ...]:
    """``server = true`` and ``batch = true`` keep a flag to one command; without them both have it."""
    only = tuple(command for command in Command if record.get(command.value))
    return only or tuple(Command)
