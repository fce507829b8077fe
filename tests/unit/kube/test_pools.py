"""Nodes that are not there yet."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from inferplan.api.cluster_objects import NodeObject
from inferplan.domain.cluster import Inventory
from inferplan.domain.hardware import Terms
from inferplan.domain.node_pool import NodePool
from inferplan.kube.client import Body
from inferplan.kube.pools import ASSUMED_POOL_GPUS, karpenter_pools, with_pools
from tests.builders import make_catalog, make_offering
from tests.unit.kube.test_claims import make_node

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
OFFERINGS = (
    make_offering(provider="aws", region="us-east-1", gpu="t4", instance_type="g4dn.xlarge", gpu_count=1),
    make_offering(provider="aws", region="us-east-1", gpu="t4", instance_type="g4dn.12xlarge", gpu_count=4),
    make_offering(provider="aws", region="eu-west-1", gpu="t4", instance_type="g4dn.xlarge", gpu_count=1),
    make_offering(provider="aws", region="us-east-1", gpu="h100-80gb-sxm", instance_type="p5.48xlarge", gpu_count=8),
)
CATALOG = replace(make_catalog(), offerings=OFFERINGS)
HERE = NodeObject.model_validate({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/region": "us-east-1"}}})


def pool(*requirements: dict[str, Any], limits: dict[str, str] | None = None, **more: Any) -> Body:
    template = {"spec": {"requirements": list(requirements), **more}}
    return {"metadata": {"name": "gpu"}, "spec": {"template": template, "limits": limits or {}}}


def needs(key: str, *values: str, operator: str = "In") -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def names(body: Body) -> list[str]:
    return [one.name for one in karpenter_pools([body], [HERE], CATALOG)]


@pytest.mark.parametrize(
    ("requirement", "brought"),
    [
        (needs(INSTANCE_TYPE, "g4dn.xlarge"), ["gpu/g4dn.xlarge"]),
        (needs("karpenter.k8s.aws/instance-gpu-name", "h100"), ["gpu/p5.48xlarge"]),
        (needs("karpenter.k8s.aws/instance-family", "g4dn"), ["gpu/g4dn.12xlarge", "gpu/g4dn.xlarge"]),
        (needs("karpenter.k8s.aws/instance-category", "g", "p", operator="NotIn"), []),
        (needs("karpenter.k8s.aws/instance-gpu-count", "3", operator="Gt"), ["gpu/g4dn.12xlarge", "gpu/p5.48xlarge"]),
        (needs("karpenter.sh/capacity-type", "spot"), []),
        (needs("example.org/unheard-of", "yes"), []),
    ],
    ids=lambda value: value["key"] if isinstance(value, dict) else None,
)
def test_a_pool_brings_the_instance_types_that_meet_its_requirements(requirement: Body, brought: list[str]) -> None:
    assert names(pool(requirement)) == brought


def test_a_pool_is_in_its_zones_and_else_where_the_cluster_is() -> None:
    (found,) = karpenter_pools([pool(needs(INSTANCE_TYPE, "g4dn.xlarge"))], [HERE], CATALOG)
    assert found.region == "us-east-1"
    zones = needs("topology.kubernetes.io/zone", "eu-west-1a", "eu-west-1b")
    (found,) = karpenter_pools([pool(needs(INSTANCE_TYPE, "g4dn.xlarge"), zones)], [HERE], CATALOG)
    assert found.region == "eu-west-1"
    assert karpenter_pools([pool(needs(INSTANCE_TYPE, "g4dn.xlarge"))], [], CATALOG) == ()


def test_a_pool_brings_no_more_gpus_than_its_limit() -> None:
    body = pool(needs("karpenter.k8s.aws/instance-family", "g4dn"), limits={"nvidia.com/gpu": "5"})
    assert [one.maximum_nodes for one in karpenter_pools([body], [HERE], CATALOG)] == [1, 5]
    body = pool(needs(INSTANCE_TYPE, "g4dn.xlarge"))
    assert [one.maximum_nodes for one in karpenter_pools([body], [HERE], CATALOG)] == [ASSUMED_POOL_GPUS]
    assert names(pool(needs(INSTANCE_TYPE, "p5.48xlarge"), limits={"nvidia.com/gpu": "4"})) == []


def test_a_pool_that_cannot_be_read_brings_nothing() -> None:
    assert names(pool({"operator": "In"})) == []
    assert karpenter_pools([{"metadata": {"name": "x"}}], [], CATALOG) == ()


def t4_pool(**overrides: Any) -> NodePool:
    base = NodePool(
        name="gpu/g4dn.xlarge",
        provider="aws",
        region="us-east-1",
        instance_type="g4dn.xlarge",
        gpu="t4",
        gpus_per_node=1,
        terms=Terms.ON_DEMAND,
        maximum_nodes=2,
        selector=((INSTANCE_TYPE, "g4dn.xlarge"),),
    )
    return replace(base, **overrides)


def body_of(name: str, **labels: str) -> NodeObject:
    return NodeObject.model_validate({"metadata": {"name": name, "labels": labels}})


def test_nodes_of_a_pool_are_planned_on_before_they_are_there() -> None:
    found = with_pools(Inventory((), "test"), [t4_pool()], {}, CATALOG)
    assert [(node.name, node.gpus_free) for node in found.nodes] == [
        ("gpu/g4dn.xlarge (new 000)", 1),
        ("gpu/g4dn.xlarge (new 001)", 1),
    ]
    assert found.nodes[0].price_usd_per_hour == OFFERINGS[0].price_usd_per_hour > Decimal(0)


def test_a_node_that_has_arrived_counts_and_is_selected_as_before() -> None:
    labels = {INSTANCE_TYPE: "g4dn.xlarge", "karpenter.sh/nodepool": "gpu"}
    there = make_node("real", gpu="t4", instance_type="g4dn.xlarge", gpus_allocatable=1, selector=(("product", "T4"),))
    found = with_pools(Inventory((there,), "test"), [t4_pool()], {"real": body_of("real", **labels)}, CATALOG)
    assert [(node.name, node.selector) for node in found.nodes] == [
        ("gpu/g4dn.xlarge (new 000)", t4_pool().selector),
        ("real", t4_pool().selector),
    ]


def test_an_exhausted_pool_stays_in_sight_with_nothing_free() -> None:
    labels = {INSTANCE_TYPE: "g4dn.xlarge", "karpenter.sh/nodepool": "gpu"}
    there = make_node("real", gpu="t4", instance_type="g4dn.xlarge", gpus_allocatable=1)
    bodies = {"real": body_of("real", **labels)}
    found = with_pools(Inventory((there,), "test"), [t4_pool(maximum_nodes=1)], bodies, CATALOG)
    assert [(node.name, node.gpus_free) for node in found.nodes if node.name != "real"] == [
        ("gpu/g4dn.xlarge (new 000)", 0)
    ]


def test_a_node_of_another_pool_is_left_as_it_is() -> None:
    labels = {INSTANCE_TYPE: "g4dn.xlarge", "karpenter.sh/nodepool": "another"}
    there = make_node("real", gpu="t4", instance_type="g4dn.xlarge", selector=(("product", "T4"),))
    found = with_pools(Inventory((there,), "test"), [t4_pool()], {"real": body_of("real", **labels)}, CATALOG)
    assert there in found.nodes
    assert len(found.nodes) == 3
