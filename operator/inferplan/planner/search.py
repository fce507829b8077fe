"""The exhaustive search: every shape with every batch limit, and for each the fewest replicas that will do.

Latency never rises and capacity never falls when the same load is spread over more replicas, so "does it meet the
targets" is monotone in the number of replicas. That gives the search its three steps, none of which can lose
the answer:

1. *At most.* Put the load on as many replicas as GPUs, supply and budget allow. What fails even then fails always,
   and is turned down with the reason.
2. *At least.* Saturation throughput bounds the number of replicas from below, and with it the cost.
3. *Exactly.* In the order of that lower bound, bisect for the fewest replicas, and stop when the bound of the next
   candidates exceeds what was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Scenario
from inferplan.planner.field import Field
from inferplan.planner.load import Forecast, forecast, least_rate_rps
from inferplan.planner.schedule import runs_per_month
from inferplan.planner.supply import UNAVAILABLE

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

CHUNK = 2_048
"""Candidates bisected together; a matter of speed only."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the search.

    Parameters
    ----------
    scenario
        Requirements.
    load_factor
        Multiple of the scenario's load that must be served.
    slo_factor
        Latencies must stay below this share of their targets.
    budget_micro_usd
        Upper limit of cost [micro-USD/h], None for none.
    accept
        Rows of the field that may be chosen, shape (n,); None for all.
    lift_budget
        Limits per request and per month do not count either.
    """

    scenario: Scenario
    load_factor: float = 1.0
    slo_factor: float = 1.0
    budget_micro_usd: int | None = None
    accept: Bools | None = None
    lift_budget: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What the search settled on."""

    row: int
    max_num_seqs: int
    replicas: int
    cost_micro_usd: int


@dataclass(frozen=True, slots=True)
class Turned:
    """Candidates turned down under load: reason, row of the field, limit and actual, all shape (m,)."""

    code: tuple[ReasonCode, ...]
    which: Ints
    row: Ints
    max_num_seqs: Ints
    limit: Floats
    actual: Floats


@dataclass(frozen=True, slots=True)
class Contest:
    """Candidates left after step 1, with the bounds of steps 1 and 2; all arrays have shape (m,)."""

    ask: Ask
    row: Ints
    max_num_seqs: Ints
    fewest: Ints
    most: Ints
    bound_micro_usd: Ints
    at_most: Forecast
    turned: Turned


LoadCheck = Callable[[Ask, Forecast], tuple[Floats, Floats]]


