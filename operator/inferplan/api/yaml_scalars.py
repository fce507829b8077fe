"""Plain scalars of YAML, read as ``kubectl`` reads them, and text made fit for messages."""

from __future__ import annotations

import re

MAXIMUM_DIGITS = 30

Scalar = str | int | float | bool | None

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    spelling: truth
    for truth, words in ((True, ("true", "yes", "on")), (False, ("false", "no", "off")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?([.][0-9]+|[0-9]+([.][0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?[.](inf|Inf|INF)|[.](nan|NaN|NAN)")


def resolve_scalar(text: str) -> Scalar:
    """Read a plain scalar.

    >>> [resolve_scalar(text) for text in ("12", "0x10", "2.5", "1:30", "yes", "~", "2026-11-24")]
    [12, 16, 2.5, '1:30', True, None, '2026-11-24']
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"[.](inf|nan)", r"\1", text, flags=re.IGNORECASE))
    return text


def _integer(text: str) -> int | float | str:
    """Read a whole number as Go does: leading zero = octal; absurdly long numbers become floats."""
    digits = text.replace("_", "")
    unsigned = digits.lstrip("+-")
    try:
        if len(unsigned) > MAXIMUM_DIGITS:
            return float(digits)
        if len(unsigned) > 1 and unsigned.startswith("0") and unsigned[1].isdigit():
            return int(digits, 8)
        return int(digits, 0)
    except ValueError:
        return text


def has_leading_zero(text: str) -> bool:
    """Whether a plain scalar is a whole number with a leading zero: octal to YAML 1.1, seldom to who wrote it.

    >>> [has_leading_zero(text) for text in ("010", "-08", "0", "0.5", "0x10", "007a")]
    [True, True, False, False, False, False]
    """
    return re.fullmatch(r"[-+]?0[0-9_]+", text) is not None


def has_surrogates(text: str) -> bool:
    """Whether text has halves of characters, which no encoding can write."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def shorten(text: str, limit: int = 60) -> str:
    """Cut text that is too long for a message, and make it printable in one line."""
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
