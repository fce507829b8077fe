"""From the steady state to what requests see: means and percentiles of TTFT, TPOT and E2E."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate import throughput
from inferplan.estimate.lengths import (
    NORMAL_QUANTILE,
    PERCENTILES,
    length_quantile,
    lognormal_sigma,
    squared_variation,
)
from inferplan.estimate.prefill import PromptTime, burst_prompt_time
from inferplan.estimate.queueing import joint_quantile, wait_quantile
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.replica_load import ReplicaLoad, longer_prompt_s, prompt_tokens
from inferplan.estimate.roofline import StepModel
from inferplan.estimate.throughput import Serving

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A latency over requests [s], shape (n,) each."""

    mean: Floats
    p50: Floats
    p90: Floats
    p95: Floats
    p99: Floats

    def at(self, percentile: int | None) -> Floats:
        """P50, P90, P95 or P99; the mean for None."""
        return {None: self.mean, 50: self.p50, 90: self.p90, 95: self.p95, 99: self.p99}[percentile]


def latencies(
    table: ReplicaTable,
    load: ReplicaLoad,
    step: StepModel,
    prompt: PromptTime,
    output: Floats | float,
    slots: Floats,
    serving: Serving,
    *,
    ttft_high: Floats,
) -> tuple[Quantiles, Quantiles, Quantiles, Quantiles]:
    """Means and percentiles of TTFT, TPOT and E2E, and what waits for slots add to their high ends.

    Parameters
    ----------
    ttft_high
        Factor to the high end of TTFT.
    """
    overhead = table.constant("request_overhead_s") + table.constant("request_token_overhead_s") * load.isl_mean
    ttft_mean = overhead + prompt.alone + serving.mean_wait_s + _burst_wait(table, load, step, serving)
    ttft_mean = ttft_mean + _chain_wait(table, load, prompt, serving)
    spread = np.sqrt(np.maximum(_batch_variance(load, serving), 0.0))
    luck_s, short = _prompt_luck(load, prompt, serving, output)
    random_slots = load.kind is LoadKind.OPEN_LOOP
    most = np.minimum(slots, np.asarray(load.users, dtype=np.float64)) if load.kind is LoadKind.CLOSED_LOOP else slots
    expected, conservative = serving.slots.expected, serving.slots.conservative
    without_s = (ttft_mean - expected.mean_s) * ttft_high + conservative.mean_s
    queueing: dict[int, Floats] = {}
    ttft: dict[int, Floats] = {}
    tpot: dict[int, Floats] = {}
    e2e: dict[int, Floats] = {}
    e2e_mean = ttft_mean + (output - 1.0) * serving.tpot_s
    for q in PERCENTILES:
        longer_output = np.maximum(length_quantile(load.osl_mean, load.osl_p95, q), 1.0) - output
        parts = [
            longer_prompt_s(table, load, step, prompt, slots, q),
            _excess(serving.prompt_wait_s, serving.prompt_busy, q),
        ]
        at_most = [part * ttft_high for part in parts]
        if random_slots:
            parts.append(_excess(expected.wait_s, expected.share, q))
            at_most.append(_excess(conservative.wait_s, conservative.share, q))
        ttft[q] = joint_quantile(ttft_mean, *parts)
        queueing[q] = np.maximum(joint_quantile(without_s, *at_most) - ttft[q] * ttft_high, 0.0)
        tpot[q] = serving.tpot_s
        if load.task is Task.GENERATION and NORMAL_QUANTILE[q] > 0:
            crowded = np.maximum(np.minimum(serving.met + NORMAL_QUANTILE[q] * spread, most), serving.met)
            tpot[q] = throughput.pace(step, prompt, output, crowded).tpot_s
        crowding, unlucky = tpot[q] - serving.tpot_s, NORMAL_QUANTILE[q] * luck_s
        tpot[q] = joint_quantile(serving.tpot_s, crowding, unlucky * short)
        e2e[q] = joint_quantile(
            e2e_mean,
            ttft[q] - ttft_mean,
            serving.tpot_s * longer_output,
            (output - 1.0) * crowding,
            (output - 1.0) * unlucky,
        )
    return (
        Quantiles(ttft_mean, *(ttft[q] for q in PERCENTILES)),
        Quantiles(serving.tpot_s, *(tpot[q] for q in PERCENTILES)),
        Quantiles(e2e_mean, *(e2e[q] for q in PERCENTILES)),
        Quantiles(np.maximum(without_s - ttft_mean * ttft_high, 0.0), *(queueing[q] for q in PERCENTILES)),
    )


