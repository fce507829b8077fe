"""The fit: least squares on logarithms, robust against runs that are not what they say, held by spreads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.fit_parameters import CEILINGS, Design
from inferplan.accuracy.fit_points import Points
from inferplan.accuracy.outcome import RANGED, Metric

Floats = NDArray[np.float64]

STEP = 1e-3
"""Change of a constant's logarithm by which its effect is measured."""
FIRST_ROUNDS, ROUNDS = 16, 24
OUTLIER = 0.5
"""Runs whose TPOT, E2E or throughput is off by more than this (a factor of 1.65, as a logarithm) after a first fit are
no longer heeded: what slowed them is not in the model."""
TTFT_OUTLIER = 0.8
"""The same for TTFT alone, which queues and caches make lie wider."""
TOLERANCE = 3e-4


@dataclass(frozen=True, slots=True)
class Fitted:
    """Values of the parameters, and how many runs were set aside."""

    design: Design
    values: Floats
    set_aside: int

    @property
    def constants(self) -> Floats:
        """Constants of the design's places, shape (places, constants)."""
        return self.design.constants(self.values)


class _Problem:
    """Residuals of points and of parameters, and how they change with the parameters."""

    def __init__(self, points: Points, design: Design) -> None:
        self._design = design
        self._batches = points.batches
        self._start = np.array([parameter.start for parameter in design.parameters])
        self._spread = np.array([parameter.spread for parameter in design.parameters])

    def residuals(self, values: Floats) -> Floats:
        constants = self._design.constants(values)
        parts = [batch.residuals(batch.errors(constants)).ravel() for batch in self._batches]
        return np.concatenate([*parts, (values - self._start) / self._spread])

    def slopes(self, values: Floats) -> Floats:
        """How residuals change with parameters: each constant is moved once, and its effect shared out by place."""
        design = self._design
        constants = design.constants(values)
        now = [batch.errors(constants) for batch in self._batches]
        ends = np.cumsum([0, *(part.size for part in now)])
        matrix = np.zeros((ends[-1] + len(values), len(values)))
        for column in np.unique(design.column):
            moved = constants.copy()
            free = moved[:, column] < CEILINGS[column]
            moved[free, column] *= np.exp(STEP)
            for number, batch in enumerate(self._batches):
                slope = np.nan_to_num((batch.errors(moved) - now[number]) / STEP)
                for at in np.flatnonzero(design.column == column):
                    effect = batch.residuals(slope * design.terms[at][batch.place])
                    matrix[ends[number] : ends[number + 1], at] = effect.ravel()
        own = np.arange(len(values))
        matrix[ends[-1] + own, own] = 1.0 / self._spread
        return matrix

    def solve(self, values: Floats, rounds: int) -> Floats:
        from scipy.optimize import least_squares  # noqa: PLC0415 - an extra

        found = least_squares(
            self.residuals,
            values,
            jac=self.slopes,
            loss="soft_l1",
            x_scale=self._spread,
            max_nfev=rounds,
            ftol=TOLERANCE,
            xtol=TOLERANCE,
        )
        solved: Floats = found.x
        return solved


def solve(points: Points, design: Design) -> Fitted:
    """Fit a design to points: once with all of them, once without those that are far off."""
    start = np.array([parameter.start for parameter in design.parameters])
    first = _Problem(points, design).solve(start, FIRST_ROUNDS)
    heeded, set_aside = _without_outliers(points, design, first)
    return Fitted(design, _Problem(heeded, design).solve(first, ROUNDS), set_aside)


def _without_outliers(points: Points, design: Design, values: Floats) -> tuple[Points, int]:
    constants = design.constants(values)
    kept, count = [], 0
    for batch in points.batches:
        errors = np.abs(np.nan_to_num(batch.errors(constants)))
        far = np.max(errors[_OTHERS], axis=0) > OUTLIER
        count += int(np.sum(far))
        weight = np.where(far, 0.0, batch.weight)
        weight[_TTFT] = np.where(errors[_TTFT] > TTFT_OUTLIER, 0.0, weight[_TTFT])
        kept.append(replace(batch, weight=weight))
    return replace(points, batches=tuple(kept)), count


_TTFT = RANGED.index(Metric.TTFT)
_OTHERS = [at for at, metric in enumerate(RANGED) if metric is not Metric.TTFT]
