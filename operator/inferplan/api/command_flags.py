"""Words of a command line -> flags of the engine with their values, read as the engine's own parser reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferplan.api.command_line import WHERE
from inferplan.api.suggest import did_you_mean
from inferplan.domain.errors import Fault
from inferplan.domain.flags import OPTIMIZATION_LEVEL, Command, Flag, FlagList, human_readable_int

_BARE_WORD = re.compile(r"([{\[,:]\s*)(?!(?:true|false|null)\b)([A-Za-z_][\w./-]*)")
_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


@dataclass(frozen=True, slots=True)
class Given:
    """A flag as it was given.

    Parameters
    ----------
    written
        Its spelling, dashes for underscores.
    value
        Values of one flag joined: a text, the texts of a flag that takes several, or the object of a JSON flag.
    on
        False for the opposite of a switch (``--no-x``).
    """

    flag: Flag
    written: str
    values: tuple[str, ...] = ()
    keys: Mapping[str, Any] = field(default_factory=dict)
    on: bool = True

    @property
    def value(self) -> str:
        """The value, empty if there is none."""
        return self.values[0] if self.values else ""

    @property
    def words(self) -> tuple[str, ...]:
        """The flag as one writes it."""
        if self.keys:
            return (f"{self.flag.name}={json.dumps(self.keys)}",)
        if len(self.values) == 1:
            return (f"{self.written}={self.value}",)
        return (self.written, *self.values)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A flag that this version does not have.

    Parameters
    ----------
    instead
        What there is now, or the nearest names; empty if nothing is near.
    """

    name: str
    values: tuple[str, ...]
    instead: str


@dataclass(frozen=True, slots=True)
class CommandFlags:
    """What a command line says.

    Parameters
    ----------
    model
        The model, wherever it stood; empty if there is none.
    given
        Flags by name; of one that stands twice the last.
    unknown
        Flags that this version does not have, each with what helps.
    """

    model: str
    given: Mapping[str, Given]
    unknown: tuple[Unknown, ...]
    faults: tuple[Fault, ...]


def read_flags(words: Sequence[str], known: FlagList) -> CommandFlags:
    """Read a server's command line against the flags that the engine has.

    Parameters
    ----------
    words
        The model and the flags, in whatever order.
    """
    reading = _Reading(known)
    positional = list(reading.read(words))
    model = reading.given.pop("--model", None)
    stated = [*positional[:1], *(model.values[:1] if model is not None else ())]
    faults = [*reading.faults]
    faults += [Fault(WHERE, f'"{word}" belongs to no flag', "leave it out") for word in positional[1:]]
    if not stated:
        faults.append(Fault(WHERE, "names no model", "write it right after `vllm serve`"))
    return CommandFlags(stated[0] if stated else "", reading.given, tuple(reading.unknown), tuple(faults))


@dataclass(slots=True)
class _Reading:
    known: FlagList
    given: dict[str, Given] = field(default_factory=dict)
    unknown: list[Unknown] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def read(self, words: Sequence[str]) -> Iterator[str]:
        """Take flags with their values; yield the words that belong to none."""
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if not _is_flag(word):
                yield word
                continue
            optimization = OPTIMIZATION_LEVEL.match(word)
            if optimization:
                name, joined, value = "--optimization-level", bool(optimization[1]), optimization[1] or ""
            else:
                name, sign, value = word.partition("=")
                name, joined = _dashed(name), bool(sign)
            following = list(self._following(words[at:]))
            flag, name = self._find(name)
            if flag is None:
                instead = self.known.gone(name) or did_you_mean(name, self.known.names)
                self.unknown.append(Unknown(name, (value,) if joined else tuple(following), instead))
                at += 0 if joined else len(following)
                continue
            values = (value,) if joined else tuple(following[: self._takes(flag)])
            at += 0 if joined else len(values)
            self._note(flag, name, values)

    @staticmethod
    def _following(words: Sequence[str]) -> Iterator[str]:
        for word in words:
            if _is_flag(word):
                return
            yield word

    @staticmethod
    def _takes(flag: Flag) -> int | None:
        """How many words may follow; None for as many as there are."""
        if not flag.takes_value:
            return 0
        return None if flag.several else 1

    def _find(self, name: str) -> tuple[Flag | None, str]:
        """Find a flag by its name, another spelling, or an abbreviation that could mean only one."""
        head, dot, keys = name.partition(".")
        flag = self.known.find(head)
        if flag is None and head.startswith("--"):
            meant = {
                found.name: spelled
                for spelled in self.known.names
                if spelled.startswith(head)
                and (found := self.known.find(spelled)) is not None
                and Command.SERVER in found.commands
            }
            if len(meant) == 1:
                ((only, head),) = meant.items()
                flag = self.known.flags[only]
        if flag is None or Command.SERVER not in flag.commands:
            return None, name
        return flag, f"{flag.name}{dot}{keys}" if dot else head

    def _note(self, flag: Flag, name: str, values: tuple[str, ...]) -> None:
        keys: dict[str, Any] = {}
        _, dot, path = name.partition(".")
        if dot and flag.is_json and values:
            earlier = self.given.get(flag.name)
            keys = dict(earlier.keys) if earlier is not None else {}
            _put(keys, path.removesuffix("+").split("."), _value(values[0], listed=path.endswith("+")))
            self.given[flag.name] = Given(flag, flag.name, (), keys)
            return
        if flag.is_json and values:
            values = (_quoted(values[0]), *values[1:])
        if flag.takes_value and not values and not flag.optional:
            self.faults.append(Fault(WHERE, f"{name} needs a value", f"write {name}=…"))
            return
        wrong = next(filter(flag.problem, values), None) if flag.takes_value else None
        if wrong is not None:
            self.faults.append(Fault(WHERE, f"{name}: {flag.problem(wrong)}", flag.hint(wrong)))
            return
        if flag.is_json and values:
            keys = _object(values[0])
        self.given[flag.name] = Given(flag, name, values, keys, on=self._is_on(flag, name, values))

    def _is_on(self, flag: Flag, name: str, values: tuple[str, ...]) -> bool:
        if values and not flag.takes_value:
            return values[0].casefold() not in {"false", "0", "no"}
        return name.startswith("-") and name not in self.known.opposites(flag)


def _is_flag(word: str) -> bool:
    """Read a word as the engine's parser does: ``-tp`` is a flag wherever it stands, ``-1`` is a value."""
    return word.startswith("-") and len(word) > 1 and not _NUMBER.fullmatch(word)


def _dashed(name: str) -> str:
    head, dot, keys = name.partition(".")
    return f"{head.replace('_', '-')}{dot}{keys}"


def _quoted(text: str) -> str:
    """Put back the quotes of an object that a shell has eaten; text that is JSON, or no object, stays as it is.

    >>> _quoted("{method:ngram,num_speculative_tokens:3}")
    '{"method":"ngram","num_speculative_tokens":3}'
    """
    try:
        json.loads(text)
    except ValueError:
        return _BARE_WORD.sub(r'\1"\2"', text) if text.startswith("{") else text
    return text


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _value(text: str, *, listed: bool) -> object:
    """Read the value of one key as the engine does: JSON, a number for people, or the text itself."""
    if listed:
        return text.split(",")
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return human_readable_int(text)
    except ValueError:
        return text


def _put(keys: dict[str, Any], path: Sequence[str], value: object) -> None:
    inner = keys
    for key in path[:-1]:
        found = inner.get(key)
        inner[key] = inner = dict(found) if isinstance(found, dict) else {}
    inner[path[-1]] = value
