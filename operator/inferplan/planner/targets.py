"""What a candidate is judged on under load: small pure checks in one ordered, named list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Scenario
from inferplan.planner.load import Forecast

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ROUNDING = 1e-9
"""By so much a capacity may be exceeded: a load divided over replicas is rounded."""


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
    bill_limit
        Upper limit of what the search minimises, see :meth:`inferplan.planner.contest.Contest.bill`.
    """

    scenario: Scenario
    load_factor: float = 1.0
    slo_factor: float = 1.0
    budget_micro_usd: int | None = None
    accept: Bools | None = None
    lift_budget: bool = False
    bill_limit: int | None = None


LoadCheck = Callable[[Ask, Forecast], tuple[Floats, Floats]]


def within_capacity(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare the offered load [requests/s] with the capacity, conservative end; a queue that grows meets no target."""
    del ask
    return forecast_.capacity_rps * (1.0 + ROUNDING), forecast_.offered_rps


def within_deadline(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare the run's duration [s], conservative end, with its deadline."""
    deadline = ask.scenario.workload.time_limit_s
    return _target(deadline, 1.0, forecast_.run_duration_s)


def within_ttft(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare time to first token [s], conservative end, with its target."""
    return _target(ask.scenario.slo.ttft_s, ask.slo_factor, forecast_.ttft_s)


def within_tpot(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare time per output token [s], conservative end, with its target."""
    return _target(ask.scenario.slo.tpot_s, ask.slo_factor, forecast_.tpot_s)


def within_latency(ask: Ask, forecast_: Forecast) -> tuple[Floats, Floats]:
    """Compare the whole request [s], conservative end, with its target."""
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
    ReasonCode.LOAD_OVER_CAPACITY: "requests/s",
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
    good = np.ones(len(forecast_.ttft_s), dtype=np.bool_)
    for _, check in checks_of(ask):
        limit, actual = check(ask, forecast_)
        good &= actual <= limit
    return good
