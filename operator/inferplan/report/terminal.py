"""Reports on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from inferplan.report.outline import Report, Section, Table

_SIGNS = frozenset({"✅", "⚠️", "💰", "❌"})
"""What a point may begin with instead of a bullet."""


def show(reports: Sequence[Report], console: Console) -> None:
    """Draw reports one after the other."""
    for report in reports:
        console.print(Rule(Text(report.title, style="bold"), align="left", style="dim"))
        console.print(Text(report.headline, style="bold green" if report.good else "bold red"))
        for section in report.sections:
            console.print(_section(section))
        console.print()


def _section(section: Section) -> RenderableType:
    parts: list[RenderableType] = [Text(section.title, style="bold cyan")]
    parts.extend(Padding(Text(paragraph), (0, 0, 0, 2)) for paragraph in section.paragraphs)
    parts.extend(_point(point) for point in section.points)
    if section.table is not None:
        parts.append(Padding(_table(section.table), (0, 0, 0, 2)))
    parts.extend(Padding(Text(note, style="dim"), (0, 0, 0, 2)) for note in section.notes)
    return Padding(Group(*parts), (1, 0, 0, 0))


def _point(point: str) -> RenderableType:
    grid = Grid.grid(padding=(0, 1))
    sign, _, rest = point.partition(" ")
    if sign not in _SIGNS:
        sign, rest = "•", point
    grid.add_column(width=2, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(sign), Text(rest))
    return Padding(grid, (0, 0, 0, 2))


def _table(table: Table) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="bold", show_header=any(table.header))
    for index, name in enumerate(table.header):
        justify: Literal["left", "right"] = "right" if index in table.numeric else "left"
        style = "dim" if index == 0 and not name else ""
        grid.add_column(Text(name), justify=justify, overflow="fold", style=style)
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid
