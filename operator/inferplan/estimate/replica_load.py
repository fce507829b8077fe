"""What one replica is asked to serve, and what follows from that before anything runs beside anything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate import pooling
from inferplan.estimate.lengths import length_quantile, met_length, squared_variation
from inferplan.estimate.memory import sequences_held
from inferplan.estimate.prefill import PromptTime, prompt_time, time_alone
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.roofline import StepModel

Floats = NDArray[np.float64]

COMPANIONS = 16.0
"""Decoding sequences beside which a prompt's time is taken."""


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
    held = sequences_held(table, running_context(load), load.max_num_seqs)
    slots: Floats = np.maximum(np.minimum(allowed, held), 1.0)
    return slots


def variability(load: ReplicaLoad) -> Floats:
    """Half the sum of the squared coefficients of variation of arrivals and of service."""
    mean, p95 = (load.isl_mean, load.isl_p95) if load.task is Task.CLASSIFICATION else (load.osl_mean, load.osl_p95)
    found: Floats = (load.burstiness + squared_variation(mean, p95)) / 2.0
    return found