def _prompt_luck(
    load: ReplicaLoad, prompt: PromptTime, serving: Serving, output: Floats | float
) -> tuple[Floats, Floats | float]:
    """Spread of a request's time per token by how many prompts, and how long ones, fall among its tokens [s].

    Notes
    -----
    On average n = b - 1 prompts of P each do. Their number has a variance of ``k n`` with k the burstiness of
    arrivals; people who wait for their answers come as evenly as their outputs are equal. So
    ``sigma = P sqrt(n (k + c^2)) / o`` with the prompts' coefficient of variation c. Short outputs vary more: the
    second value is the factor of that, ``sqrt(E[o] E[1 / o])``, which hardly counts in their E2E.
    """
    if load.task is Task.CLASSIFICATION:
        return np.zeros_like(serving.met), 1.0
    of_outputs = lognormal_sigma(load.osl_mean, load.osl_p95)
    of_prompts = squared_variation(load.isl_mean, load.isl_p95)
    uneven: Floats | float = load.burstiness
    if load.kind is not LoadKind.OPEN_LOOP:
        uneven = np.minimum(squared_variation(load.osl_mean, load.osl_p95), 1.0)
    if load.kind is LoadKind.CLOSED_LOOP:
        users = np.maximum(np.asarray(load.users, dtype=np.float64), 1e-9)
        uneven = np.minimum(uneven + 1.0 - np.minimum(serving.met / users, 1.0), 1.0)
    number = np.maximum(serving.met - 1.0, 0.0)
    each = prompt.added(serving.met, output) / output
    return each * np.sqrt(number * (uneven + of_prompts)), np.exp(np.square(of_outputs) / 2.0)


def _burst_wait(table: ReplicaTable, load: ReplicaLoad, step: StepModel, serving: Serving) -> Floats | float:
    """Mean wait for the prompts of users who all started at once."""
    if load.kind is not LoadKind.CLOSED_LOOP or not load.starts_together:
        return 0.0
    tokens, prefix = prompt_tokens(table, load)
    one = burst_prompt_time(table, step, tokens=tokens, prefix=prefix, sequences=np.zeros(len(table)))
    one = one + table.constant("intake_s")
    return table.constant("burst_share") * np.maximum(serving.running - 1.0, 0.0) * one


def _chain_wait(table: ReplicaTable, load: ReplicaLoad, prompt: PromptTime, serving: Serving) -> Floats | float:
    """What requests of equal lengths wait for their neighbours' prompts beyond chance."""
    if load.kind is not LoadKind.CLOSED_LOOP or not load.starts_together:
        return 0.0
    equal = np.asarray(load.osl_p95) <= np.asarray(load.osl_mean) * 1.001
    neighbours = 1.0 - 1.0 / np.maximum(serving.running, 1.0)
    gap = table.constant("request_overhead_s") + serving.tpot_s
    chained = table.constant("chain_share") * neighbours * prompt.alone * prompt.alone / (prompt.alone + gap)
    return np.where(equal, np.maximum(chained - serving.prompt_busy * serving.prompt_wait_s, 0.0), 0.0)


def _excess(conditional_wait: Floats, chance: Floats, percentile: int) -> Floats:
    """Wait at a percentile beyond the mean wait."""
    return wait_quantile(conditional_wait, chance, percentile) - chance * conditional_wait


def _batch_variance(load: ReplicaLoad, serving: Serving) -> Floats:
    """Variance of the number of running sequences: Poisson for arrivals, binomial for people who think."""
    if load.kind is LoadKind.OPEN_LOOP:
        return serving.running * max(load.burstiness, 0.0)
    if load.kind is LoadKind.CLOSED_LOOP:
        users = np.maximum(np.asarray(load.users, dtype=np.float64), 1e-9)
        return serving.running * (1.0 - np.minimum(serving.running / users, 1.0))
    return np.zeros_like(serving.running)
