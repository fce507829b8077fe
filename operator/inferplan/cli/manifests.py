"""Scenarios as the manifests of their plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inferplan.api.documents import ScenarioDocument
from inferplan.api.operation import to_deploy
from inferplan.cli.inputs import Asked
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.errors import Fault, InputError, UnrenderableError
from inferplan.domain.scenario import Tier
from inferplan.pipeline import manifests, run
from inferplan.planner import Planner
from inferplan.render import to_yaml


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one scenario came to; no text where no plan meets it."""

    name: str
    text: str | None


def render_all(
    asked: Sequence[Asked], catalog: Catalog, nodes: Inventory | None, tier: Tier | None
) -> tuple[Rendered, ...]:
    """Plan and render scenarios.

    Raises
    ------
    InputError
        With the faults of all of them whose plans cannot be deployed as they are.
    """
    planner = Planner(catalog)
    found: list[Rendered] = []
    faults: list[Fault] = []
    for one in asked:
        scenario = one.scenario(tier)
        outcome = run(scenario, catalog, inventory=nodes, planner=planner)
        try:
            objects = manifests(outcome, to_deploy(one.document.resource), inventory=nodes)
        except UnrenderableError as error:
            faults.extend(replace(fault, where=_place(one.document, fault.where)) for fault in error.faults)
        else:
            found.append(Rendered(scenario.name, to_yaml(objects) if outcome.chosen is not None else None))
    if faults:
        raise InputError(faults)
    return tuple(found)


def _place(document: ScenarioDocument, where: str) -> str:
    """Name the line of a field of the spec; what stands elsewhere (in the plan) keeps its name."""
    return document.locate(where) if where.startswith("spec.") else f"{document.origin}: {where}"
