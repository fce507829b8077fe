"""Reports on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from inferplan.report.outline import Report, Section, Table

_GAP = 2
_MANY = 5
"""From so many columns on a table that does not fit is drawn row by row; fewer columns stay side by side."""
_SIGNS = frozenset({"✅", "⚠️", "💰", "❌"})
"""What a point may begin with instead of a bullet."""


def show(reports: Sequence[Report], console: Console) -> None:
    """Draw reports one after the other."""
    for report in reports:
        console.print(Rule(Text(report.title, style="bold"), align="left", style="dim"))
        console.print(Text(report.headline, style="bold green" if report.good else "bold red"))
        for section in report.sections:
            console.print(_section(section, console.width))
        console.print()


def _section(section: Section, width: int) -> RenderableType:
    parts: list[RenderableType] = [Text(section.title, style="bold cyan")]
    parts.extend(Padding(Text(paragraph), (0, 0, 0, 2)) for paragraph in section.paragraphs)
    parts.extend(_point(point) for point in section.points)
    if section.table is not None:
        fits = len(section.table.header) < _MANY or _narrowest(section.table) + 2 <= width
        parts.append(Padding(_table(section.table, width - 2) if fits else _records(section.table), (0, 0, 0, 2)))
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


def _narrowest(table: Table) -> int:
    """Columns that a table needs so that no word is broken."""
    columns = zip(table.header, *table.rows, strict=True)
    return sum(max(cell_len(word) for cell in column for word in [*cell.split(), ""]) + _GAP for column in columns)


def _records(table: Table) -> Group:
    """Rows below one another, for terminals too narrow for the columns: first cell as title, others by name."""
    parts: list[RenderableType] = []
    for row in table.rows:
        grid = Grid.grid(padding=(0, _GAP, 0, 0))
        grid.add_column(overflow="fold", style="dim")
        grid.add_column(overflow="fold")
        for name, cell in zip(table.header[1:], row[1:], strict=True):
            grid.add_row(Text(name), Text(cell))
        parts.extend((Text(row[0], style="bold"), Padding(grid, (0, 0, 0, 2))))
    return Group(*parts)


def _widths(table: Table, room: int) -> list[int]:
    """Share out a width so that no word breaks and long columns wrap alike; empty where all fits, or nothing helps."""
    columns = [[name, *cells] for name, *cells in zip(table.header, *table.rows, strict=True)]
    natural = [max(cell_len(line) for cell in column for line in [*cell.splitlines(), ""]) for column in columns]
    widths = [max(cell_len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
    spare = room - sum(widths) - _GAP * len(widths)
    if spare < 0 or sum(natural) + _GAP * len(natural) <= room:
        return []
    for _ in range(spare):
        index = max(range(len(widths)), key=lambda at: natural[at] / max(widths[at], 1))
        widths[index] += 1
    return widths


def _table(table: Table, room: int) -> Grid:
    widths = _widths(table, room)
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), header_style="bold", show_header=any(table.header))
    for index, name in enumerate(table.header):
        justify: Literal["left", "right"] = "right" if index in table.numeric else "left"
        style = "dim" if index == 0 and not name else ""
        width = widths[index] if widths else None
        grid.add_column(Text(name), justify=justify, overflow="fold", style=style, width=width)
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid
