"""Pods go where the plan's GPUs are, by labels that the nodes carry, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inferplan.domain.cluster import Inventory, Taint
from inferplan.domain.hardware import Terms
from inferplan.domain.operation import PodAdditions, Toleration, TolerationOperator
from inferplan.domain.plan import Plan
from inferplan.domain.taints import repelling
from tests.builders import make_gpu
from tests.unit.api.outcomes import make_plan
from tests.unit.render.plans import (
    GKE_LABEL,
    GPU_TAINT,
    configured,
    in_cluster,
    make_deploy,
    make_inventory,
    make_node,
    placed,
    pod_spec,
    rendered,
)

GFD = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-H100-80GB-HBM3"]}
GKE = {"key": "cloud.google.com/gke-accelerator", "operator": "In", "values": ["nvidia-h100-80gb"]}
NO_SPOT_ON_AWS = [
    {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]},
    {"key": "eks.amazonaws.com/capacityType", "operator": "NotIn", "values": ["SPOT"]},
]


def affinity(plan: Plan, inventory: Inventory | None = None) -> dict[str, Any]:
    found: dict[str, Any] = pod_spec(rendered(plan, inventory=inventory))["affinity"]["nodeAffinity"]
    return found


def terms(plan: Plan, inventory: Inventory | None = None) -> list[list[dict[str, Any]]]:
    required = affinity(plan, inventory)["requiredDuringSchedulingIgnoredDuringExecution"]
    return [term["matchExpressions"] for term in required["nodeSelectorTerms"]]


def tolerations(plan: Plan, inventory: Inventory | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pod_spec(rendered(plan, inventory=inventory))["tolerations"]
    return found


def test_nodes_of_a_cluster_are_chosen_by_the_label_that_they_carry() -> None:
    plan = in_cluster()
    assert terms(plan, make_inventory()) == [[GFD, *NO_SPOT_ON_AWS]]
    (preferred,) = affinity(plan, make_inventory())["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["preference"]["matchExpressions"][0]["values"] == ["p5.48xlarge"]


def test_two_sets_of_labels_are_two_alternatives() -> None:
    plan = in_cluster(provider="")
    nodes = make_inventory(make_node(provider=""), make_node(name="b", selector=GKE_LABEL, provider=""))
    assert terms(plan, nodes) == [[GKE], [GFD]]


def test_a_node_that_comes_goes_or_is_busy_changes_no_pod() -> None:
    plan = in_cluster()
    alone = rendered(plan, inventory=make_inventory())
    more = make_inventory(
        make_node(gpus_requested=8),
        make_node(name="b", usable=False, reason="cordoned", instance_type="p5.48xlarge"),
        make_node(name="c", gpu="t4", selector=(("nvidia.com/gpu.product", "Tesla-T4"),)),
        make_node(name="small", instance_type="p5.4xlarge", gpus_allocatable=1, cpu_allocatable_millicores=900),
    )
    assert pod_spec(rendered(plan, inventory=more)) == pod_spec(alone)


ARM = {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}
ARM_TAINT = Taint("kubernetes.io/arch", "arm64", "NoSchedule")
STANDS_ARM = {"key": "kubernetes.io/arch", "operator": "Equal", "value": "arm64"}


def test_machines_with_arm_cpus_are_asked_for_and_their_taint_is_stood() -> None:
    grace = configured(gpu=make_gpu(id="gh200-96gb", host_architecture="arm64"))
    assert all(ARM in term for term in terms(grace))
    assert STANDS_ARM in tolerations(grace)
    assert all(ARM not in term for term in terms(make_plan()))
    assert STANDS_ARM not in tolerations(make_plan())


def test_nodes_that_bear_the_taint_of_arm_are_planned_on_and_stood() -> None:
    node = make_node(taints=(GPU_TAINT, ARM_TAINT))
    assert repelling(node, ()) == ()
    assert STANDS_ARM in tolerations(in_cluster(), make_inventory(node))


def test_an_image_for_one_architecture_runs_on_no_other() -> None:
    plan = make_plan()
    only = replace(plan.configuration.engine, image_architectures=("amd64",))
    amd = {**ARM, "values": ["amd64"]}
    assert all(amd in term for term in terms(configured(engine=only)))
    assert STANDS_ARM not in tolerations(configured(in_cluster(), engine=only), make_inventory(make_node()))


def test_nodes_that_are_divided_lend_no_labels() -> None:
    mig = make_node(
        name="mig", divided=True, selector=(("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"),)
    )
    assert terms(in_cluster(), make_inventory(make_node(), mig)) == [[GFD, *NO_SPOT_ON_AWS]]


def test_spot_nodes_are_kept_out_unless_asked_for() -> None:
    spot = placed(in_cluster(), instance_type="p5.48xlarge", terms=Terms.SPOT)
    nodes = make_inventory(make_node(terms=Terms.SPOT), make_node(name="b"))
    assert terms(replace(spot, source="Cluster"), nodes) == [
        [GFD, {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}],
        [GFD, {"key": "eks.amazonaws.com/capacityType", "operator": "In", "values": ["SPOT"]}],
    ]


def test_spot_nodes_of_azure_and_google_bear_taints() -> None:
    for provider, key, value in (
        ("azure", "kubernetes.azure.com/scalesetpriority", "spot"),
        ("gcp", "cloud.google.com/gke-spot", "true"),
    ):
        wanted = {"key": key, "operator": "Equal", "value": value}
        assert wanted in tolerations(placed(provider=provider, terms=Terms.SPOT))
        assert wanted not in tolerations(placed(provider=provider))


def test_a_plan_on_the_market_uses_what_nodes_would_carry() -> None:
    gpu = make_gpu(product_labels=("NVIDIA-H100-80GB-HBM3", "nvidia-h100-80gb"))
    both = {**GFD, "values": ["H100-80GB-HBM3", "NVIDIA-H100-80GB-HBM3"]}  # older drivers leave the maker out
    plan = configured(gpu=gpu)
    aws = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["p5.4xlarge"]}
    assert terms(placed(plan)) == [[both, *NO_SPOT_ON_AWS], [aws, *NO_SPOT_ON_AWS]]
    assert [term[0] for term in terms(placed(plan, provider="gcp", instance_type="a3-highgpu-1g"))] == [both, GKE]
    assert terms(placed(plan, provider="lambda")) == [[both]]


def test_a_machine_with_gpus_attached_is_not_chosen_by_its_type() -> None:
    plan = placed(provider="azure", instance_type="n1-standard-8+1xT4")
    assert [term[0]["key"] for term in terms(plan)] == ["nvidia.com/gpu.product"]


def test_taints_of_gpu_nodes_are_borne_and_those_of_others_are_not() -> None:
    theirs = Taint("dedicated", "team-b", "NoSchedule")
    node = make_node(taints=(GPU_TAINT, Taint("sku", "gpu", "NoSchedule"), theirs))
    assert tolerations(in_cluster(), make_inventory(node)) == [
        {"key": "nvidia.com/gpu", "operator": "Exists"},
        {"key": "sku", "operator": "Equal", "value": "gpu"},
    ]
    assert tolerations(in_cluster(), make_inventory()) == [{"key": "nvidia.com/gpu", "operator": "Exists"}]


def test_the_users_tolerations_come_on_top() -> None:
    asked = (
        Toleration("dedicated", TolerationOperator.EQUAL, "us", "NoSchedule"),
        Toleration("nvidia.com/gpu"),
    )
    found = pod_spec(rendered(deploy=make_deploy(pods=PodAdditions(tolerations=asked))))["tolerations"]
    assert found == [
        {"key": "nvidia.com/gpu", "operator": "Exists"},
        {"key": "dedicated", "operator": "Equal", "value": "us", "effect": "NoSchedule"},
    ]
