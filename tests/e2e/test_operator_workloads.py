"""A scenario's workload: made on the right GPUs, kept as it is meant to be, and gone with its scenario."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.controlplane import nodes
from tests.controlplane.api import Object, eventually
from tests.controlplane.cluster import Cluster
from tests.e2e.operating import CHILDREN, KIND, VERSION, Operator, Place, unchanged

pytestmark = pytest.mark.usefixtures("gpu_nodes", "operator")

SMALL = {"hardware": {"allow": ["l4"]}, "workload": {"concurrentUsers": 5}}
"""A chatbot that fits one L4."""
L4 = "NVIDIA-L4"
PRODUCTS = {
    "t4": "Tesla-T4",
    "l4": L4,
    "a100-40gb-sxm": "NVIDIA-A100-SXM4-40GB",
    "h100-80gb-sxm": "NVIDIA-H100-80GB-HBM3",
}


@pytest.mark.parametrize("name", ["chatbot", "summarization"])
def test_an_example_runs_on_the_gpus_of_its_plan_with_its_cost_in_the_status(place: Place, name: str) -> None:
    place.example(name)
    status = place.wait(name, "Ready")
    plan = status["plan"]
    assert plan["source"] == "Cluster"
    assert float(plan["cost"]["usdPerHour"]) > 0
    assert plan["cost"]["priceSource"]
    assert place.gpus_of_pods(name) == [PRODUCTS[plan["gpu"]]] * plan["replicas"]
    container = place.pods(name)[0]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(plan["gpusPerReplica"])
    assert {child["kind"]: child["ready"] for child in status["children"]} == dict.fromkeys(
        ("Deployment", "Service", "PodDisruptionBudget"), True
    )
    eventually(lambda: place.events(name) == ["PlanComputed", "Applied"], "events tell it")


def test_what_is_made_belongs_to_the_scenario_and_leaves_no_finalizer_on_it(place: Place) -> None:
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    scenario = place.get("chat")
    assert "finalizers" not in scenario["metadata"]
    assert not [key for key in scenario["metadata"].get("annotations", {}) if "kopf" in key or "inferplan" in key]
    for version, kind in CHILDREN:
        child = place.api.get(version, kind, "chat", place.namespace)
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == (KIND, scenario["metadata"]["uid"], True)
        assert {one["manager"] for one in child["metadata"]["managedFields"] if one["operation"] == "Apply"} == {
            "inferplan"
        }


def test_with_the_scenario_everything_goes(place: Place) -> None:
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    place.delete("chat")
    eventually(
        lambda: place.api.find(VERSION, KIND, "chat", place.namespace) is None, "the scenario is gone at once", 2.0
    )
    eventually(lambda: place.children() == {}, "its children are gone")
    eventually(lambda: place.pods("chat") == [], "its pods are gone")


# ── drift ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deployment_scaled_by_hand_is_scaled_back(place: Place) -> None:
    place.apply("chat", **SMALL)
    wanted = place.wait("chat", "Ready")["plan"]["replicas"]
    path = place.api.path("apps/v1", "Deployment", "chat", place.namespace) + "/scale"
    place.api.request("PATCH", path, {"spec": {"replicas": 3}}, content_type="application/merge-patch+json")
    eventually(lambda: place.deployment("chat")["spec"]["replicas"] == wanted, "scaled back", 5.0)
    eventually(lambda: "DriftRepaired" in place.events("chat"), "an event tells it")
    place.wait("chat", "Ready")


def test_an_image_changed_by_hand_is_changed_back_and_what_others_add_stays(place: Place) -> None:
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    before = place.deployment("chat")
    containers = before["spec"]["template"]["spec"]["containers"]
    change: Object = {
        "spec": {"template": {"spec": {"containers": [{**containers[0], "image": "example.org/other:1"}]}}}
    }
    change["metadata"] = {"annotations": {"example.org/note": "kept"}}
    place.api.merge(before, change)
    eventually(
        lambda: place.deployment("chat")["spec"]["template"] == before["spec"]["template"], "the image is back", 5.0
    )
    assert place.deployment("chat")["metadata"]["annotations"]["example.org/note"] == "kept"
    place.wait("chat", "Ready")


@pytest.mark.parametrize(("version", "kind"), CHILDREN)
def test_a_child_that_was_deleted_is_made_again(place: Place, version: str, kind: str) -> None:
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    uid = place.api.get(version, kind, "chat", place.namespace)["metadata"]["uid"]
    place.api.delete(version, kind, "chat", place.namespace)

    def made_again() -> bool:
        found = place.api.find(version, kind, "chat", place.namespace)
        return found is not None and found["metadata"]["uid"] != uid and "deletionTimestamp" not in found["metadata"]

    eventually(made_again, f"a new {kind}", 10.0)
    place.wait("chat", "Ready")
    eventually(lambda: place.events("chat") == ["PlanComputed", "Applied", "DriftRepaired"], "events tell it")


def test_labels_taken_off_a_child_are_put_back(place: Place) -> None:
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    service = place.api.get("v1", "Service", "chat", place.namespace)
    place.api.merge(service, {"metadata": {"labels": {"inferplan.dev/scenario": None, "app.kubernetes.io/name": None}}})
    eventually(
        lambda: (
            place.api.get("v1", "Service", "chat", place.namespace)["metadata"]["labels"]
            == service["metadata"]["labels"]
        ),
        "the labels are back",
        5.0,
    )


def test_a_name_that_somebody_else_has_is_never_taken(place: Place) -> None:
    taken = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "chat", "namespace": place.namespace},
        "spec": {"ports": [{"port": 81}], "selector": {"app": "theirs"}},
    }
    theirs = place.api.create(taken)
    place.apply("chat", **SMALL)
    status = place.wait("chat", "Stalled", reason="NameTaken")
    message = {one["type"]: one["message"] for one in status["conditions"]}["WorkloadAvailable"]
    assert "Service chat belongs to somebody else" in message
    assert place.api.get("v1", "Service", "chat", place.namespace) == theirs
    assert place.find("Deployment", "chat") is None

    place.api.delete("v1", "Service", "chat", place.namespace)
    place.wait("chat", "Ready", timeout_s=30.0)


def test_a_name_that_another_owner_labelled_as_ours_is_never_taken(place: Place) -> None:
    place.apply("other", **SMALL)
    place.wait("other", "Ready")
    owner = place.get("other")["metadata"]
    reference = {"apiVersion": VERSION, "kind": KIND, "name": "other", "uid": owner["uid"], "controller": True}
    taken = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "chat",
            "namespace": place.namespace,
            "labels": {"inferplan.dev/scenario": "chat"},
            "ownerReferences": [reference],
        },
        "spec": {"ports": [{"port": 81}], "selector": {"app": "theirs"}},
    }
    place.api.create(taken)
    place.apply("chat", **SMALL)
    status = place.wait("chat", "Stalled", reason="NameTaken")
    assert "Service chat belongs to InferenceScenario other" in str(status["conditions"])


# ── changes of the spec ──────────────────────────────────────────────────────────────────────────────────────


def test_a_spec_edited_in_the_middle_of_a_rollout_wins(place: Place) -> None:
    place.apply("chat", **SMALL)
    eventually(lambda: place.find("Deployment", "chat"), "a rollout has begun")
    place.apply("chat", **SMALL, engine={"image": "example.org/engine:2"})
    place.wait("chat", "Ready")
    images = {pod["spec"]["containers"][0]["image"] for pod in place.pods("chat")}
    assert images == {"example.org/engine:2"}


def test_a_spec_that_needs_other_gpus_moves_the_pods_there(place: Place) -> None:
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    place.apply("chat", hardware={"allow": ["h100-80gb-sxm"]}, workload={"concurrentUsers": 5})
    status = place.wait("chat", "Ready")
    assert status["plan"]["gpu"] == "h100-80gb-sxm"
    assert set(place.gpus_of_pods("chat")) == {PRODUCTS["h100-80gb-sxm"]}
    assert [entry["trigger"] for entry in status["history"]] == ["the spec changed", "first plan"]
    eventually(lambda: place.events("chat").count("PlanChanged") == 1, "an event tells it")


def test_the_history_keeps_the_last_five_changes(place: Place) -> None:
    for replicas in range(1, 8):
        place.apply("chat", hardware={"allow": ["a100-40gb-sxm"]}, select={"pin": {"replicas": replicas}})
        place.wait("chat", "PlanFeasible")
    history = place.status("chat")["history"]
    assert len(history) == 5
    assert all(later["fromPlan"] == earlier["toPlan"] for later, earlier in itertools.pairwise(history))


# ── policies ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_waits_for_its_approval_and_only_for_its_own(place: Place) -> None:
    place.apply("chat", **SMALL, deploy={"policy": "Manual"})
    status = place.wait("chat", "PlanApproved", "False", reason="AwaitingApproval")
    assert status["plan"]["hash"] in str(status["conditions"])
    place.annotate("chat", approved_plan="0123456789ab")
    unchanged(place.children, 2.0)
    assert place.children() == {}
    place.annotate("chat", approved_plan=status["plan"]["hash"])
    place.wait("chat", "Ready")
    place.wait("chat", "PlanApproved", reason="Approved")

    # another plan is another question; what was approved keeps running until it is answered
    before = place.deployment("chat")
    place.apply("chat", **SMALL, deploy={"policy": "Manual"}, select={"pin": {"maxNumSeqs": 4}})
    place.wait("chat", "PlanApproved", "False", reason="AwaitingApproval")
    assert place.deployment("chat")["spec"] == before["spec"]
    assert place.status("chat")["plan"]["hash"] != status["plan"]["hash"]


def test_a_policy_of_plan_applies_nothing(place: Place) -> None:
    place.apply("chat", **SMALL, deploy={"policy": "Plan"})
    status = place.wait("chat", "Ready", reason="Planned")
    assert status["plan"]["hash"]
    assert "children" not in status
    assert place.children() == {}


def test_a_paused_scenario_is_left_alone_until_it_goes_on(place: Place) -> None:
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    place.annotate("chat", paused="true")
    eventually(lambda: place.condition("chat", "Reconciling").get("reason") == "Paused", "paused")
    place.api.delete("apps/v1", "Deployment", "chat", place.namespace)
    unchanged(lambda: place.find("Deployment", "chat") is None, 2.5)
    place.annotate("chat", paused=None)
    place.wait("chat", "Reconciling", "False", reason="Idle")
    assert place.pods("chat")


def test_a_request_to_look_again_is_answered(place: Place) -> None:
    place.apply("chat", **SMALL)
    before = place.wait("chat", "Ready")
    place.annotate("chat", requestedAt="2026-11-25T12:00:00Z")
    eventually(lambda: place.status("chat").get("lastHandledReconcileAt") == "2026-11-25T12:00:00Z", "answered", 5.0)
    assert place.status("chat") == before | {"lastHandledReconcileAt": "2026-11-25T12:00:00Z"}


# ── batch runs ───────────────────────────────────────────────────────────────────────────────────────────────


def volume(place: Place, name: str) -> None:
    """Make the volume that holds a batch run's items."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": place.namespace}
    place.api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


