"""Continuous batching in steady state: how many sequences run, how fast, and when it is too much.

Every request occupies one of ``B`` slots for its prompt and its ``o`` output tokens. While ``b`` sequences run beside
each other, the prompts of the others' successors stretch the steps, so the mean time per output token is
``step(b) + (b - 1) / o x prompt``. How many run follows from Little's law as a fixed point.

A running request always meets itself, so it meets more than run on average: with Poisson arrivals all that run on
average and itself; of N people itself and what the N - 1 others have running.
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

ITERATIONS = 14
"""Bisections; the running batch is found to 2^-14 of the limit."""


@dataclass(frozen=True, slots=True)
class SlotWait:
    """Mean wait of those who find no free slot [s], and their share of all requests; shape (n,)."""

    wait_s: Floats
    share: Floats

    @property
    def mean_s(self) -> Floats:
        """Mean wait of all requests [s]."""
        return self.share * self.wait_s


@dataclass(frozen=True, slots=True)
class SlotWaits:
    """The wait for slots as expected, and at the conservative end of the capacity."""

    expected: SlotWait
    conservative: SlotWait


@dataclass(frozen=True, slots=True)
class Serving:
    """Steady state of one replica, shape (n,).

    Parameters
    ----------
    running
        Mean number of running sequences over time.
    met
        Mean number of running sequences as a running request meets them, itself included.
    tpot_s
        Mean time per output token.
    service_s
        Time in a slot: prompt and output.
    step_wait_s
        Mean wait for the steps under way.
    prompt_wait_s, prompt_busy
        Mean wait of those who find other prompts before them, and their share.
    slots
        Mean wait of those who find no free slot, and their share: expected, and if only the conservative end of the
        capacity is there.
    completed_rps, capacity_rps
        Requests completed now, and at saturation.
    utilization
        Offered over saturation; above one the queue only grows.
    """

    running: Floats
    met: Floats
    tpot_s: Floats
    service_s: Floats
    step_wait_s: Floats
    prompt_wait_s: Floats
    prompt_busy: Floats
    slots: SlotWaits
    completed_rps: Floats
    capacity_rps: Floats
    utilization: Floats

    @property
    def mean_wait_s(self) -> Floats:
        """Mean wait of all requests before their prompt starts [s]."""
        return self.step_wait_s + self.prompt_busy * self.prompt_wait_s + self.slots.expected.mean_s


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast things go while a number of sequences runs; shape (n,)."""

    step_wait_s: Floats
    tpot_s: Floats
    service_s: Floats
    prompt_busy: Floats
    prompt_wait_s: Floats

    @property
    def before_s(self) -> Floats:
        """Mean wait for the steps under way and for other prompts [s]."""
        return self.step_wait_s + self.prompt_busy * self.prompt_wait_s


def pace(step: StepModel, prompt: PromptTime, output: Floats | float, running: Floats) -> Pace:
    """Work out the pace while ``running`` sequences run together, the one asked about among them.

    Notes
    -----
    With b running, P what a prompt adds and o output tokens: ``TPOT = step + (b - 1) P / o``; time in the slot
    ``S = prompt + (o - 1) step + (b - 1) P``, which conserves work; the others' prompts keep the engine busy for
    ``r = (b - 1) P / S``; who finds them waits ``P / (2 (1 - r))`` (M/D/1: half of the one under way and the queue
    before it). With speculative decoding ``step`` is the time per token, and the output takes fewer steps. A
    batch starts whenever the first stage is free, so the wait for steps under way is for a stage's share.
    """
    step_s, token_s = step.time(running), step.per_token(running)
    added = prompt.added(running, output / step.gained)
    others = np.maximum(running - 1.0, 0.0) * added
    tpot = token_s + others / output
    service = prompt.alone + (output - 1.0) * token_s + others
    busy = others / service
    return Pace(
        step_wait_s=step.steps_before * (step_s / step.pp) * np.maximum(running - 1.0, 0.0) / np.maximum(running, 1.0),
        tpot_s=tpot,
        service_s=service,
        prompt_busy=busy,
        prompt_wait_s=added / (2.0 * (1.0 - busy)),
    )


