"""Make the engine's environment, or write its verdicts anew: ``python -m tests.engine build|where|verdicts``."""

from __future__ import annotations

import argparse
import sys

from inferplan.catalog import load_catalog
from tests.engine import verdicts
from tests.engine.environment import EnvironmentFailedError, environment_folder, find_or_make
from tests.engine.jobs import ask, job_of, verdict_of


def say(line: str) -> None:
    """Print a line at once, on the error output."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def write_verdicts() -> None:
    """Ask the engine about every form of the catalog and write the table."""
    catalog = load_catalog(None)
    asked = list(verdicts.forms(catalog))
    of_capability = {gpu.compute_capability: gpu for gpu in catalog.gpus}
    jobs = [job_of(form, model, of_capability[form.compute_capability]) for form, model in asked]
    say(f"asking the engine {len(jobs)} questions")
    answers = ask(find_or_make(say), jobs, say)
    verdicts.write((form, verdict_of(form, answer)) for (form, _), answer in zip(asked, answers, strict=True))
    say(f"wrote {verdicts.TABLE}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="make the environment if it is missing")
    commands.add_parser("where", help="print the folder of the environment")
    commands.add_parser("verdicts", help="write the table of the engine's verdicts anew")
    command = parser.parse_args().command
    try:
        if command == "where":
            print(environment_folder())  # noqa: T201
        elif command == "build":
            say(f"ready: {find_or_make(say)}")
        else:
            write_verdicts()
    except (EnvironmentFailedError, KeyboardInterrupt) as error:
        say(str(error) or "interrupted")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
