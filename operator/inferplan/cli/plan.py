"""``inferplan plan``: scenarios in, plans or reasons out."""

from __future__ import annotations

from typing import Annotated

import typer

from inferplan.cli.options import INFEASIBLE, Files, Nodes, OneTier, Output, Overlay, Prices
from inferplan.cli.output import Format, write_data, write_reports

EPILOG = """
**Examples**

`inferplan plan examples/chatbot-scenario.yaml` – the three tiers, why, and what they cost

`inferplan plan chatbot.yaml -o json | jq .plan.cost` – the shape of the resource's status

`kubectl get nodes -o yaml > nodes.yaml; inferplan plan chatbot.yaml --inventory nodes.yaml` – on your own GPUs

Exit status: 0 plan found, 1 defect of inferplan, 2 bad usage or input, 3 no plan meets the scenario (of several: the
worst).
"""


def plan(
    files: Files,
    output: Output = Format.TABLE,
    explain: Annotated[bool, typer.Option("--explain", help="Every reason why others were turned down.")] = False,
    tier: OneTier = None,
    inventory: Nodes = None,
    catalog: Overlay = None,
    price_book: Prices = None,
) -> None:
    """Find the cheapest, the recommended and the best deployment of a scenario, or say why there is none."""
    from inferplan.cli.inputs import plan_all, read_asked, read_catalog, read_nodes
    from inferplan.cli.resources import document
    from inferplan.report.plan import report

    known = read_catalog(catalog, price_book)
    nodes = read_nodes(inventory, known)
    asked = read_asked(files, known)
    outcomes = plan_all(asked, known, nodes, tier)
    if output in {Format.JSON, Format.YAML}:
        write_data(document(asked, outcomes), output)
    else:
        write_reports([report(outcome, everything=explain) for outcome in outcomes], output)
    if any(outcome.chosen is None for outcome in outcomes):
        raise typer.Exit(INFEASIBLE)
