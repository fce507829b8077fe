"""``inferplan calibrate``: fit the constants of the estimator to measured runs."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferplan.cli.accuracy import Facts, Runs
from inferplan.cli.options import Overlay, Recorded, day_of
from inferplan.cli.output import tell_progress, write_file
from inferplan.domain.errors import Fault, InputError

if TYPE_CHECKING:
    from inferplan.accuracy.fit_engine import Checked
    from inferplan.accuracy.matching import Matched
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
    date: Recorded = "",
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
    fitted_on = day_of(date)
    passed_over = _passed_over(matched)
    for words in (*passed_over, *_noted(matched)):
        typer.echo(words, err=True)
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
        why = f"holds no run that can be fitted ({'; '.join(passed_over) or 'weights leave no room for a KV cache'})"
        raise InputError([Fault(", ".join(runs), why, "state tp and at least one latency, mean or p50, of each run")])
    write_file(output, calibration_text(records))
    typer.echo(f"{output}: {len(records)} records")


def _passed_over(matched: Matched) -> list[str]:
    """Runs that are not fitted, by reason."""
    from inferplan.accuracy.fit_engine import unfit

    reasons = [reason for _, reason in matched.skipped] + [why for case in matched.cases if (why := unfit(case))]
    return _counted("passed over", reasons, "for other reasons")


def _noted(matched: Matched) -> list[str]:
    """What is told of runs that are fitted."""
    from inferplan.accuracy.fit_engine import unfit
    from inferplan.accuracy.usable import remarks

    return _counted("noted", [words for c in matched.cases if not unfit(c) for words in remarks(c.run)], "with others")


def _counted(verb: str, sentences: Iterable[str], others: str) -> list[str]:
    counts = Counter(sentences)
    listed = counts.most_common(MOST_REASONS)
    rest = sum(counts.values()) - sum(count for _, count in listed)
    more = [f"{verb}: {rest} {others}"] if rest else []
    return [f"{verb}: {count} ({words})" for words, count in listed] + more


MOST_REASONS = 6


def _summary(checked: Checked) -> str:
    import numpy as np

    from inferplan.accuracy.fit_held_out import median_percent

    everyone = np.ones(len(checked.points.cases), dtype=np.bool_)
    parts = [f"in sample {_percents(median_percent(checked.in_sample, everyone))}"]
    told = ((of, _percents(median_percent(errors, everyone))) for of, errors in checked.left_out.items())
    parts.extend(f"{of} left out {percents}" for of, percents in told if percents)
    aside = f", {checked.fitted.set_aside} set aside" if checked.fitted.set_aside else ""
    return f"{checked.generation}: {len(checked.points.cases)} runs{aside}; median errors " + "; ".join(parts)


def _percents(errors: dict[str, float]) -> str:
    return ", ".join(f"{metric} {percent:.1f} %" for metric, percent in errors.items())
