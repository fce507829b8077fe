"""``inferplan render``: scenarios in, the objects that the operator would apply out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from inferplan.cli.options import INFEASIBLE, Files, Nodes, OneTier, Overlay, Prices

EPILOG = """
**Examples**

`inferplan render examples/chatbot-scenario.yaml` – Deployment, Service and disruption budget on rented GPUs

`kubectl get nodes -o yaml > nodes.yaml; inferplan render chatbot.yaml --inventory nodes.yaml` – on your own nodes

`inferplan render chatbot.yaml | kubectl apply --server-side -f -` – without the operator

`inferplan render examples/*-scenario.yaml -o manifests/` – one file for each scenario

The operator applies the same bytes, with what only the cluster knows: the namespace, and the uid in an owner reference.

Exit status: 0 everything rendered, 1 defect of inferplan, 2 bad usage or input, or a plan that cannot be deployed as it
is, 3 no plan meets the scenario (of several: the worst).
"""


def render(
    files: Files,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write NAME.yaml for each scenario there.")
    ] = None,
    tier: OneTier = None,
    inventory: Nodes = None,
    catalog: Overlay = None,
    price_book: Prices = None,
) -> None:
    """Write the Kubernetes objects of a scenario's plan, as the operator would apply them."""
    from inferplan.cli.inputs import read_asked, read_catalog, read_nodes
    from inferplan.cli.manifests import render_all
    from inferplan.cli.output import write_file
    from inferplan.domain.errors import Fault, InputError

    known = read_catalog(catalog, price_book)
    nodes = read_nodes(inventory, known)
    asked = read_asked(files, known)
    names = Counter(one.resolved.scenario.name for one in asked)
    if output is not None and names.total() > len(names):
        twice = [name for name, count in names.items() if count > 1]
        raise InputError([Fault(str(output), f'"{name}" stands twice', "render them apart") for name in twice])
    rendered = render_all(asked, known, nodes, tier)
    texts = [(one.name, one.text) for one in rendered if one.text is not None]
    if output is None:
        typer.echo("---\n".join(text for _, text in texts), nl=False)
    else:
        for name, text in texts:
            write_file(output / f"{name}.yaml", text)
    infeasible = [one.name for one in rendered if one.text is None]
    for name in infeasible:
        typer.echo(f"{name}: no plan meets this scenario; `inferplan plan` says why", err=True)
    if infeasible:
        raise typer.Exit(INFEASIBLE)
