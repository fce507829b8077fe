"""``inferplan explain``: every step of one candidate's arithmetic."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from inferplan.api.suggest import did_you_mean
from inferplan.cli.options import INFEASIBLE, Files, Nodes, OneTier, Output, Overlay, Prices
from inferplan.cli.output import Format, write_data, write_reports
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.model import Quantization
from inferplan.domain.scenario import Pin, Scenario, Tier
from inferplan.report.numbers import number
from inferplan.report.outline import Report, Section, Table

if TYPE_CHECKING:
    from inferplan.planner.arithmetic import Step

EPILOG = """
**Examples**

`inferplan explain chatbot.yaml` – the chosen plan, formula by formula

`inferplan explain chatbot.yaml --tier Budget`

`inferplan explain chatbot.yaml --candidate Qwen/Qwen3-8B,FP8,l4,1,seqs=32,replicas=2` – model, weights, GPU, GPUs per
replica
"""

_PARTS = 4
_DIGITS = 6
"""Digits of a result: enough to check a recomputation."""
_SECTIONS = ("Memory", "Step", "Prompt", "Serving", "Latency", "Cost")


def explain(
    files: Files,
    candidate: Annotated[
        str | None,
        typer.Option(metavar="TIER|MODEL,WEIGHTS,GPU,GPUS[,seqs=N][,replicas=N]", help="What to explain."),
    ] = None,
    output: Output = Format.TABLE,
    tier: OneTier = None,
    inventory: Nodes = None,
    catalog: Overlay = None,
    price_book: Prices = None,
) -> None:
    """Spell out a plan's arithmetic: each formula, the numbers in it, and what comes out."""
    from inferplan.cli.inputs import read_asked, read_catalog, read_nodes
    from inferplan.planner import Planner

    if candidate is not None and tier is not None:
        raise InputError([Fault("--candidate", "cannot stand beside --tier", "give one of the two")])
    known = read_catalog(catalog, price_book)
    nodes = read_nodes(inventory, known)
    planner = Planner(known)
    reports, data, missing = [], [], False
    for one in read_asked(files, known):
        scenario, named = wanted(one.resolved.scenario, candidate or tier, known)
        steps = planner.explain(scenario, nodes, named)
        missing = missing or not steps
        reports.append(_report(scenario, steps))
        data.append({"scenario": scenario.name, "steps": [_data(step) for step in steps]})
    if output in {Format.JSON, Format.YAML}:
        write_data(data[0] if len(data) == 1 else data, output)
    else:
        write_reports(reports, output)
    if missing:
        raise typer.Exit(INFEASIBLE)


def wanted(scenario: Scenario, candidate: str | None, catalog: Catalog) -> tuple[Scenario, Tier | None]:
    """Turn ``--candidate`` into a tier, or into the scenario with that configuration pinned."""
    if candidate is None:
        return scenario, None
    tiers = {tier.casefold(): tier for tier in Tier}
    if candidate.casefold() in tiers:
        return scenario, tiers[candidate.casefold()]
    parts = [part.strip() for part in candidate.split(",")]
    if len(parts) < _PARTS:
        hint = "Budget, Recommended, HighEnd or MODEL,WEIGHTS,GPU,GPUS"
        raise InputError([Fault("--candidate", f'"{candidate}" is neither a tier nor a configuration', hint)])
    faults: list[Fault] = []
    model, gpu = catalog.model(parts[0]), catalog.gpu(parts[2])
    if model is None and (scenario.model.custom is None or scenario.model.custom.repository != parts[0]):
        known = [entry.id for entry in catalog.models]
        faults.append(Fault("--candidate", f'model "{parts[0]}" is not in the catalog', did_you_mean(parts[0], known)))
    if gpu is None:
        known = [entry.id for entry in catalog.gpus]
        faults.append(Fault("--candidate", f'GPU "{parts[2]}" is not in the catalog', did_you_mean(parts[2], known)))
    formats = {entry.casefold(): entry for entry in Quantization}
    if parts[1].casefold() not in formats:
        faults.append(
            Fault("--candidate", f'"{parts[1]}" is not a weight format', f"allowed: {', '.join(Quantization)}")
        )
    numbers = _numbers(parts, faults)
    if faults:
        raise InputError(faults)
    pin = Pin(
        model=parts[0] if model is None else model.id,
        quantization=formats[parts[1].casefold()],
        gpu=None if gpu is None else gpu.id,
        gpus_per_replica=numbers["gpus"],
        replicas=numbers.get("replicas", 1),
        max_num_seqs=numbers.get("seqs", 32),
    )
    return replace(scenario, pin=pin), None


def _numbers(parts: list[str], faults: list[Fault]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in (f"gpus={parts[3]}", *parts[_PARTS:]):
        name, _, value = part.partition("=")
        if name in {"gpus", "seqs", "replicas"} and value.isdigit() and int(value) > 0:
            found[name] = int(value)
        else:
            faults.append(Fault("--candidate", f'"{part}" is not understood', "seqs=N, replicas=N, whole numbers"))
    return found


def _report(scenario: Scenario, steps: tuple[Step, ...]) -> Report:
    sections = []
    for name in _SECTIONS:
        rows = tuple(
            (
                step.name,
                f"{step.formula}\n= {step.substitution}",
                f"{number(step.value, _DIGITS)} {step.unit}".strip(),
                step.reference,
            )
            for step in steps
            if step.section == name
        )
        if rows:
            sections.append(Section(name, table=Table(("What", "How", "Result", "Source"), rows)))
    headline = f"{len(steps)} steps" if steps else "no such plan: inferplan plan --explain tells why"
    return Report(scenario.name, headline, bool(steps), tuple(sections))


def _data(step: Step) -> dict[str, object]:
    return asdict(step)
