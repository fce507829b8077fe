"""What runs is left alone: events that touch nodes touch no pod, no template, no hash and no approval."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.controlplane import nodes
from tests.controlplane.api import Api, Object, eventually
from tests.controlplane.machines import L4
from tests.e2e.operating import Operator, Place, unchanged

pytestmark = pytest.mark.usefixtures("no_nodes", "operator")

EVERY_PLATFORM = {
    "eks": nodes.eks_node("mine", "g6.12xlarge"),
    "gke": nodes.gke_node("mine", "g2-standard-48"),
    "aks": nodes.aks_node("mine", "Standard_NC24ads_A100_v4", discovery=True),
    "bare metal": nodes.bare_metal_node("mine", L4, 4),
}
DEARER = nodes.eks_node("dearer", "p4d.24xlarge")
QUIET_S = 3.0
"""Longer than anything takes that the operator does when nodes change: it looks again within two seconds."""


def not_ready(api: Api, name: str, status: str) -> None:
    """Have a node's kubelet fall silent, or come back."""
    node = api.get("v1", "Node", name)
    conditions = [{**one, "status": status} if one["type"] == "Ready" else one for one in node["status"]["conditions"]]
    api.merge(node, {"status": {"conditions": conditions}}, subresource="status")


def running(place: Place, name: str) -> dict[str, Any]:
    """Everything that has to stay as it is."""
    deployment, status = place.deployment(name), place.status(name)
    return {
        "pods": sorted(pod["metadata"]["uid"] for pod in place.pods(name)),
        "template": deployment["spec"]["template"],
        "generation": deployment["metadata"]["generation"],
        "hash": status["plan"]["hash"],
        "history": status["history"],
        "conditions": {
            one["type"]: (one["status"], one["reason"])
            for one in status["conditions"]
            if one["type"] in {"Ready", "PlanApproved", "WorkloadAvailable", "CapacityAvailable"}
        },
    }


def put_to_work(place: Place, policy: str) -> dict[str, Any]:
    place.apply("chat", workload={"concurrentUsers": 5}, deploy={"policy": policy})
    if policy == "Manual":
        status = place.wait("chat", "PlanApproved", "False", reason="AwaitingApproval")
        place.annotate("chat", approved_plan=status["plan"]["hash"])
    place.wait("chat", "Ready")
    return running(place, "chat")


def changed(node: Object, change: Callable[[Object], object]) -> Object:
    node = copy.deepcopy(node)
    change(node)
    return node


def events(node: Object) -> dict[str, tuple[Callable[[Api], object], Callable[[Api], object]]]:
    """What happens to nodes, and how it ends."""
    product = [key for key in node["metadata"]["labels"] if key.startswith(("nvidia.com/", "cloud.google.com/gke-acc"))]

    def without_labels(one: Object) -> None:
        for key in product:
            del one["metadata"]["labels"][key]

    taint = {"key": "maintenance", "value": "x", "effect": "NoSchedule"}
    tainted = changed(node, lambda one: one["spec"]["taints"].append(taint))
    unlabelled = changed(node, without_labels)
    second = changed(node, lambda one: one["metadata"].update(name="second"))
    bare = changed(unlabelled, lambda one: one["metadata"].update(name="second"))
    smaller = changed(second, lambda one: one["status"]["allocatable"].update(cpu="6", memory="24Gi"))
    others = [one for one in node["spec"]["taints"] if one["key"] != "sku"]
    sku = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    marked = changed(second, lambda one: one["spec"].update(taints=[*others, sku]))

    def back(api: Api) -> None:
        nodes.apply(api, [node])

    def joined(one: Object) -> tuple[Callable[[Api], object], Callable[[Api], object]]:
        return lambda api: nodes.apply(api, [one]), lambda api: nodes.delete(api, ["second"])

    return {
        "not ready": (lambda api: not_ready(api, "mine", "Unknown"), lambda api: not_ready(api, "mine", "True")),
        "no devices": (lambda api: nodes.apply(api, [nodes.with_gpus(node, 0)]), back),
        "tainted": (lambda api: nodes.apply(api, [tainted]), back),
        "cordoned": (lambda api: nodes.cordon(api, "mine"), lambda api: nodes.cordon(api, "mine", cordoned=False)),
        "without labels": (lambda api: nodes.apply(api, [unlabelled]), back),
        "an equal joins": joined(second),
        "one joins before discovery": joined(bare),
        "a smaller one joins": joined(smaller),
        "one with a taint joins": joined(marked),
    }


@pytest.mark.parametrize(
    ("node", "policy"),
    list(zip(EVERY_PLATFORM.values(), ["Auto", "Manual", "Auto", "Manual"], strict=True)),
    ids=EVERY_PLATFORM.keys(),
)
def test_what_happens_to_nodes_touches_nothing_that_runs(place: Place, node: Object, policy: str) -> None:
    nodes.apply(place.api, [node, DEARER])
    before = put_to_work(place, policy)
    for name, (begin, end) in events(node).items():
        begin(place.api)
        assert unchanged(lambda: running(place, "chat"), QUIET_S) == before, f"{name}, under way"
        end(place.api)
        assert unchanged(lambda: running(place, "chat"), QUIET_S / 2) == before, f"{name}, over"


def test_what_ran_on_a_machine_goes_on_on_its_equal(place: Place) -> None:
    equals = [nodes.bare_metal_node(name, L4, 1) for name in ("bare0", "bare1")]
    nodes.apply(place.api, equals)
    before = put_to_work(place, "Manual")
    (pod,) = place.pods("chat")
    nodes.delete(place.api, [pod["spec"]["nodeName"]])
    other = {"bare0", "bare1"} - {pod["spec"]["nodeName"]}

    def moved() -> bool:
        return {one["spec"].get("nodeName") for one in place.pods("chat")} == other

    eventually(moved, "its pod runs on the other machine")
    place.wait("chat", "Ready")
    after = running(place, "chat")
    assert after.pop("pods") != before.pop("pods")
    assert after == before


def test_gpus_that_are_gone_are_waited_for_and_the_plan_and_its_approval_stand(
    place: Place, operator: Operator
) -> None:
    node = nodes.bare_metal_node("mine", L4, 1)
    nodes.apply(place.api, [node, DEARER])
    before = put_to_work(place, "Auto")
    nodes.delete(place.api, ["mine"])
    status = place.wait("chat", "CapacityAvailable", "False", reason="Gone")
    assert status["plan"]["hash"] == before["hash"]
    assert unchanged(lambda: place.status("chat")["plan"]["hash"], QUIET_S) == before["hash"]
    nodes.apply(place.api, [node])
    place.wait("chat", "Ready")
    after = running(place, "chat")
    assert (after["hash"], after["template"], after["history"]) == (
        before["hash"],
        before["template"],
        before["history"],
    )
    assert "a defect" not in operator.log()
