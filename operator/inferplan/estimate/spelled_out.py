"""One deployment spelled out: the estimator's figures with their ranges, memory and evidence, as people read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.estimate import Estimate, Latency, MemoryLedger, Range
from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.bounds import least_latencies, not_below
from inferplan.estimate.estimator import predict
from inferplan.estimate.latencies import Quantiles
from inferplan.estimate.lengths import PERCENTILES
from inferplan.estimate.memory import (
    activations_bytes,
    kv_pool_bytes,
    kv_pool_tokens,
    longest_context,
    overhead_bytes,
    sequence_bytes_of,
)
from inferplan.estimate.replica import EVIDENCE, ReplicaTable
from inferplan.estimate.replica_load import ReplicaLoad

Floats = NDArray[np.float64]


def estimate(
    table: ReplicaTable, load: ReplicaLoad, *, replicas: int, positions: int, items: float | None = None
) -> Estimate:
    """Spell one row out for ``replicas`` equal replicas; ``table`` has exactly one row.

    Parameters
    ----------
    positions
        Longest sequence that the model was trained for [tokens].
    items
        Items of the whole batch run, for its duration.
    """
    p = predict(table, load)
    total = float(replicas)

    def around(value: Floats, low: Floats, high: Floats, scale: float = 1.0) -> Range:
        expected = float(value[0]) * scale
        return Range(expected * float(low[0]), expected, expected * float(high[0]))

    def latency(expected: Quantiles, low: Floats, at_most: Quantiles, least: Quantiles) -> Latency:
        ranges = []
        for at in (None, *PERCENTILES):
            middle = float(expected.at(at)[0])
            ranges.append(Range(middle * float(low[0]), middle, float(at_most.at(at)[0])))
        return not_below(Latency(*ranges), least)

    capacity = around(p.capacity_rps, p.throughput_low, p.throughput_high, total)
    duration = None
    if load.kind is LoadKind.OFFLINE and items is not None:
        duration = Range(items / capacity.high, items / capacity.expected, items / capacity.low)
    ttft, tpot, e2e = least_latencies(table, load, p.running)
    per_user = around(p.output_tps_per_user, p.tpot.mean / np.maximum(p.tpot_at_most.mean, 1e-12), 1.0 / p.tpot_low)
    if load.task is Task.GENERATION:
        per_user = replace(per_user, high=max(min(per_user.high, 1.0 / float(tpot.mean[0])), per_user.expected))
    return Estimate(
        memory=_ledger(table, load, positions),
        ttft=latency(p.ttft, p.ttft_low, p.ttft_at_most, ttft),
        tpot=latency(p.tpot, p.tpot_low, p.tpot_at_most, tpot),
        e2e=latency(p.e2e, p.e2e_low, p.e2e_at_most, e2e),
        output_tps_per_user=per_user,
        output_tps_total=around(p.output_tps_total, p.throughput_low, p.throughput_high, total),
        requests_per_s=float(p.completed_rps[0]) * total,
        offered_rps=float(p.offered_rps[0]) * total,
        capacity_rps=capacity,
        running_batch=float(p.running[0]),
        kv_occupancy=float(p.kv_occupancy[0]),
        utilization=float(p.utilization[0]),
        run_duration_s=duration,
        evidence=EVIDENCE[int(table.evidence_code[0])],
        evidence_detail=table.detail(0),
    )


def _ledger(table: ReplicaTable, load: ReplicaLoad, positions: int) -> MemoryLedger:
    longest = min(load.max_model_len, load.isl_p95 + (load.osl_p95 if load.task is Task.GENERATION else 0))
    sequences = float(np.broadcast_to(load.max_num_seqs, (1,))[0])
    pool = float(kv_pool_bytes(table, sequences)[0])
    one = float(sequence_bytes_of(table, float(longest))[0])
    needed = min(sequences * one, pool)
    return MemoryLedger(
        capacity_bytes=float(table.capacity_bytes[0]),
        granted_bytes=float(table.granted_bytes[0]),
        weights_bytes=float(table.weights_bytes[0]),
        activations_bytes=float(activations_bytes(table, sequences)[0]),
        overhead_bytes=float(overhead_bytes(table, sequences)[0]),
        kv_pool_bytes=pool,
        kv_needed_bytes=needed,
        kv_bytes_per_token=float(table.kv_full_bytes_per_token[0] + table.kv_window_bytes_per_token[0]),
        kv_pool_tokens=float(kv_pool_tokens(table, load.max_model_len, sequences)[0]),
        sequences_held=int(pool // max(one, 1.0)),
        longest_context_tokens=int(longest_context(table, positions, sequences)[0]),
        full_length_sequences=pool / max(float(sequence_bytes_of(table, float(load.max_model_len))[0]), 1.0),
    )
