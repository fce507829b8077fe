"""Runs the checks over the table of shapes and keeps what survives, with the count of what did not.

What depends on the catalog alone (engine, kernels, parallelism, memory) is checked once per catalog; what depends on
the scenario is checked once per model, checkpoint and GPU and spread over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.catalog import Catalog
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.model import Dtype, ModelSpec
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Pin, Scenario
from inferplan.domain.units import GB
from inferplan.estimate.estimator import ReplicaTable, build_replicas
from inferplan.estimate.memory import (
    free_at_start_bytes,
    kv_pool_bytes,
    least_pool_bytes,
    left_bytes,
    sequences_held,
)
from inferplan.planner.candidates import BATCH_LIMITS, ShapeTable, build_shapes
from inferplan.planner.constraints import (
    GPU_CHECKS,
    SHAPE_CHECKS,
    WEIGHT_CHECKS,
    Finding,
    max_model_len,
    overridden,
    pinned_checkpoint,
    pinned_format,
    pinned_gpu,
    pinned_model,
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
    detail: NDArray[np.object_]
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
    """What the scenario's own checks say in words, by row of the first of its kind; the rest stands in ``static``."""
    field: Field

    def turned_down_for(self, reason: ReasonCode) -> bool:
        """Whether a reason turned any shape down."""
        return reason in self.reasons and bool(np.any(self.code == self.reasons.index(reason)))

    @property
    def total(self) -> int:
        """All shapes of the search."""
        return len(self.code)

    def words(self, row: int) -> str:
        """Why a row was turned down, in words; empty where numbers tell it."""
        by_catalog = self.reasons[self.code[row]] in self.static.reasons
        return str(self.static.detail[row]) if by_catalog else self.details.get(row, "")


SHARE_TOO_LARGE = "the engine takes its share at once, and its own context is there already: lower gpuMemoryUtilization"


