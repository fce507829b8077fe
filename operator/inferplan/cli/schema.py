"""``inferplan schema``: the CustomResourceDefinition, from the models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inferplan.cli.output import write_file

FILE_NAME = "inferencescenarios.inferplan.dev.yaml"

EPILOG = """
**Examples**

`inferplan schema | kubectl apply -f -` – install the resource

`inferplan schema -o crds/` – write the file that is committed
"""


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="PATH", help="File, or folder for the usual name.")
    ] = None,
) -> None:
    """Print the CustomResourceDefinition of InferenceScenario."""
    from inferplan.api.crd import crd_yaml

    text = crd_yaml()
    if output is None:
        typer.echo(text, nl=False)
        return
    path = output / FILE_NAME if output.is_dir() or str(output).endswith("/") else output
    write_file(path, text)
