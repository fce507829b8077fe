"""What stands is evaluated where it stands, and nothing is planned twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_resource
from inferplan.api.nodes import read_inventory_file
from inferplan.api.plan_status import plan_status
from inferplan.catalog.loader import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.scenario import HardwareSource
from inferplan.kube import planning
from inferplan.kube.planning import Planned, Planning, on_cluster_or_market
from inferplan.kube.standing import Standing
from tests.unit.kube.test_claims import make_node
from tests.unit.kube.views import make_body

L4: dict[str, Any] = {"hardware": {"allow": ["l4"]}, "workload": {"concurrentUsers": 5}}
HUGE: dict[str, Any] = L4 | {"model": {"allow": ["meta-llama/Llama-3.1-405B-Instruct"]}}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture
def planner(catalog: Catalog) -> Iterator[Planning]:
    made = Planning(catalog)
    yield made
    made.close()


def cluster(*nodes: GpuNode) -> Inventory:
    return Inventory(nodes, "test")


def l4(name: str, **overrides: Any) -> GpuNode:
    price = {"price_usd_per_hour": Decimal("0.80"), "price_source": "list", "price_as_of": "2026-07-20"}
    return make_node(name, **({"instance_type": "g6.xlarge", "gpus_allocatable": 1} | price | overrides))


def ask(
    planner: Planning,
    inventory: Inventory | None,
    standing: Standing | None = None,
    *,
    applied: bool = False,
    **spec: Any,
) -> Planned:
    resource = read_resource(make_body(**(spec or L4)))
    resolved = to_scenario(resource, planner.catalog)
    return asyncio.run(planner.plan("key", resolved, inventory, standing, applied=applied))


def standing_after(found: Planned) -> Standing:
    assert found.fresh.chosen is not None
    read = Standing.read(plan_status(found.fresh.chosen).model_dump(by_alias=True, mode="json"))
    assert read == Standing.of(found.fresh.chosen)
    return read


def test_auto_means_the_cluster_if_it_has_gpus_even_busy_ones_and_else_the_market(catalog: Catalog) -> None:
    scenario = to_scenario(read_resource(make_body()), catalog).scenario
    busy = cluster(l4("a", gpus_requested=1))
    assert on_cluster_or_market(scenario, busy)[0].hardware.source is HardwareSource.CLUSTER
    for nothing in (None, cluster(), cluster(l4("a", usable=False, reason="not ready"))):
        changed, used = on_cluster_or_market(scenario, nothing)
        assert (changed.hardware.source, used) == (HardwareSource.MARKET, None)


def test_the_same_question_is_answered_once(planner: Planning, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    real = planning.answer

    def counted(*arguments: Any) -> Planned:
        asked.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(planning, "answer", counted)
    inventory = cluster(l4("a"), l4("b"))
    first = ask(planner, inventory)
    assert ask(planner, inventory) is first
    assert ask(planner, inventory, standing_after(first)) is first  # its own plan stands now: no other question
    assert len(asked) == 1
    ask(planner, cluster(l4("a")), standing_after(first))
    assert len(asked) == 2


def test_a_cheaper_machine_beside_it_does_not_replace_what_stands(planner: Planning) -> None:
    first = ask(planner, cluster(l4("a")))
    stands = standing_after(first)
    cheap = l4("cheap", instance_type="g6.2xlarge", price_usd_per_hour=Decimal("0.10"))
    found = ask(planner, cluster(l4("a"), cheap), stands)
    assert found.fresh.chosen is not None
    assert found.fresh.chosen.hash != stands.hash
    assert found.held is not None
    assert found.held.chosen is not None
    assert found.held.chosen.hash == stands.hash
    assert [place.instance_type for place in found.held.chosen.cost.placements] == ["g6.xlarge"]
    assert found.saving_usd_per_hour == Decimal("0.70")


def test_what_stands_on_machines_that_are_gone_is_not_held(planner: Planning) -> None:
    stands = standing_after(ask(planner, cluster(l4("a"))))
    found = ask(planner, cluster(l4("b", instance_type="g6.2xlarge")), stands)
    assert found.held is None
    assert found.fresh.chosen is not None


def test_where_others_hold_everything_it_is_said_what_would_do(planner: Planning) -> None:
    found = ask(planner, cluster(l4("a", gpus_requested=1)))
    assert found.fresh.chosen is None
    assert found.if_all_were_free is not None
    assert ask(planner, cluster(l4("a")), None, **HUGE).if_all_were_free is None


def test_a_standing_plan_of_another_version_is_none(planner: Planning) -> None:
    stands = standing_after(ask(planner, cluster(l4("a"))))
    assert replace(stands, quantization="INT3").pin(None) is None
    assert Standing.read({"hash": "x"}) is None
    found = ask(planner, cluster(l4("a")), replace(stands, hash="other", quantization="INT3"))
    assert found.held is None


def test_the_nodes_of_the_examples_are_planned_on(planner: Planning, catalog: Catalog) -> None:
    nodes = read_inventory_file(Path("examples/nodes.yaml"), catalog)
    found = ask(planner, nodes)
    assert found.fresh.chosen is not None
    assert found.fresh.chosen.source == "Cluster"


def test_a_machine_of_ones_own_that_is_replaced_by_its_equal_gives_the_same_hash(planner: Planning) -> None:
    hashes = set()
    for name in ("bare0", "bare1", "replaced"):
        found = ask(planner, cluster(l4(name, instance_type="", region="", provider="")))
        assert found.fresh.chosen is not None
        assert [place.instance_type for place in found.fresh.chosen.cost.placements] == ["l4"]
        hashes.add(found.fresh.chosen.hash)
    assert len(hashes) == 1


# ── what was put to work ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "now",
    [
        None,
        cluster(l4("a", usable=False, reason="not ready")),
        cluster(l4("b", instance_type="g6.2xlarge")),
        cluster(l4("a", gpu=None, usable=False, reason="unknown GPU")),
        cluster(l4("a", gpus_allocatable=0, usable=False, reason="offers no GPU")),
    ],
    ids=["no GPUs", "not ready", "another kind", "without its label", "no devices"],
)
def test_what_was_put_to_work_is_kept_whatever_its_machines_do_now(planner: Planning, now: Inventory | None) -> None:
    first = ask(planner, cluster(l4("a")))
    assert first.fresh.chosen is not None
    found = ask(planner, now, standing_after(first), applied=True)
    assert found.held is not None
    assert found.held.chosen is not None
    kept, before = found.held.chosen, first.fresh.chosen
    assert (kept.hash, kept.source, kept.cost) == (before.hash, "Cluster", before.cost)
    assert (kept.configuration, kept.estimate) == (before.configuration, before.estimate)


def test_what_was_put_to_work_has_the_price_of_now(planner: Planning) -> None:
    stands = standing_after(ask(planner, cluster(l4("a"))))
    dearer = l4("a", price_usd_per_hour=Decimal("0.90"), usable=False, reason="not ready")
    elsewhere = l4("b", instance_type="g6.2xlarge")
    found = ask(planner, cluster(dearer, elsewhere), stands, applied=True)
    assert found.held is not None
    assert found.held.chosen is not None
    assert found.held.chosen.cost.per_hour == Decimal("0.90")