def test_the_batch_example_becomes_a_cron_job_that_runs_on_the_gpus_of_its_plan(place: Place) -> None:
    volume(place, "tickets")
    place.example("batch-classification")
    status = place.wait("batch-classification", "Ready")
    cron = place.find("CronJob", "batch-classification")
    assert cron is not None
    assert (cron["spec"]["schedule"], cron["spec"]["timeZone"]) == ("0 1 * * *", "Europe/Berlin")
    assert [child["kind"] for child in status["children"]] == ["CronJob"]

    template = cron["spec"]["jobTemplate"]
    metadata = {"name": "now", "namespace": place.namespace, **template.get("metadata", {})}
    place.api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]})

    def done() -> bool:
        return bool(place.api.get("batch/v1", "Job", "now", place.namespace)["status"].get("succeeded"))

    eventually(done, "a run by hand is complete")
    unchanged(lambda: place.api.find("batch/v1", "Job", "now", place.namespace) is not None, 2.0)


def test_a_run_without_a_schedule_is_a_job_that_is_run_once(place: Place) -> None:
    volume(place, "tickets")
    load = {"items": 20_000, "deadlineMinutes": 120, "promptTokens": {"mean": 350, "p95": 900}}
    batch = {"volumeRef": {"name": "tickets"}, "input": "in.jsonl", "output": "out.jsonl"}
    place.apply("once", useCase="BatchClassification", workload=load, deploy={"batch": batch})
    status = place.wait("once", "Ready", reason="RunComplete")
    (child,) = status["children"]
    assert child["kind"] == "Job"

    place.api.delete("batch/v1", "Job", child["name"], place.namespace)  # as its time to live would
    eventually(lambda: place.find("Job", child["name"]) is None, "the Job is gone")
    unchanged(place.children, 2.5)
    assert place.children() == {}
    place.wait("once", "Ready", reason="RunComplete")


