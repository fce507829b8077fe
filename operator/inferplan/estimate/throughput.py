"""Continuous batching in steady state: how many sequences run, how fast, and when it is too much.

Every request occupies one of ``B`` slots for its prompt and its ``o`` output tokens. While ``b`` sequences run, the
prompts of the others' successors stretch the steps, so the mean time per output token is
``step(b) + (b - 1) / o x prompt``. How many run follows from Little's law as a fixed point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.estimate.prefill import PromptTime
from inferplan.estimate.queueing import slot_wait
from inferplan.estimate.roofline import StepModel

Floats = NDArray[np.float64]

ITERATIONS = 16
"""Bisections; the running batch is found to 2^-16 of the limit."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Steady state of one replica, shape (n,).

    Parameters
    ----------
    running
        Mean number of running sequences.
    tpot_s
        Mean time per output token.
    service_s
        Time in a slot: prompt and output.
    wait_s
        Mean wait before the prompt starts (for a slot and for other prompts).
    completed_rps, capacity_rps
        Requests completed now, and at saturation.
    utilization
        Offered over saturation; above one the queue only grows.
    """

    running: Floats
    tpot_s: Floats
    service_s: Floats
    slot_wait_s: Floats
    prompt_wait_s: Floats
    completed_rps: Floats
    capacity_rps: Floats
    utilization: Floats


def time_per_output_token(step: StepModel, prompt: PromptTime, output: float, running: Floats) -> Floats:
    """Mean time per output token with ``running`` sequences, prompts of the others included [s]."""
    return step.time(running) + np.maximum(running - 1.0, 0.0) / output * prompt.others


def service_time(step: StepModel, prompt: PromptTime, output: float, running: Floats) -> Floats:
    """Time that a request spends in its slot [s]: its prompt, then ``output - 1`` further tokens."""
    return prompt.alone + (output - 1.0) * time_per_output_token(step, prompt, output, running)


def prompt_wait(step: StepModel, prompt: PromptTime, output: float, running: Floats) -> Floats:
    """Mean wait for other prompts and for the step under way [s].

    Notes
    -----
    Other prompts keep the engine busy for the share r = (b - 1) x prompt / (b - 1 prompts + o steps) of the time; a new one
    finds half of one under way, and those queued before it: ``r / (1 - r) x prompt / 2`` (M/D/1), plus half a step.
    """
    steps = step.time(running)
    others = np.maximum(running - 1.0, 0.0) * prompt.others
    return others / np.maximum(output * steps, 1e-12) * prompt.others / 2.0 + steps / 2.0


def saturation_rps(step: StepModel, prompt: PromptTime, output: float, slots: Floats) -> Floats:
    """Requests per second with all slots running."""
    return slots / service_time(step, prompt, output, slots)


def bisect(high: Floats, too_high: Callable[[Floats], NDArray[np.bool_]]) -> Floats:
    """Largest value in [0, high] that is not too high, for a monotone predicate; shape (n,)."""
    low, top = np.zeros_like(high), high.copy()
    for _ in range(ITERATIONS):
        middle = (low + top) / 2.0
        over = too_high(middle)
        top = np.where(over, middle, top)
        low = np.where(over, low, middle)
    return low


def closed_loop(
    step: StepModel, prompt: PromptTime, output: float, *, users: Floats, think_time_s: float, slots: Floats
) -> Serving:
    """Steady state with ``users`` people per replica, each thinking ``think_time_s`` between answers.

    Notes
    -----
    The running batch b solves ``b (Z + R(b)) = N S(b)`` with response R and time in a slot S; where more would run than there
    are slots, the rest waits: ``wait = N / capacity - Z - S``.
    """

    def response(running: Floats) -> Floats:
        return prompt_wait(step, prompt, output, running) + service_time(step, prompt, output, running)

    def too_many(running: Floats) -> NDArray[np.bool_]:
        in_slot = service_time(step, prompt, output, running)
        return running * (think_time_s + response(running)) > users * in_slot

    running = bisect(np.minimum(slots, np.maximum(users, 1e-9)), too_many)
    capacity = saturation_rps(step, prompt, output, slots)
    service = service_time(step, prompt, output, running)
    waits = prompt_wait(step, prompt, output, running)
    queued = np.maximum(users / capacity - think_time_s - service - waits, 0.0)
    queued = np.where(running >= slots * (1.0 - 1e-3), queued, 0.0)
    completed = users / (think_time_s + waits + service + queued)
    return Serving(
        running=running,
        tpot_s=time_per_output_token(step, prompt, output, running),
        service_s=service,
        slot_wait_s=queued,
        prompt_wait_s=waits,
        completed_rps=completed,
        capacity_rps=capacity,
        utilization=completed / capacity,
    )


def open_loop(
    step: StepModel, prompt: PromptTime, output: float, *, rate_rps: Floats, variability: float, slots: Floats
) -> Serving:
    """Steady state with requests that arrive at a rate, whatever happened to the earlier ones.

    Parameters
    ----------
    variability
        ``(c_a^2 + c_s^2) / 2`` of arrivals and service.

    Notes
    -----
    The running batch solves ``b = rate x S(b)``; beyond saturation it stays at the slots and utilization exceeds one.
    """

    def too_many(running: Floats) -> NDArray[np.bool_]:
        return running > rate_rps * service_time(step, prompt, output, running)

    capacity = saturation_rps(step, prompt, output, slots)
    running = bisect(slots, too_many)
    service = service_time(step, prompt, output, running)
    utilization = rate_rps / capacity
    return Serving(
        running=running,
        tpot_s=time_per_output_token(step, prompt, output, running),
        service_s=service,
        slot_wait_s=slot_wait(utilization, slots, service, variability),
        prompt_wait_s=prompt_wait(step, prompt, output, running),
        completed_rps=np.minimum(rate_rps, capacity),
        capacity_rps=capacity,
        utilization=utilization,
    )


def offline(step: StepModel, prompt: PromptTime, output: float, *, slots: Floats) -> Serving:
    """Everything is there at once: all slots run until the work is done."""
    capacity = saturation_rps(step, prompt, output, slots)
    service = service_time(step, prompt, output, slots)
    return Serving(
        running=slots,
        tpot_s=time_per_output_token(step, prompt, output, slots),
        service_s=service,
        slot_wait_s=np.zeros_like(service),
        prompt_wait_s=prompt_wait(step, prompt, output, slots),
        completed_rps=capacity,
        capacity_rps=capacity,
        utilization=np.ones_like(capacity),
    )
