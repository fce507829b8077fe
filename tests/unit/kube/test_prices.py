"""What nodes cost, and which prices are refused."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from inferplan.api.cluster_objects import NodeObject
from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.hardware import Terms
from inferplan.kube.client import Body
from inferplan.kube.prices import STAND_IN, PriceBook, priced, read_book, read_overlay, with_book
from tests.builders import make_catalog, make_offering
from tests.unit.kube.test_claims import make_node

CATALOG = replace(
    make_catalog(),
    offerings=(
        make_offering(region="us-east-1", gpu="t4", instance_type="g4dn.xlarge", price_usd_per_hour=Decimal("0.50")),
        make_offering(region="eu-west-1", gpu="t4", instance_type="g4dn.xlarge", price_usd_per_hour=Decimal("0.60")),
    ),
)


def node(**overrides: Any) -> GpuNode:
    return make_node(gpu="t4", instance_type="g4dn.xlarge", gpus_allocatable=1, **overrides)


def price_of(one: GpuNode, *overlays: Body, labels: dict[str, str] | None = None) -> GpuNode:
    bodies = {one.name: NodeObject.model_validate({"metadata": {"name": one.name, "labels": labels or {}}})}
    read = [overlay for overlay in map(read_overlay, overlays) if overlay is not None]
    return priced(Inventory((one,), "test"), bodies, read, CATALOG, "2026-11-25").nodes[0]


def overlay(name: str = "deal", weight: int = 0, **spec: Any) -> Body:
    return {"metadata": {"name": name}, "spec": {"weight": weight, **spec}}


def book(text: str, version: str = "1") -> Body:
    metadata = {"namespace": "n", "name": "prices", "uid": "u", "resourceVersion": version}
    return {"metadata": metadata, "data": {"prices.yaml": text}}


def line(usd: str) -> str:
    return (
        "- {provider: aws, region: us-east-1, instanceType: g4dn.xlarge, gpu: t4, gpuCount: 1,"
        f' usdPerHour: "{usd}", asOf: "2026-11-01", source: deal}}\n'
    )


def test_a_known_price_stays() -> None:
    known = node(price_usd_per_hour=Decimal("0.526"), price_source="list", price_as_of="2026-07-20")
    assert price_of(known) == known


def test_the_same_machine_elsewhere_stands_in_at_its_dearest() -> None:
    found = price_of(node(region="ap-south-1"))
    assert found.price_usd_per_hour == Decimal("0.60")
    assert found.price_source == f"{STAND_IN}g4dn.xlarge in eu-west-1, as none is known for ap-south-1"


def test_for_a_machine_of_ones_own_the_median_of_its_gpu_stands_in() -> None:
    found = price_of(make_node(gpu="t4", instance_type="", provider="", region="", gpus_allocatable=8))
    assert found.price_usd_per_hour == 8 * Decimal("0.50")
    assert found.price_source.startswith(STAND_IN)


def test_a_gpu_without_any_price_has_none() -> None:
    assert price_of(make_node(gpu="h100-80gb-sxm")).price_usd_per_hour is None


@pytest.mark.parametrize(
    ("spec", "price"),
    [({"price": "0.30"}, "0.30"), ({"priceAdjustment": "-10%"}, "0.45"), ({"priceAdjustment": "+0.1"}, "0.6")],
)
def test_an_overlay_replaces_or_adjusts_a_price_and_says_so(spec: dict[str, Any], price: str) -> None:
    known = node(price_usd_per_hour=Decimal("0.50"), price_source="list")
    found = price_of(known, overlay(**spec))
    assert found.price_usd_per_hour == Decimal(price)
    assert "NodeOverlay deal" in found.price_source


def test_of_overlays_the_heaviest_that_fits_wins() -> None:
    spot = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}
    overlays = [
        overlay("light", 1, price="0.1"),
        overlay("heavy", 10, price="0.2"),
        overlay("other", 100, price="9", requirements=[spot]),
    ]
    labels = {"karpenter.sh/capacity-type": "on-demand"}
    assert price_of(node(), *overlays, labels=labels).price_usd_per_hour == Decimal("0.2")


def test_an_overlay_that_says_no_price_or_nonsense_is_passed_over() -> None:
    for spec in ({"capacity": {"x": "1"}}, {"price": "cheap"}, {"priceAdjustment": "a lot"}, {"price": "NaN"}):
        assert read_overlay(overlay(**spec)) is None


def test_a_book_is_laid_over_the_catalog() -> None:
    found = read_book(book(line("0.40")), PriceBook(), CATALOG)
    assert found.faults == ()
    prices = {offer.region: offer.price_usd_per_hour for offer in with_book(CATALOG, found).offerings}
    assert prices["us-east-1"] == Decimal("0.40")


def test_a_book_with_a_monthly_price_is_refused_and_the_one_before_stays() -> None:
    good = read_book(book(line("0.40")), PriceBook(), CATALOG)
    bad = read_book(book(line("292"), "2"), good, CATALOG)
    assert bad.offerings == good.offerings
    assert "per hour, not per month?" in bad.faults[0]
    assert read_book(book(line("292"), "2"), bad, CATALOG) is bad
    assert read_book(book(line("0.41"), "3"), bad, CATALOG).faults == ()
    assert read_book(None, bad, CATALOG) == PriceBook()


def test_hints_about_node_pools_stand_beside_the_prices() -> None:
    body = book(line("0.40"))
    body["data"]["node-pools.yaml"] = (
        "- {name: gpu, provider: aws, region: us-east-1, instanceType: g4dn.xlarge, gpu: t4, gpuCount: 1,"
        " maximumNodes: 3, labels: {pool: gpu}, taints: [{key: nvidia.com/gpu}]}\n"
    )
    (pool,) = read_book(body, PriceBook(), CATALOG).pools
    assert (pool.gpu, pool.maximum_nodes, pool.terms, pool.selector) == ("t4", 3, Terms.ON_DEMAND, (("pool", "gpu"),))
    body["data"]["node-pools.yaml"] = "- {name: gpu, gpu: t44}\n"
    assert read_book(body, PriceBook(), CATALOG).faults