def within_capacity(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare the offered load with saturation; a queue that only grows meets no target."""
    del ask
    return np.ones_like(forecast_.utilization), forecast_.utilization


def within_deadline(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare the run's duration [s], careful end, with its deadline."""
    deadline = ask.scenario.workload.deadline_s
    return _target(deadline, 1.0, forecast_.run_duration_s)


def within_ttft(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare time to first token [s], careful end, with its target."""
    return _target(ask.scenario.slo.ttft_s, ask.slo_factor, forecast_.ttft_s)


def within_tpot(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare time per output token [s], careful end, with its target."""
    return _target(ask.scenario.slo.tpot_s, ask.slo_factor, forecast_.tpot_s)


def within_latency(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare the whole request [s], careful end, with its target."""
    return _target(ask.scenario.slo.e2e_latency_s, ask.slo_factor, forecast_.e2e_s)


def _target(limit: float | None, factor: float, actual: Floats) -> tuple[Floats, Floats]:
    return np.full_like(actual, np.inf if limit is None else limit * factor), actual


LOAD_CHECKS: tuple[tuple[ReasonCode, LoadCheck], ...] = (
    (ReasonCode.LOAD_OVER_CAPACITY, within_capacity),
    (ReasonCode.DEADLINE_MISSED, within_deadline),
    (ReasonCode.TTFT_OVER_TARGET, within_ttft),
    (ReasonCode.TPOT_OVER_TARGET, within_tpot),
    (ReasonCode.LATENCY_OVER_TARGET, within_latency),
)

LOAD_UNITS = {
    ReasonCode.LOAD_OVER_CAPACITY: "of saturation",
    ReasonCode.DEADLINE_MISSED: "s",
    ReasonCode.TTFT_OVER_TARGET: "s",
    ReasonCode.TPOT_OVER_TARGET: "s",
    ReasonCode.LATENCY_OVER_TARGET: "s",
    ReasonCode.OVER_BUDGET: "USD/h",
    ReasonCode.GPUS_OVER_MAXIMUM: "GPUs",
    ReasonCode.NO_INVENTORY: "free slots",
}


def checks_of(ask: Ask) -> tuple[tuple[ReasonCode, LoadCheck], ...]:
    """Checks that count for this question: a full pin is obeyed whatever its latency."""
    pin = ask.scenario.pin
    return () if pin is not None and pin.is_full else LOAD_CHECKS


def passes(ask: Ask, forecast_: Forecast) -> Bools:
    """Whether each candidate meets every requirement under load."""
    good = np.ones(len(forecast_.utilization), dtype=np.bool_)
    for _, check in checks_of(ask):
        limit, actual = check(ask, forecast_)
        good &= actual <= limit
    return good


def contest(field: Field, ask: Ask) -> Contest:
    """Steps 1 and 2: who can do it at all, and with how many replicas at least."""
    row, seqs = field.batch_limits()
    if ask.accept is not None:
        keep = ask.accept[row]
        row, seqs = row[keep], seqs[keep]
    most = _most_replicas(field, ask, row)
    code = np.full(len(row), -1, dtype=np.int64)
    limit = np.full(len(row), np.nan)
    actual = np.full(len(row), np.nan)
    names: list[ReasonCode] = []
    for reason, fails, bound, value in _supply_findings(field, ask, row, most):
        names.append(reason)
        hit = fails & (code < 0)
        code[hit], limit[hit], actual[hit] = len(names) - 1, bound[hit], value[hit]
    alive = np.flatnonzero(code < 0)
    ahead = forecast(field, ask.scenario, row[alive], seqs[alive], most[alive], ask.load_factor)
    for reason, check in checks_of(ask):
        names.append(reason)
        bounds, values = check(ask, ahead)
        fresh = (values > bounds) & (code[alive] < 0)
        at = alive[fresh]
        code[at], limit[at], actual[at] = len(names) - 1, bounds[fresh], values[fresh]
    good = code[alive] < 0
    left = alive[good]
    at_most = ahead.take(np.flatnonzero(good))
    rate = least_rate_rps(ask.scenario, ask.load_factor)
    fewest = np.ceil(rate / np.maximum(at_most.capacity_rps, 1e-12) - 1e-9)
    fewest = np.clip(fewest, 1, most[left]).astype(np.int64)
    out = code >= 0
    return Contest(
        ask=ask,
        row=row[left],
        max_num_seqs=seqs[left],
        fewest=fewest,
        most=most[left],
        bound_micro_usd=field.cost(row[left], fewest),
        at_most=at_most,
        turned=Turned(tuple(names), code[out], row[out], seqs[out], limit[out], actual[out]),
    )


def _most_replicas(field: Field, ask: Ask, row: Ints) -> Ints:
    pinned = ask.scenario.pin.replicas if ask.scenario.pin else None
    most = field.most_replicas(row, ask.budget_micro_usd)
    if pinned is not None:
        most = np.where(most >= pinned, pinned, 0)
    return most


def _supply_findings(field: Field, ask: Ask, row: Ints, most: Ints) -> list[tuple[ReasonCode, Bools, Floats, Floats]]:
    """Why not a single replica (or not the pinned number) can be had."""
    pinned = ask.scenario.pin.replicas if ask.scenario.pin else None
    wanted = np.full(len(row), pinned or 1, dtype=np.int64)
    gpus = field.gpus_per_replica[row] * wanted
    maximum = np.full(len(row), float(ask.scenario.hardware.maximum_gpus))
    none = most < wanted
    cost = field.cost(row, wanted)
    missing = none & (cost >= UNAVAILABLE)
    price = np.where(cost >= UNAVAILABLE, np.nan, cost / 1e6)
    budget = np.full(len(row), np.nan if ask.budget_micro_usd is None else ask.budget_micro_usd / 1e6)
    slots = field.free_slots(row)
    short = ReasonCode.NO_OFFERING if field.supply.source == "Market" else ReasonCode.NO_INVENTORY
    return [
        (ReasonCode.GPUS_OVER_MAXIMUM, none & (gpus > maximum), maximum, gpus.astype(np.float64)),
        (short, missing, slots.astype(np.float64), wanted * field.pp[row].astype(np.float64)),
        (ReasonCode.OVER_BUDGET, none & ~missing, budget, price),
    ]


def cheapest(field: Field, contest_: Contest, group: Bools | None = None) -> Choice | None:
    """Step 3: the candidate with the lowest cost; ties by the field's total order.

    Parameters
    ----------
    group
        Candidates of the contest to choose among, shape (m,); None for all.
    """
    index = np.arange(len(contest_.row)) if group is None else np.flatnonzero(group)
    if len(index) == 0:
        return None
    order = index[np.argsort(contest_.bound_micro_usd[index], kind="stable")]
    best: tuple[int, ...] | None = None
    choice: Choice | None = None
    for start in range(0, len(order), CHUNK):
        part = order[start : start + CHUNK]
        if choice is not None:
            part = part[contest_.bound_micro_usd[part] <= choice.cost_micro_usd]
            if len(part) == 0:
                break
        replicas = fewest_replicas(field, contest_, part)
        cost = field.cost(contest_.row[part], replicas)
        cost = np.where(affordable(field, contest_, part, replicas, cost), cost, UNAVAILABLE)
        if cost.min() >= UNAVAILABLE:
            continue
        ties = np.flatnonzero(cost == cost.min())
        room = _room(field, contest_, part[ties], replicas[ties])
        for at, off in zip(ties, room, strict=True):
            row, seqs = int(contest_.row[part[at]]), int(contest_.max_num_seqs[part[at]])
            key = (int(cost[at]), *field.preference(row), int(replicas[at]), int(off), seqs)
            if best is None or key < best:
                best = key
                choice = Choice(row, seqs, int(replicas[at]), int(cost[at]))
    return choice


def _room(field: Field, contest_: Contest, part: NDArray[np.intp], replicas: Ints) -> Ints:
    """How far each batch limit is from room for twice the running batch (and four sequences more), in thousandths.

    Among equally cheap batch limits this decides: a tighter one turns bursts into queues, a wider one lets a burst slow
    everybody down.
    """
    ahead = forecast(
        field,
        contest_.ask.scenario,
        contest_.row[part],
        contest_.max_num_seqs[part],
        replicas,
        contest_.ask.load_factor,
    )
    wanted = 2.0 * ahead.running + 4.0
    return np.rint(1_000.0 * np.abs(np.log(contest_.max_num_seqs[part] / wanted))).astype(np.int64)


def affordable(field: Field, contest_: Contest, part: NDArray[np.intp], replicas: Ints, cost: Ints) -> Bools:
    """Whether each candidate keeps to limits per request and, for scheduled runs, per month; shape of ``part``."""
    scenario = contest_.ask.scenario
    per_request, per_month = scenario.budget.maximum_usd_per_request, monthly_limit_of_runs(scenario)
    if (per_request is None and per_month is None) or contest_.ask.lift_budget or not checks_of(contest_.ask):
        return np.ones(len(part), dtype=np.bool_)
    rows, seqs = contest_.row[part], contest_.max_num_seqs[part]
    ahead = forecast(field, scenario, rows, seqs, replicas, contest_.ask.load_factor)
    usd_per_request = cost / 1e6 / 3_600 / np.maximum(ahead.completed_rps * replicas, 1e-12)
    good = np.ones(len(part), dtype=np.bool_)
    if per_request is not None:
        good &= usd_per_request <= float(per_request)
    if per_month is not None:
        items, limit = per_month
        good &= usd_per_request * items <= limit
    return good


def monthly_limit_of_runs(scenario: Scenario) -> tuple[float, float] | None:
    """Items per month and the monthly limit [USD] of a scheduled batch, None for anything else."""
    work, limit = scenario.workload, scenario.budget.maximum_usd_per_month
    if limit is None or work.schedule is None or work.items is None:
        return None
    return work.items * float(runs_per_month(work.schedule.cron)), float(limit)


def fewest_replicas(field: Field, contest_: Contest, part: NDArray[np.intp]) -> Ints:
    """Fewest replicas with which each candidate passes, by bisection; shape of ``part``."""
    low, high = contest_.fewest[part].copy(), contest_.most[part].copy()
    pinned = contest_.ask.scenario.pin.replicas if contest_.ask.scenario.pin else None
    if pinned is not None:
        return high
    first = True
    while True:
        open_ = np.flatnonzero(low < high)
        if len(open_) == 0:
            return high
        middle = low[open_] if first else (low[open_] + high[open_]) // 2
        first = False
        at = part[open_]
        ahead = forecast(
            field,
            contest_.ask.scenario,
            contest_.row[at],
            contest_.max_num_seqs[at],
            middle,
            contest_.ask.load_factor,
        )
        good = passes(contest_.ask, ahead)
        high[open_[good]] = middle[good]
        low[open_[~good]] = middle[~good] + 1


def extreme(field: Field, contest_: Contest, minimise: str) -> Choice | None:
    """The candidate with the smallest latency, duration, GPU count or loss of quality, at any cost.

    Parameters
    ----------
    minimise
        ``ttft``, ``tpot``, ``e2e``, ``duration`` (all smallest on the most replicas), ``gpus`` or ``quality``.
    """
    if len(contest_.row) == 0:
        return None
    if minimise == "gpus":
        return _fewest_gpus(field, contest_)
    ahead = contest_.at_most
    figures = {
        "ttft": ahead.ttft_s,
        "tpot": ahead.tpot_s,
        "e2e": ahead.e2e_s,
        "duration": ahead.run_duration_s,
        "quality": -np.nan_to_num(field.score[contest_.row], nan=-np.inf),
    }
    value = figures[minimise]
    best = np.flatnonzero(value <= value.min())
    if minimise == "quality":
        group = np.zeros(len(value), dtype=np.bool_)
        group[best] = True
        return cheapest(field, contest_, group)
    cost = field.cost(contest_.row[best], contest_.most[best])
    order = sorted(
        range(len(best)),
        key=lambda i: (int(cost[i]), field.preference(int(contest_.row[best[i]])), int(contest_.max_num_seqs[best[i]])),
    )
    at = best[order[0]]
    return Choice(int(contest_.row[at]), int(contest_.max_num_seqs[at]), int(contest_.most[at]), int(cost[order[0]]))


def _fewest_gpus(field: Field, contest_: Contest) -> Choice | None:
    every = np.arange(len(contest_.row))
    replicas = fewest_replicas(field, contest_, every)
    gpus = replicas * field.gpus_per_replica[contest_.row]
    cost = field.cost(contest_.row, replicas)
    good = affordable(field, contest_, every, replicas, cost)
    if not good.any():
        return None
    least = gpus[good].min()
    group = good & (gpus == least)
    at = every[group][np.argmin(cost[group])]
    return Choice(int(contest_.row[at]), int(contest_.max_num_seqs[at]), int(replicas[at]), int(cost[at]))
