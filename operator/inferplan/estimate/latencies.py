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
from inferplan.estimate.throughput import Serving, SlotWait, SlotWaits

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


@dataclass(frozen=True, slots=True)
class Latencies:
    """TTFT, TPOT and E2E as expected, and the high ends of their ranges."""

    ttft: Quantiles
    tpot: Quantiles
    e2e: Quantiles
    ttft_at_most: Quantiles
    tpot_at_most: Quantiles
    e2e_at_most: Quantiles


def latencies(
    table: ReplicaTable,
    load: ReplicaLoad,
    step: StepModel,
    prompt: PromptTime,
    output: Floats | float,
    slots: Floats,
    serving: Serving,
) -> Latencies:
    """Means and percentiles of TTFT, TPOT and E2E, and of their high ends.

    Notes
    -----
    The high end is the expected value times its factor. Near saturation a queue grows by more than any factor, so it is
    at least what the same parts come to with the wait for slots at the conservative end of the capacity.
    """
    overhead = table.constant("request_overhead_s") + table.constant("request_token_overhead_s") * load.isl_mean
    ttft_mean = overhead + prompt.alone + serving.mean_wait_s + _burst_wait(table, load, step, serving)
    ttft_mean = ttft_mean + _chain_wait(table, load, prompt, serving)
    e2e_mean = ttft_mean + (output - 1.0) * serving.tpot_s
    spread = np.sqrt(np.maximum(_batch_variance(load, serving), 0.0))
    luck_s, short = _prompt_luck(load, prompt, serving, output, step.gained)
    most = np.minimum(slots, np.asarray(load.users, dtype=np.float64)) if load.kind is LoadKind.CLOSED_LOOP else slots
    high = {metric: table.factors(metric, load.kind.value)[1] for metric in ("ttft", "tpot", "e2e")}
    queues = _Queues(load, serving.slots)
    first, first_at_most = [ttft_mean], [queues.at_least(ttft_mean, high["ttft"])]
    token, whole, whole_at_most = [serving.tpot_s], [e2e_mean], [queues.at_least(e2e_mean, high["e2e"])]
    for q in PERCENTILES:
        prefill = (
            longer_prompt_s(table, load, step, prompt, slots, q),
            _excess(serving.prompt_wait_s, serving.prompt_busy, q),
        )
        first.append(joint_quantile(ttft_mean, *prefill, *queues.excess(serving.slots.expected, q)))
        tpot = serving.tpot_s
        if load.task is Task.GENERATION and NORMAL_QUANTILE[q] > 0:
            crowded = np.maximum(np.minimum(serving.met + NORMAL_QUANTILE[q] * spread, most), serving.met)
            tpot = throughput.pace(step, prompt, output, crowded).tpot_s
        crowding, unlucky = tpot - serving.tpot_s, NORMAL_QUANTILE[q] * luck_s
        token.append(joint_quantile(serving.tpot_s, crowding, unlucky * short))
        longer_output = np.maximum(length_quantile(load.osl_mean, load.osl_p95, q), 1.0) - output
        decode = (serving.tpot_s * longer_output, (output - 1.0) * crowding, (output - 1.0) * unlucky)
        whole.append(joint_quantile(e2e_mean, first[-1] - ttft_mean, *decode))
        first_at_most.append(queues.first_at_least(ttft_mean, high["ttft"], prefill, q))
        late = queues.first_at_least(ttft_mean, high["e2e"], prefill, q) - queues.at_least(ttft_mean, high["e2e"])
        slow = (part * high["e2e"] for part in decode)
        whole_at_most.append(joint_quantile(queues.at_least(e2e_mean, high["e2e"]), late, *slow))
    return Latencies(
        ttft=Quantiles(*first),
        tpot=Quantiles(*token),
        e2e=Quantiles(*whole),
        ttft_at_most=_highest(first, high["ttft"], first_at_most),
        tpot_at_most=Quantiles(*(value * high["tpot"] for value in token)),
        e2e_at_most=_highest(whole, high["e2e"], whole_at_most),
    )


@dataclass(frozen=True, slots=True)
class _Queues:
    """What is known of the wait for slots at the conservative end of the capacity."""

    load: ReplicaLoad
    waits: SlotWaits

    def excess(self, wait: SlotWait, percentile: int) -> tuple[Floats, ...]:
        """The wait at a percentile beyond its mean, where who waits is a matter of chance."""
        if self.load.kind is not LoadKind.OPEN_LOOP:
            return ()
        return (_excess(wait.wait_s, wait.share, percentile),)

    def at_least(self, mean: Floats, factor: Floats) -> Floats:
        """A mean latency times its factor, but with the wait of the conservative end [s]."""
        return (mean - self.waits.expected.mean_s) * factor + self.waits.conservative.mean_s

    def first_at_least(self, mean: Floats, factor: Floats, parts: tuple[Floats, ...], percentile: int) -> Floats:
        """The same for TTFT at a percentile."""
        slow = (part * factor for part in parts)
        return joint_quantile(self.at_least(mean, factor), *slow, *self.excess(self.waits.conservative, percentile))


def _highest(expected: list[Floats], factor: Floats, at_least: list[Floats]) -> Quantiles:
    return Quantiles(*(np.maximum(value * factor, least) for value, least in zip(expected, at_least, strict=True)))


def _prompt_luck(
    load: ReplicaLoad, prompt: PromptTime, serving: Serving, output: Floats | float, gained: Floats
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
    each = prompt.added(serving.met, output / gained) / output
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
