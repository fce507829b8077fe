"""The operator as a process: one at work at a time, back after whatever happens, small and quick."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.controlplane import nodes
from tests.controlplane.api import ApiError, eventually
from tests.controlplane.cluster import Cluster
from tests.controlplane.processes import Processes, stopped_at_the_end
from tests.e2e.operating import (
    LEASE,
    Operator,
    Place,
    chart_rules,
    home_of_operators,
    unchanged,
)

pytestmark = pytest.mark.usefixtures("gpu_nodes", "crd")

SMALL = {"hardware": {"allow": ["l4"]}, "workload": {"concurrentUsers": 5}}
TAKEOVER_S = 20.0
PLANNED_P95_S = 2.0
LARGEST_MEMORY_BYTES = 200 * 10**6


@pytest.fixture
def home(control_plane: Cluster) -> Iterator[str]:
    with home_of_operators(control_plane) as name:
        yield name


@pytest.fixture
def processes(home: str, tmp_path: Path) -> Iterator[Processes]:
    assert home  # its rules outlive the processes
    with stopped_at_the_end(tmp_path) as running:
        yield running


@pytest.fixture
def start(control_plane: Cluster, processes: Processes, home: str) -> Callable[..., Operator]:
    def one(name: str = "operator", *options: str, wait: bool = True) -> Operator:
        made = Operator(control_plane, processes, home, name, *options)
        made.start(wait=wait)
        return made

    return one


# ── one at work ──────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_replicas_one_works_and_the_other_takes_over_when_it_dies(
    start: Callable[..., Operator], place: Place, home: str
) -> None:
    first = start("first")
    second = start("second", wait=False)
    eventually(lambda: second.probe("/readyz?exclude=lease")[0] == 200, "the second waits", 30.0)
    assert second.probe("/healthz")[0] == 200
    assert second.probe("/readyz")[0] == 503
    place.apply("one", **SMALL)
    place.wait("one", "Ready")

    first.kill()
    died = time.monotonic()
    place.apply("two", **SMALL)
    place.wait("two", "PlanFeasible", timeout_s=TAKEOVER_S)
    assert time.monotonic() - died < TAKEOVER_S
    lease = place.api.get("coordination.k8s.io/v1", "Lease", LEASE, home)
    assert lease["spec"]["holderIdentity"] == "second"
    assert second.is_ready()


def test_one_that_ends_well_gives_the_lease_back_at_once(start: Callable[..., Operator], place: Place) -> None:
    first = start("first")
    start("second", wait=False)
    first.stop()
    ended = time.monotonic()
    place.apply("one", **SMALL)
    place.wait("one", "PlanFeasible", timeout_s=10.0)
    assert time.monotonic() - ended < 10.0
    assert "stopped" in first.log()


def test_one_whose_lease_was_taken_ends_at_once_and_writes_nothing_more(
    start: Callable[..., Operator], processes: Processes, place: Place, home: str
) -> None:
    operator = start()
    lease = place.api.get("coordination.k8s.io/v1", "Lease", LEASE, home)
    place.api.merge(lease, {"spec": {"holderIdentity": "somebody else", "leaseDurationSeconds": 3600}})
    eventually(operator.has_ended, "it has ended", 10.0)
    assert processes.ended(operator.name) == 3
    assert "lost the Lease" in operator.log()
    place.apply("one", **SMALL)
    unchanged(lambda: place.status("one"), 2.0)
    assert place.status("one") == {"observedGeneration": -1}


# ── back after whatever happens ──────────────────────────────────────────────────────────────────────────────


def fresh(place: Place) -> bool:
    return place.status("chat") == {"observedGeneration": -1}


def planned(place: Place) -> bool:
    return "plan" in place.status("chat")


def applied(place: Place) -> bool:
    return place.find("Deployment", "chat") is not None


def half_applied(place: Place) -> bool:
    return place.find("Service", "chat") is not None


def available(place: Place) -> bool:
    return place.condition("chat", "Ready").get("status") == "True"


@pytest.mark.parametrize("moment", [fresh, planned, applied, half_applied, available])
def test_killed_at_any_moment_and_started_again_it_ends_where_it_would_have_ended(
    start: Callable[..., Operator], place: Place, moment: Callable[[Place], bool]
) -> None:
    operator = start()
    place.apply("chat", **SMALL)
    eventually(lambda: moment(place), moment.__name__)
    operator.kill()
    place.api.request(
        "PATCH",
        place.api.path("coordination.k8s.io/v1", "Lease", LEASE, operator.home),
        {"spec": {"holderIdentity": ""}},
        content_type="application/merge-patch+json",
    )
    before, statuses = place.children(), place.statuses()
    operator.start()
    status = place.wait("chat", "Ready")
    assert len(status["history"]) == 1
    if moment is available:
        assert unchanged(lambda: (place.children(), place.statuses()), 2.0) == (before, statuses)
    assert set(place.children()) == {"Deployment chat", "Service chat", "PodDisruptionBudget chat"}
    assert place.events("chat").count("PlanComputed") <= 1


def test_an_api_server_that_hangs_and_dies_is_waited_for(
    control_plane: Cluster, start: Callable[..., Operator], place: Place
) -> None:
    if "kube-apiserver" not in control_plane.processes.pids:
        pytest.skip("the API server is not ours to stop")
    operator = start()
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    with control_plane.processes.paused("kube-apiserver"):
        time.sleep(2.0)
    control_plane.processes.restart("kube-apiserver")
    eventually(lambda: control_plane.api.raw("GET", "/readyz") == "ok", "the API server", 60.0)
    if operator.has_ended():  # the Lease could not be renewed for too long: the kubelet would start it again
        operator.start()
    place.api.delete("apps/v1", "Deployment", "chat", place.namespace)
    place.apply("two", **SMALL)
    place.wait("two", "Ready", timeout_s=40.0)
    place.wait("chat", "Ready", timeout_s=40.0)
    eventually(operator.is_ready, "it is at work")


def test_permissions_that_are_taken_away_are_missed_and_once_back_work_goes_on(
    control_plane: Cluster, start: Callable[..., Operator], place: Place, home: str
) -> None:
    operator = start()
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    rules = [rule for rule in chart_rules(control_plane, home) if rule["kind"] == "ClusterRole"]
    (scenarios,) = [rule for rule in rules if rule["metadata"]["name"].endswith("-scenarios")]
    (inventory,) = [rule for rule in rules if rule["metadata"]["name"].endswith("-inventory")]
    control_plane.api.merge(inventory, {"rules": []})
    write = [rule for rule in scenarios["rules"] if "deployments" not in rule["resources"]]
    control_plane.api.merge(scenarios, {"rules": write})
    control_plane.processes.restart("kube-apiserver")
    eventually(lambda: control_plane.api.raw("GET", "/readyz") == "ok", "the API server", 60.0)

    place.apply("two", **SMALL)
    place.wait("two", "InventoryKnown", "False", reason="CannotWatch", timeout_s=40.0)
    status = place.wait("two", "WorkloadAvailable", "False", reason="ApplyFailed", timeout_s=40.0)
    assert "cannot" in str(status["conditions"])
    assert "cannot watch /api/v1/nodes" in operator.log()

    for rule in rules:
        control_plane.api.apply(rule)
    place.wait("two", "Ready", timeout_s=90.0)
    assert place.wait("two", "InventoryKnown")
    eventually(operator.is_ready, "it is at work")


def test_a_namespace_that_is_being_deleted_is_left_in_peace(
    control_plane: Cluster, start: Callable[..., Operator], place: Place
) -> None:
    operator = start()
    place.apply("chat", **SMALL)
    place.wait("chat", "Ready")
    control_plane.audit.mark()
    control_plane.api.delete("v1", "Namespace", place.namespace)
    eventually(lambda: control_plane.api.find("v1", "Namespace", place.namespace) is None, "it is gone", 60.0)
    assert control_plane.audit.forbidden(operator.user) == []
    assert "a defect" not in operator.log()
    control_plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}})


def test_with_namespaces_named_it_works_there_and_looks_nowhere_else(
    control_plane: Cluster, processes: Processes, place: Place
) -> None:
    with home_of_operators(control_plane, "--set", f"watchNamespaces={{{place.namespace}}}") as home:
        operator = Operator(control_plane, processes, home, "operator", f"--namespace={place.namespace}")
        control_plane.audit.mark()
        operator.start()
        place.apply("chat", **SMALL)
        place.wait("chat", "Ready")
        elsewhere = Place(place.api, "default")
        elsewhere.apply("elsewhere", **SMALL)
        unchanged(lambda: elsewhere.status("elsewhere"), 2.0)
        elsewhere.clear()
        assert control_plane.audit.forbidden(operator.user) == []
        operator.stop()


# ── small and quick ──────────────────────────────────────────────────────────────────────────────────────────


def test_it_plans_within_two_seconds_and_stays_small(start: Callable[..., Operator], place: Place) -> None:
    operator = start()
    place.example("summarization")
    place.wait("summarization", "PlanFeasible")
    took_s = []
    for number in range(20):
        place.apply(f"chat-{number}", workload={"concurrentUsers": 5 + number}, deploy={"policy": "Plan"})
        begun = time.monotonic()
        place.wait(f"chat-{number}", "PlanFeasible")
        took_s.append(time.monotonic() - begun)
    for number in range(6):  # every image is another engine to plan with
        place.apply(f"own-{number}", engine={"image": f"example.org/engine:{number}"}, deploy={"policy": "Plan"})
        place.wait(f"own-{number}", "PlanFeasible")
    place.apply("both", engine={"allow": ["vLLM", "TGI"]}, hardware={"source": "Market"}, deploy={"policy": "Plan"})
    place.wait("both", "PlanFeasible")
    assert sorted(took_s)[18] < PLANNED_P95_S
    assert operator.memory_bytes() < LARGEST_MEMORY_BYTES
    assert "inferplan_leader 1.0" in operator.metrics()
    assert 'inferplan_reconciles_total{result="done"}' in operator.metrics()
    ready = 'inferplan_scenario_conditions{status="True",type="Ready"} 28.0'
    eventually(lambda: ready in operator.metrics(), "the gauges are set", 10.0)


def test_bad_options_are_refused_with_a_sentence(control_plane: Cluster, processes: Processes, home: str) -> None:
    operator = Operator(control_plane, processes, home, "operator", "--catalog=/nowhere")
    operator.start(wait=False)
    eventually(lambda: processes.ended("operator") == 2, "it has ended")
    assert "/nowhere" in operator.log()


def test_a_secret_is_out_of_reach(control_plane: Cluster, home: str) -> None:
    with pytest.raises(ApiError, match="cannot list resource"):
        type(control_plane.api).of(control_plane.kubeconfig_for("inferplan", home)).list("v1", "Secret", home)


def test_nodes_are_still_there(control_plane: Cluster) -> None:
    assert {node["metadata"]["name"] for node in nodes.demo_pools()} <= {
        node["metadata"]["name"] for node in control_plane.api.list("v1", "Node")
    }
