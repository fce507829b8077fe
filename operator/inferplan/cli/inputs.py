"""What commands read: scenarios, the catalog with what is laid over it, the cluster's nodes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from inferplan.api.convert import ResolvedScenario, to_scenario
from inferplan.api.documents import ScenarioDocument, read_scenario_file, read_scenarios
from inferplan.api.nodes import read_inventory_file
from inferplan.api.operation import to_deploy
from inferplan.api.price_book import read_price_book_file
from inferplan.catalog import apply_price_book, load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.plan import Outcome
from inferplan.domain.scenario import Scenario, Tier
from inferplan.pipeline import faults_of, run
from inferplan.planner import Planner


@dataclass(frozen=True, slots=True)
class Asked:
    """One scenario of the files given."""

    document: ScenarioDocument
    resolved: ResolvedScenario

    def scenario(self, tier: Tier | None) -> Scenario:
        """The scenario with another tier asked for; a pin that is written down has none to choose from."""
        stated = self.resolved.scenario
        return stated if tier is None or stated.pin is not None else replace(stated, tier=tier)

    def placed(self, fault: Fault) -> Fault:
        """A fault with the line of its field; what stands elsewhere (in the plan) keeps its name."""
        where = fault.where
        place = self.document.locate(where) if where.startswith("spec.") else f"{self.document.origin}: {where}"
        return replace(fault, where=place)


def read_catalog(overlay: Path | None, price_book: Path | None) -> Catalog:
    """Load the catalog, the user's folder and price book laid over it."""
    catalog = load_catalog(overlay)
    if price_book is None:
        return catalog
    return apply_price_book(catalog, read_price_book_file(price_book, catalog))


def read_nodes(path: Path | None, catalog: Catalog) -> Inventory | None:
    """Read the nodes of a cluster, if a file is given."""
    return None if path is None else read_inventory_file(path, catalog)


def read_asked(files: Sequence[str], catalog: Catalog) -> tuple[Asked, ...]:
    """Read all scenarios of all files; ``-`` is standard input.

    Raises
    ------
    InputError
        With the faults of every file together.
    """
    faults: list[Fault] = []
    asked: list[Asked] = []
    for name in files:
        try:
            data = sys.stdin.buffer.read() if name == "-" else None
            found = read_scenario_file(Path(name)) if data is None else read_scenarios(data, "standard input")
            for notice in found.notices:
                typer.echo(notice, err=True)
            if not found.scenarios:
                faults.append(Fault(name, "holds no InferenceScenario", "kind: InferenceScenario is what is planned"))
        except InputError as error:
            faults.extend(error.faults)
            continue
        for document in found.scenarios:
            try:
                one = Asked(document, to_scenario(document.resource, catalog, document.locate))
            except InputError as error:
                faults.extend(error.faults)
            else:
                asked.append(one)
                faults.extend(map(one.placed, faults_of(one.resolved.scenario, catalog)))
    if faults:
        raise InputError(faults)
    return tuple(asked)


def plan_all(
    asked: Sequence[Asked], catalog: Catalog, nodes: Inventory | None, tier: Tier | None = None
) -> list[Outcome]:
    """Plan scenarios.

    Raises
    ------
    InputError
        With the faults of all of them whose plans could not be put to work.
    """
    planner = Planner(catalog)
    outcomes: list[Outcome] = []
    faults: list[Fault] = []
    for one in asked:
        deploy = to_deploy(one.document.resource)
        try:
            outcomes.append(run(one.scenario(tier), catalog, inventory=nodes, planner=planner, deploy=deploy))
        except InputError as error:
            faults.extend(map(one.placed, error.faults))
    if faults:
        raise InputError(faults)
    return outcomes
