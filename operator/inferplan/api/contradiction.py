"""Something in a spec that cannot be meant."""

from __future__ import annotations

from typing import NamedTuple


class Contradiction(NamedTuple):
    """A field, what is wrong with it, and how to mend it."""

    path: str
    problem: str
    fix: str = ""
