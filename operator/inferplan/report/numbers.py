"""Numbers with their units, with as many digits as a person can use."""

from __future__ import annotations

import math
from decimal import Decimal

from inferplan.api.figures import UNBOUNDED, dollars, figure, seconds
from inferplan.domain.estimate import Estimate, MemoryLedger, Range
from inferplan.domain.plan import Compatibility
from inferplan.domain.units import GB

DIGITS = 3
_MOST_DIGITS = 15
SIGNS = {Compatibility.COMPATIBLE: "✅", Compatibility.TIGHT_FIT: "⚠️", Compatibility.INCOMPATIBLE: "❌"}
FIT = {
    Compatibility.COMPATIBLE: "compatible",
    Compatibility.TIGHT_FIT: "tight fit",
    Compatibility.INCOMPATIBLE: "does not fit",
}


def usd(value: Decimal) -> str:
    """Write an amount as people read it, thousands apart.

    >>> usd(Decimal("1387")), usd(Decimal("0.0000463"))
    ('$1,387.00', '$0.0000463')
    """
    if Decimal(1_000) <= abs(value) < Decimal(10) ** 15:
        return f"${value:,.2f}"
    return dollars(value)


def gigabytes(value_bytes: float) -> str:
    """Write bytes as decimal gigabytes.

    >>> gigabytes(16_106_127_360)
    '16.1 GB'
    """
    return f"{value_bytes / GB:.1f} GB"


def number(value: float, digits: int = DIGITS) -> str:
    """Write a figure with three digits or more, and thousands apart.

    >>> number(0.012345), number(12345.6), number(12345.6, 6)
    ('0.0123', '12,300', '12,345.6')
    """
    if not math.isfinite(value):
        return UNBOUNDED
    return f"{Decimal(figure(value, digits)):,f}"


def against(actual: float, limit: float, unit: str) -> str:
    """Write a value and the limit that it breaks, with as many digits as it takes to tell them apart.

    >>> against(22.9, 22.1, "GB"), against(1.0004, 1.0, "s"), against(8192, 4096, "tokens")
    ('22.9 against 22.1 GB', '1.0004 against 1 s', '8,192 against 4,096 tokens')
    """
    shown = [number(value, _MOST_DIGITS) for value in (actual, limit)]
    for digits in range(DIGITS, _MOST_DIGITS):
        texts = [number(value, digits) for value in (actual, limit)]
        if texts[0] != texts[1]:
            shown = [
                number(value, _MOST_DIGITS) if value.is_integer() else text
                for value, text in zip((float(actual), float(limit)), texts, strict=True)
            ]
            break
    return f"{shown[0]} against {shown[1]} {unit}".rstrip()


def between(value: Range, unit: str = "") -> str:
    """Write a figure with its range.

    >>> between(Range(8.0, 10.0, 14.0), "tok/s")
    '10 tok/s (8–14)'
    """
    tail = f" {unit}" if unit else ""
    return f"{number(value.expected)}{tail} ({number(value.low)}–{number(value.high)})"


def duration(value: Range) -> str:
    """Write a time with its range, all in the unit of the expected value.

    >>> duration(Range(0.2, 0.25, 0.4)), duration(Range(0.6, 1.21, 2.4))
    ('250 ms (200–400)', '1.21 s (0.6–2.4)')
    """
    scale = 1_000 if value.expected < 1 else 1
    return f"{seconds(value.expected)} ({number(value.low * scale)}–{number(value.high * scale)})"


def minutes(value: Range) -> str:
    """Write a long time with its range, in minutes."""
    return f"{number(value.expected / 60)} min ({number(value.low / 60)}–{number(value.high / 60)})"


def memory(ledger: MemoryLedger) -> str:
    """Write what a plan uses of one GPU's memory."""
    share = ledger.needed_bytes / ledger.capacity_bytes
    return f"{gigabytes(ledger.needed_bytes)} ({share:.0%})"


def speed(estimate: Estimate) -> str:
    """Write the generation speed of one user, a dash where nothing is generated."""
    if estimate.output_tps_per_user.expected <= 0:
        return "–"
    return between(estimate.output_tps_per_user, "tok/s")


def throughput(estimate: Estimate) -> str:
    """Write what the deployment completes: tokens, or items where nothing is generated."""
    if estimate.output_tps_total.expected <= 0:
        return between(estimate.capacity_rps, "items/s")
    return between(estimate.output_tps_total, "tok/s")
