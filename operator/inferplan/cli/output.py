"""How results leave the process: terminal, Markdown, JSON or YAML; colour only where a person looks."""

from __future__ import annotations

import enum
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from inferplan.domain.errors import Fault, InputError
from inferplan.report.outline import Report

PIPED_WIDTH = 200
"""Columns where nobody's terminal says how wide it is: wide enough that nothing has to be folded."""


class Format(enum.StrEnum):
    """Output formats."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    MARKDOWN = "markdown"


def write_reports(reports: Sequence[Report], form: Format) -> None:
    """Write reports for people."""
    if form is Format.MARKDOWN:
        from inferplan.report.markdown import markdown

        typer.echo(markdown(reports), nl=False)
        return
    from rich.console import Console

    from inferplan.report.terminal import show

    if sys.stdout.isatty():
        show(reports, Console(highlight=False))
        return
    text = io.StringIO()
    width = int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdigit() else PIPED_WIDTH
    show(reports, Console(file=text, width=width, highlight=False, no_color=True))
    typer.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def write_data(data: Any, form: Format) -> None:  # noqa: ANN401 - whatever JSON can say
    """Write data for programs."""
    if form is Format.JSON:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    import yaml

    typer.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120), nl=False)


def tell_progress(what: str) -> None:
    """Say on standard error what takes so long."""
    typer.echo(f"{what} ...", err=True)


def write_file(path: Path, text: str) -> None:
    """Write a file, and its folder if that is not there yet.

    Raises
    ------
    InputError
        If the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError([Fault(str(path), f"cannot be written: {error.strerror}")]) from error
