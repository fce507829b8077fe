"""Cells of a table of measurements, as people fill them: numbers with units, ranges, marks for "not known"."""

from __future__ import annotations

import re
from math import isfinite

UNKNOWN = frozenset(
    {"", "~", "-", "--", "–", "—", "?", "n/a", "na", "nan", "none", "null", "unknown", "not stated", "tbd"}
)
"""What stands for "not known"; compared without case and blanks."""

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_WORDS = r"((?![-.,/]\d)[^\d\s].*)?"
"""What may follow a number; "1,5", "3/4" and "2025-10-29" hold no number of that kind."""
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_VALUE = re.compile(rf"(?:~|≈|about|approx\.?|ca\.?|circa|[<>]=?|≤|≥|=)?\s*({_NUMBER})\s*{_WORDS}$", re.IGNORECASE)
_RANGE = re.compile(rf"({_NUMBER})\s*(?:-|–|—|to|\.\.\.?)\s*({_NUMBER})\s*{_WORDS}$", re.IGNORECASE)
_UNIT = re.compile(r"[a-zµμ%/]+", re.IGNORECASE)

LARGEST, MOST = 1e12, 100_000
"""Figures and counts beyond these are slips of the pen, so they are not known."""
MILLISECONDS = {"": 1.0, "ms": 1.0, "msec": 1.0, "s": 1e3, "sec": 1e3, "us": 1e-3, "µs": 1e-3, "μs": 1e-3}
"""Factors to the milliseconds in which latencies are stated."""
COUNTS = {"": 1.0, "k": 1e3, "m": 1e6}


def text(cell: str | None) -> str:
    """Trim a cell; marks for "not known" become empty.

    >>> text("  n/a "), text(" T4 ")
    ('', 'T4')
    """
    trimmed = " ".join((cell or "").split())
    return "" if trimmed.casefold() in UNKNOWN else trimmed


def number(cell: str | None, units: dict[str, float] = COUNTS) -> float | None:
    """Read a number; a range is its middle, a unit that is known is converted, anything else is not known.

    Parameters
    ----------
    units
        Factors by unit, lower case; units that are not in it are words and ignored.

    >>> number("1,024"), number("~512 tokens"), number("100-200"), number("8k")
    (1024.0, 512.0, 150.0, 8000.0)
    >>> number("1.2 s", MILLISECONDS), number("yes (512 in, 128 out)"), number("inf")
    (1200.0, None, None)
    """
    if not cell:  # most cells
        return None
    trimmed = _THOUSANDS.sub("", text(cell))
    try:  # nearly all others
        value = float(trimmed)
    except ValueError:
        value = _worded(trimmed, units)
    return value if isfinite(value) and abs(value) <= LARGEST else None


def milliseconds(cell: str | None) -> float | None:
    """Read a latency [ms].

    >>> milliseconds("1.2 s"), milliseconds("85 ms"), milliseconds("fast")
    (1200.0, 85.0, None)
    """
    return number(cell, MILLISECONDS)


def _worded(trimmed: str, units: dict[str, float]) -> float:
    between = _RANGE.match(trimmed)
    if between is not None:
        return (float(between[1]) + float(between[2])) / 2.0 * _factor(between[3], units)
    one = _VALUE.match(trimmed)
    return float("nan") if one is None else float(one[1]) * _factor(one[2], units)


def _factor(words: str | None, units: dict[str, float]) -> float:
    unit = _UNIT.match(words or "")
    return 1.0 if unit is None else units.get(unit[0].casefold(), 1.0)


def whole(cell: str | None) -> int | None:
    """Read a count; zero and less, broken and absurd numbers are not known.

    >>> whole("4"), whole("4.0"), whole("0"), whole("2.5")
    (4, 4, None, None)
    """
    value = number(cell)
    return int(value) if value is not None and 1 <= value <= MOST and value == int(value) else None


def stated(name: str, notes: str) -> float | None:
    """Find a setting in free text: the number after its name, dashes and underscores being equal.

    >>> stated("max_num_seqs", "GuideLLM; max_num_seqs 128, max_model_len 512")
    128.0
    >>> stated("max_num_seqs", "vllm serve x --max-num-seqs=64"), stated("max_num_seqs", "none")
    (64.0, None)
    """
    pattern = name.replace("_", "[-_ ]")
    found = re.search(rf"(?<![a-z]){pattern}[\s:=]*({_NUMBER})", notes, re.IGNORECASE)
    value = 0.0 if found is None else float(found[1])
    return value if 0.0 < value <= LARGEST else None
