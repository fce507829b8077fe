"""What a report consists of, before anyone decides how it looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header. ``numeric`` are the columns to align right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Section:
    """A title with paragraphs, points and a table, in that order; what is empty is left out."""

    title: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    """Small print under the table."""


@dataclass(frozen=True, slots=True)
class Report:
    """A headline, whether it is good news, and sections."""

    title: str
    headline: str
    good: bool
    sections: tuple[Section, ...]
