"""Arguments and options that several commands have, and the exit status that they share."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from inferplan.cli.output import Format
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.scenario import Tier

INFEASIBLE = 3

Files = Annotated[list[str], typer.Argument(metavar="FILE", help="Scenario files; - reads standard input.")]
Overlay = Annotated[
    Path | None, typer.Option("--catalog", metavar="DIR", help="Your own models, GPUs or prices, laid over ours.")
]
Nodes = Annotated[
    Path | None, typer.Option("--inventory", metavar="FILE", help="Nodes of a cluster (kubectl get nodes -o yaml).")
]
Prices = Annotated[
    Path | None, typer.Option("--price-book", metavar="FILE", help="Prices that win over the catalog's.")
]
Output = Annotated[Format, typer.Option("--output", "-o", case_sensitive=False, help="How to write the result.")]
OneTier = Annotated[
    Tier | None,
    typer.Option(
        "--tier",
        case_sensitive=False,
        metavar="TIER",
        help="Budget, Recommended or HighEnd, whatever the scenario says.",
    ),
]
Recorded = Annotated[str, typer.Option("--date", metavar="DATE", help="Date to record; today if not given.")]


def day_of(date: str) -> str:
    """A date that is given, or today.

    Raises
    ------
    InputError
        If it is none.
    """
    if not date:
        return dt.datetime.now(tz=dt.UTC).date().isoformat()
    try:
        return dt.date.fromisoformat(date).isoformat()
    except ValueError as error:
        raise InputError([Fault("--date", f'"{date}" is not a date', "write it as 2026-01-31")]) from error
