"""Measured runs from files: tables, and results of the two benchmark tools."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from inferplan.accuracy.bench_results import is_result, read_result
from inferplan.accuracy.runs import COLUMNS, Run, make_run, read_table
from inferplan.api.suggest import did_you_mean
from inferplan.domain.errors import Fault, InputError

LARGEST_BYTES = 500_000_000
"""GuideLLM writes every request of a run; beyond this it is no report of one."""


def read_runs(files: Sequence[str], facts: Sequence[str]) -> tuple[Run, ...]:
    """Read all runs of all files; ``-`` is standard input.

    Parameters
    ----------
    facts
        ``column=value``: cells for every run of a benchmark tool's result, which names no hardware.

    Raises
    ------
    InputError
        With the faults of every file together.
    """
    faults: list[Fault] = []
    cells = _facts(facts, faults)
    runs: list[Run] = []
    for name in files:
        try:
            data, origin = read_bytes(name)
            runs.extend(read_result(data, origin, cells) if is_result(data) else read_table(data, origin))
        except InputError as error:
            faults.extend(error.faults)
    if faults:
        raise InputError(faults)
    return tuple(runs)


def _facts(facts: Sequence[str], faults: list[Fault]) -> dict[str, str]:
    cells: dict[str, str] = {}
    for fact in facts:
        column, sign, value = fact.partition("=")
        if not sign or not value.strip():
            faults.append(Fault("--fact", f'"{fact}" is not understood', "write column=value, such as gpu=t4"))
        elif column.strip().casefold() not in COLUMNS:
            faults.append(Fault("--fact", f'there is no column "{column}"', did_you_mean(column, COLUMNS)))
        else:
            cells[column.strip().casefold()] = value.strip()
    faults.extend(
        Fault(
            "--fact", f'{column} "{cell}" could not be read as a number', f"write {column}=number, such as {column}=2"
        )
        for column, cell in make_run(cells, "").unreadable
    )
    return cells


def read_bytes(name: str) -> tuple[bytes, str]:
    """Read a file or standard input (``-``): its bytes and what to call it."""
    if name == "-":
        return sys.stdin.buffer.read(), "standard input"
    path = Path(name)
    try:
        if path.is_file() and path.stat().st_size > LARGEST_BYTES:
            raise InputError([Fault(name, f"is larger than {LARGEST_BYTES // 1_000_000} MB")])
        return path.read_bytes(), name
    except OSError as error:
        raise InputError([Fault(name, f"cannot be read: {error.strerror}")]) from error
