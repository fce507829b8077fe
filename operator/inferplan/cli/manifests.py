"""Scenarios as the manifests of their plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inferplan.api.operation import to_deploy
from inferplan.cli.inputs import Asked, plan_all
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.errors import Fault, InputError, UnrenderableError
from inferplan.domain.scenario import Tier
from inferplan.pipeline import manifests
from inferplan.render.manifest_text import to_yaml


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
    found: list[Rendered] = []
    faults: list[Fault] = []
    for one, outcome in zip(asked, plan_all(asked, catalog, nodes, tier), strict=True):
        try:
            objects = manifests(outcome, to_deploy(one.document.resource), inventory=nodes)
        except UnrenderableError as error:
            faults.extend(map(one.placed, error.faults))
        else:
            found.append(Rendered(outcome.scenario.name, to_yaml(objects) if outcome.chosen is not None else None))
    if faults:
        raise InputError(faults)
    return tuple(found)
