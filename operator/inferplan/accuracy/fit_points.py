"""Measured points beside their predictions for any constants: what a fit works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.fit_parameters import Place, place_of
from inferplan.accuracy.groups import Group, prepare, siblings_of
from inferplan.accuracy.matching import Case
from inferplan.accuracy.outcome import RANGED, Metric, measured
from inferplan.accuracy.predict import Figure, predict_group
from inferplan.accuracy.runs import LoadType
from inferplan.estimate.memory import kv_pool_bytes
from inferplan.estimate.replica import RANGE_KEYS, Founded, ReplicaTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OWN_SIGMAS = {Metric.TTFT: 0.12, Metric.TPOT: 0.06, Metric.E2E: 0.10, Metric.THROUGHPUT: 0.10}
"""Spread of one run's error beside its siblings', as a logarithm."""
SHARED_SIGMAS = {Metric.TTFT: 0.05, Metric.TPOT: 0.024, Metric.E2E: 0.03, Metric.THROUGHPUT: 0.04}
"""Spread of what siblings have in common: one machine, one build, one client. It is seen once, however many they are,
so a source with many runs says much about shapes and no more than others about levels."""
CROWD_WEIGHT = 0.35
"""Weight of requests that a client sends all at once: their latencies tell as much of the client as of the engine."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Points of one kind of load in one table; ``at`` are their places among all, ``place`` those of their constants.

    ``actual``, ``medians`` and ``weight`` have shape (metrics, n): what was measured (NaN if nothing), whether that is
    a median, and what an error counts (zero: not at all). ``siblings`` numbers the runs of one source with one model
    on one GPU, shape (n,).
    """

    group: Group
    at: Ints
    place: Ints
    actual: Floats
    medians: NDArray[np.bool_]
    weight: Floats
    siblings: Ints

    @property
    def heeded(self) -> NDArray[np.bool_]:
        """What counts, shape (metrics, n)."""
        return np.isfinite(self.actual) & (self.weight > 0)

    def residuals(self, errors: Floats) -> Floats:
        """Errors in units of their spread, such that siblings' are independent, shape (metrics, n).

        Notes
        -----
        With own variance s^2 and shared variance t^2, errors of n siblings have the covariance ``s^2 I + t^2 11'``.
        Taking ``1 - s / sqrt(s^2 + n t^2)`` of their mean from each leaves independent errors of variance s^2.
        """
        counts = self.heeded
        known = np.where(counts, np.nan_to_num(errors), 0.0)
        number = int(self.siblings.max(initial=0)) + 1
        shared = np.empty_like(known)
        for m, metric in enumerate(RANGED):
            size = np.bincount(self.siblings, counts[m], number)
            mean = np.bincount(self.siblings, known[m], number) / np.maximum(size, 1.0)
            ratio = SHARED_SIGMAS[metric] / OWN_SIGMAS[metric]
            shared[m] = (mean * (1.0 - 1.0 / np.sqrt(1.0 + size * ratio * ratio)))[self.siblings]
        return np.where(counts, (known - shared) * self.weight, 0.0)

    def errors(self, constants: Floats) -> Floats:
        """Logarithms of predicted over measured, shape (metrics, n); NaN where there is nothing to compare."""
        count = len(constants)
        founded = Founded(constants, np.ones((count, 2 * len(RANGE_KEYS))), ("",) * count)
        found = predict_group(replace(self.group, table=replace(self.group.table, founded=founded, pair=self.place)))
        figures: tuple[Figure, ...] = (found.ttft_ms, found.tpot_ms, found.e2e_ms, found.output_tok_s)
        expected = np.stack([np.where(self.medians[m], f.median, f.mean) for m, f in enumerate(figures)])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(expected / self.actual)


def join_groups(groups: Sequence[Group]) -> Group:
    """Put groups of one kind of load one after another; their constants are given up."""
    columns: dict[str, Any] = {}
    for field in fields(groups[0]):
        values = [getattr(group, field.name) for group in groups]
        if isinstance(values[0], ReplicaTable):
            columns[field.name] = _join_tables(values)
        elif isinstance(values[0], np.ndarray):
            columns[field.name] = np.concatenate(values, axis=-1)
    return replace(groups[0], **columns)


def _join_tables(tables: Sequence[ReplicaTable]) -> ReplicaTable:
    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(table, field.name) for table in tables])
        for field in fields(ReplicaTable)
        if field.name != "founded"
    }
    return ReplicaTable(founded=tables[0].founded, **columns)


@dataclass(frozen=True, slots=True)
class Points:
    """All points of a fit, and the places of their constants."""

    cases: tuple[Case, ...]
    places: tuple[Place, ...]
    batches: tuple[Batch, ...]

    def errors(self, constants: Floats) -> Floats:
        """Logarithms of predicted over measured, shape (metrics, cases)."""
        whole = np.full((len(RANGED), len(self.cases)), np.nan)
        for batch in self.batches:
            whole[:, batch.at] = batch.errors(constants)
        return whole


def with_room(cases: Sequence[Case]) -> list[Case]:
    """Leave out cases whose weights leave no room for a KV cache: whatever ran, it was not what the row says."""
    room = np.zeros(len(cases), dtype=np.bool_)
    for group in prepare(cases, ()):
        room[group.places] = kv_pool_bytes(group.table, group.sequences) > 0
    return [case for case, fits in zip(cases, room, strict=True) if fits]


def gather(cases: Sequence[Case], *, apart: bool = False) -> Points:
    """Prepare the points of some cases.

    Parameters
    ----------
    apart
        Whether the level of siblings is what is asked for, as where somebody calibrates for machines of his own: each
        run then counts for itself.
    """
    places = tuple(dict.fromkeys(place_of(case) for case in cases))
    index = {place: at for at, place in enumerate(places)}
    by_kind: dict[tuple[str, float], list[Group]] = {}
    for group in prepare(cases, ()):
        by_kind.setdefault((group.load.value, group.burstiness), []).append(group)
    batches = []
    for _, groups in sorted(by_kind.items()):
        group = join_groups(groups)
        of_group = [cases[at] for at in group.places]
        actual = np.array(
            [[np.nan if (v := measured(case.run, metric)) is None else v for case in of_group] for metric in RANGED]
        )
        weight = np.where((group.load is LoadType.OFFLINE) & np.isfinite(group.amount), CROWD_WEIGHT, 1.0)
        sigma = np.array([OWN_SIGMAS[metric] for metric in RANGED])
        batches.append(
            Batch(
                group=group,
                at=group.places,
                place=np.array([index[place_of(case)] for case in of_group]),
                actual=actual,
                medians=np.array(
                    [[_is_median(case, metric) for case in of_group] for metric in RANGED], dtype=np.bool_
                ),
                weight=weight[None, :] / sigma[:, None],
                siblings=np.arange(len(of_group)) if apart else siblings_of(of_group),
            )
        )
    return Points(tuple(cases), places, tuple(batches))


def _is_median(case: Case, metric: Metric) -> bool:
    latencies = {Metric.TTFT: case.run.ttft, Metric.TPOT: case.run.tpot, Metric.E2E: case.run.e2e}
    return metric in latencies and latencies[metric].is_median
