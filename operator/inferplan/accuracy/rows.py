"""Predictions row by row, as a CSV file that others can score."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from inferplan.accuracy.outcome import RANGED, Answer, Metric, Value

COLUMNS = (
    "row_id",
    *(f"{metric}{end}" for metric in RANGED for end in ("", "_low", "_high")),
    *(metric.value for metric in Metric if metric not in RANGED),
    "evidence",
    "assumed",
    "skipped",
)
_DIGITS = 6
"""Significant digits: far more than any measurement has."""


def write_rows(answers: Iterable[Answer]) -> str:
    """Write one line for each row of the table, in its order; what was not predicted is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(found) for found in answers)
    return text.getvalue()


def _cells(found: Answer) -> Sequence[str]:
    values = dict(found.values)
    return (
        found.run.row_id,
        *(cell for metric in RANGED for cell in _range(values.get(metric))),
        *(_one(values.get(metric)) for metric in Metric if metric not in RANGED),
        "" if found.evidence is None else found.evidence.value,
        "" if found.case is None else "; ".join(found.case.assumed),
        found.skipped,
    )


def _range(value: Value | None) -> tuple[str, str, str]:
    if value is None:
        return "", "", ""
    return _number(value.expected), _number(value.low), _number(value.high)


def _one(value: Value | None) -> str:
    return "" if value is None else _number(value.expected)


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}g}" if value < 10**_DIGITS else f"{value:.0f}"