def build_static(catalog: Catalog, models: Sequence[ModelSpec], engines: Sequence[EngineSpec]) -> StaticTable:
    """Cross everything, and check what needs no scenario."""
    everything = build_shapes(catalog, models, engines)
    count = len(everything)
    code = np.full(count, -1, dtype=np.int64)
    limit, actual = np.full(count, np.nan), np.full(count, np.nan)
    detail = np.full(count, "", dtype=object)
    units = []
    for index, (_, check) in enumerate(SHAPE_CHECKS):
        verdict = check(everything)
        hit = verdict.fails & (code < 0)
        code[hit] = index
        if verdict.limit is not None and verdict.actual is not None:
            limit[hit], actual[hit] = verdict.limit[hit], verdict.actual[hit]
        if verdict.detail is not None:
            detail[hit] = verdict.detail[hit]
        units.append(verdict.unit)
    sizable = np.array([not w.model.not_sizable for w in everything.weights], dtype=np.bool_)
    rows = np.flatnonzero((code < 0) & sizable[everything.weight]) if count else np.empty(0, dtype=np.int64)
    shapes = everything.take(rows)
    replica = _replicas(catalog, shapes)
    room = left_bytes(replica, float(min(BATCH_LIMITS)))
    free = free_at_start_bytes(replica)
    greedy = replica.granted_bytes > free
    too_big = (room < replica.kv_block_bytes) | greedy
    code[rows[too_big]] = len(SHAPE_CHECKS)
    limit[rows[too_big]] = np.where(greedy, free, replica.granted_bytes)[too_big] / GB
    actual[rows[too_big]] = np.where(greedy, replica.granted_bytes, replica.granted_bytes - room)[too_big] / GB
    detail[rows[greedy]] = SHARE_TOO_LARGE
    keep = np.flatnonzero(~too_big)
    return StaticTable(
        reasons=(*(reason for reason, _ in SHAPE_CHECKS), ReasonCode.WEIGHTS_DONT_FIT),
        units=(*units, "GB per GPU"),
        everything=everything,
        code=code,
        limit=limit,
        actual=actual,
        detail=detail,
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


@dataclass(slots=True)
class _Sieve:
    """What was turned down so far, shape by shape; the first reason stays."""

    code: Ints
    limit: NDArray[np.float64]
    actual: NDArray[np.float64]
    reasons: list[ReasonCode] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    details: dict[int, str] = field(default_factory=dict)

    def turn_down(
        self,
        reason: ReasonCode,
        fails: NDArray[np.bool_],
        unit: str = "",
        limit: NDArray[np.float64] | float = np.nan,
        actual: NDArray[np.float64] | float = np.nan,
    ) -> Ints:
        """Note a reason for rows that fail and had none yet; return these rows."""
        self.reasons.append(reason)
        self.units.append(unit)
        rows = np.flatnonzero(fails & (self.code < 0))
        self.code[rows] = len(self.reasons) - 1
        self.limit[rows] = np.broadcast_to(limit, self.code.shape)[rows]
        self.actual[rows] = np.broadcast_to(actual, self.code.shape)[rows]
        return rows

    def spread(self, reason: ReasonCode, findings: Sequence[Finding | None], column: Ints) -> None:
        """Note a reason that was found once for each entry of an index column."""
        fails = np.array([found is not None for found in findings], dtype=np.bool_)[column]
        limits, actuals = (
            np.array([np.nan if found is None else _number(getattr(found, name)) for found in findings])[column]
            for name in ("limit", "actual")
        )
        unit = next((found.unit for found in findings if found is not None and found.unit), "")
        rows = self.turn_down(reason, fails, unit, limits, actuals)
        if len(rows):
            finding = findings[column[rows[0]]]
            self.details[int(rows[0])] = finding.detail if finding is not None else ""


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def filter_shapes(static: StaticTable, scenario: Scenario, supply: Supply, *, spanning: bool = False) -> Filtered:
    """Apply the scenario's own filters, then what the catalog alone decides, then memory for its sequences.

    Parameters
    ----------
    spanning
        Whether replicas may span machines, which cannot be deployed yet.
    """
    table, count = static.everything, len(static.everything)
    sieve = _Sieve(np.full(count, -1, dtype=np.int64), np.full(count, np.nan), np.full(count, np.nan))
    if scenario.pin is not None:
        _pinned(sieve, static, scenario.pin)
    for reason, check in WEIGHT_CHECKS:
        if not overridden(reason, scenario):
            sieve.spread(reason, [check(w, scenario) for w in table.weights], table.weight)
    for reason, gpu_check in GPU_CHECKS:
        if not overridden(reason, scenario):
            sieve.spread(reason, [gpu_check(g, scenario, supply) for g in table.gpus], table.gpu)
    for index, (reason, unit) in enumerate(zip(static.reasons, static.units, strict=True)):
        sieve.turn_down(reason, static.code == index, unit, static.limit, static.actual)
    if not spanning:
        machines = table.pp.astype(np.float64)
        sieve.turn_down(ReasonCode.NOT_DEPLOYABLE, table.pp > 1, "machines per replica", 1.0, machines)
    open_ = np.flatnonzero(sieve.code[static.runnable] < 0)
    replica = static.replica.take(open_)
    keep = np.ones(len(open_), dtype=np.bool_)
    for fits in (_one_sequence(scenario, replica), _a_state_each(scenario, replica)):
        short, pool = np.zeros(count, dtype=np.bool_), np.full(count, np.nan)
        rows = static.runnable[open_]
        short[rows], pool[rows] = fits.held < fits.needed, fits.held
        sieve.turn_down(ReasonCode.KV_CACHE_TOO_SMALL, short, fits.unit, fits.needed, pool)
        keep &= fits.held >= fits.needed
    return Filtered(
        static=static,
        reasons=tuple(sieve.reasons),
        units=tuple(sieve.units),
        code=sieve.code,
        limit=sieve.limit,
        actual=sieve.actual,
        details=sieve.details,
        field=make_field(scenario, static.shapes.take(open_[keep]), replica.take(np.flatnonzero(keep)), supply),
    )


def _pinned(sieve: _Sieve, static: StaticTable, pin: Pin) -> None:
    """Leave what the pin asks for, before anything else is checked: other reasons then speak of nothing but that."""
    table = static.everything
    sieve.spread(ReasonCode.PIN_MISMATCH, [pinned_gpu(g, pin) for g in table.gpus], table.gpu)
    sieve.spread(ReasonCode.PIN_MISMATCH, [pinned_model(w, pin) for w in table.weights], table.weight)
    sieve.spread(ReasonCode.CHECKPOINT_MISSING, pinned_checkpoint(table.weights, pin), table.weight)
    sieve.spread(ReasonCode.PIN_MISMATCH, [pinned_format(w, pin) for w in table.weights], table.weight)
    _pinned_shape(sieve, static, pin)


def _pinned_shape(sieve: _Sieve, static: StaticTable, pin: Pin) -> None:
    """Keep the pinned number of GPUs and type of the KV cache; where all else is pinned, the checkpoint's own type.

    Both 16-bit types mean the one that the model computes in.
    """
    table = static.everything
    if pin.gpus_per_replica is not None:
        gpus = (table.tp * table.pp).astype(np.float64)
        wanted = float(pin.gpus_per_replica)
        sieve.turn_down(ReasonCode.PIN_MISMATCH, gpus != wanted, "GPUs per replica", wanted, gpus)
    if pin.kv_dtype is not None:
        wanted_kv = None if pin.kv_dtype in {Dtype.BFLOAT16, Dtype.FLOAT16} else pin.kv_dtype
        others = np.array([dtype is not wanted_kv for dtype in table.kv_dtypes])
        sieve.turn_down(ReasonCode.PIN_MISMATCH, others[table.kv])
    elif pin.is_full:
        sieve.turn_down(ReasonCode.PIN_MISMATCH, ~_cache_by_default(static))


def _cache_by_default(static: StaticTable) -> NDArray[np.bool_]:
    """Rows whose KV cache has the type that the checkpoint has by itself, or the other where the engine lacks that."""
    table = static.everything
    unread = table.own_cache & (static.code == static.reasons.index(ReasonCode.KV_DTYPE_UNSUPPORTED))
    types = len(table.kv_dtypes)  # the innermost axis of the table
    chosen: NDArray[np.bool_] = table.own_cache != np.repeat(unread.reshape(-1, types).any(axis=1), types)
    return chosen


@dataclass(frozen=True, slots=True)
class _Fit:
    """Sequences that each pool holds against those that it must for the engine to start; ``held`` has shape (n,)."""

    held: NDArray[np.float64]
    needed: float
    unit: str


def _one_sequence(scenario: Scenario, replica: ReplicaTable) -> _Fit:
    """One sequence of full context must fit. What a batch limit does not fill only waits for its turn."""
    context = max_model_len(scenario)
    limit = float(_pinned_limit(scenario) or min(BATCH_LIMITS))
    starts = kv_pool_bytes(replica, limit) >= least_pool_bytes(replica, context)
    held = np.where(starts, np.maximum(sequences_held(replica, context, limit), 1.0), 0.0)
    return _Fit(held, 1.0, f"sequences of {context} tokens")


def _a_state_each(scenario: Scenario, replica: ReplicaTable) -> _Fit:
    """Each sequence of a batch limit must find a block for the state of its linear layers when graphs are captured.

    vLLM 0.33.0, ``vllm/config/compilation.py``: "max_num_seqs exceeds available Mamba cache blocks".
    """
    limit = float(_pinned_limit(scenario) or min(BATCH_LIMITS))
    blocks = np.floor(kv_pool_bytes(replica, limit) / replica.kv_block_bytes)
    counted = (replica.kv_state_groups > 0) & (replica.counts_graphs > 0)
    return _Fit(np.where(counted, blocks, np.inf), limit, "sequences with a block for their state")


def _pinned_limit(scenario: Scenario) -> int | None:
    return scenario.pin.max_num_seqs if scenario.pin else None
