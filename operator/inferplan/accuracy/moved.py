"""Which predictions a change moved: the rows of today beside a file of rows from before."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import median

from inferplan.accuracy.cells import number
from inferplan.accuracy.outcome import Answer, Metric
from inferplan.domain.errors import Fault, InputError

MOVED = 0.01
"""A prediction has moved if it is more than this share off what it was."""
MOST_LISTED = 10

Before = Mapping[str, Mapping[Metric, float]]


@dataclass(frozen=True, slots=True)
class Move:
    """One prediction, then and now, in the metric's unit."""

    row_id: str
    slice: str
    before: float
    now: float

    @property
    def share(self) -> float:
        """Now over before, less one."""
        return self.now / self.before - 1.0


@dataclass(frozen=True, slots=True)
class Moved:
    """What moved of one metric.

    ``rows`` were predicted both times, ``moved`` of them by more than 1 %, by ``typical`` in the median; ``largest``
    are the moves that are largest in proportion.
    """

    metric: Metric
    rows: int
    moved: int
    typical: float
    largest: tuple[Move, ...]


def read_before(data: bytes, origin: str) -> Before:
    """Read a file that ``--rows`` wrote earlier.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        lines = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError([Fault(origin, f"is not CSV: {error}")]) from error
    if not lines or "row_id" not in lines[0] or not any(metric in lines[0] for metric in Metric):
        raise InputError([Fault(origin, "holds no predictions", "give a file that inferplan accuracy --rows wrote")])
    found: dict[str, dict[Metric, float]] = {}
    for line in lines:
        values = {metric: value for metric in Metric if (value := number(line.get(metric.value))) is not None}
        found[line["row_id"] or ""] = {metric: value for metric, value in values.items() if value > 0}
    return found


def moved_since(before: Before, answers: Sequence[Answer]) -> tuple[Moved, ...]:
    """Compare metric by metric; metrics that no row has both times are left out.

    Raises
    ------
    InputError
        If there is no row that has been predicted both times.
    """
    found = []
    for metric in Metric:
        moves = [
            Move(answer.run.row_id, _slice(answer), then, value.expected)
            for answer in answers
            if (then := before.get(answer.run.row_id, {}).get(metric)) is not None
            and (value := answer.value(metric)) is not None
            and value.expected > 0
        ]
        if not moves:
            continue
        far = [move for move in moves if abs(move.share) > MOVED]
        far.sort(key=lambda move: (-abs(log(move.now / move.before)), move.row_id))
        typical = median(move.share for move in far) if far else 0.0
        found.append(Moved(metric, len(moves), len(far), typical, tuple(far[:MOST_LISTED])))
    if not found:
        hint = "give the rows that inferplan accuracy --rows wrote for the same runs"
        raise InputError([Fault("--against", "no row was predicted both times", hint)])
    return tuple(found)


def _slice(answer: Answer) -> str:
    case = answer.case
    return (
        "" if case is None else f"{case.model.id} {case.method.id} on {case.tp * case.pp}x {case.gpu.id}, {case.load}"
    )
