"""The fit: least squares on logarithms, robust against runs that are not what they say, held by spreads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.fit_parameters import Design
from inferplan.accuracy.fit_points import Batch, Points

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP = 1e-3
"""Change of a parameter by which its effect is measured."""
FIRST_ROUNDS, ROUNDS, AGAIN_ROUNDS = 8, 12, 3
OUTLIER = 0.5
"""Runs whose TPOT, E2E or throughput is off by more than this (a factor of 1.65, as a logarithm) after a first fit are
no longer heeded: what slowed them is not in the model."""
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
    """Residuals of points and of parameters, and how the former change with the latter."""

    def __init__(self, points: Points, design: Design) -> None:
        self._design = design
        self._batches = points.batches
        self._start = np.array([parameter.start for parameter in design.parameters])
        self._spread = np.array([parameter.spread for parameter in design.parameters])
        self._touched = [self._parts(design.terms[at]) for at in range(len(design.parameters))]

    def _parts(self, holds: NDArray[np.bool_]) -> list[tuple[int, Ints, Batch]]:
        """Points of each batch that a parameter touches."""
        found = []
        for number, batch in enumerate(self._batches):
            rows = np.flatnonzero(holds[batch.place])
            if len(rows) == len(batch.at):
                found.append((number, rows, batch))
            elif len(rows):
                found.append((number, rows, batch.take(rows)))
        return found

    def _of_batches(self, values: Floats) -> list[Floats]:
        constants = self._design.constants(values)
        return [batch.errors(constants) * batch.weight for batch in self._batches]

    def residuals(self, values: Floats) -> Floats:
        parts = [np.nan_to_num(part).ravel() for part in self._of_batches(values)]
        return np.concatenate([*parts, (values - self._start) / self._spread])

    def slopes(self, values: Floats) -> Floats:
        now = self._of_batches(values)
        ends = np.cumsum([0, *(part.size for part in now)])
        matrix = np.zeros((ends[-1] + len(values), len(values)))
        for at in range(len(values)):
            moved = values.copy()
            moved[at] += STEP
            constants = self._design.constants(moved)
            for number, rows, batch in self._touched[at]:
                then = batch.errors(constants) * batch.weight
                block = matrix[ends[number] : ends[number + 1], at].reshape(now[number].shape)
                block[:, rows] = np.nan_to_num((then - now[number][:, rows]) / STEP)
            matrix[ends[-1] + at, at] = 1.0 / self._spread[at]
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


def solve_again(points: Points, design: Design, known: dict[tuple[str, str, str], float]) -> Fitted:
    """Fit a design from the values of one like it, as a part of the points is left out."""
    start = np.array([known.get((p.name, p.level.value, p.key), p.start) for p in design.parameters], dtype=np.float64)
    heeded, set_aside = _without_outliers(points, design, start)
    return Fitted(design, _Problem(heeded, design).solve(start, AGAIN_ROUNDS), set_aside)


def _without_outliers(points: Points, design: Design, values: Floats) -> tuple[Points, int]:
    constants = design.constants(values)
    kept, count = [], 0
    for batch in points.batches:
        errors = np.abs(np.nan_to_num(batch.errors(constants)[1:]))
        far = np.max(errors, axis=0) > OUTLIER
        count += int(np.sum(far))
        kept.append(replace(batch, weight=np.where(far, 0.0, batch.weight)))
    return replace(points, batches=tuple(kept)), count
