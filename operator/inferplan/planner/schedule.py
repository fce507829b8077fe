"""Cron lines: how often a scheduled batch run starts."""

from __future__ import annotations

from decimal import Decimal

from inferplan.domain.units import HOURS_PER_MONTH


def runs_per_month(cron: str) -> Decimal:
    """Mean starts per month (730 h) of a five-field cron line with ``*``, numbers, lists, ranges and steps.

    >>> runs_per_month("0 2 * * *").quantize(Decimal("0.01"))
    Decimal('30.42')
    >>> runs_per_month("0 2 * * 6,0").quantize(Decimal("0.01"))
    Decimal('8.69')
    >>> runs_per_month("0 2 * * 0,7").quantize(Decimal("0.01"))
    Decimal('4.35')
    """
    minute, hour, day, month, weekday = cron.split()
    per_day = len(_matching(minute, 0, 59)) * len(_matching(hour, 0, 23))
    days = Decimal(HOURS_PER_MONTH) / 24
    in_month = Decimal(len(_matching(day, 1, 31))) / 31
    in_week = Decimal(len({number % 7 for number in _matching(weekday, 0, 7)})) / 7  # 0 and 7 are both Sunday
    in_year = Decimal(len(_matching(month, 1, 12))) / 12
    # With both day fields restricted cron runs when either matches.
    both = in_month * in_week
    share = in_month + in_week - both if day != "*" and weekday != "*" else both
    return days * per_day * share * in_year


def _matching(entry: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in entry.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start, end = (low, high) if span == "*" else (int(first), int(last or (high if step else first)))
        found.update(range(start, end + 1, int(step or 1)))
    return found
