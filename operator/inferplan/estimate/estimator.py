"""The estimator: a table of replicas and a load in, predicted latencies and throughput out.

:func:`predict` answers for a whole table at once, which is what the search needs;
:func:`inferplan.estimate.spelled_out.estimate` spells one row out with all its ranges, which is what people read. Both
run the same formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate import pooling, throughput
from inferplan.estimate.latencies import Quantiles, latencies
from inferplan.estimate.memory import kv_pool_bytes, sequence_bytes_of
from inferplan.estimate.prefill import PromptTime
from inferplan.estimate.replica import ReplicaTable, build_replicas
from inferplan.estimate.replica_load import (
    ReplicaLoad,
    batch_slots,
    output_tokens,
    prompt_of,
    running_context,
    variability,
)
from inferplan.estimate.roofline import StepModel, step_model
from inferplan.estimate.throughput import Serving

Floats = NDArray[np.float64]

BLOCK_ROWS = 8_192
__all__ = [
    "Prediction",
    "Quantiles",
    "ReplicaLoad",
    "ReplicaTable",
    "build_replicas",
    "least_throughput",
    "predict",
    "saturation",
]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Expected values of one replica, high ends of latencies, and factors to the other ends; shape (n,) each.

    ``utilization`` is the offered load (of a closed loop, the requests completed) over the expected capacity.
    """

    ttft: Quantiles
    tpot: Quantiles
    e2e: Quantiles
    ttft_at_most: Quantiles
    tpot_at_most: Quantiles
    e2e_at_most: Quantiles
    ttft_low: Floats
    tpot_low: Floats
    e2e_low: Floats
    throughput_low: Floats
    throughput_high: Floats
    slots: Floats
    running: Floats
    met: Floats
    """Running sequences as a running request meets them, itself included."""
    kv_occupancy: Floats
    utilization: Floats
    offered_rps: Floats
    completed_rps: Floats
    capacity_rps: Floats
    output_tps_per_user: Floats
    output_tps_total: Floats

    @property
    def capacity_at_least_rps(self) -> Floats:
        """Conservative end of the capacity [requests/s]."""
        return self.capacity_rps * self.throughput_low


def predict(table: ReplicaTable, load: ReplicaLoad) -> Prediction:
    """Predict every row of a table under its load.

    Notes
    -----
    Latencies never fall when the load of a replica or its prompts grow, and never rise with bandwidth or peak FLOP/s.
    Large tables are worked through in blocks that stay in the processor's cache, which halves the time.
    """
    count = len(table)
    if count <= BLOCK_ROWS:
        return _predict(table, load)
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, count, BLOCK_ROWS)]
    return _joined([_predict(table.take(block), _part(load, block, count)) for block in blocks])


def _part(load: ReplicaLoad, block: slice, count: int) -> ReplicaLoad:
    """The load of some rows: columns are cut, numbers for all rows stay."""
    values = {f.name: getattr(load, f.name) for f in fields(load)}
    columns: dict[str, Any] = {
        n: v[block] for n, v in values.items() if isinstance(v, np.ndarray) and v.shape == (count,)
    }
    return replace(load, **columns)


def _joined(parts: list[Prediction]) -> Prediction:
    """Put the predictions of blocks one after another."""

    def column(name: str) -> Floats | Quantiles:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], Quantiles):
            return Quantiles(*(np.concatenate([getattr(v, f.name) for v in values]) for f in fields(Quantiles)))
        return np.concatenate(values)

    joined: dict[str, Any] = {f.name: column(f.name) for f in fields(Prediction)}
    return Prediction(**joined)


