"""The flags of an engine of one version: what each takes, and whose it is to give."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
OPTIMIZATION_LEVEL = re.compile(r"-O=?([0-3])?$")
"""The one short flag of vLLM that has its value in the same word (``-O3``)."""
_TIMES = {
    sign: base**power
    for power, letter in enumerate("kmgt", start=1)
    for sign, base in ((letter, 1000), (letter.upper(), 1024))
}


class Owner(enum.StrEnum):
    """Who decides about a flag, if not the user."""

    PLAN = "plan"
    POD = "pod"
    SECRET = "secret"
    CODE = "code"
    """The user, but only where code from elsewhere may run: it loads code, or names a file or an address."""


class Command(enum.StrEnum):
    """What of an engine is started."""

    SERVER = "server"
    BATCH = "batch"


def human_readable_int(text: str) -> int:
    """Read a whole number as the engine does: k, m, g and t count thousands, K, M, G and T 1024s.

    >>> [human_readable_int(text) for text in ("8192", "8k", "8K", "25.6k")]
    [8192, 8000, 8192, 25600]

    Raises
    ------
    ValueError
        If it is none; a fraction of 1024s is none either.
    """
    found = _HUMAN.fullmatch(text.strip())
    if found is None:
        return int(text)
    number, sign = found.groups()
    return int(number) * _TIMES[sign] if sign.isupper() else int(float(number) * _TIMES[sign])


_NUMBERS: dict[str, Callable[[str], float]] = {
    "int": int,
    "float": float,
    "human_readable_int": human_readable_int,
    "human_readable_int_or_auto": human_readable_int,
}


_HOW = {
    "int": "write a whole number such as 2",
    "float": "write a number such as 0.9",
    "human_readable_int": "write a whole number such as 8192 or 8k",
    "human_readable_int_or_auto": "write a whole number such as 8192 or 8k, or auto",
    "json": "write JSON in quotes, such as '{\"key\": 1}'",
}
"""What the value of each kind of flag looks like."""


def _meant(value: str) -> Iterator[str]:
    """Yield what people write otherwise than the engine reads it: thousands, percents, lists of ``key=value``."""
    yield re.sub(r"[,\s](?=\d{3}(?!\d))", "", value)
    percent = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value)
    if percent is not None:
        yield format(float(percent[1]) / 100, "g")
    pairs = [pair.partition("=") for pair in value.split(",")]
    if all(name and sign for name, sign, _ in pairs):
        yield "{" + ", ".join(f"{json.dumps(name)}: {worth}" for name, _, worth in pairs) + "}"


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
    instead
        What to write in the scenario, where the flag is the plan's; ``{value}`` stands for the flag's value.
    harmless
        Values, or keys of an object, that are the user's even if the flag is not.
    """

    name: str
    kind: str
    several: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    commands: tuple[Command, ...] = tuple(Command)
    owner: Owner | None = None
    instead: str = ""
    harmless: tuple[str, ...] = ()

    def decided_by(self, written: str, values: tuple[str, ...]) -> Owner | None:
        """Say whose these values are to give; None: the user's.

        >>> flag = Flag("--c", "json", owner=Owner.CODE, harmless=("level",))
        >>> [
        ...     str(flag.decided_by("--c", (value,)))
        ...     for value in ('{"level": 3}', '{"level": 3, "backend": "evil.Code"}')
        ... ]
        ['None', 'code']
        >>> [str(flag.decided_by(written, ("3",))) for written in ("--c.level", "--c.backend")]
        ['None', 'code']
        """
        if self.owner is not Owner.CODE or not self.harmless or not values:
            return self.owner
        said: Iterable[str] = values
        if "." in written:
            said = (written.partition(".")[2].partition(".")[0],)
        elif self.is_json:
            try:
                found = [json.loads(value) for value in values]
            except ValueError:
                return None if self.kind == "json" else self.owner  # told as what it is: no JSON
            if not all(isinstance(one, dict) for one in found):
                return self.owner
            said = {key for one in found for key in one}
        return None if set(said) <= set(self.harmless) else self.owner

    @property
    def takes_value(self) -> bool:
        """Whether a value has to follow."""
        return self.kind != "bool"

    @property
    def is_json(self) -> bool:
        """Whether its value is an object, whose keys may also be given one by one (``--flag.key value``)."""
        return self.kind in {"json", "json_or_str"}

    def problem(self, value: str) -> str:
        """Say what is wrong with a value; empty if nothing is."""
        if self.choices and value not in self.choices:
            return f'"{value}" is not one of {", ".join(self.choices)}'
        if self.kind in _NUMBERS:
            if self.kind == "human_readable_int_or_auto" and value.casefold() in {"auto", "-1"}:
                return ""
            try:
                _NUMBERS[self.kind](value)
            except ValueError:
                return f'"{value}" is not a number' if self.kind == "float" else f'"{value}" is not a whole number'
        if self.kind == "json":
            try:
                json.loads(value)
            except ValueError:
                return f"{value!r} is not valid JSON"
        return ""

    def hint(self, value: str) -> str:
        """Say how to write a value that is wrong; empty where the problem already lists what is allowed.

        >>> Flag("--max-model-len", "human_readable_int").hint("8,192")
        'write 8192'
        >>> Flag("--gpu-memory-utilization", "float").hint("90%"), Flag("-tp", "int").hint("two")
        ('write 0.9', 'write a whole number such as 2')
        >>> Flag("--limit-mm-per-prompt", "json").hint("image=0")
        'write {"image": 0}'
        """
        for meant in _meant(value):
            if not self.problem(meant):
                return f"write {meant}"
        return _HOW.get(self.kind, "")

    def fix(self, values: tuple[str, ...]) -> str:
        """Say what to write in the scenario instead of these values."""
        value = values[0] if len(values) == 1 and not self.problem(values[0]) else "…"
        if self.kind.startswith("human_readable_int") and value.casefold() not in {"…", "auto", "-1"}:
            value = str(human_readable_int(value))
        return self.instead.replace("{value}", value)


@dataclass(frozen=True, slots=True)
class FlagList:
    """Every long flag of an engine; opposite and short spellings lead to their flag."""

    engine: str
    version: str
    flags: dict[str, Flag]
    spellings: dict[str, str]
    """Any other spelling (``--no-x``, ``-tp``) -> the flag's own name."""
    removed: dict[str, str] = field(default_factory=dict)
    """Flags of earlier versions -> what there is now, in words."""

    def find(self, written: str) -> Flag | None:
        """Find the flag behind a spelling: dashes and underscores are the same, ``--json-flag.key`` is ``--json-flag``.

        Abbreviations are not looked for: the engine takes them, and that is how a flag would slip past us.
        """
        name = written.replace("_", "-")
        if name.startswith("--") and "." in name:
            name = name.partition(".")[0]
        return self.flags.get(self.spellings.get(name, name))

    def gone(self, written: str) -> str | None:
        """Say what took the place of a flag of an earlier version; None if there never was one of this name."""
        return self.removed.get(written.replace("_", "-").partition(".")[0])

    def opposites(self, flag: Flag) -> tuple[str, ...]:
        """Long spellings of a flag beside its name (``--no-x``)."""
        return tuple(sorted(o for o, name in self.spellings.items() if name == flag.name and o.startswith("--")))

    @property
    def names(self) -> tuple[str, ...]:
        """All long spellings, sorted."""
        return tuple(sorted({*self.flags, *(other for other in self.spellings if other.startswith("--"))}))
