"""Numbers as the status writes them: decimal text without exponents, whole MiB, nothing that JSON readers lose."""

from __future__ import annotations

import math
from decimal import Decimal

from inferplan.domain.units import MIB

SIGNIFICANT = 6
"""Digits of a prediction; its range is far wider than what they leave out."""
EXACT = 12
"""Digits of what a cost is divided by, so that it can be recomputed by hand."""
UNBOUNDED = "unbounded"


def decimal_text(value: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros.

    >>> [decimal_text(Decimal(text)) for text in ("0.526000", "1E+3", "0", "2.50")]
    ['0.526', '1000', '0', '2.5']
    """
    if not value.is_finite():
        return UNBOUNDED
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(value: Decimal, digits: int = EXACT) -> str:
    """Write a decimal with so many significant digits.

    >>> rounded(Decimal(1) / Decimal(3), 4)
    '0.3333'
    """
    return decimal_text(Decimal(f"{value:.{digits - 1}e}")) if value.is_finite() else UNBOUNDED


def figure(value: float, digits: int = SIGNIFICANT) -> str:
    """Write a float with so many significant digits; what has no finite value is "unbounded".

    >>> figure(0.000123456789), figure(1234567.0), figure(float("inf"))
    ('0.000123457', '1234570', 'unbounded')
    """
    if not math.isfinite(value):
        return UNBOUNDED
    return decimal_text(Decimal(f"{value:.{digits - 1}e}"))


def whole(value: float) -> int:
    """Round to a whole number that is not negative; what has no finite value becomes 0.

    >>> whole(2.6), whole(float("nan"))
    (3, 0)
    """
    return max(0, round(value)) if math.isfinite(value) else 0


def mebibytes(value_bytes: float) -> int:
    """Convert bytes to whole MiB.

    >>> mebibytes(15_360 * 2**20)
    15360
    """
    return whole(value_bytes / MIB)


def percent(share: float) -> int:
    """Convert a share to whole percent.

    >>> percent(0.514)
    51
    """
    return whole(share * 100)


def dollars(value: Decimal) -> str:
    """Write an amount as people read it: cents, or three digits where there are no cents.

    >>> [dollars(Decimal(text)) for text in ("1.157", "0.00003123", "12000", "0")]
    ['$1.16', '$0.0000312', '$12000.00', '$0.00']
    """
    cents = Decimal("0.01")
    if value == 0 or abs(value) >= cents:
        return f"${value.quantize(cents)}" if abs(value) < Decimal(10) ** 20 else f"${value:.3e}"
    return f"${rounded(value, 3)}"


def seconds(value_s: float) -> str:
    """Write a time as people read it.

    >>> seconds(0.0123), seconds(0.42), seconds(75.2)
    ('12.3 ms', '420 ms', '75.2 s')
    """
    return f"{figure(value_s * 1_000, 3)} ms" if value_s < 1 else f"{figure(value_s, 3)} s"
