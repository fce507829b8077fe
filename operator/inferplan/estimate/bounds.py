"""What no engine can beat: every byte read once at peak bandwidth, every operation done at the dense peak.

The low end of a range never lies below these.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.estimate import Latency, Range
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.roofline import kv_read_bytes, touched_share

Floats = NDArray[np.float64]


def least_tpot_s(table: ReplicaTable, context_tokens: Floats | float, running: Floats) -> Floats:
    """Least time per output token while ``running`` sequences of a mean context run [s], shape (n,).

    Notes
    -----
    ``(weights + touched experts + running x KV at mean context) / bandwidth``, stage after stage.
    """
    stage = np.maximum(running, 1.0) / table.pp
    context = np.full(len(table), context_tokens)
    experts = table.routed_bytes * touched_share(stage, table.experts, table.experts_per_token)
    read = table.always_bytes + table.head_bytes + experts + stage * kv_read_bytes(table, context)
    return table.pp * read / table.bandwidth_bytes_per_s


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


def not_below(latency: Latency, least_s: float) -> Latency:
    """Raise the low ends of a latency to a bound; never above the expected value."""

    def raised(figure: Range) -> Range:
        return replace(figure, low=min(max(figure.low, least_s), figure.expected))

    return Latency(*(raised(figure) for figure in (latency.mean, latency.p50, latency.p90, latency.p95, latency.p99)))
