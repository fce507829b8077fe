"""How often a scheduled batch run starts."""

from __future__ import annotations

from decimal import Decimal

from inferplan.domain.cron import starts
from inferplan.domain.units import HOURS_PER_MONTH


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
