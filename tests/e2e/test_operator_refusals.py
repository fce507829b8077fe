"""What the cluster or another controller does not let happen: it is told in their words, and nobody is fought."""

from __future__ import annotations

import pytest

from tests.controlplane.api import Object, eventually
from tests.e2e.operating import Place, unchanged

pytestmark = pytest.mark.usefixtures("gpu_nodes", "operator")

SMALL = {"hardware": {"allow": ["l4"]}, "workload": {"concurrentUsers": 5}}
"""A chatbot that fits one L4."""


def messages(status: Object) -> dict[str, str]:
    """Return the message of each condition."""
    return {one["type"]: one["message"] for one in status["conditions"]}


def test_a_quota_that_lets_no_pod_in_is_told_and_stalls_until_it_is_gone(place: Place) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "no-gpus", "namespace": place.namespace},
        "spec": {"hard": {"requests.nvidia.com/gpu": "0"}},
    }
    place.api.create(quota)

    def enforced() -> bool:
        return "hard" in place.api.get("v1", "ResourceQuota", "no-gpus", place.namespace).get("status", {})

    eventually(enforced, "the quota holds")
    place.apply("chat", **SMALL)
    status = place.wait("chat", "Stalled", reason="ReplicaFailure")
    for kind in ("Ready", "Stalled", "WorkloadAvailable"):
        assert "exceeded quota: no-gpus" in messages(status)[kind]
    assert place.condition("chat", "Reconciling")["status"] == "False"
    assert place.pods("chat") == []
    unchanged(lambda: place.status("chat"), 3.0)

    place.api.delete("v1", "ResourceQuota", "no-gpus", place.namespace)
    place.wait("chat", "Ready", timeout_s=60.0)
    assert place.condition("chat", "Stalled")["status"] == "False"


def test_a_controller_that_scales_again_and_again_is_named_and_left_alone(place: Place) -> None:
    place.apply("chat", **SMALL)
    wanted = place.wait("chat", "Ready")["plan"]["replicas"]
    path = place.api.path("apps/v1", "Deployment", "chat", place.namespace) + "/scale"

    def scale() -> None:
        change = {"spec": {"replicas": wanted + 1}}
        place.api.request("PATCH", path, change, content_type="application/merge-patch+json")

    def replicas() -> int:
        found: int = place.deployment("chat")["spec"]["replicas"]
        return found

    for _ in range(3):
        scale()
        eventually(lambda: replicas() == wanted, "scaled back", 5.0)
    scale()
    status = place.wait("chat", "Stalled", reason="Contested")
    said = messages(status)["Stalled"]
    assert said.startswith("spec.replicas of Deployment chat was set 3 times in 10 minutes by ")
    assert "(subresource scale: an HPA, KEDA or kubectl scale); it is left as it is" in said
    unchanged(replicas, 2.0)
    assert replicas() == wanted + 1
    eventually(lambda: "Contested" in place.events("chat"), "an event tells it")

    # what else belongs to the scenario is cared for as before
    uid = place.api.get("v1", "Service", "chat", place.namespace)["metadata"]["uid"]
    place.api.delete("v1", "Service", "chat", place.namespace)

    def made_again() -> bool:
        found = place.find("Service", "chat")
        return found is not None and found["metadata"]["uid"] != uid

    eventually(made_again, "a new Service", 10.0)
    assert replicas() == wanted + 1

    place.annotate("chat", requestedAt="again")
    eventually(lambda: replicas() == wanted, "scaled back once it is asked for", 5.0)
    place.wait("chat", "Ready")
