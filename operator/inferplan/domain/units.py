"""The only place where units are converted.

Inside, everything is bytes, seconds, tokens, FLOP and USD. ``GB`` is 10⁹ bytes, ``GIB`` is 2³⁰ bytes;
neither is ever written "gb" alone.
"""

from __future__ import annotations

from decimal import Decimal

MB = 1_000_000
GB = 1_000_000_000
MIB = 2**20
GIB = 2**30

SECONDS_PER_MINUTE = 60
SECONDS_PER_HOUR = 3_600
HOURS_PER_DAY = 24
HOURS_PER_MONTH = 730
HOURS_PER_YEAR = 8_760
"""A month of cost is 730 h, the cloud providers' own convention (8760 h / 12)."""

MICRO_USD = Decimal("0.000001")
"""Prices are kept to one micro-dollar, so that the search can use exact integers."""


def milliseconds(seconds: float) -> float:
    """Convert seconds to milliseconds.

    >>> milliseconds(0.25)
    250.0
    """
    return seconds * 1_000.0


def seconds_from_milliseconds(value_ms: float) -> float:
    """Convert milliseconds to seconds.

    >>> seconds_from_milliseconds(250)
    0.25
    """
    return value_ms / 1_000.0


def micro_usd(amount: Decimal) -> int:
    """Convert USD to whole micro-dollars.

    Raises
    ------
    ValueError
        If the amount is finer than one micro-dollar.

    >>> micro_usd(Decimal("0.526"))
    526000
    """
    scaled = amount / MICRO_USD
    if scaled != scaled.to_integral_value():
        message = f"{amount} USD is finer than one micro-dollar"
        raise ValueError(message)
    return int(scaled)


def usd_from_micro(amount: int) -> Decimal:
    """Convert whole micro-dollars to USD.

    >>> usd_from_micro(526000)
    Decimal('0.526000')
    """
    return Decimal(amount) * MICRO_USD
