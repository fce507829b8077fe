"""A classifier's steady state: prompts in, no tokens out. The engine packs prompts of several items into one step.

With P the engine's time per item (a full step's time over the items in it), items are served like jobs of length P at
one server, and an item's own latency is that of the step that it rides in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inferplan.estimate.prefill import PromptTime, attention_time
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.roofline import StepModel
from inferplan.estimate.throughput import Serving, SlotWait, SlotWaits, of_all

Floats = NDArray[np.float64]

_NEARLY_FULL = 0.999


def item_time(
    table: ReplicaTable,
    step: StepModel,
    *,
    tokens: Floats,
    prefix: Floats,
    slots: Floats,
    variation: Floats | float = 0.0,
) -> PromptTime:
    """Latency of one item alone, and the engine's time per item when steps are full [s], shape (n,).

    Parameters
    ----------
    variation
        Squared coefficient of variation of the items' lengths.

    Notes
    -----
    A full step holds ``min(budget, slots x tokens)`` prompt tokens, so ``P = tokens / that x step + attention``. A
    pipeline has ``m = min(slots, pp)`` such steps under way, each with its share of the slots: P is the m-th part.
    """
    nothing = np.zeros(len(table))
    attention = attention_time(table, tokens, prefix, variation)
    chunk = np.minimum(tokens, table.max_num_batched_tokens)
    in_flight = np.minimum(slots, table.pp)
    full = np.minimum(table.max_num_batched_tokens, slots / in_flight * tokens)
    each = (tokens / full * step.through(nothing, full) + attention) / in_flight
    return PromptTime(
        alone=tokens / chunk * step.through(nothing, chunk) + attention,
        others=each,
        packed=each,
        steps=tokens / chunk,
        stages=table.pp,
    )


def closed_loop(item: PromptTime, *, users: Floats, think_time_s: float, least_share: Floats) -> Serving:
    """People who send the next item ``think_time_s`` after the answer: bound by the engine or by themselves.

    Parameters
    ----------
    least_share
        Factor to the conservative end of the capacity.
    """
    capacity = 1.0 / item.others
    free = users / (think_time_s + item.alone)
    completed = np.minimum(free, capacity)
    queued = np.maximum(users / capacity - think_time_s - item.alone, 0.0)
    at_least = np.maximum((users / capacity - item.alone) / least_share - think_time_s, 0.0)
    return _serving(item, completed, capacity, SlotWaits(of_all(queued), of_all(at_least)))


def open_loop(item: PromptTime, *, rate_rps: Floats, variability: Floats | float, least_share: Floats) -> Serving:
    """Items that arrive at a rate.

    Parameters
    ----------
    least_share
        Factor to the conservative end of the capacity.

    Notes
    -----
    ``W = c x P / (1 - rho)`` for those who wait, a share rho of all (M/G/1 with variability c). At the conservative end
    P and rho are larger by the same factor.
    """
    capacity = 1.0 / item.others
    utilization = rate_rps / capacity

    def waits(share: Floats | float) -> SlotWait:
        rho = np.minimum(utilization / share, _NEARLY_FULL)
        return SlotWait(np.maximum(variability, 0.5) * (item.others / share) / (1.0 - rho), rho)

    both = SlotWaits(waits(1.0), waits(least_share))
    return _serving(item, np.minimum(rate_rps, capacity), capacity, both, utilization)


def offline(item: PromptTime) -> Serving:
    """Everything is there at once: full steps until the work is done."""
    capacity = 1.0 / item.others
    nobody = of_all(np.zeros_like(capacity))
    return _serving(item, capacity, capacity, SlotWaits(nobody, nobody))


def _serving(
    item: PromptTime, completed: Floats, capacity: Floats, waits: SlotWaits, utilization: Floats | None = None
) -> Serving:
    nothing = np.zeros_like(capacity)
    return Serving(
        running=completed * item.alone,
        met=completed * item.alone,
        tpot_s=nothing,
        service_s=item.alone,
        step_wait_s=nothing,
        prompt_wait_s=nothing,
        prompt_busy=nothing,
        slots=waits,
        completed_rps=completed,
        capacity_rps=capacity,
        utilization=np.minimum(completed / capacity, 1.0) if utilization is None else utilization,
    )
