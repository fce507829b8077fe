"""The ``inferplan`` command: commands put together, errors told once and clearly."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated

import typer

from inferplan import __version__
from inferplan.cli import accuracy, calibrate, catalog, compare, docs, explain, plan, render, schema, simulate
from inferplan.domain.errors import InputError

DEFECT, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="inferplan",
    help="Turn a wish (people, latency, quality, budget) into a sized, priced and explained LLM deployment.",
    epilog="Start with: `inferplan plan examples/chatbot-scenario.yaml`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"inferplan {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="INFERPLAN_DEBUG", help="Show where a defect of inferplan happened.")
    ] = False,
) -> None:
    del version
    if debug:
        os.environ["INFERPLAN_DEBUG"] = "1"


app.command(epilog=plan.EPILOG)(plan.plan)
app.command(epilog=compare.EPILOG)(compare.compare)
app.command(epilog=explain.EPILOG)(explain.explain)
app.command(epilog=render.EPILOG)(render.render)
app.command(epilog=simulate.EPILOG)(simulate.simulate)
app.command(epilog=accuracy.EPILOG)(accuracy.accuracy)
app.command(epilog=calibrate.EPILOG)(calibrate.calibrate)
app.command(epilog=schema.EPILOG)(schema.schema)
app.add_typer(catalog.app, name="catalog")
app.add_typer(docs.app, name="docs", hidden=True)


def main() -> None:
    """Run the command line and turn what goes wrong into an exit status."""
    signal.signal(signal.SIGINT, _interrupted)
    gc.disable()  # a short life: looking for garbage costs more than it frees
    try:
        app()
    except InputError as error:
        _tell(error)
        sys.exit(BAD_INPUT)
    except BrokenPipeError:
        # Whoever read us has enough; Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the last line of defence of a command
        _confess(error)
        sys.exit(DEFECT)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Leave at once and quietly on Ctrl-C, as the shell expects."""
    del number, frame
    sys.exit(INTERRUPTED)


def _tell(error: InputError) -> None:
    for fault in error.faults:
        typer.echo(f"{typer.style('error', fg='red')}: {fault}", err=True)


def _confess(error: Exception) -> None:
    if os.environ.get("INFERPLAN_DEBUG"):
        traceback.print_exc()
    hint = "" if os.environ.get("INFERPLAN_DEBUG") else "; --debug shows where"
    typer.echo(f"inferplan: this is a defect in inferplan, please report it: {error!r}{hint}", err=True)


if __name__ == "__main__":
    main()
