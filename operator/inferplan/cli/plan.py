"""``inferplan plan``: scenarios in, plans or reasons out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from inferplan.cli.output import Format, write_data, write_reports
from inferplan.domain.scenario import Tier

INFEASIBLE = 3

EPILOG = """
**Examples**

`inferplan plan examples/chatbot-scenario.yaml` – the three tiers, why, and what they cost

`inferplan plan chatbot.yaml -o json | jq .plan.cost` – the shape of the resource's status

`kubectl get nodes -o yaml > nodes.yaml; inferplan plan chatbot.yaml --inventory nodes.yaml` – on your own GPUs

Exit status: 0 plan found, 1 defect of inferplan, 2 bad usage or input, 3 no plan meets the scenario (of several: the
worst).
"""

Files = Annotated[list[str], typer.Argument(metavar="FILE", help="Scenario files; - reads standard input.")]
Overlay = Annotated[
    Path | None, typer.Option("--catalog", metavar="DIR", help="Your own models, GPUs or prices, laid over ours.")
]
Nodes = Annotated[
    Path | None, typer.Option("--inventory", metavar="FILE", help="Nodes of a cluster (kubectl get nodes -o yaml).")
]
Prices = Annotated[
    Path | None, typer.Option("--price-book", metavar="FILE", help="Prices that win over the catalog's.")
]


def plan(
    files: Files,
    output: Annotated[
        Format, typer.Option("--output", "-o", case_sensitive=False, help="How to write the result.")
    ] = Format.TABLE,
    explain: Annotated[bool, typer.Option("--explain", help="Every reason why others were turned down.")] = False,
    tier: Annotated[
        Tier | None,
        typer.Option(
            "--tier",
            case_sensitive=False,
            metavar="TIER",
            help="Budget, Recommended or HighEnd, whatever the scenario says.",
        ),
    ] = None,
    inventory: Nodes = None,
    catalog: Overlay = None,
    price_book: Prices = None,
) -> None:
    """Find the cheapest, the recommended and the best deployment of a scenario, or say why there is none."""
    from inferplan.cli.inputs import read_asked, read_catalog, read_nodes
    from inferplan.cli.resources import document
    from inferplan.pipeline import run
    from inferplan.planner import Planner
    from inferplan.report.plan import report

    known = read_catalog(catalog, price_book)
    nodes = read_nodes(inventory, known)
    asked = read_asked(files, known)
    planner = Planner(known)
    outcomes = []
    for one in asked:
        scenario = one.resolved.scenario
        if tier is not None and scenario.pin is None:
            scenario = replace(scenario, tier=tier)
        outcomes.append(run(scenario, known, inventory=nodes, planner=planner))
    if output in {Format.JSON, Format.YAML}:
        write_data(document(asked, outcomes), output)
    else:
        write_reports([report(outcome, everything=explain) for outcome in outcomes], output)
    if any(outcome.chosen is None for outcome in outcomes):
        raise typer.Exit(INFEASIBLE)
