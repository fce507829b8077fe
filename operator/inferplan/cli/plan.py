"""``inferplan plan``: scenarios in, plans or reasons out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inferplan.cli.options import INFEASIBLE, Nodes, OneTier, Output, Overlay, Prices
from inferplan.cli.output import Format, write_data, write_file, write_reports
from inferplan.domain.errors import Fault, InputError

EPILOG = """
**Examples**

`inferplan plan examples/chatbot-scenario.yaml` – the three tiers, why, and what they cost

`inferplan plan chatbot.yaml -o json | jq .plan.cost` – the shape of the resource's status

`kubectl get nodes -o yaml > nodes.yaml; inferplan plan chatbot.yaml --inventory nodes.yaml` – on your own GPUs

`inferplan plan --gpu l4 --from-command 'vllm serve Qwen/Qwen3-8B --max-model-len 32k --kv-cache-dtype fp8'` – does it
start, how long a context fits, how fast is it, what does it cost

Exit status: 0 plan found, 1 defect of inferplan, 2 bad usage or input, 3 no plan meets the scenario (of several: the
worst).
"""


def plan(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="Scenario files; - reads standard input.")
    ] = None,
    *,
    output: Output = Format.TABLE,
    explain: Annotated[bool, typer.Option("--explain", help="Every reason why others were turned down.")] = False,
    tier: OneTier = None,
    inventory: Nodes = None,
    catalog: Overlay = None,
    price_book: Prices = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--from-command",
            metavar="COMMAND",
            help="A copied vLLM start instead of files: vllm serve …, python -m …, docker run …; - reads it from"
            " standard input.",
        ),
    ] = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="NAME", help="GPU that the command runs on; no flag says it.")
    ] = None,
    write_scenario: Annotated[
        Path | None,
        typer.Option("--write-scenario", metavar="FILE", help="Keep the scenario that the command came to."),
    ] = None,
) -> None:
    """Find the cheapest, the recommended and the best deployment of a scenario, or say why there is none."""
    _refuse_mixture(files or [], command, gpu, write_scenario)
    from inferplan.cli.inputs import Asked, plan_all, read_asked, read_catalog, read_nodes
    from inferplan.cli.resources import document
    from inferplan.report.plan import report

    known = read_catalog(catalog, price_book)
    nodes = read_nodes(inventory, known)
    if command is not None:
        from inferplan.cli.from_command import answer_command

        text = typer.get_text_stream("stdin").read() if command == "-" else command
        answer = answer_command(text, gpu, known, nodes)
        asked: tuple[Asked, ...] = (answer.asked,)
        outcomes = [answer.outcome]
        reports = [answer.report(report(answer.outcome, everything=explain))]
        if write_scenario is not None:
            write_file(write_scenario, answer.text)
        if output in {Format.JSON, Format.YAML}:
            for note in answer.notes:
                typer.echo(note, err=True)
    else:
        asked = read_asked(files or [], known)
        outcomes = plan_all(asked, known, nodes, tier)
        reports = []
    if output in {Format.JSON, Format.YAML}:
        write_data(document(asked, outcomes), output)
    else:
        write_reports(reports or [report(outcome, everything=explain) for outcome in outcomes], output)
    if any(outcome.chosen is None for outcome in outcomes):
        raise typer.Exit(INFEASIBLE)


def _refuse_mixture(files: list[str], command: str | None, gpu: str | None, write_scenario: Path | None) -> None:
    """Refuse what does not go together: a plan is made of files or of one command."""
    faults = []
    if command is None:
        if not files:
            faults.append(Fault("FILE", "nothing to plan", "name scenario files, or a command with --from-command"))
        for option, value in (("--gpu", gpu), ("--write-scenario", write_scenario)):
            if value is not None:
                faults.append(Fault(option, "belongs to --from-command", "leave it out"))
    elif files:
        faults.append(Fault("--from-command", "takes the place of scenario files", f"leave {' '.join(files)} out"))
    if faults:
        raise InputError(faults)
