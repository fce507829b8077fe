"""From nodes and pods to the inventory: which GPUs are there, which can be planned on, what they cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import yaml

from inferplan.api.nodes import read_inventory
from inferplan.domain.cluster import GpuNode, Taint
from inferplan.domain.errors import InputError
from inferplan.domain.hardware import Terms
from tests.unit.api.catalogs import make_api_catalog

H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
EKS = {"node.kubernetes.io/instance-type": "p5.48xlarge", "topology.kubernetes.io/region": "us-east-1"}


def node(name: str = "a", gpus: int | str = 8, labels: dict[str, str] | None = None, **parts: Any) -> dict[str, Any]:
    status = {"allocatable": {"nvidia.com/gpu": str(gpus), "cpu": "4"}} if gpus else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": H100 if labels is None else labels},
        "spec": parts.get("spec", {}),
        "status": {**status, **parts.get("status", {})},
    }


def pod(node_name: str, gpus: int, phase: str = "Running", **parts: Any) -> dict[str, Any]:
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"nodeName": node_name, "containers": [container], **parts},
        "status": {"phase": phase},
    }


def inventory_of(*objects: dict[str, Any]) -> tuple[GpuNode, ...]:
    return read_inventory(yaml.safe_dump_all(objects), "nodes.yaml", make_api_catalog()).nodes


def only(*objects: dict[str, Any]) -> GpuNode:
    found = inventory_of(*objects)
    assert len(found) == 1
    return found[0]


def test_a_node_on_eks_is_read_in_full() -> None:
    taint = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
    spec = {"providerID": "aws:///us-east-1a/i-1", "taints": [taint]}
    assert only(node(labels={**H100, **EKS}, spec=spec), pod("a", 3)) == GpuNode(
        name="a",
        gpu="h100-80gb-sxm",
        product_label="NVIDIA-H100-80GB-HBM3",
        selector=(("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3"),),
        gpus_allocatable=8,
        gpus_requested=3,
        usable=True,
        reason="",
        instance_type="p5.48xlarge",
        region="us-east-1",
        provider="aws",
        terms=Terms.ON_DEMAND,
        taints=(Taint("nvidia.com/gpu", "true", "NoSchedule"),),
        price_usd_per_hour=Decimal("55.04"),
        price_source="test",
        price_as_of="2026-07-20",
        cpu_allocatable_millicores=4_000,
    )


def test_the_disk_that_pods_can_ask_for_is_read() -> None:
    status = {"allocatable": {"nvidia.com/gpu": "8", "ephemeral-storage": "95551679124"}}
    assert only(node(labels=H100, status=status)).disk_allocatable_bytes == 95_551_679_124


@pytest.mark.parametrize(
    ("labels", "gpu"),
    [
        ({"nvidia.com/gpu.product": "NVIDIA-L4"}, "l4"),
        ({"nvidia.com/gpu.product": "L4"}, "l4"),
        ({"nvidia.com/gpu.product": "H100-80GB-HBM3"}, "h100-80gb-sxm"),
        ({"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}, "t4"),
        ({"node.kubernetes.io/instance-type": "p5.48xlarge"}, "h100-80gb-sxm"),
        ({"node.kubernetes.io/instance-type": "g4dn.xlarge", "accelerator": "nvidia"}, "t4"),
        ({"karpenter.k8s.aws/instance-gpu-name": "t4"}, "t4"),
        ({"k8s.amazonaws.com/accelerator": "nvidia-l4"}, "l4"),
    ],
)
def test_the_gpu_is_known_by_any_label_that_nodes_carry(labels: dict[str, str], gpu: str) -> None:
    found = only(node(labels=labels))
    assert (found.gpu, found.usable) == (gpu, True)
    assert found.selector
    assert set(found.selector) <= set(labels.items())


@pytest.mark.parametrize(
    ("labels", "terms"),
    [
        ({}, Terms.ON_DEMAND),
        ({"karpenter.sh/capacity-type": "spot"}, Terms.SPOT),
        ({"karpenter.sh/capacity-type": "on-demand"}, Terms.ON_DEMAND),
        ({"karpenter.sh/capacity-type": "reserved"}, Terms.COMMITTED),
        ({"eks.amazonaws.com/capacityType": "SPOT"}, Terms.SPOT),
        ({"cloud.google.com/gke-spot": "true"}, Terms.SPOT),
        ({"kubernetes.azure.com/scalesetpriority": "spot"}, Terms.SPOT),
    ],
)
def test_spot_nodes_are_told_apart(labels: dict[str, str], terms: Terms) -> None:
    assert only(node(labels={**H100, **labels})).terms is terms


def test_a_spot_node_has_the_spot_price_or_none() -> None:
    spot = {**H100, **EKS, "karpenter.sh/capacity-type": "spot"}
    assert only(node(labels=spot)).price_usd_per_hour == Decimal("16.95")
    assert only(node(labels={**spot, "topology.kubernetes.io/region": "eu-west-1"})).price_usd_per_hour is None


def test_gpus_attached_to_a_machine_are_priced_by_their_number() -> None:
    labels = {
        "cloud.google.com/gke-accelerator": "nvidia-tesla-t4",
        "node.kubernetes.io/instance-type": "n1-standard-32",
        "topology.kubernetes.io/region": "us-central1",
    }
    assert only(node(gpus=4, labels=labels)).price_usd_per_hour == Decimal("2.92")
    assert only(node(gpus=1, labels=labels)).price_usd_per_hour is None


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (node(spec={"unschedulable": True}), "cordoned"),
        (node(status={"conditions": [{"type": "Ready", "status": "Unknown"}]}), "not ready"),
        (node(labels={"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"}), "divided by MIG (1g.10gb)"),
        (
            node(status={"allocatable": {"nvidia.com/gpu": "0", "nvidia.com/mig-3g.40gb": "2"}}),
            "divided by MIG (mig-3g.40gb)",
        ),
        (node(labels={**H100, "cloud.google.com/gke-gpu-partition-size": "1g.5gb"}), "divided by MIG (1g.5gb)"),
        (node(labels={"nvidia.com/gpu.product": "Tesla-T4-SHARED"}), "shared (time slicing or MPS)"),
        (node(labels={**H100, "nvidia.com/gpu.sharing-strategy": "mps"}), "shared (time slicing or MPS)"),
        (node(labels={"nvidia.com/gpu.product": "Nonsense-9000"}), 'unknown GPU "Nonsense-9000"'),
        (node(gpus=0), "offers no GPU: is the device plugin running?"),
    ],
)
def test_nodes_that_cannot_be_planned_on_say_why(made: dict[str, Any], reason: str) -> None:
    found = only(made)
    assert not found.usable
    assert reason in found.reason
    assert found.gpus_free == 0


def test_the_gpu_of_a_shared_or_divided_node_is_known_all_the_same() -> None:
    assert only(node(labels={"nvidia.com/gpu.product": "Tesla-T4-SHARED"})).gpu == "t4"
    assert only(node(labels={"nvidia.com/gpu.product": "NVIDIA-L4-MIG-1g.5gb-SHARED"})).gpu == "l4"


def test_a_ready_condition_and_replicas_of_one_leave_a_node_usable() -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    labels = {**H100, "nvidia.com/gpu.replicas": "8", "nvidia.com/gpu.sharing-strategy": "none"}
    assert only(node(labels=labels, status=ready)).usable


def test_pods_that_ended_or_wait_ask_for_nothing_and_start_containers_count_once() -> None:
    starting = {"name": "i", "resources": {"requests": {"nvidia.com/gpu": "5"}}}
    found = only(
        node(),
        pod("a", 2),
        pod("a", 1, initContainers=[starting]),
        pod("a", 8, phase="Succeeded"),
        pod("", 8, phase="Pending"),
        pod("elsewhere", 8),
    )
    assert (found.gpus_requested, found.gpus_free) == (7, 1)


def test_nodes_without_gpus_and_other_kinds_are_left_out_and_the_rest_is_sorted() -> None:
    plain = node("cpu", gpus=0, labels={"kubernetes.io/arch": "amd64"})
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    assert [found.name for found in inventory_of(node("b"), plain, service, node("a"))] == ["a", "b"]


def test_lists_are_opened() -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [node("a"), node("b")]}
    assert len(inventory_of(listed)) == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("kind: Pod\nmetadata: {name: p}", "no Node in it"),
        ("kind: Node\nmetadata: {labels: {}}", "nodes.yaml:2: metadata.name: required, but missing"),
        (
            "kind: Node\nmetadata: {name: a}\nstatus: {allocatable: {nvidia.com/gpu: many}}",
            '"many" is not a number of GPUs',
        ),
        ("kind: Node\nmetadata: {name: a, labels: [x]}", "must be a group of fields, not a list"),
        ("kind: Node\nmetadata: {name: a}\n---\nkind: Node\nmetadata: {name: a}", 'node "a" stands twice'),
    ],
)
def test_files_that_are_no_nodes_are_refused(text: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        read_inventory(text, "nodes.yaml", make_api_catalog())
    assert fault in str(caught.value)
