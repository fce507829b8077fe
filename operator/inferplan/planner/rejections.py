"""What was turned down and why: counts by reason, and for each the example that came nearest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.reasons import Rejection, RejectionCount, RejectionSummary
from inferplan.planner.candidates import BATCH_LIMITS
from inferplan.planner.contest import ALL_BATCHES, Contest
from inferplan.planner.filters import Filtered
from inferplan.planner.targets import LOAD_UNITS


def summarise(filtered: Filtered, contest: Contest) -> RejectionSummary:
    """Count rejections by reason, in the order of the checks.

    A shape turned down before any load counts once for every batch limit.
    """
    counts = [*_of_shapes(filtered), *_of_load(contest)]
    merged: dict[str, RejectionCount] = {}
    for entry in counts:
        before = merged.get(entry.code)
        total = entry.count + (before.count if before else 0)
        merged[entry.code] = RejectionCount(entry.code, total, before.example if before else entry.example)
    return RejectionSummary(sum(entry.count for entry in merged.values()), tuple(merged.values()))


def _of_shapes(filtered: Filtered) -> list[RejectionCount]:
    found = []
    per_code = np.bincount(filtered.code[filtered.code >= 0], minlength=len(filtered.reasons))
    for index, reason in enumerate(filtered.reasons):
        if not per_code[index]:
            continue
        found.append(
            RejectionCount(reason, int(per_code[index]) * len(BATCH_LIMITS), _shape_rejection(filtered, index))
        )
    return found


def _shape_rejection(filtered: Filtered, index: int) -> Rejection:
    rows = np.flatnonzero(filtered.code == index)
    row = int(rows[_nearest(filtered.limit[rows], filtered.actual[rows])])
    limit, actual = float(filtered.limit[row]), float(filtered.actual[row])
    return Rejection(
        code=filtered.reasons[index],
        candidate=filtered.static.everything.title(row),
        limit=None if np.isnan(limit) else limit,
        actual=None if np.isnan(actual) else actual,
        unit=filtered.units[index],
        detail=filtered.words(row),
    )


def _of_load(contest: Contest) -> list[RejectionCount]:
    field, found = contest.field, []
    for code in dict.fromkeys(entry.code for entry in contest.turned):
        entries = [entry for entry in contest.turned if entry.code is code]
        row, seqs, limit, actual = (
            np.concatenate([getattr(entry, name) for entry in entries])
            for name in ("row", "max_num_seqs", "limit", "actual")
        )
        best = _nearest(limit, actual)
        tail = "" if seqs[best] == ALL_BATCHES else f", batch limit {seqs[best]}"
        example = Rejection(
            code=code,
            candidate=field.shapes.title(int(row[best])) + tail,
            limit=None if np.isnan(limit[best]) else float(limit[best]),
            actual=None if np.isnan(actual[best]) else float(actual[best]),
            unit=LOAD_UNITS.get(code, ""),
        )
        count = int(np.where(seqs == ALL_BATCHES, len(BATCH_LIMITS), 1).sum())
        found.append(RejectionCount(code, count, example))
    return found


def _nearest(limit: NDArray[np.float64], actual: NDArray[np.float64]) -> int:
    """Index of the pair whose ratio is nearest to one; the first where there are no numbers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(np.log(np.maximum(actual, 1e-12) / np.maximum(limit, 1e-12)))
    distance = np.nan_to_num(distance, nan=np.inf)
    return int(np.argmin(distance))


def turned_rejections(filtered: Filtered, contest: Contest) -> tuple[Rejection, ...]:
    """Rejections of the candidates that came furthest: under load if any did, else before it.

    Reasons that merely narrow the search to what was asked (a pin, an allow list) are left out unless
    nothing else remains.
    """
    loads = [entry.example for entry in _of_load(contest)]
    if loads:
        return tuple(loads)
    shapes = [entry.example for entry in _of_shapes(filtered)]
    physical = [entry for entry in shapes if entry.code not in _NARROWING]
    return tuple(physical or shapes)


_NARROWING = frozenset({"PinMismatch", "ModelNotAllowed", "GpuNotAllowed"})
