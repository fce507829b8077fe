"""``inferplan calibrate``: fit the constants of the estimator to measured runs."""

from __future__ import annotations

import datetime as dt
import enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferplan.cli.accuracy import Facts, Runs
from inferplan.cli.options import Overlay
from inferplan.cli.output import tell_progress, write_file
from inferplan.domain.errors import Fault, InputError

if TYPE_CHECKING:
    from inferplan.accuracy.fit_engine import Checked
    from inferplan.domain.calibration import Calibration

EPILOG = """
**Examples**

`inferplan calibrate runs.csv -o catalog/calibration/own.toml` – your GPUs as you measured them, for `--catalog catalog`

`inferplan calibrate bench.json --fact gpu=l40s --fact tp=1 -o catalog/calibration/own.toml` – from `vllm bench serve`

`inferplan calibrate runs.csv --scope all -o calibration.toml` – everything anew, as our own calibration was made
"""

EXTRA = "pip install 'inferplan[calibrate]'"


class Scope(enum.StrEnum):
    """How much is fitted."""

    GPU = "gpu"
    ALL = "all"


def calibrate(
    runs: Runs,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the calibration.")],
    scope: Annotated[
        Scope,
        typer.Option(
            "--scope",
            case_sensitive=False,
            help="gpu: how your GPUs deviate from what is known; all: every constant anew, with ranges.",
        ),
    ] = Scope.GPU,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Leave out groups of runs to learn how far off it is elsewhere.")
    ] = True,
    date: Annotated[str, typer.Option("--date", metavar="DATE", help="Date to record; today if not given.")] = "",
    facts: Facts = None,
    catalog: Overlay = None,
) -> None:
    """Fit the estimator's constants to measured runs, and write them as a file of the catalog."""
    if find_spec("scipy") is None:
        raise InputError([Fault("calibrate", "needs scipy, which is not installed", EXTRA)])
    from inferplan.accuracy.fit_engine import Generation, calibrate, recipe_for
    from inferplan.accuracy.fit_records import own_records, records_of
    from inferplan.accuracy.fit_text import calibration_text
    from inferplan.accuracy.matching import Matcher
    from inferplan.catalog import load_yardsticks
    from inferplan.catalog.measurements import load_measurements
    from inferplan.cli.inputs import read_catalog
    from inferplan.cli.runs import read_runs

    known, sources = read_catalog(catalog, None), load_measurements()
    matched = Matcher(known, load_yardsticks()).match(read_runs(runs, facts or []))
    fitted_on = date or dt.datetime.now(tz=dt.UTC).date().isoformat()
    records: list[Calibration] = []
    for generation in Generation:
        recipe = recipe_for(generation, known if scope is Scope.GPU else None)
        checked = calibrate(matched.cases, generation, recipe, check=check, tell=tell_progress)
        if checked is None:
            continue
        typer.echo(_summary(checked))
        if scope is Scope.GPU:
            records.extend(own_records(checked, known, sources, fitted_on))
        else:
            records.extend(records_of(checked, sources, fitted_on))
    if not records:
        hint = "inferplan accuracy says why each run is passed over"
        raise InputError([Fault(", ".join(runs), "holds no run that can be fitted", hint)])
    write_file(output, calibration_text(records))
    typer.echo(f"{output}: {len(records)} records")


def _summary(checked: Checked) -> str:
    import numpy as np

    from inferplan.accuracy.fit_held_out import median_percent

    everyone = np.ones(len(checked.points.cases), dtype=np.bool_)
    parts = [f"in sample {_percents(median_percent(checked.in_sample, everyone))}"]
    for of, errors in checked.left_out.items():
        parts.append(f"{of} left out {_percents(median_percent(errors, everyone))}")
    aside = f", {checked.fitted.set_aside} set aside" if checked.fitted.set_aside else ""
    return f"{checked.generation}: {len(checked.points.cases)} runs{aside}; median errors " + "; ".join(parts)


def _percents(errors: dict[str, float]) -> str:
    return ", ".join(f"{metric} {percent:.1f} %" for metric, percent in errors.items())