def saturation_rps(step: StepModel, prompt: PromptTime, output: Floats | float, slots: Floats) -> Floats:
    """Requests per second with all slots running."""
    return slots / pace(step, prompt, output, slots).service_s


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
    step: StepModel,
    prompt: PromptTime,
    output: Floats | float,
    *,
    users: Floats,
    think_time_s: float,
    slots: Floats,
    full: Pace,
    least_share: Floats,
) -> Serving:
    """Steady state with ``users`` people per replica, each thinking ``think_time_s`` between answers.

    Parameters
    ----------
    full
        The pace with all slots running.
    least_share
        Factor to the conservative end of the capacity.

    Notes
    -----
    The running batch b solves ``b (Z + R) = N S`` with response R and time in a slot S, both while
    ``1 + b (N - 1) / N`` run; where more would run than there are slots, the rest waits:
    ``wait = N / capacity - Z - S``. At the conservative end the capacity is smaller and S longer by the same factor.
    """
    others = np.maximum(1.0 - 1.0 / np.maximum(users, 1e-9), 0.0)

    def met(running: Floats) -> Floats:
        return np.minimum(1.0 + running * others, slots)

    def too_many(running: Floats) -> NDArray[np.bool_]:
        now = pace(step, prompt, output, met(running))
        return running * (think_time_s + now.before_s + now.service_s) > users * now.service_s

    running = bisect(np.minimum(slots, users), too_many)
    now = pace(step, prompt, output, met(running))
    capacity = slots / full.service_s
    taken = full.service_s + full.before_s
    queued = np.maximum(users / capacity - think_time_s - full.service_s - full.before_s, 0.0)
    at_least = np.maximum((users / capacity - taken) / least_share - think_time_s, 0.0)
    completed = users / (think_time_s + now.before_s + now.service_s + queued)
    utilization = np.minimum(completed / capacity, 1.0)
    waits = SlotWaits(of_all(queued), of_all(at_least))
    return _serving(running, met(running), now, waits, completed, capacity, utilization)


def of_all(wait_s: Floats) -> SlotWait:
    """A wait that everybody has, or nobody."""
    return SlotWait(wait_s, (wait_s > 0).astype(np.float64))


def _serving(
    running: Floats,
    met: Floats,
    now: Pace,
    waits: SlotWaits,
    completed_rps: Floats,
    capacity_rps: Floats,
    utilization: Floats,
    variability: Floats | float = 1.0,
) -> Serving:
    return Serving(
        running=running,
        met=met,
        tpot_s=now.tpot_s,
        service_s=now.service_s,
        step_wait_s=now.step_wait_s,
        prompt_wait_s=now.prompt_wait_s * np.maximum(variability, 1.0),
        prompt_busy=now.prompt_busy,
        slots=waits,
        completed_rps=completed_rps,
        capacity_rps=capacity_rps,
        utilization=utilization,
    )


def open_loop(
    step: StepModel,
    prompt: PromptTime,
    output: Floats | float,
    *,
    rate_rps: Floats,
    variability: Floats | float,
    slots: Floats,
    full: Pace,
    least_share: Floats,
) -> Serving:
    """Steady state with requests that arrive at a rate, whatever happened to the earlier ones.

    Parameters
    ----------
    variability
        ``(c_a^2 + c_s^2) / 2`` of arrivals and service.
    full
        The pace with all slots running.
    least_share
        Factor to the conservative end of the capacity.

    Notes
    -----
    The running batch solves ``b = rate x S(b + 1)``; beyond saturation it stays at the slots and utilization exceeds
    one. At the conservative end utilization and S are larger by the same factor.
    """

    def met(running: Floats) -> Floats:
        return np.minimum(1.0 + running, slots)

    def too_many(running: Floats) -> NDArray[np.bool_]:
        return running > rate_rps * pace(step, prompt, output, met(running)).service_s

    capacity = slots / full.service_s
    running = bisect(slots, too_many)
    now = pace(step, prompt, output, met(running))
    utilization = rate_rps / capacity

    def waits(share: Floats | float) -> SlotWait:
        chance = slot_chance(utilization / share, slots)
        wait = slot_wait(utilization / share, slots, now.service_s / share, variability)
        return SlotWait(wait / np.maximum(chance, 1e-12), chance)

    both = SlotWaits(waits(1.0), waits(least_share))
    completed = np.minimum(rate_rps, capacity)
    return _serving(running, met(running), now, both, completed, capacity, utilization, variability)


def offline(*, slots: Floats, full: Pace) -> Serving:
    """Everything is there at once: all slots run until the work is done."""
    capacity = slots / full.service_s
    nobody = of_all(np.zeros_like(capacity))
    waits = SlotWaits(nobody, nobody)
    return _serving(slots, slots, full, waits, capacity, capacity, np.ones_like(capacity))
