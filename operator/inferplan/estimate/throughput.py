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
from inferplan.estimate.queueing import slot_chance, slot_wait
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
    step_wait_s
        Mean wait for the step under way.
    prompt_wait_s, prompt_busy
        Mean wait of those who find other prompts before them, and their share.
    slot_wait_s, slot_busy
        Mean wait of those who find no free slot, and their share.
    completed_rps, capacity_rps
        Requests completed now, and at saturation.
    utilization
        Offered over saturation; above one the queue only grows.
    """

    running: Floats
    tpot_s: Floats
    service_s: Floats
    step_wait_s: Floats
    prompt_wait_s: Floats
    prompt_busy: Floats
    slot_wait_s: Floats
    slot_busy: Floats
    completed_rps: Floats
    capacity_rps: Floats
    utilization: Floats

    @property
    def mean_wait_s(self) -> Floats:
        """Mean wait of all requests before their prompt starts [s]."""
        return self.step_wait_s + self.prompt_busy * self.prompt_wait_s + self.slot_busy * self.slot_wait_s


def time_per_output_token(step: StepModel, prompt: PromptTime, output: float, running: Floats) -> Floats:
    """Mean time per output token with ``running`` sequences, prompts of the others included [s]."""
    return step.time(running) + np.maximum(running - 1.0, 0.0) / output * prompt.others


def service_time(step: StepModel, prompt: PromptTime, output: float, running: Floats) -> Floats:
    """Time that a request spends in its slot [s]: its prompt, then ``output - 1`` further tokens."""
    return prompt.alone + (output - 1.0) * time_per_output_token(step, prompt, output, running)


def prompt_busy(step: StepModel, prompt: PromptTime, output: float, running: Floats) -> Floats:
    """Share of time in which the engine works on the prompts of other requests.

    Notes
    -----
    ``r = (b - 1) P / ((b - 1) P + o x step)``: while a request yields its ``o`` tokens, each of the others starts once.
    """
    others = np.maximum(running - 1.0, 0.0) * prompt.others
    return others / (others + output * step.time(running))


def prompt_wait(prompt: PromptTime, busy: Floats) -> Floats:
    """Mean wait of those who find other prompts before them [s].

    Notes
    -----
    ``P / (2 (1 - r))``: half of the one under way and the queue before it (M/D/1).
    """
    return prompt.others / (2.0 * (1.0 - busy))


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
    The running batch b solves ``b (Z + R(b)) = N S(b)`` with response R and time in a slot S; where more would run
    than there are slots, the rest waits: ``wait = N / capacity - Z - S``.
    """

    def before(running: Floats) -> Floats:
        busy = prompt_busy(step, prompt, output, running)
        return step.time(running) / 2.0 + busy * prompt_wait(prompt, busy)

    def too_many(running: Floats) -> NDArray[np.bool_]:
        in_slot = service_time(step, prompt, output, running)
        return running * (think_time_s + before(running) + in_slot) > users * in_slot

    running = bisect(np.minimum(slots, users), too_many)
    capacity = saturation_rps(step, prompt, output, slots)
    service = service_time(step, prompt, output, running)
    waits = before(running)
    full = users / capacity - think_time_s - service_time(step, prompt, output, slots) - before(slots)
    queued = np.maximum(full, 0.0)
    completed = users / (think_time_s + waits + service + queued)
    busy = prompt_busy(step, prompt, output, running)
    return Serving(
        running=running,
        tpot_s=time_per_output_token(step, prompt, output, running),
        service_s=service,
        step_wait_s=step.time(running) / 2.0,
        prompt_wait_s=prompt_wait(prompt, busy),
        prompt_busy=busy,
        slot_wait_s=queued,
        slot_busy=(queued > 0).astype(np.float64),
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
    busy = prompt_busy(step, prompt, output, running)
    chance = slot_chance(utilization, slots)
    return Serving(
        running=running,
        tpot_s=time_per_output_token(step, prompt, output, running),
        service_s=service,
        step_wait_s=step.time(running) / 2.0,
        prompt_wait_s=prompt_wait(prompt, busy) * max(variability, 1.0),
        prompt_busy=busy,
        slot_wait_s=slot_wait(utilization, slots, service, variability) / np.maximum(chance, 1e-12),
        slot_busy=chance,
        completed_rps=np.minimum(rate_rps, capacity),
        capacity_rps=capacity,
        utilization=utilization,
    )


def offline(step: StepModel, prompt: PromptTime, output: float, *, slots: Floats) -> Serving:
    """Everything is there at once: all slots run until the work is done."""
    capacity = saturation_rps(step, prompt, output, slots)
    busy = prompt_busy(step, prompt, output, slots)
    nothing = np.zeros_like(capacity)
    return Serving(
        running=slots,
        tpot_s=time_per_output_token(step, prompt, output, slots),
        service_s=service_time(step, prompt, output, slots),
        step_wait_s=step.time(slots) / 2.0,
        prompt_wait_s=prompt_wait(prompt, busy),
        prompt_busy=busy,
        slot_wait_s=nothing,
        slot_busy=nothing,
        completed_rps=capacity,
        capacity_rps=capacity,
        utilization=np.ones_like(capacity),
    )