# ── quiet ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_when_nothing_changes_nothing_is_written_but_the_lease(
    control_plane: Cluster, operator: Operator, place: Place
) -> None:
    place.example("chatbot")
    place.example("infeasible")
    place.apply("market", hardware={"source": "Market"})
    place.wait("chatbot", "Ready")
    place.wait("infeasible", "Stalled")
    place.wait("market", "Stalled")
    settled(place)
    control_plane.audit.mark()
    unchanged(place.statuses, 10.0)
    written = {request.resource for request in control_plane.audit.writes(operator.user)}
    assert written == {"leases.coordination.k8s.io"}


def test_a_person_watching_sees_progress_and_no_flapping(place: Place) -> None:
    place.apply("chat", **SMALL)
    seen: list[tuple[str, ...]] = []

    def look() -> bool:
        status = place.status("chat")
        found = {one["type"]: one["status"] for one in status.get("conditions", ())}
        now = (status.get("plan", {}).get("hash", ""), found.get("Ready", ""), found.get("Reconciling", ""))
        if not seen or seen[-1] != now:
            seen.append(now)
        return found.get("Ready") == "True"

    eventually(look, "ready")
    plan = seen[-1][0]
    assert seen[-1] == (plan, "True", "False")
    assert len(seen) == len(set(seen)) <= 3
    assert all(one[1] != "True" for one in seen[:-1])


