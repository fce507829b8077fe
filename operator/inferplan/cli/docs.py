"""``inferplan docs``: pages of the documentation that are generated, never typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from inferplan.cli.options import Recorded, day_of
from inferplan.cli.output import tell_progress, write_file
from inferplan.domain.errors import Fault, InputError
from inferplan.report.seed_statements import STATEMENTS

EVIDENCE = Path("docs/accuracy-evidence.json")
"""Aggregated figures from which the accuracy page is made; they are measured by hand, since that needs the runs."""

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


@app.command()
def evidence(
    runs: Annotated[list[str], typer.Argument(metavar="RUNS", help="Measured runs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = EVIDENCE,
    date: Recorded = "",
) -> None:
    """Fit anew with groups left out, and write what that says of the accuracy: aggregated figures, minutes of work."""
    from inferplan.accuracy.evidence import evidence_text
    from inferplan.accuracy.fit_engine import Generation, calibrate, recipe_for
    from inferplan.accuracy.fit_evidence import evidence_of
    from inferplan.accuracy.matching import Matcher
    from inferplan.accuracy.outcome import answer
    from inferplan.catalog import load_catalog, load_yardsticks
    from inferplan.cli.runs import read_runs

    measured_on = day_of(date)
    known, found = load_catalog(), read_runs(runs, [])
    matcher = Matcher(known, load_yardsticks())
    cases = matcher.match(found).cases
    fits = [calibrate(cases, kind, recipe_for(kind, None), tell=tell_progress) for kind in Generation]
    checked = [one for one in fits if one is not None]
    gathered = evidence_of(checked, answer(found, matcher, known.calibrations), measured_on, _general)
    write_file(output, evidence_text(gathered))


def _general(reason: str) -> str:
    """A reason to skip without the name or number that it is about."""
    return re.sub(r"(?<![\w-])\d+(?![\w-])", "N", re.sub(r'"[^"]*"', "…", reason))


@app.command()
def accuracy(
    source: Annotated[Path, typer.Option("--evidence", help="What `inferplan docs evidence` wrote.")] = EVIDENCE,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
) -> None:
    """Write the accuracy page from its evidence."""
    from pydantic import ValidationError

    from inferplan.accuracy.evidence import AccuracyEvidence
    from inferplan.report.accuracy_page import accuracy_page

    try:
        page = accuracy_page(AccuracyEvidence.model_validate_json(source.read_bytes()))
    except OSError as error:
        raise InputError([Fault(str(source), f"cannot be read: {error.strerror}")]) from error
    except ValidationError as error:
        raise InputError([Fault(str(source), f"is no evidence of accuracy: {error}")]) from error
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
