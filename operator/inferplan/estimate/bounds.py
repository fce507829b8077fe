"""What no engine can beat: every byte read once at peak bandwidth, every operation done at the dense peak.

No end of a range lies below these. Stages of a pipeline follow one another, for a prompt as for a token.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.estimate import Latency, Range
from inferplan.domain.model import Task
from inferplan.estimate.latencies import Quantiles
from inferplan.estimate.lengths import PERCENTILES, length_quantile
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.replica_load import ReplicaLoad, output_tokens, prompt_tokens
from inferplan.estimate.roofline import kv_read_bytes, touched_share

Floats = NDArray[np.float64]


def least_tpot_s(table: ReplicaTable, context_tokens: Floats | float, running: Floats) -> Floats:
    """Least time per output token while ``running`` sequences of a mean context run [s], shape (n,).

    Notes
    -----
    ``(weights + touched experts + own batch x KV at mean context) / bandwidth`` in every stage, and the LM head once. A
    batch holds one sequence at least, and the share of a stage where the pipeline is full. A step yields no more than
    all drafted tokens and one.
    """
    batch = np.maximum(running / table.pp, 1.0)
    context = np.broadcast_to(np.asarray(context_tokens, dtype=np.float64), (len(table),))
    experts = table.routed_bytes * touched_share(batch, table.experts, table.experts_per_token)
    stage = table.always_bytes + experts + batch * kv_read_bytes(table, context)
    step = (table.pp * stage + table.head_bytes) / table.bandwidth_bytes_per_s
    return step / (1.0 + table.drafted_tokens)


def least_prompt_s(table: ReplicaTable, tokens: Floats | float) -> Floats:
    """Least time of a prompt of that many new tokens [s], shape (n,).

    Notes
    -----
    ``tokens x FLOP per token / dense peak`` in the layers and in the experts, stage after stage; attention left out.
    """
    arithmetic = (
        table.layer_flop_per_token / table.peak_flops_per_s
        + table.expert_flop_per_token / table.peak_expert_flops_per_s
    )
    return table.pp * tokens * arithmetic


def least_latencies(table: ReplicaTable, load: ReplicaLoad, running: Floats) -> tuple[Quantiles, Quantiles, Quantiles]:
    """Least TTFT, TPOT and E2E while ``running`` sequences run, each at its mean and percentiles.

    Notes
    -----
    A percentile of the latency is no smaller than that of a part of it, so TTFT is bounded by the prompt of that
    percentile, and E2E by the longer prompt or the longer output with the shortest of the other.
    """
    tpot = least_tpot_s(table, load.isl_mean, running)

    def prompt(length: Floats | float) -> Floats:
        return least_prompt_s(table, prompt_tokens(table, load, length)[0])

    def decode(length: Floats | float) -> Floats:
        return np.maximum(length - 1.0, 0.0) * tpot

    ttft, e2e = [prompt(load.isl_mean)], [prompt(load.isl_mean) + decode(output_tokens(load))]
    shortest_prompt = np.where(np.asarray(load.isl_p95) > load.isl_mean, 1.0, load.isl_mean)
    shortest_output = np.where(np.asarray(load.osl_p95) > load.osl_mean, 1.0, output_tokens(load))
    for percentile in PERCENTILES:
        longer = length_quantile(load.isl_mean, load.isl_p95, percentile)
        output = length_quantile(load.osl_mean, load.osl_p95, percentile)
        ttft.append(prompt(longer))
        e2e.append(np.maximum(prompt(longer) + decode(shortest_output), prompt(shortest_prompt) + decode(output)))
    none = np.zeros(len(table)) if load.task is Task.CLASSIFICATION else tpot
    return Quantiles(*ttft), Quantiles(none, none, none, none, none), Quantiles(*e2e)


def not_below(latency: Latency, least: Quantiles) -> Latency:
    """Raise a latency of one replica to its bound, wherever an end of a range would lie below it."""

    def raised(figure: Range, bound: Floats) -> Range:
        least_s = float(bound[0])
        return Range(max(figure.low, least_s), max(figure.expected, least_s), max(figure.high, least_s))

    return Latency(
        raised(latency.mean, least.mean),
        raised(latency.p50, least.p50),
        raised(latency.p90, least.p90),
        raised(latency.p95, least.p95),
        raised(latency.p99, least.p99),
    )