def test_nodes_that_come_and_go_elsewhere_do_not_move_a_running_plan(control_plane: Cluster, place: Place) -> None:
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    before = (
        place.children(),
        place.status("chat")["plan"]["hash"],
        [pod["metadata"]["uid"] for pod in place.pods("chat")],
    )
    nodes.apply(control_plane.api, [nodes.eks_node("more", "g6.xlarge"), nodes.eks_node("other", "g5.xlarge")])
    nodes.delete(control_plane.api, ["gpu-h100"])

    def look() -> tuple[Object, str, list[str]]:
        return (
            place.children(),
            place.status("chat")["plan"]["hash"],
            [p["metadata"]["uid"] for p in place.pods("chat")],
        )

    assert unchanged(look, 3.0)[1:] == before[1:]
    assert look()[0]["Deployment chat"]["spec"]["template"] == before[0]["Deployment chat"]["spec"]["template"]


def test_no_call_was_forbidden(control_plane: Cluster, operator: Operator) -> None:
    """The last test of this file looks back on all of them."""
    refused = [one for one in forbidden_since_start(control_plane) if operator.user in one]
    assert refused == []
    assert "a defect" not in operator.log()


def forbidden_since_start(cluster: Cluster) -> list[str]:
    """List every refusal in the whole audit log."""
    whole = type(cluster.audit)(cluster.folder / "audit" / "audit.log")
    return [f"{one.user} {one.verb} {one.uri} {one.reason}" for one in whole.forbidden()]


def settled(place: Place, look: Callable[[], Object] | None = None) -> None:
    """Wait until the statuses have stopped changing."""
    look = look or place.statuses
    last: list[Object] = []

    def same() -> bool:
        last.append(look())
        return len(last) > 20 and all(one == last[-1] for one in last[-20:])

    eventually(same, "everything has settled")
