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
from inferplan.estimate.lengths import (
    NORMAL_QUANTILE,
    PERCENTILES,
    length_quantile,
    lognormal_sigma,
    met_length,
    squared_variation,
)
from inferplan.estimate.memory import kv_pool_bytes, sequence_bytes_of, sequences_held
from inferplan.estimate.prefill import PromptTime, burst_prompt_time, prompt_time, time_alone
from inferplan.estimate.queueing import joint_quantile, wait_quantile
from inferplan.estimate.replica import ReplicaTable, build_replicas
from inferplan.estimate.roofline import StepModel, step_model
from inferplan.estimate.throughput import Serving

Floats = NDArray[np.float64]

BLOCK_ROWS = 8_192
COMPANIONS = 16.0
"""Decoding sequences beside which a prompt's time is taken."""

__all__ = [
    "Prediction",
    "Quantiles",
    "ReplicaLoad",
    "ReplicaTable",
    "build_replicas",
    "predict",
    "saturation",
    "throughput_low",
]


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What one replica has to serve. Array fields have shape (n,) or are numbers for all rows.

    Parameters
    ----------
    users, rate_rps, items
        Share of one replica; the one that ``kind`` says is set.
    isl_mean, isl_p95, osl_mean, osl_p95
        Prompt and output lengths [tokens]; a classifier has one output.
    shared_prefix_tokens
        Leading prompt tokens that stay in the prefix cache.
    burstiness
        Squared coefficient of variation of the gaps between arrivals.
    starts_together
        A closed loop whose users all send their first request at once, as benchmarks do; part of the requests then
        waits for the prompts of the others.
    """

    kind: LoadKind
    task: Task
    users: Floats | float | None
    rate_rps: Floats | float | None
    items: Floats | float | None
    think_time_s: float
    isl_mean: Floats | float
    isl_p95: Floats | float
    osl_mean: Floats | float
    osl_p95: Floats | float
    shared_prefix_tokens: Floats | float
    burstiness: float
    max_num_seqs: Floats | float
    max_model_len: int
    starts_together: bool = False


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A latency over requests [s], shape (n,) each."""

    mean: Floats
    p50: Floats
    p90: Floats
    p95: Floats
    p99: Floats

    def at(self, percentile: int) -> Floats:
        """P50, P90, P95 or P99."""
        return {50: self.p50, 90: self.p90, 95: self.p95, 99: self.p99}[percentile]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Expected values of one replica, and factors to the ends of their ranges; shape (n,) each."""

    ttft: Quantiles
    tpot: Quantiles
    e2e: Quantiles
    ttft_low: Floats
    ttft_high: Floats
    tpot_low: Floats
    tpot_high: Floats
    e2e_low: Floats
    e2e_high: Floats
    throughput_low: Floats
    throughput_high: Floats
    slots: Floats
    running: Floats
    met: Floats
    """Running sequences as a running request meets them, itself included."""
    kv_occupancy: Floats
    utilization: Floats
    completed_rps: Floats
    capacity_rps: Floats
    output_tps_per_user: Floats
    output_tps_total: Floats


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
    serving = _serving(table, load, step, prompt, output, slots)
    held = serving.running * sequence_bytes_of(table, running_context(load))
    ttft, tpot, e2e = _latencies(table, load, step, prompt, output, slots, serving)
    low_high = {key: table.factors(key, load.kind.value) for key in ("ttft", "tpot", "e2e", "throughput")}
    return Prediction(
        ttft=ttft,
        tpot=tpot,
        e2e=e2e,
        ttft_low=low_high["ttft"][0],
        ttft_high=low_high["ttft"][1],
        tpot_low=low_high["tpot"][0],
        tpot_high=low_high["tpot"][1],
        e2e_low=low_high["e2e"][0],
        e2e_high=low_high["e2e"][1],
        throughput_low=low_high["throughput"][0],
        throughput_high=low_high["throughput"][1],
        slots=slots,
        running=serving.running,
        met=serving.met,
        kv_occupancy=np.minimum(held / np.maximum(kv_pool_bytes(table), 1.0), 1.0),
        utilization=serving.utilization,
        completed_rps=serving.completed_rps,
        capacity_rps=serving.capacity_rps,
        output_tps_per_user=np.zeros(len(table)) if classify else 1.0 / np.maximum(serving.tpot_s, 1e-12),
        output_tps_total=np.zeros(len(table)) if classify else serving.completed_rps * output,
    )


def saturation(table: ReplicaTable, load: ReplicaLoad) -> Floats:
    """Requests per second at which each replica saturates, shape (n,); the ``capacity_rps`` of :func:`predict`."""
    output = output_tokens(load)
    slots = batch_slots(table, load, output)
    step = step_model(table, running_context(load))
    prompt = prompt_of(table, load, step, slots)
    if load.task is Task.CLASSIFICATION:
        return 1.0 / prompt.others
    return throughput.saturation_rps(step, prompt, output, slots)


def throughput_low(table: ReplicaTable, kind: LoadKind) -> Floats:
    """Factor to the careful end of throughput, shape (n,)."""
    return table.factors("throughput", kind.value)[0]


def output_tokens(load: ReplicaLoad) -> Floats | float:
    """Output tokens of a request; a classifier has one."""
    return 1.0 if load.task is Task.CLASSIFICATION else np.maximum(load.osl_mean, 1.0)


def running_context(load: ReplicaLoad) -> Floats | float:
    """Mean context of the sequences that run at a moment [tokens]: their prompt and half of their output.

    Notes
    -----
    Long outputs run longer, so theirs is the length that is met (:func:`~inferplan.estimate.lengths.met_length`).
    """
    if load.task is Task.CLASSIFICATION:
        return load.isl_mean + 0.5
    return load.isl_mean + np.maximum(met_length(load.osl_mean, load.osl_p95), 1.0) / 2.0


def prompt_tokens(
    table: ReplicaTable, load: ReplicaLoad, length: Floats | float | None = None
) -> tuple[Floats, Floats]:
    """New and cached tokens of a prompt of some length (the mean by default), shape (n,) each."""
    tokens = load.isl_mean if length is None else length
    prefix = np.minimum(load.shared_prefix_tokens, np.maximum(tokens - 1.0, 0.0))
    shape = (len(table),)
    return np.broadcast_to(np.maximum(tokens - prefix, 1.0), shape), np.broadcast_to(prefix, shape)


def prompt_of(table: ReplicaTable, load: ReplicaLoad, step: StepModel, slots: Floats) -> PromptTime:
    """Time of one prompt beside the sequences that decode meanwhile; for a classifier, of one item in full steps."""
    tokens, prefix = prompt_tokens(table, load)
    variation = squared_variation(load.isl_mean, load.isl_p95)
    if load.task is Task.CLASSIFICATION:
        return pooling.item_time(table, step, tokens=tokens, prefix=prefix, slots=slots, variation=variation)
    beside = sequences_beside(slots)
    return prompt_time(table, step, tokens=tokens, prefix=prefix, sequences=beside, variation=variation)


def longer_prompt_s(
    table: ReplicaTable, load: ReplicaLoad, step: StepModel, prompt: PromptTime, slots: Floats, percentile: int
) -> Floats:
    """By how much a prompt of the length at a percentile takes longer than the mean one [s], shape (n,).

    Its chunks and its attention are those of that length, not a multiple of the mean's.
    """
    length = length_quantile(load.isl_mean, load.isl_p95, percentile)
    if not np.any(np.asarray(load.isl_p95) > np.asarray(load.isl_mean)):
        return np.zeros(len(table))
    tokens, prefix = prompt_tokens(table, load, np.maximum(length, 1.0))
    beside = np.zeros(len(table)) if load.task is Task.CLASSIFICATION else sequences_beside(slots)
    alone = time_alone(table, step, tokens=tokens, prefix=prefix, sequences=beside)
    return alone - prompt.alone + table.constant("request_token_overhead_s") * (length - load.isl_mean)


def sequences_beside(slots: Floats) -> Floats:
    """Sequences that decode beside a prompt when its time is taken, shape (n,).

    Notes
    -----
    ``min(slots, 16)`` whatever the load: what a prompt adds to a step hardly depends on it, and so latencies rise with
    load for sure. Fits with 8, 16, 32 and 64 were equally good.
    """
    return np.minimum(slots, COMPANIONS)


def batch_slots(table: ReplicaTable, load: ReplicaLoad, output: Floats | float) -> Floats:
    """Sequences that really run at once, shape (n,).

    Notes
    -----
    The batch limit, or fewer if the KV pool fills first. A batch run keeps the token budget of its steps full: of the
    ``p + o`` tokens of a request o are decode steps, so at most ``budget x o / (p + o)`` sequences decode at once.
    """
    allowed = np.broadcast_to(np.asarray(load.max_num_seqs, dtype=np.float64), (len(table),))
    if load.kind is LoadKind.OFFLINE and load.task is Task.GENERATION:
        new_tokens, _ = prompt_tokens(table, load)
        allowed = np.minimum(allowed, table.max_num_batched_tokens * output / (output + new_tokens))
    held = sequences_held(table, running_context(load))
    slots: Floats = np.maximum(np.minimum(allowed, held), 1.0)
    return slots


def _serving(
    table: ReplicaTable,
    load: ReplicaLoad,
    step: StepModel,
    prompt: PromptTime,
    output: Floats | float,
    slots: Floats,
) -> Serving:
    if load.task is Task.CLASSIFICATION:
        return _pooling(table, load, prompt)
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
        )
    if load.kind is LoadKind.OPEN_LOOP:
        return throughput.open_loop(
            step,
            prompt,
            output,
            rate_rps=_column(table, load.rate_rps),
            variability=_variability(load),
            slots=slots,
            full=at_saturation,
        )
    return throughput.offline(slots=slots, full=at_saturation)


def _pooling(table: ReplicaTable, load: ReplicaLoad, item: PromptTime) -> Serving:
    """A classifier's steady state."""
    if load.kind is LoadKind.CLOSED_LOOP:
        return pooling.closed_loop(item, users=_column(table, load.users), think_time_s=load.think_time_s)
    if load.kind is LoadKind.OPEN_LOOP:
        return pooling.open_loop(item, rate_rps=_column(table, load.rate_rps), variability=_variability(load))
    return pooling.offline(item)


