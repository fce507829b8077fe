"""``inferplan docs``: pages of the documentation that are generated, never typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inferplan.catalog import load_catalog
from inferplan.cli.inputs import read_asked
from inferplan.planner import Planner
from inferplan.report.seed import seed_page

app = typer.Typer(help="Generate pages of the documentation.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Generate pages of the documentation."""


@app.command()
def seed(
    examples: Annotated[Path, typer.Option(help="Folder of the nine scenarios.")] = Path("examples/seed"),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
) -> None:
    """Write the seed's nine configurations beside what physics and prices say."""
    known = load_catalog()
    planner = Planner(known)
    files = [str(path) for path in sorted(examples.glob("*.yaml"), key=lambda path: int(path.name.split("-")[0]))]
    outcomes = [planner.plan(one.resolved.scenario) for one in read_asked(files, known)]
    page = seed_page(outcomes)
    if output is None:
        typer.echo(page, nl=False)
    else:
        output.write_text(page, encoding="utf-8")
