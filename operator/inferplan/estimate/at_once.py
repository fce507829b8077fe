"""Requests that are all there at once: one batch processed together, or a crowd that queues for the batch's places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.estimate.prefill import attention_time
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.roofline import StepModel, overlapped

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Mean latencies over the requests, and the time until the last is done [s], shape (n,) each."""

    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    makespan_s: Floats


def static_batch(
    table: ReplicaTable, step: StepModel, *, batch: Floats, slots: Floats, prompt: Floats, output: Floats
) -> AtOnce:
    """One batch of equal requests without a server around it, as offline scripts measure it.

    Parameters
    ----------
    step
        At the mean context ``prompt + output / 2``.
    slots
        Sequences that the KV pool holds; a larger batch runs in waves.

    Notes
    -----
    ``prefill = ceil(b x prompt / budget)`` full steps, which overlap in a pipeline as far as they hold different
    prompts; ``decode = (output - 1) x step(b)``; TTFT is the prompt phase of the whole batch. Waves take
    ``batch / slots`` times as long.
    """
    together = np.minimum(batch, np.maximum(slots, 1.0))
    waves = batch / together
    tokens = together * prompt
    chunk = np.minimum(tokens, table.max_num_batched_tokens)
    nothing = np.zeros_like(tokens)
    steps = tokens / chunk
    prefill = steps * step.through(nothing, chunk) + together * attention_time(table, prompt, nothing)
    prefill = prefill * overlapped(table.pp, np.minimum(steps, together))
    tpot = step.time(together)
    total = waves * (prefill + (output - 1.0) * tpot)
    return AtOnce(ttft_s=waves * prefill, tpot_s=tpot, e2e_s=total, makespan_s=total)


def crowd(  # noqa: PLR0913 - one argument per column of the load
    table: ReplicaTable,
    step: StepModel,
    *,
    requests: Floats,
    slots: Floats,
    tokens: Floats,
    prefix: Floats,
    output: Floats,
    tpot_full_s: Floats,
    service_full_s: Floats,
) -> AtOnce:
    """Requests sent all at once to a server with ``slots`` places.

    Parameters
    ----------
    tokens, prefix
        New and cached prompt tokens.
    tpot_full_s, service_full_s
        Pace and time in a place while all places are taken and refilled.

    Notes
    -----
    With n of them in places at once, p new tokens each, ``c = min(budget, n p)`` tokens and ``m = n p / c`` steps
    (which overlap in a pipeline as far as they hold different prompts)::

        prompt phase D = m step(n / 2, c) + n attention + (n - 1) intake
        TTFT           = D (m + 1) / 2m
        decode         = min(o - 1, (m - 1) / 2) D / m + max(o - 1 - (m - 1) / 2, 0) step(n)

    so short outputs are over while the others' prompts still run. Who gets no place waits for departures, which come in
    waves of the time in a place S: ``S / 2 + (N - B) S / (2 B)`` on average.
    """
    at_once = np.minimum(requests, slots)
    chunk = np.minimum(table.max_num_batched_tokens, at_once * tokens)
    steps = np.maximum(at_once * tokens / chunk, 1.0)
    beside = at_once * (1.0 - 1.0 / steps) / 2.0
    phase = steps * step.through(beside / table.pp, chunk) + at_once * attention_time(table, tokens, prefix)
    phase = phase * overlapped(table.pp, np.minimum(steps, at_once))
    phase = phase + (at_once - 1.0) * table.constant("intake_s") * table.serves
    ramp = phase * (steps + 1.0) / (2.0 * steps)
    more, among = np.maximum(output - 1.0, 0.0), (steps - 1.0) / 2.0
    running = step.time(at_once)
    decode = np.minimum(more, among) * phase / steps + np.maximum(more - among, 0.0) * running
    gaps = np.maximum(more, 1.0)
    late = (requests - at_once) / requests
    wait = service_full_s / 2.0 + (requests - at_once) * service_full_s / (2.0 * slots)
    ttft = (1.0 - late) * ramp + late * (wait + phase / np.maximum(at_once, 1.0))
    tpot = (1.0 - late) * decode / gaps + late * np.maximum(tpot_full_s, running)
    makespan = np.where(late > 0, (requests / slots + 0.5) * service_full_s, phase + more * running)
    return AtOnce(ttft_s=ttft, tpot_s=tpot, e2e_s=ttft + (output - 1.0) * tpot, makespan_s=makespan)
