"""The user's own flags: each must be one that the engine has and that is theirs to give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from inferplan.api.suggest import did_you_mean
from inferplan.domain.errors import Fault
from inferplan.domain.flags import OPTIMIZATION_LEVEL, Command, Flag, FlagList, Owner
from inferplan.render.flags import Argument

EXTRA_ARGS = "spec.engine.extraArgs"

WHY_NOT: dict[Owner, tuple[str, str]] = {
    Owner.POD: ("is decided by how the pod is wired", "leave it out"),
    Owner.SECRET: (
        "would show a secret in the pod's arguments",
        "spec.deploy.tokenSecretRef takes the token for the download; let a gateway in front check keys of clients",
    ),
    Owner.CODE: (
        "runs code, reads or writes files, or speaks to addresses beyond the engine's image",
        "set spec.engine.remoteCode: Allow if you trust them",
    ),
}


def extra_arguments(
    words: Sequence[str],
    known: FlagList,
    own: Iterable[Argument] = (),
    *,
    remote_code: bool,
    command: Command = Command.SERVER,
) -> tuple[tuple[Argument, ...], tuple[Fault, ...]]:
    """Read the user's own arguments against the engine's flags.

    Parameters
    ----------
    words
        ``--flag``, ``--flag=value``, or ``--flag`` and its values as words of their own.
    known
        The engine's flags.
    own
        What we give already; a flag is never given twice.
    remote_code
        Whether code from elsewhere may run.
    command
        What is started.

    Returns
    -------
    tuple of Argument, tuple of Fault
        What is understood, and everything that is wrong.
    """
    found: list[Argument] = []
    faults: list[Fault] = []
    given = {argument.name for argument in own}
    for index, name, values in _grouped(words):
        where = f"{EXTRA_ARGS}[{index}]"
        flag = known.find(name)
        fault = _fault(where, name, values, flag, known, remote_code=remote_code, command=command)
        fault = fault or _value_fault(where, name, flag, values)
        if fault is None and flag is not None and "." not in name:
            fault = Fault(where, f"{flag.name} is given already", "leave it out") if flag.name in given else None
            given.add(flag.name)
        if fault is None:
            found.append(Argument(name.replace("_", "-") if "." not in name else name, values))
        else:
            faults.append(fault)
    return tuple(found), tuple(faults)


def _grouped(words: Sequence[str]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Part words into flags with their values, each with the index of its first word."""
    index = 0
    while index < len(words):
        start, word = index, words[index]
        index += 1
        level = OPTIMIZATION_LEVEL.match(word)
        if level is not None and level[1]:
            yield start, "--optimization-level", (level[1],)
            continue
        word = "--optimization-level" if level is not None else word
        if "=" in word:
            name, _, value = word.partition("=")
            yield start, name, (value,)
            continue
        values = []
        while index < len(words) and not _is_flag(words[index]):
            values.append(words[index])
            index += 1
        yield start, word, tuple(values)


def _is_flag(word: str) -> bool:
    """Read a word as the engine's parser does: ``-tp`` is a flag wherever it stands, ``-1`` is a value."""
    return word.startswith("-") and not re.fullmatch(r"-\d+|-\d*\.\d+", word)


def _fault(
    where: str,
    name: str,
    values: tuple[str, ...],
    flag: Flag | None,
    known: FlagList,
    *,
    remote_code: bool,
    command: Command,
) -> Fault | None:
    if flag is None:
        instead = known.gone(name) or did_you_mean(name, known.names)
        return Fault(where, f'{known.engine} {known.version} has no flag "{name}"', instead)
    if flag.owner is Owner.PLAN:
        return Fault(where, f"{flag.name} is decided by the plan", flag.fix(values))
    if not name.startswith("--"):
        return Fault(where, f'"{name}" is a short spelling', f"write {flag.name}")
    if command not in flag.commands:
        return Fault(
            where, f"{flag.name} belongs to the engine's {flag.commands[0]}, not to its {command}", "leave it out"
        )
    owner = flag.decided_by(name, values)
    if owner is None or (owner is Owner.CODE and remote_code):
        return None
    problem, fix = WHY_NOT[owner]
    if flag.harmless:
        fix = f"{fix}; without it: {', '.join(flag.harmless)}"
    return Fault(where, f"{flag.name} {problem}", fix)


def _value_fault(where: str, name: str, flag: Flag | None, values: tuple[str, ...]) -> Fault | None:
    if flag is None:
        return None
    if not flag.takes_value:
        return Fault(where, f'{name} is a switch and takes no value, "{values[0]}" was given') if values else None
    if not values:
        return None if flag.optional else Fault(where, f"{name} needs a value", f"write {name}=…")
    if len(values) > 1 and not flag.several:
        return Fault(where, f'{name} takes one value, "{values[1]}" is one too many')
    if "." in name:
        return None  # one key of a JSON flag: its type is not in the list
    wrong = next(filter(flag.problem, values), None)
    return None if wrong is None else Fault(where, f"{name}: {flag.problem(wrong)}", flag.hint(wrong))
