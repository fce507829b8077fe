"""Kubernetes quantities: ``3920m`` CPUs, ``15Gi`` of memory."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"^\+?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?$")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_LONGEST = 32


def quantity(text: str | float | None) -> Decimal | None:
    """Read a quantity that is not negative; None if it is none.

    >>> quantity("3920m"), quantity("15Gi"), quantity("1e3"), quantity("much")
    (Decimal('3.920'), Decimal('16106127360'), Decimal('1000'), None)
    """
    found = _QUANTITY.fullmatch(str(text)) if text is not None and len(str(text)) <= _LONGEST else None
    if found is None:
        return None
    number, suffix = Decimal(found.group(1)), found.group(2) or ""
    if suffix in _BINARY:
        return number * Decimal(1024) ** _BINARY[suffix]
    exponent = int(suffix[1:]) if suffix[:1] in {"e", "E"} and suffix not in _DECIMAL else _DECIMAL[suffix]
    return Decimal(format(number.scaleb(exponent), "f"))


def millicores(text: str | float | None) -> int | None:
    """Read a quantity of CPUs in thousandths, rounded down.

    >>> millicores("3920m"), millicores("96"), millicores(None)
    (3920, 96000, None)
    """
    found = quantity(text)
    return None if found is None else int(found * 1000)


def quantity_bytes(text: str | float | None) -> int | None:
    """Read a quantity of memory in bytes, rounded down.

    >>> quantity_bytes("15Gi"), quantity_bytes("128974848")
    (16106127360, 128974848)
    """
    found = quantity(text)
    return None if found is None else int(found)
