"""Runs the checks over the table of shapes and keeps what survives, with the count of what did not.

What depends on the catalog alone (engine, kernels, parallelism, memory) is checked once per catalog; what depends on
the scenario is checked once per model, checkpoint and GPU and spread over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.catalog import Catalog
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.model import ModelSpec
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Scenario
from inferplan.domain.units import GB
from inferplan.estimate.estimator import ReplicaTable, build_replicas
from inferplan.estimate.memory import sequences_held
from inferplan.planner.candidates import ShapeTable, build_shapes
from inferplan.planner.constraints import (
    GPU_CHECKS,
    SHAPE_CHECKS,
    WEIGHT_CHECKS,
    Finding,
    max_model_len,
    overridden,
)
from inferplan.planner.field import Field, make_field
from inferplan.planner.supply import Supply

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StaticTable:
    """All shapes, those that can run at all, and why the others cannot.

    ``code`` has one entry per shape: the index of its reason in ``reasons``, -1 if it can run. ``runnable`` are
    the rows with -1; ``shapes`` and ``replica`` hold just them.
    """

    reasons: tuple[ReasonCode, ...]
    units: tuple[str, ...]
    everything: ShapeTable
    code: Ints
    limit: NDArray[np.float64]
    actual: NDArray[np.float64]
    runnable: Ints
    shapes: ShapeTable
    replica: ReplicaTable


@dataclass(frozen=True, slots=True)
class Filtered:
    """What one scenario's filters left, and what they turned down.

    ``code`` has one entry per shape: index into ``reasons``, -1 for the rows of ``field``.
    """

    static: StaticTable
    reasons: tuple[ReasonCode, ...]
    units: tuple[str, ...]
    code: Ints
    limit: NDArray[np.float64]
    actual: NDArray[np.float64]
    details: dict[int, str]
    """Words for rows whose reason is not a number, by row of the first of its kind."""
    field: Field

    @property
    def total(self) -> int:
        """All shapes of the search."""
        return len(self.code)


def build_static(catalog: Catalog, models: Sequence[ModelSpec], engines: Sequence[EngineSpec]) -> StaticTable:
    """Cross everything, and check what needs no scenario."""
    everything = build_shapes(catalog, models, engines)
    count = len(everything)
    code = np.full(count, -1, dtype=np.int64)
    limit, actual = np.full(count, np.nan), np.full(count, np.nan)
    units = []
    for index, (_, check) in enumerate(SHAPE_CHECKS):
        verdict = check(everything)
        hit = verdict.fails & (code < 0)
        code[hit] = index
        if verdict.limit is not None and verdict.actual is not None:
            limit[hit], actual[hit] = verdict.limit[hit], verdict.actual[hit]
        units.append(verdict.unit)
    sizable = np.array([not w.model.not_sizable for w in everything.weights], dtype=np.bool_)
    rows = np.flatnonzero((code < 0) & sizable[everything.weight]) if count else np.empty(0, dtype=np.int64)
    shapes = everything.take(rows)
    replica = _replicas(catalog, shapes)
    room = replica.granted_bytes - replica.weights_bytes - replica.activations_bytes - replica.overhead_bytes
    too_big = room < replica.kv_block_bytes
    code[rows[too_big]] = len(SHAPE_CHECKS)
    limit[rows[too_big]] = replica.granted_bytes[too_big] / GB
    actual[rows[too_big]] = (replica.granted_bytes - room)[too_big] / GB
    keep = np.flatnonzero(~too_big)
    return StaticTable(
        reasons=(*(reason for reason, _ in SHAPE_CHECKS), ReasonCode.WEIGHTS_DONT_FIT),
        units=(*units, "GB per GPU"),
        everything=everything,
        code=code,
        limit=limit,
        actual=actual,
        runnable=rows[keep],
        shapes=shapes.take(keep),
        replica=replica.take(keep),
    )


def _replicas(catalog: Catalog, shapes: ShapeTable) -> ReplicaTable:
    return build_replicas(
        weights=[(w.model, w.method) for w in shapes.weights],
        engines=shapes.engines,
        gpus=shapes.gpus,
        kv_dtypes=shapes.kv_dtypes,
        calibrations=catalog.calibrations,
        weight=shapes.weight,
        engine=shapes.engine,
        gpu=shapes.gpu,
        kv=shapes.kv,
        tp=shapes.tp,
        pp=shapes.pp,
    )


def filter_shapes(static: StaticTable, scenario: Scenario, supply: Supply) -> Filtered:
    """Apply the scenario's own filters, then memory for its sequences."""
    table = static.everything
    reasons: list[ReasonCode] = []
    units: list[str] = []
    code = np.full(len(table), -1, dtype=np.int64)
    limit, actual = static.limit.copy(), static.actual.copy()
    details: dict[int, str] = {}

    def spread(reason: ReasonCode, findings: Sequence[Finding | None], column: Ints) -> None:
        reasons.append(reason)
        units.append(next((f.unit for f in findings if f is not None and f.unit), ""))
        if not any(findings):
            return
        hit = np.array([f is not None for f in findings], dtype=np.bool_)[column] & (code < 0)
        code[hit] = len(reasons) - 1
        for values, name in ((limit, "limit"), (actual, "actual")):
            numbers = [getattr(f, name) if f is not None else None for f in findings]
            spread_numbers = np.array([np.nan if n is None else n for n in numbers], dtype=np.float64)
            values[hit] = spread_numbers[column[hit]]
        first = np.flatnonzero(hit)
        if len(first):
            finding = findings[column[first[0]]]
            details[int(first[0])] = finding.detail if finding is not None else ""

    for reason, check in WEIGHT_CHECKS:
        if not overridden(reason, scenario):
            spread(reason, [check(w, scenario) for w in table.weights], table.weight)
    for reason, gpu_check in GPU_CHECKS:
        if not overridden(reason, scenario):
            spread(reason, [gpu_check(g, scenario, supply) for g in table.gpus], table.gpu)
    if scenario.pin is not None and scenario.pin.gpus_per_replica is not None:
        reasons.append(ReasonCode.PIN_MISMATCH)
        units.append("GPUs per replica")
        wanted = scenario.pin.gpus_per_replica
        off = (table.tp * table.pp != wanted) & (code < 0)
        code[off], limit[off], actual[off] = len(reasons) - 1, wanted, (table.tp * table.pp)[off]
    if scenario.pin is not None and scenario.pin.is_full:
        reasons.append(ReasonCode.PIN_MISMATCH)  # exactly this: with the engine's own KV cache type
        units.append("")
        code[(table.kv > 0) & (code < 0)] = len(reasons) - 1
    base = len(reasons)
    reasons.extend(static.reasons)
    units.extend(static.units)
    stopped = (code < 0) & (static.code >= 0)
    code[stopped] = static.code[stopped] + base
    limit[stopped], actual[stopped] = static.limit[stopped], static.actual[stopped]
    open_ = np.flatnonzero(code[static.runnable] < 0)
    replica = static.replica.take(open_)
    held, needed, unit = _sequences(scenario, replica)
    reasons.append(ReasonCode.KV_CACHE_TOO_SMALL)
    units.append(unit)
    short = held < needed
    rows = static.runnable[open_]
    code[rows[short]] = len(reasons) - 1
    limit[rows[short]], actual[rows[short]] = held[short], needed
    keep = np.flatnonzero(~short)
    shapes = static.shapes.take(open_[keep])
    return Filtered(
        static=static,
        reasons=tuple(reasons),
        units=tuple(units),
        code=code,
        limit=limit,
        actual=actual,
        details=details,
        field=make_field(scenario, shapes, replica.take(keep), supply),
    )


def _sequences(scenario: Scenario, replica: ReplicaTable) -> tuple[NDArray[np.float64], float, str]:
    """Sequences that each pool holds against those it must: one of full context, or the pinned batch."""
    context = max_model_len(scenario)
    pin = scenario.pin
    if pin is not None and pin.max_num_seqs is not None:
        planned = min(context, scenario.workload.prompt.p95 + scenario.workload.output.p95)
        return sequences_held(replica, planned), float(pin.max_num_seqs), f"sequences of {planned} tokens"
    return sequences_held(replica, context), 1.0, f"sequences of {context} tokens"
