"""From fits and what they say of left-out groups to the figures of the accuracy page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.evidence import (
    IN_SAMPLE,
    AccuracyEvidence,
    Line,
    lines_of,
    memory_of,
    noise_of,
    reasons_of,
)
from inferplan.accuracy.fit_engine import Checked
from inferplan.accuracy.fit_held_out import KEYS, METRICS, LeftOut, ranges
from inferplan.accuracy.fit_parameters import place_of
from inferplan.accuracy.groups import KINDS
from inferplan.accuracy.matching import Case
from inferplan.accuracy.outcome import Answer, Metric, measured
from inferplan.accuracy.score import repeated_places, score
from inferplan.domain.calibration import ErrorRange
from inferplan.domain.estimate import Evidence
from inferplan.estimate.constants import factors_of, ranges_holding

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def evidence_of(
    checked: Sequence[Checked], answers: Sequence[Answer], measured_on: str, general: Callable[[str], str]
) -> AccuracyEvidence:
    """Gather everything that the page tells.

    Parameters
    ----------
    checked
        The fits of all engine generations, with their left-out errors.
    answers
        The same table answered with the catalog as it ships: for skipped rows and for memory.
    general
        Makes a skip reason general (names left out).
    """
    scores = score(answers)
    pools = [
        value.expected / actual
        for found in answers
        if (value := found.value(Metric.KV_TOKENS)) and (actual := measured(found.run, Metric.KV_TOKENS))
    ]
    cases = [case for one in checked for case in one.points.cases]
    return AccuracyEvidence(
        measured_on=measured_on,
        runs=scores.runs,
        predicted=scores.predicted,
        repeated=scores.repeated,
        skipped=reasons_of(scores, general),
        lines=tuple(line for one in checked for line in _lines(one)),
        noise=noise_of(cases),
        memory=memory_of(pools),
    )


def _lines(one: Checked) -> Iterator[Line]:
    once = np.array(sorted(set(range(len(one.points.cases))) - repeated_places(one.points.cases)), dtype=np.int64)
    cases = [one.points.cases[at] for at in once]
    shown = _inside(cases, one.in_sample[:, once], one.ranges)
    yield from lines_of(one.generation.value, IN_SAMPLE, cases, one.in_sample[:, once], shown)
    for of, errors in one.left_out.items():
        inside = _covered(one, of)
        yield from lines_of(one.generation.value, of.value, cases, errors[:, once], inside[:, once])


def _covered(one: Checked, of: LeftOut) -> Bools:
    """Whether each measurement lies in the range that all other groups' errors give, shape (metrics, cases)."""
    cases, errors = one.points.cases, one.left_out[of]
    keys = np.array([KEYS[of](case) for case in cases])
    inside = np.zeros(errors.shape, dtype=np.bool_)
    for key in sorted(set(keys.tolist())):
        own, others = np.flatnonzero(keys == key), np.flatnonzero(keys != key)
        if not len(others):
            continue
        everyone = np.ones(len(others), dtype=np.bool_)
        stands = [(found[:, others], everyone) for found in one.left_out.values()]
        found = ranges([cases[at] for at in others], {Evidence.MEASURED: stands})
        inside[:, own] = _inside([cases[at] for at in own], errors[:, own], found)
    return inside


def _inside(cases: Sequence[Case], errors: Floats, found: Sequence[ErrorRange]) -> Bools:
    """Whether each measurement lies in its range for measured GPUs, shape (metrics, cases)."""
    of_generation = {earlier: ranges_holding(found, earlier=earlier) for earlier in (True, False)}
    ratios = np.exp(-errors)
    inside = np.zeros(errors.shape, dtype=np.bool_)
    for at, case in enumerate(cases):
        own, load = of_generation[place_of(case).earlier], KINDS[case.load].value
        for number, metric in enumerate(METRICS):
            low, high = factors_of(own, metric, load, Evidence.MEASURED) or (0.0, np.inf)
            inside[number, at] = low <= ratios[number, at] <= high
    return inside
