"""How wrong a fit is on runs that it has not seen: groups are left out, whole, and predicted by a fit of the rest."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.fit_parameters import Design, Recipe, place_of
from inferplan.accuracy.fit_points import Points, gather
from inferplan.accuracy.fit_solve import solve
from inferplan.accuracy.groups import KINDS
from inferplan.accuracy.matching import Case
from inferplan.accuracy.outcome import RANGED
from inferplan.domain.calibration import ErrorRange
from inferplan.domain.estimate import Evidence
from inferplan.estimate.constants import EARLIER_THAN

Floats = NDArray[np.float64]

FOLDS = 4
"""Small groups are left out several at a time."""
LARGE_GROUP, LARGE_GPU = 80, 15
"""Runs from which on a group, and a GPU, is left out alone."""


class LeftOut(enum.StrEnum):
    """What is left out together."""

    PAIR = "pair"
    """All runs of a model family on a GPU."""
    FAMILY = "family"
    """All runs of a model family."""
    GPU = "gpu"
    SOURCE = "source"


KEYS: dict[LeftOut, Callable[[Case], str]] = {
    LeftOut.PAIR: lambda case: f"{case.gpu.id} {case.model.family}",
    LeftOut.FAMILY: lambda case: case.model.family,
    LeftOut.GPU: lambda case: case.gpu.id,
    LeftOut.SOURCE: lambda case: case.run.source_id,
}


def folds(cases: Sequence[Case], of: LeftOut) -> tuple[tuple[int, ...], ...]:
    """Places of the cases that are left out together, fold by fold.

    Notes
    -----
    Large groups make a fold of their own; the others are dealt out over
    :data:`FOLDS` folds by size, the next one always to the smallest fold.
    """
    groups: dict[str, list[int]] = {}
    for at, case in enumerate(cases):
        groups.setdefault(KEYS[of](case), []).append(at)
    alone, dealt = [], [list[int]() for _ in range(FOLDS)]
    for _, places in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(places) >= (LARGE_GPU if of is LeftOut.GPU else LARGE_GROUP):
            alone.append(tuple(places))
        else:
            min(dealt, key=len).extend(places)
    return (*alone, *(tuple(sorted(fold)) for fold in dealt if fold))


def held_out_errors(points: Points, recipe: Recipe, of: LeftOut) -> Floats:
    """Errors of all cases, each predicted by a fit without its group, shape (metrics, cases).

    Notes
    -----
    Each fit starts from what is assumed before any run, as the fit of all runs does: one that started from that fit
    would still know what it left out.
    """
    errors = np.full((len(RANGED), len(points.cases)), np.nan)
    for fold in folds(points.cases, of):
        out = set(fold)
        kept = gather([case for at, case in enumerate(points.cases) if at not in out], apart=recipe.own)
        if not kept.cases:
            continue
        found = solve(kept, recipe.design(kept.places))
        unseen = gather([points.cases[at] for at in fold])
        there: Design = recipe.design(unseen.places, found.design.parameters)
        errors[:, list(fold)] = unseen.errors(there.constants(found.values))
    return errors


NOMINAL = 0.94
"""Share of left-out errors within a range: a little more than the nine of ten that ranges promise."""
GROUP_POWER = -0.5
"""Weight of an error by the number of errors of its group (source, GPU, model family)."""
THIN = 40
"""Errors below which a range is that of all loads, widened."""
THIN_FACTOR = 1.15
GROWING = 1.4
"""Errors of TTFT and E2E beyond this (a factor of four, as a logarithm) have no part in ranges: at the edge of
saturation queues grow without bound, and how long a run lasted decides. Plans stay clear of it."""
NARROWEST = 1.08
"""No range is narrower than what two runs of one point differ by."""
METRICS = ("ttft", "tpot", "e2e", "throughput")


Stand = tuple[Floats, NDArray[np.bool_]]
"""Left-out errors, shape (metrics, cases), and the cases that stand for an evidence."""


def ranges(cases: Sequence[Case], by_evidence: dict[Evidence, Sequence[Stand]]) -> tuple[ErrorRange, ...]:
    """Factors around predictions that hold nine of ten left-out measurements, by metric, load, evidence and generation.

    Parameters
    ----------
    by_evidence
        Each set of errors has one column for each case; several ways to leave out are pooled.

    Notes
    -----
    Quantiles of ``measured / predicted`` over cases, a case counting ``n`` to the power of :data:`GROUP_POWER` in a
    group (source, GPU, model family) of n. Weaker evidence never has a narrower range, nor have releases of an earlier
    generation, which have ranges of their own if both were measured.
    """
    earlier = np.array([place_of(case).earlier for case in cases], dtype=np.bool_)
    if np.all(earlier) or not np.any(earlier):
        return _ranges_of(cases, by_evidence, {})
    later = _ranges_of(cases, _of(by_evidence, ~earlier), {})
    floors = {(entry.metric, entry.load, entry.evidence): (entry.low, entry.high) for entry in later}
    before = ".".join(map(str, EARLIER_THAN))
    return (
        *later,
        *(replace(entry, before=before) for entry in _ranges_of(cases, _of(by_evidence, earlier), floors)),
    )


def _of(by_evidence: dict[Evidence, Sequence[Stand]], chosen: NDArray[np.bool_]) -> dict[Evidence, Sequence[Stand]]:
    return {evidence: [(of, which & chosen) for of, which in stands] for evidence, stands in by_evidence.items()}


def _ranges_of(
    cases: Sequence[Case],
    by_evidence: dict[Evidence, Sequence[Stand]],
    floors: dict[tuple[str, str, Evidence], tuple[float, float]],
) -> tuple[ErrorRange, ...]:
    """Ranges of one generation, none narrower than ``floors``."""
    groups, weights = _grouped(cases)
    kinds = np.array([KINDS[case.load].value for case in cases])
    found: list[ErrorRange] = []
    widest: dict[tuple[str, str], tuple[float, float]] = {}
    for evidence in (Evidence.MEASURED, Evidence.CALIBRATED, Evidence.EXTRAPOLATED):
        stands = by_evidence.get(evidence, ())
        for number, metric in enumerate(METRICS if stands else ()):
            errors = np.concatenate([of[number][which] for of, which in stands])
            shares = np.concatenate([weights[which] for _, which in stands])
            of_groups = np.concatenate([groups[which] for _, which in stands])
            of_kinds = np.concatenate([kinds[which] for _, which in stands])
            usable = np.isfinite(errors)
            if metric in {"ttft", "e2e"}:
                usable &= np.abs(np.nan_to_num(errors)) < GROWING
            if not np.any(usable):
                continue
            whole = _quantiles(errors[usable], shares[usable], of_groups[usable])
            for kind in ("*", *_KINDS):
                chosen = usable if kind == "*" else usable & (of_kinds == kind)
                low, high = whole[0] / THIN_FACTOR, whole[1] * THIN_FACTOR
                if kind == "*" or np.sum(chosen) >= THIN:
                    low, high = _quantiles(errors[chosen], shares[chosen], of_groups[chosen])
                least = (widest.get((metric, kind), (1.0, 1.0)), floors.get((metric, kind, evidence), (1.0, 1.0)))
                widest[metric, kind] = min(low, *(f[0] for f in least)), max(high, *(f[1] for f in least))
                found.append(ErrorRange(metric, kind, evidence, *widest[metric, kind]))
    return tuple(found)


_KINDS = ("closed_loop", "open_loop", "offline")


def _grouped(cases: Sequence[Case]) -> tuple[NDArray[np.int64], Floats]:
    """Number of each case's group (source, GPU, model family), and what its errors weigh."""
    numbers: dict[tuple[str, str, str], int] = {}
    keys = [(case.run.source_id, case.gpu.id, case.model.family) for case in cases]
    groups = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    weights: Floats = np.bincount(groups).astype(np.float64)[groups] ** GROUP_POWER
    return groups, weights


def _quantiles(errors: Floats, weights: Floats, groups: NDArray[np.int64]) -> tuple[float, float]:
    """Low and high factor: weighted quantiles of measured over predicted, wider the fewer groups they rest on."""
    order = np.argsort(-errors)
    ratios, share = np.exp(-errors[order]), np.cumsum(weights[order]) / np.sum(weights)
    tail = (1.0 - NOMINAL) / 2.0
    first, last = int(np.searchsorted(share, tail)), int(np.searchsorted(share, 1.0 - tail))
    wider = 1.0 + 1.0 / len(np.unique(groups))
    low, high = float(ratios[first]) ** wider, float(ratios[min(last, len(ratios) - 1)]) ** wider
    return min(low, 1.0 / NARROWEST), max(high, NARROWEST)


def median_percent(errors: Floats, chosen: NDArray[np.bool_]) -> dict[str, float]:
    """Median absolute percentage error by metric, for the metrics that were measured on the chosen cases."""
    found = {}
    for number, metric in enumerate(METRICS):
        values = errors[number][chosen & np.isfinite(errors[number])]
        if len(values):
            found[metric] = round(float(np.median(np.abs(np.expm1(values)))) * 100.0, 1)
    return found
