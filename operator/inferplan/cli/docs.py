"""``inferplan docs``: pages of the documentation that are generated, never typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from inferplan.cli.output import write_file
from inferplan.domain.errors import Fault, InputError
from inferplan.report.seed_statements import STATEMENTS

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
    from inferplan.catalog import load_catalog
    from inferplan.cli.inputs import read_asked
    from inferplan.planner import Planner
    from inferplan.report.seed import seed_page

    files = [str(path) for path in sorted(examples.glob("[1-9]-*.yaml"))]
    if len(files) != len(STATEMENTS):
        raise InputError([Fault(str(examples), f"holds {len(files)} of the seed's {len(STATEMENTS)} scenarios")])
    known = load_catalog()
    planner = Planner(known)
    outcomes = [planner.plan(one.resolved.scenario) for one in read_asked(files, known)]
    page = seed_page(outcomes, known)
    if output is None:
        typer.echo(page, nl=False)
    else:
        write_file(output, page)


SAMPLE = re.compile(r"<!-- output: (?P<command>[^;]+); lines: (?P<lines>\d+) -->\n```text\n.*?```", re.DOTALL)
"""A block of a page that shows what a command prints."""
SAMPLE_COLUMNS = 110


@app.command()
def samples(
    page: Annotated[Path, typer.Argument(help="Markdown page whose sample outputs are written anew.")],
) -> None:
    """Run the commands named in a page and put what they print below them."""
    page.write_text(SAMPLE.sub(_sample, page.read_text(encoding="utf-8")), encoding="utf-8")


def _sample(match: re.Match[str]) -> str:
    command, lines = match["command"], int(match["lines"])
    done = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", "inferplan", *command.split()],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, "COLUMNS": str(SAMPLE_COLUMNS)},
    )
    shown = "\n".join(done.stdout.splitlines()[:lines])
    head = f"<!-- output: {command}; lines: {lines} -->"
    return f"{head}\n```text\n$ inferplan {command}\n{shown}\n```"
