"""How often a scheduled batch run starts, and how long it may take at most."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from inferplan.cron import starts
from inferplan.domain.scenario import Workload
from inferplan.domain.units import HOURS_PER_MONTH, SECONDS_PER_MINUTE


def runs_per_month(cron: str) -> Decimal:
    """Mean starts per month (730 h), leap years included and daylight saving aside.

    >>> runs_per_month("0 2 * * *").quantize(Decimal("0.01"))
    Decimal('30.42')
    >>> runs_per_month("0 2 * * SAT,SUN").quantize(Decimal("0.01"))
    Decimal('8.69')
    >>> runs_per_month("@monthly").quantize(Decimal("0.0001"))
    Decimal('0.9993')
    """
    per_month = starts(cron).per_hour * HOURS_PER_MONTH
    return Decimal(per_month.numerator) / per_month.denominator


def without_time_limit(work: Workload) -> Workload:
    """Let a run take as long as it takes; a scheduled one ends before the next one starts."""
    if work.schedule is None:
        return replace(work, deadline_s=None)
    gap_minutes = starts(work.schedule.cron).shortest_gap_s // SECONDS_PER_MINUTE
    schedule = replace(work.schedule, window_minutes=None)
    return replace(work, deadline_s=float(gap_minutes * SECONDS_PER_MINUTE), schedule=schedule)
