"""The flags that an engine of one version has, and those of them that are not the user's to give."""

from __future__ import annotations

import enum
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_NAME = "flags.toml"

_NUMBERS = {"int": int, "float": float, "human_readable_int": int, "human_readable_int_or_auto": int}


class Owner(enum.StrEnum):
    """Who decides about a flag, if not the user."""

    PLAN = "plan"
    POD = "pod"
    SECRET = "secret"
    CODE = "code"
    """The user, but only where code from elsewhere may run."""


class Command(enum.StrEnum):
    """What of an engine is started."""

    SERVER = "server"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of an engine.

    Parameters
    ----------
    kind
        ``bool`` takes no value; ``int``, ``float``, ``human_readable_int``, ``human_readable_int_or_auto``,
        ``str``, ``json`` and ``json_or_str`` take one.
    several
        Takes all values that follow.
    choices
        The only values, where the list is closed.
    commands
        Which of the engine's commands have it.
    """

    name: str
    kind: str
    several: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    commands: tuple[Command, ...] = tuple(Command)
    owner: Owner | None = None

    @property
    def takes_value(self) -> bool:
        """Whether a value has to follow."""
        return self.kind != "bool"

    def problem(self, value: str) -> str:
        """Say what is wrong with a value; empty if nothing is."""
        if self.choices and value not in self.choices:
            return f'"{value}" is not one of {", ".join(self.choices)}'
        if self.kind in _NUMBERS:
            if self.kind == "human_readable_int_or_auto" and value in {"auto", "-1"}:
                return ""
            try:
                _NUMBERS[self.kind](value)
            except ValueError:
                return f'"{value}" is no number' if self.kind == "float" else f'"{value}" is no whole number'
        if self.kind == "json":
            try:
                json.loads(value)
            except ValueError:
                return f"{value!r} is no JSON"
        return ""


@dataclass(frozen=True, slots=True)
class FlagList:
    """Every long flag of an engine; opposite and short spellings lead to their flag."""

    engine: str
    version: str
    flags: dict[str, Flag]
    spellings: dict[str, str]
    """Any other spelling (``--no-x``, ``-tp``) -> the flag's own name."""

    def find(self, written: str) -> Flag | None:
        """Find the flag behind a spelling: dashes and underscores are the same, ``--json-flag.key`` is ``--json-flag``.

        Abbreviations are not looked for: the engine takes them, and that is how a flag would slip past us.
        """
        name = written.replace("_", "-")
        if name.startswith("--") and "." in name:
            name = name.partition(".")[0]
        return self.flags.get(self.spellings.get(name, name))

    def opposites(self, flag: Flag) -> tuple[str, ...]:
        """Long spellings of a flag beside its name (``--no-x``)."""
        return tuple(sorted(o for o, name in self.spellings.items() if name == flag.name and o.startswith("--")))

    @property
    def names(self) -> tuple[str, ...]:
        """All long spellings, sorted."""
        return tuple(sorted({*self.flags, *(other for other in self.spellings if other.startswith("--"))}))


def read_flag_list(folder: Path) -> FlagList:
    """Read the flags beside the templates of an engine's version."""
    document: dict[str, Any] = tomllib.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    owners = {name: Owner(owner) for owner, names in document["owned"].items() for name in names}
    flags: dict[str, Flag] = {}
    spellings: dict[str, str] = {}
    for name, record in document["flags"].items():
        flags[name] = Flag(
            name=name,
            kind=record["type"],
            several=record.get("nargs") == "+",
            optional=record.get("nargs") == "?",
            choices=tuple(record.get("choices", ())),
            commands=_commands(record),
            owner=owners.get(name),
        )
        for other in (*record.get("aliases", ()), *record.get("negations", ())):
            spellings[other] = name
    return FlagList(document["engine"], document["version"], flags, spellings)


def _commands(record: dict[str, Any]) -> tuple[Command, ...]:
    """``server = true`` and ``batch = true`` keep a flag to one command; without them both have it."""
    only = tuple(command for command in Command if record.get(command.value))
    return only or tuple(Command)
