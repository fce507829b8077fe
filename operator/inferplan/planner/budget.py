"""Limits of cost: which price of an hour they leave."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.scenario import Enforcement, Scenario
from inferplan.domain.units import HOURS_PER_MONTH, SECONDS_PER_HOUR, micro_usd
from inferplan.planner.schedule import runs_per_month
from inferplan.planner.targets import Ask

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UseLimits:
    """Limits that depend on how much is served: per request, and per month of scheduled runs.

    Parameters
    ----------
    usd_per_request
        Upper limit of one request (item) [USD], infinite for none.
    usd_per_month
        Upper limit of the exact bill of a month [USD] (:func:`exact_month_micro_usd`), infinite for none.
    items_per_month
        Items of all runs of a month.
    """

    usd_per_request: float
    usd_per_month: float = inf
    items_per_month: float = 0.0

    def most_usd_per_hour(self, rate_rps: Floats) -> Floats:
        """Highest price of an hour [USD] at which nothing costs too much, at that many requests per second.

        A month has its hours rounded to hundredths and its bill to cents, as they are told.
        """
        most: Floats = self.usd_per_request * SECONDS_PER_HOUR * rate_rps
        if isfinite(self.usd_per_month):
            hours = np.minimum(np.round(self.items_per_month / rate_rps / SECONDS_PER_HOUR, 2), HOURS_PER_MONTH)
            most = np.minimum(most, self.usd_per_month / np.maximum(hours, 1e-12) * (1 + 1e-12))
        return most


def limits_of_use(ask: Ask) -> UseLimits | None:
    """Limits per request and per month of runs that count for this question; None if there is none.

    They are those of today's load, whatever load must be served: headroom costs, and the bill comes today.
    """
    budget, work = ask.scenario.budget, ask.scenario.workload
    if ask.lift_budget or budget.enforcement is Enforcement.WARN:
        return None
    per_request = inf if budget.maximum_usd_per_request is None else float(budget.maximum_usd_per_request)
    per_month, items = inf, 0.0
    if work.schedule is not None and work.items is not None and budget.maximum_usd_per_month is not None:
        per_month = exact_month_micro_usd(budget.maximum_usd_per_month) / 1e6
        items = work.items * float(runs_per_month(work.schedule.cron))
    if per_request == per_month == inf:
        return None
    return UseLimits(per_request, per_month, items)


def budget_micro_usd(scenario: Scenario) -> int | None:
    """Tightest hourly limit that the budget sets. A limit per request is judged under load; here it bounds the hour."""
    budget = scenario.budget
    if budget.enforcement is Enforcement.WARN:
        return None
    limits = []
    if budget.maximum_usd_per_hour is not None:
        limits.append(micro_usd(budget.maximum_usd_per_hour))
    if budget.maximum_usd_per_month is not None and scenario.workload.schedule is None:
        limits.append(exact_month_micro_usd(budget.maximum_usd_per_month) // HOURS_PER_MONTH)
    most_rps = most_rate_rps(scenario)
    if budget.maximum_usd_per_request is not None and isfinite(most_rps):
        limits.append(int(float(budget.maximum_usd_per_request) * SECONDS_PER_HOUR * most_rps * 1e6) + 1)
    return min(limits) if limits else None


def exact_month_micro_usd(limit_usd: Decimal) -> int:
    """Largest exact bill of a month [micro-USD] that is told as no more than a limit [USD].

    Notes
    -----
    A bill is told in cents, a half cent going to the even one.

    >>> exact_month_micro_usd(Decimal("299.30")), exact_month_micro_usd(Decimal("0.019"))
    (299305000, 14999)
    """
    cents = int(limit_usd * 100)
    return cents * 10_000 + (5_000 if cents % 2 == 0 else 4_999)


def most_rate_rps(scenario: Scenario) -> float:
    """Requests per second that are never exceeded, infinite if nothing says so.

    People who think ``Z`` seconds between answers send at most one request every Z seconds each.
    """
    work = scenario.workload
    if work.request_rate_rps is not None:
        return work.request_rate_rps
    if work.concurrent_users is not None and work.think_time_s > 0:
        return work.concurrent_users / work.think_time_s
    return inf
