"""``inferplan accuracy``: predictions against measured runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inferplan.cli.options import Output, Overlay
from inferplan.cli.output import Format, write_data, write_file, write_reports

if TYPE_CHECKING:
    from inferplan.accuracy.moved import Moved
    from inferplan.accuracy.score import Scores, Slice

EPILOG = """
**Examples**

`inferplan accuracy runs.csv` – errors by engine, GPU, model family, load type and source

`inferplan accuracy runs.csv --rows predictions.csv -o json` – every row's prediction, for a score of your own

`inferplan accuracy runs.csv --against predictions.csv` – which predictions a change has moved

`inferplan accuracy bench.json --fact gpu=h100-80gb-sxm --fact tp=2` – a result of `vllm bench serve` or GuideLLM
"""

Runs = Annotated[
    list[str],
    typer.Argument(metavar="RUNS", help="Measured runs: CSV, `vllm bench serve` JSON or GuideLLM JSON; - reads CSV."),
]
Facts = Annotated[
    list[str] | None,
    typer.Option("--fact", metavar="COLUMN=VALUE", help="What the files do not state (gpu, tp, engine_version, …)."),
]


def accuracy(
    runs: Runs,
    output: Output = Format.TABLE,
    rows: Annotated[
        Path | None, typer.Option("--rows", metavar="FILE", help="Write each row's prediction to this CSV file.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="FILE", help="Earlier rows: show what has moved since.")
    ] = None,
    facts: Facts = None,
    catalog: Overlay = None,
) -> None:
    """Predict measured runs and say how far off the predictions are."""
    from inferplan.accuracy.matching import Matcher
    from inferplan.accuracy.moved import moved_since, read_before
    from inferplan.accuracy.outcome import answer
    from inferplan.accuracy.rows import write_rows
    from inferplan.accuracy.score import score
    from inferplan.catalog import load_yardsticks
    from inferplan.cli.inputs import read_catalog
    from inferplan.cli.runs import read_bytes, read_runs
    from inferplan.report.accuracy import accuracy_report, moved_sections

    before = None if against is None else read_before(read_bytes(str(against))[0], str(against))
    found = read_runs(runs, facts or [])
    known = read_catalog(catalog, None)
    answers = answer(found, Matcher(known, load_yardsticks()), known.calibrations)
    if rows is not None:
        write_file(rows, write_rows(answers))
    scores, moved = score(answers), () if before is None else moved_since(before, answers)
    if output in {Format.JSON, Format.YAML}:
        write_data({**_data(scores), **({} if before is None else {"moved": [_moved(one) for one in moved]})}, output)
        return
    report = accuracy_report("Accuracy", scores)
    extra = () if before is None else moved_sections(moved, str(against))
    write_reports([replace(report, sections=(*extra, *report.sections))], output)


def _data(scores: Scores) -> dict[str, Any]:
    return {
        "runs": scores.runs,
        "predicted": scores.predicted,
        "repeated": scores.repeated,
        "skipped": [{"reason": reason, "rows": count} for reason, count in scores.skipped],
        "noted": [{"remark": remark, "rows": count} for remark, count in scores.noted],
        "overall": _metrics(scores.overall),
        "slices": [
            {"by": part.dimension, "value": part.value, "rows": part.rows, "metrics": _metrics(part)}
            for part in scores.slices
        ],
    }


def _moved(one: Moved) -> dict[str, Any]:
    return {
        "metric": one.metric.value,
        "rows": one.rows,
        "moved": one.moved,
        "medianChangePercent": _percent(one.typical),
        "largest": [
            {"row": move.row_id, "of": move.slice, "before": move.before, "now": move.now} for move in one.largest
        ],
    }


def _metrics(part: Slice) -> dict[str, Any]:
    return {
        metric.value: {
            "rows": found.rows,
            "medianErrorPercent": _percent(found.median_error),
            "meanErrorPercent": _percent(found.mean_error),
            "biasPercent": _percent(found.bias),
            "within25Percent": _percent(found.near),
            "inRangePercent": None if found.covered is None else _percent(found.covered),
        }
        for metric, found in part.scores
    }


def _percent(share: float) -> float:
    return round(100.0 * share, 2)