def _column(table: ReplicaTable, value: Floats | float | None) -> Floats:
    return np.broadcast_to(np.asarray(value, dtype=np.float64), (len(table),))


def _variability(load: ReplicaLoad) -> Floats:
    """Half the sum of the squared coefficients of variation of arrivals and of service."""
    mean, p95 = (load.isl_mean, load.isl_p95) if load.task is Task.CLASSIFICATION else (load.osl_mean, load.osl_p95)
    found: Floats = (load.burstiness + squared_variation(mean, p95)) / 2.0
    return found


def _latencies(
    table: ReplicaTable,
    load: ReplicaLoad,
    step: StepModel,
    prompt: PromptTime,
    output: Floats | float,
    slots: Floats,
    serving: Serving,
) -> tuple[Quantiles, Quantiles, Quantiles]:
    """Means and percentiles of TTFT, TPOT and E2E."""
    overhead = table.constant("request_overhead_s") + table.constant("request_token_overhead_s") * load.isl_mean
    ttft_mean = overhead + prompt.alone + serving.mean_wait_s + _burst_wait(table, load, step, serving)
    ttft_mean = ttft_mean + _chain_wait(table, load, prompt, serving)
    spread = np.sqrt(np.maximum(_batch_variance(load, serving), 0.0))
    luck_s, short = _prompt_luck(load, prompt, serving, output)
    random_slots = load.kind is LoadKind.OPEN_LOOP
    ttft: dict[int, Floats] = {}
    tpot: dict[int, Floats] = {}
    e2e: dict[int, Floats] = {}
    e2e_mean = ttft_mean + (output - 1.0) * serving.tpot_s
    for q in PERCENTILES:
        longer_output = length_quantile(load.osl_mean, load.osl_p95, q) / np.maximum(load.osl_mean, 1e-9) - 1.0
        waits = [_excess(serving.prompt_wait_s, serving.prompt_busy, q)]
        if random_slots:
            waits.append(_excess(serving.slot_wait_s, serving.slot_busy, q))
        ttft[q] = joint_quantile(ttft_mean, longer_prompt_s(table, load, step, prompt, slots, q), *waits)
        tpot[q] = serving.tpot_s
        if load.task is Task.GENERATION and NORMAL_QUANTILE[q] > 0:
            crowded = np.maximum(np.minimum(serving.met + NORMAL_QUANTILE[q] * spread, slots), serving.met)
            tpot[q] = throughput.pace(step, prompt, output, crowded).tpot_s
        crowding, unlucky = tpot[q] - serving.tpot_s, NORMAL_QUANTILE[q] * luck_s
        tpot[q] = joint_quantile(serving.tpot_s, crowding, unlucky * short)
        decode = (output - 1.0) * serving.tpot_s
        e2e[q] = joint_quantile(
            e2e_mean,
            ttft[q] - ttft_mean,
            decode * longer_output,
            (output - 1.0) * crowding,
            (output - 1.0) * unlucky,
        )
    return (
        Quantiles(ttft_mean, *(ttft[q] for q in PERCENTILES)),
        Quantiles(serving.tpot_s, *(tpot[q] for q in PERCENTILES)),
        Quantiles(e2e_mean, *(e2e[q] for q in PERCENTILES)),
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
