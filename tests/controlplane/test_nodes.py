"""The nodes that tests play are the nodes that planning knows."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from inferplan.api.nodes import read_inventory
from inferplan.catalog.loader import load_catalog
from inferplan.domain.cluster import GpuNode
from tests.controlplane import nodes
from tests.controlplane.api import Object
from tests.controlplane.machines import AKS, EKS, GKE, H100

CATALOG = load_catalog()


def seen(played: Iterable[Object]) -> dict[str, GpuNode]:
    text = "\n---\n".join(json.dumps(node) for node in played)
    return {node.name: node for node in read_inventory(text, "played", CATALOG).nodes}


def test_the_demo_has_two_t4_four_l4_eight_a100_and_eight_h100_all_priced() -> None:
    found = {node.name: (node.gpu, node.gpus_allocatable) for node in seen(nodes.demo_pools()).values()}
    assert found == {
        "gpu-t4-a": ("t4", 1),
        "gpu-t4-b": ("t4", 1),
        "gpu-l4": ("l4", 4),
        "gpu-a100": ("a100-40gb-sxm", 8),
        "gpu-h100": ("h100-80gb-sxm", 8),
    }
    assert all(node.usable and node.price_usd_per_hour for node in seen(nodes.demo_pools()).values())


@pytest.mark.parametrize("instance_type", EKS)
@pytest.mark.parametrize("karpenter", [False, True])
def test_every_eks_machine_is_recognized(instance_type: str, *, karpenter: bool) -> None:
    check(nodes.eks_node("node", instance_type, karpenter=karpenter), EKS[instance_type].gpus)


@pytest.mark.parametrize("machine_type", GKE)
@pytest.mark.parametrize("discovery", [False, True])
def test_every_gke_machine_is_recognized(machine_type: str, *, discovery: bool) -> None:
    check(nodes.gke_node("node", machine_type, discovery=discovery), GKE[machine_type].gpus)


@pytest.mark.parametrize("vm_size", AKS)
@pytest.mark.parametrize("discovery", [False, True])
def test_every_aks_machine_is_recognized(vm_size: str, *, discovery: bool) -> None:
    check(nodes.aks_node("node", vm_size, discovery=discovery), AKS[vm_size].gpus)


def check(node: Object, gpus: int) -> None:
    """Check that a node without GPUs is left out, and one with GPUs is usable and named."""
    found = seen([node, nodes.bare_metal_node("other", H100, 8)])
    assert set(found) == ({"node", "other"} if gpus else {"other"})
    if gpus:
        assert (found["node"].usable, found["node"].reason, found["node"].gpus_allocatable) == (True, "", gpus)
        assert found["node"].gpu is not None


def test_a_machine_of_ones_own_is_recognized_and_has_no_price() -> None:
    (node,) = seen([nodes.bare_metal_node("own", H100, 8)]).values()
    assert (node.gpu, node.usable, node.price_usd_per_hour) == ("h100-80gb-sxm", True, None)


def test_shared_divided_and_broken_nodes_are_told_apart() -> None:
    node = nodes.eks_node("node", "p4d.24xlarge")
    for changed, reason in (
        (nodes.shared(node, 4), "shared"),
        (nodes.divided(node), "divided by MIG"),
        (nodes.divided(node, mixed=True), "divided by MIG"),
        (nodes.with_gpus(node, 0), "offers no GPU"),
        (nodes.labelled(node, {"nvidia.com/gpu.product": "Nonsense-9000"}), 'unknown GPU "Nonsense-9000"'),
    ):
        (found,) = seen([changed]).values()
        assert not found.usable
        assert reason in found.reason
    assert nodes.eks_node("node", "p4d.24xlarge") == node
