"""Measured points beside their predictions for any constants: what a fit works on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.fit_parameters import Place, place_of
from inferplan.accuracy.groups import Group, prepare
from inferplan.accuracy.matching import Case
from inferplan.accuracy.outcome import RANGED, Metric, measured
from inferplan.accuracy.predict import Figure, predict_group
from inferplan.accuracy.runs import LoadType
from inferplan.estimate.replica import RANGE_KEYS, Founded, ReplicaTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIGMAS = {Metric.TTFT: 0.25, Metric.TPOT: 0.08, Metric.E2E: 0.10, Metric.THROUGHPUT: 0.12}
"""What an error in each metric is measured in: as a logarithm, about the noise between sources."""
CROWD_POWER = -0.2
"""Weight of a point by the number of points of its group (source, GPU, model, format), so that no source drowns the
others: a group's pull grows with that power plus a half of their number."""
CROWD_WEIGHT = 0.35
"""Weight of requests that a client sends all at once: their latencies tell as much of the client as of the engine."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Points of one kind of load in one table; ``at`` are their places among all, ``place`` those of their constants.

    ``actual``, ``medians`` and ``weight`` have shape (metrics, n): what was measured (NaN if nothing), whether that is
    a median, and what an error counts.
    """

    group: Group
    at: Ints
    place: Ints
    actual: Floats
    medians: NDArray[np.bool_]
    weight: Floats

    def take(self, rows: Ints) -> Batch:
        """Keep some points."""
        return Batch(
            group=take_group(self.group, rows),
            at=self.at[rows],
            place=self.place[rows],
            actual=self.actual[:, rows],
            medians=self.medians[:, rows],
            weight=self.weight[:, rows],
        )

    def errors(self, constants: Floats) -> Floats:
        """Logarithms of predicted over measured, shape (metrics, n); NaN where there is nothing to compare."""
        count = len(constants)
        founded = Founded(constants, np.ones((count, 2 * len(RANGE_KEYS))), ("",) * count)
        found = predict_group(replace(self.group, table=replace(self.group.table, founded=founded, pair=self.place)))
        figures: tuple[Figure, ...] = (found.ttft_ms, found.tpot_ms, found.e2e_ms, found.output_tok_s)
        expected = np.stack([np.where(self.medians[m], f.median, f.mean) for m, f in enumerate(figures)])
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(expected / self.actual)


def take_group(group: Group, rows: Ints) -> Group:
    """Keep some cases of a group."""
    columns: dict[str, Any] = {}
    for field in fields(group):
        value = getattr(group, field.name)
        if isinstance(value, ReplicaTable):
            columns[field.name] = value.take(rows)
        elif isinstance(value, np.ndarray):
            columns[field.name] = value[..., rows]
    return replace(group, **columns)


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


def gather(cases: Sequence[Case]) -> Points:
    """Prepare the points of some cases."""
    crowd = Counter(_crowd(case) for case in cases)
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
        weight = np.array([crowd[_crowd(case)] ** CROWD_POWER for case in of_group])
        weight = weight * np.where((group.load is LoadType.OFFLINE) & np.isfinite(group.amount), CROWD_WEIGHT, 1.0)
        sigma = np.array([SIGMAS[metric] for metric in RANGED])
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
            )
        )
    return Points(tuple(cases), places, tuple(batches))


def _is_median(case: Case, metric: Metric) -> bool:
    latencies = {Metric.TTFT: case.run.ttft, Metric.TPOT: case.run.tpot, Metric.E2E: case.run.e2e}
    return metric in latencies and latencies[metric].is_median


def _crowd(case: Case) -> tuple[str, ...]:
    return case.run.source_id, case.gpu.id, case.model.id, case.method.id
