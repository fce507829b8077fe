"""``inferplan compare``: several scenarios side by side."""

from __future__ import annotations

import typer

from inferplan.cli.options import INFEASIBLE, Files, Nodes, Output, Overlay, Prices
from inferplan.cli.output import Format, write_data, write_reports
from inferplan.report.outline import Report

EPILOG = """
**Examples**

`inferplan compare examples/*-scenario.yaml`

`inferplan compare a.yaml b.yaml -o markdown > comparison.md`
"""


def compare(
    files: Files,
    output: Output = Format.TABLE,
    inventory: Nodes = None,
    catalog: Overlay = None,
    price_book: Prices = None,
) -> None:
    """Compare scenarios: performance, memory, utilization, cost, growth and ownership."""
    from inferplan.cli.inputs import plan_all, read_asked, read_catalog, read_nodes
    from inferplan.cli.resources import resources
    from inferplan.report.compare import comparison

    known = read_catalog(catalog, price_book)
    nodes = read_nodes(inventory, known)
    asked = read_asked(files, known)
    outcomes = plan_all(asked, known, nodes)
    found = comparison(outcomes)
    if output in {Format.JSON, Format.YAML}:
        write_data({**_data(found), "items": resources(asked, outcomes)}, output)
    else:
        write_reports([found], output)
    if any(outcome.chosen is None for outcome in outcomes):
        raise typer.Exit(INFEASIBLE)


def _data(found: Report) -> dict[str, object]:
    """The sections as data: a table becomes a list of rows by column."""
    return {
        "headline": found.headline,
        "sections": [
            {
                "title": section.title,
                "insights": list(section.points),
                "rows": []
                if section.table is None
                else [dict(zip(section.table.header, row, strict=True)) for row in section.table.rows],
            }
            for section in found.sections
        ],
    }