def _predict(table: ReplicaTable, load: ReplicaLoad) -> Prediction:
    classify = load.task is Task.CLASSIFICATION
    output = output_tokens(load)
    slots = batch_slots(table, load, output)
    step = step_model(table, running_context(load))
    prompt = prompt_of(table, load, step, slots)
    low = {metric: table.factors(metric, load.kind.value)[0] for metric in ("ttft", "tpot", "e2e")}
    throughput_low, throughput_high = table.factors("throughput", load.kind.value)
    serving = _serving(table, load, step, prompt, output, slots, least_share=throughput_low)
    held = serving.running * sequence_bytes_of(table, running_context(load))
    found = latencies(table, load, step, prompt, output, slots, serving)
    return Prediction(
        ttft=found.ttft,
        tpot=found.tpot,
        e2e=found.e2e,
        ttft_at_most=found.ttft_at_most,
        tpot_at_most=found.tpot_at_most,
        e2e_at_most=found.e2e_at_most,
        ttft_low=low["ttft"],
        tpot_low=low["tpot"],
        e2e_low=low["e2e"],
        throughput_low=throughput_low,
        throughput_high=throughput_high,
        slots=slots,
        running=serving.running,
        met=serving.met,
        kv_occupancy=np.minimum(held / np.maximum(kv_pool_bytes(table, load.max_num_seqs), 1.0), 1.0),
        utilization=serving.utilization,
        offered_rps=_offered_rps(load, serving),
        completed_rps=serving.completed_rps,
        capacity_rps=serving.capacity_rps,
        output_tps_per_user=np.zeros(len(table)) if classify else 1.0 / np.maximum(serving.tpot_s, 1e-12),
        output_tps_total=np.zeros(len(table)) if classify else serving.completed_rps * output,
    )


def _offered_rps(load: ReplicaLoad, serving: Serving) -> Floats:
    """Requests per second that a replica has to be sure to serve, shape (n,).

    Notes
    -----
    A rate is offered whatever is served. N people offer as much as is expected to be served, ``N / (Z + E)``; one alone
    never waits for another, however slow it is, so for him nothing has to be sure: 0, as for a batch run, which only
    takes longer.
    """
    if load.kind is LoadKind.OFFLINE:
        return np.zeros_like(serving.completed_rps)
    if load.kind is LoadKind.OPEN_LOOP:
        return np.broadcast_to(np.asarray(load.rate_rps, dtype=np.float64), serving.completed_rps.shape)
    several = np.asarray(load.users, dtype=np.float64) > 1.0
    return np.where(several, serving.completed_rps, 0.0)


def saturation(table: ReplicaTable, load: ReplicaLoad) -> Floats:
    """Requests per second at which each replica saturates, shape (n,); the ``capacity_rps`` of :func:`predict`."""
    output = output_tokens(load)
    slots = batch_slots(table, load, output)
    step = step_model(table, running_context(load))
    prompt = prompt_of(table, load, step, slots)
    if load.task is Task.CLASSIFICATION:
        return 1.0 / prompt.others
    return throughput.saturation_rps(step, prompt, output, slots)


def least_throughput(table: ReplicaTable, kind: LoadKind) -> Floats:
    """Factor to the conservative end of throughput, shape (n,)."""
    return table.factors("throughput", kind.value)[0]


def _serving(
    table: ReplicaTable,
    load: ReplicaLoad,
    step: StepModel,
    prompt: PromptTime,
    output: Floats | float,
    slots: Floats,
    *,
    least_share: Floats,
) -> Serving:
    if load.task is Task.CLASSIFICATION:
        return _pooling(table, load, prompt, least_share)
    at_saturation = throughput.pace(step, prompt, output, slots)
    if load.kind is LoadKind.CLOSED_LOOP:
        return throughput.closed_loop(
            step,
            prompt,
            output,
            users=_column(table, load.users),
            think_time_s=load.think_time_s,
            slots=slots,
            full=at_saturation,
            least_share=least_share,
        )
    if load.kind is LoadKind.OPEN_LOOP:
        return throughput.open_loop(
            step,
            prompt,
            output,
            rate_rps=_column(table, load.rate_rps),
            variability=variability(load),
            slots=slots,
            full=at_saturation,
            least_share=least_share,
        )
    return throughput.offline(slots=slots, full=at_saturation)


def _pooling(table: ReplicaTable, load: ReplicaLoad, item: PromptTime, least_share: Floats) -> Serving:
    """A classifier's steady state."""
    if load.kind is LoadKind.CLOSED_LOOP:
        users, think_time_s = _column(table, load.users), load.think_time_s
        return pooling.closed_loop(item, users=users, think_time_s=think_time_s, least_share=least_share)
    if load.kind is LoadKind.OPEN_LOOP:
        rate_rps = _column(table, load.rate_rps)
        return pooling.open_loop(item, rate_rps=rate_rps, variability=variability(load), least_share=least_share)
    return pooling.offline(item)


def _column(table: ReplicaTable, value: Floats | float | None) -> Floats:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (len(table),))
