"""What the operator plans on: nodes as they are, prices as they are given, and GPUs that nobody else has claimed."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.controlplane import nodes
from tests.controlplane.api import Object, documents, eventually
from tests.controlplane.cluster import Cluster
from tests.controlplane.machines import L4
from tests.e2e.operating import PRICE_BOOK, ROOT, Operator, Place, unchanged

pytestmark = pytest.mark.usefixtures("no_nodes", "operator")

ONE_L4 = {"hardware": {"allow": ["l4"]}, "workload": {"concurrentUsers": 5}}
DEFINITION = ROOT / "crds" / "inferencescenarios.inferplan.dev.yaml"


@pytest.fixture
def price_book(control_plane: Cluster, operator: Operator) -> Iterator[Object]:
    """Make an empty price book where the operator looks for it."""
    metadata = {"name": PRICE_BOOK, "namespace": operator.home}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    control_plane.api.apply(body)
    yield body
    control_plane.api.delete("v1", "ConfigMap", PRICE_BOOK, operator.home)


def price(usd_per_hour: str, instance_type: str = "g6.xlarge", gpu: str = "l4", gpus: int = 1) -> str:
    return (
        f"- {{provider: aws, region: us-east-1, instanceType: {instance_type}, gpu: {gpu}, gpuCount: {gpus},"
        f' usdPerHour: "{usd_per_hour}", asOf: "2026-11-01", source: a contract}}\n'
    )


def message(status: Object, kind: str) -> str:
    return next(str(one["message"]) for one in status["conditions"] if one["type"] == kind)


# ── claims ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_scenarios_and_one_gpu_give_one_that_runs_and_one_that_says_who_has_it(place: Place) -> None:
    nodes.apply(place.api, [nodes.eks_node("one", "g6.xlarge")])
    place.apply("first", **ONE_L4)
    place.wait("first", "PlanApproved")
    place.apply("second", **ONE_L4)
    place.wait("first", "Ready")
    status = place.wait("second", "Stalled", reason="GpusHeld")
    assert f"1x l4 by {place.namespace}/first" in message(status, "PlanFeasible")
    assert place.find("Deployment", "second") is None
    eventually(lambda: "InventoryShort" in place.events("second"), "an event tells it")

    place.delete("first")
    status = place.wait("second", "Ready")
    assert place.gpus_of_pods("second") == ["NVIDIA-L4"]


def test_of_many_at_once_no_two_get_the_same_gpu(place: Place) -> None:
    nodes.apply(place.api, [nodes.eks_node("four", "g6.12xlarge")])
    for number in range(7):
        place.apply(f"chat-{number}", **ONE_L4)
    names = [f"chat-{number}" for number in range(7)]

    def answers() -> dict[str, str]:
        return {name: str(place.condition(name, "Ready").get("reason")) for name in names}

    def decided() -> bool:
        return set(answers().values()) <= {"Available", "GpusHeld"}

    eventually(decided, "all have their answer")
    running = [name for name, answer in answers().items() if answer == "Available"]
    assert len(running) == 4
    assert all(len(place.pods(name)) == 1 for name in running)
    # the last GPU went after the first ones had been placed: nothing of that is written into their Deployments
    assert {place.deployment(name)["metadata"]["generation"] for name in running} == {1}


def test_a_scenario_does_not_take_its_own_pods_for_somebody_elses(place: Place) -> None:
    nodes.apply(place.api, [nodes.eks_node("one", "g6.xlarge")])
    place.apply("chat", **ONE_L4)
    before = place.wait("chat", "Ready")
    place.annotate("chat", requestedAt="now")
    eventually(lambda: place.status("chat").get("lastHandledReconcileAt"), "planned again")
    assert place.status("chat")["plan"] == before["plan"]


def test_gpus_that_other_pods_hold_are_taken(place: Place) -> None:
    nodes.apply(place.api, [nodes.eks_node("one", "g6.xlarge")])
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "training", "namespace": place.namespace},
        "spec": {
            "nodeName": "one",
            "containers": [{"name": "t", "image": "t:1", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        },
    }
    place.api.create(pod)
    place.apply("chat", **ONE_L4)
    status = place.wait("chat", "Stalled", reason="GpusHeld")
    assert "by pods of no scenario" in message(status, "PlanFeasible")
    path = place.api.path("v1", "Pod", "training", place.namespace)
    place.api.request("DELETE", path, {"gracePeriodSeconds": 0})
    place.wait("chat", "Ready")


# ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_any_gpu_there_is_a_market_plan_and_nothing_is_applied_unless_asked(place: Place) -> None:
    nodes.apply(place.api, [nodes.plain_node("plain")])
    place.apply("chat")
    status = place.wait("chat", "Stalled", reason="NoGpusInCluster")
    assert status["plan"]["source"] == "Market"
    assert "the cluster has no GPU" in message(status, "PlanFeasible")
    assert place.children() == {}

    place.annotate("chat", approved_plan=status["plan"]["hash"])
    eventually(lambda: place.find("Deployment", "chat"), "asked, it is applied")
    place.wait("chat", "Reconciling")


def test_a_first_gpu_node_turns_a_market_plan_into_one_that_runs(place: Place) -> None:
    place.apply("chat", workload={"concurrentUsers": 5})
    place.wait("chat", "Stalled", reason="NoGpusInCluster")
    nodes.apply(place.api, [nodes.eks_node("one", "g6.xlarge")])
    assert place.wait("chat", "Ready")["plan"]["source"] == "Cluster"


def test_what_cannot_be_is_refused_with_the_nearest_yes(place: Place) -> None:
    nodes.apply(place.api, nodes.demo_pools())
    place.example("infeasible")
    status = place.wait("infeasible", "Stalled", reason="NoFeasiblePlan")
    assert status["infeasibility"]["nearest"]
    assert "feasible with" in message(status, "PlanFeasible")
    assert "plan" not in status
    eventually(lambda: place.events("infeasible") == ["PlanRejected"], "an event tells it")


def test_a_node_that_goes_away_takes_the_plan_to_other_gpus(place: Place) -> None:
    nodes.apply(place.api, [nodes.eks_node("l4", "g6.xlarge"), nodes.eks_node("a10g", "g5.xlarge")])
    at_once = {"replan": {"graceMinutes": 0}}
    place.apply("chat", hardware={"allow": ["l4", "a10g"]}, workload={"concurrentUsers": 5}, **at_once)
    status = place.wait("chat", "Ready")
    gpu = status["plan"]["gpu"]
    nodes.delete(place.api, [gpu])

    def moved() -> bool:
        now = place.status("chat")
        return bool(now["plan"]["gpu"] != gpu and place.condition("chat", "Ready")["status"] == "True")

    eventually(moved, "the other node is used")
    assert place.status("chat")["history"][0]["trigger"] == "its GPUs were gone for 0 minutes"


def test_a_cordon_keeps_newcomers_off_and_those_who_run_where_they_are(place: Place) -> None:
    nodes.apply(place.api, [nodes.eks_node("four", "g6.12xlarge")])
    place.apply("first", **ONE_L4)
    before = place.wait("first", "Ready")
    nodes.cordon(place.api, "four")
    place.apply("second", **ONE_L4)
    assert place.wait("second", "Stalled")["plan"]["source"] == "Market"
    unchanged(lambda: place.status("first")["plan"], 2.0)
    assert place.status("first")["plan"]["hash"] == before["plan"]["hash"]
    assert len(place.pods("first")) == 1
    nodes.cordon(place.api, "four", cordoned=False)
    place.wait("second", "Ready")


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (nodes.shared(nodes.eks_node("n", "g6.xlarge"), 4), "shared"),
        (nodes.divided(nodes.eks_node("n", "p4d.24xlarge")), "divided"),
        (nodes.labelled(nodes.eks_node("n", "g6.xlarge"), {"nvidia.com/gpu.product": "Quantum-9000"}), "nonsense"),
        (nodes.with_gpus(nodes.eks_node("n", "g6.xlarge"), 0), "no device plugin"),
        (nodes.eks_node("n", "g6.xlarge", spot=True), "spot"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gpus_that_cannot_be_planned_on_are_not(place: Place, node: Object, why: str) -> None:
    nodes.apply(place.api, [node])
    place.apply("chat", workload={"concurrentUsers": 5})
    place.wait("chat", "Stalled")
    assert place.children() == {}, why


@pytest.mark.parametrize(
    ("node", "product"),
    [
        (nodes.eks_node("n", "g6.xlarge"), "nvidia.com/gpu.product"),
        (nodes.eks_node("n", "g6.xlarge", karpenter=True), "karpenter.sh/nodepool"),
        (nodes.gke_node("n", "g2-standard-8"), "cloud.google.com/gke-accelerator"),
        (nodes.aks_node("n", "Standard_NC24ads_A100_v4"), "kubernetes.azure.com/accelerator"),
        (nodes.bare_metal_node("n", L4, 2), "nvidia.com/gpu.product"),
    ],
    ids=["eks", "karpenter", "gke", "aks", "bare metal"],
)
def test_pods_run_on_the_nodes_of_every_platform(place: Place, node: Object, product: str) -> None:
    nodes.apply(place.api, [node])
    place.apply("chat", workload={"concurrentUsers": 5})
    status = place.wait("chat", "Ready")
    assert status["plan"]["source"] == "Cluster"
    assert product in place.api.get("v1", "Node", "n")["metadata"]["labels"]


# ── nodes that are not there yet ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def karpenter(control_plane: Cluster) -> Iterator[None]:
    """Install what the operator reads of Karpenter: two kinds, without anything behind them."""
    kinds = (("v1", "NodePool", "nodepools"), ("v1alpha1", "NodeOverlay", "nodeoverlays"))
    for version, kind, plural in kinds:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
        spec = {"group": "karpenter.sh", "scope": "Cluster", "names": names, "versions": [served]}
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.karpenter.sh"},
            "spec": spec,
        }
        control_plane.api.apply(definition)
        served_at = f"karpenter.sh/{version}"
        eventually(lambda at=served_at, kind=kind: control_plane.api.list(at, kind) == [], f"{kind} served")  # type: ignore[misc]
    yield
    for _, _, plural in kinds:
        name = f"{plural}.karpenter.sh"
        control_plane.api.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)


def pool_of_l4(limit: str = "1") -> Object:
    requirements = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6.xlarge"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
    ]
    taints = [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]
    template = {"spec": {"requirements": requirements, "taints": taints}}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "gpu"},
        "spec": {"template": template, "limits": {"nvidia.com/gpu": limit}},
    }


@pytest.mark.usefixtures("karpenter")
def test_a_karpenter_pool_that_starts_at_zero_is_planned_on_and_its_node_changes_nothing(place: Place) -> None:
    nodes.apply(place.api, [nodes.plain_node("plain")])
    place.api.apply(pool_of_l4())
    place.apply("chat", **ONE_L4)
    status = place.wait("chat", "Reconciling", timeout_s=30.0)
    assert status["plan"]["source"] == "Cluster"
    eventually(lambda: place.pods("chat"), "a pod that waits for its node")
    before = place.deployment("chat")["spec"]["template"]
    place.apply("late", **ONE_L4)
    place.wait("late", "Stalled", reason="GpusHeld")

    nodes.apply(place.api, [nodes.eks_node("arrived", "g6.xlarge", karpenter=True)])
    place.wait("chat", "Ready")
    assert place.deployment("chat")["spec"]["template"] == before
    assert place.status("chat")["plan"]["hash"] == status["plan"]["hash"]
    assert place.gpus_of_pods("chat") == ["NVIDIA-L4"]


def test_a_hint_about_a_pool_is_planned_on(place: Place, price_book: Object) -> None:
    nodes.apply(place.api, [nodes.plain_node("plain")])
    hint = (
        "- {name: l4, provider: aws, region: us-east-1, instanceType: g6.xlarge, gpu: l4, gpuCount: 1,"
        " maximumNodes: 1, labels: {pool: l4}, taints: [{key: nvidia.com/gpu, value: 'true'}]}"
    )
    place.api.merge(price_book, {"data": {"node-pools.yaml": hint}})
    place.apply("chat", **ONE_L4)

    def planned_on_it() -> bool:
        return bool(place.status("chat").get("plan", {}).get("source") == "Cluster")

    eventually(planned_on_it, "planned on the pool")
    nodes.apply(place.api, [nodes.labelled(nodes.eks_node("arrived", "g6.xlarge"), {"pool": "l4"})])
    place.wait("chat", "Ready")


@pytest.mark.usefixtures("karpenter")
def test_an_overlay_says_the_price_of_the_nodes_it_fits(place: Place) -> None:
    nodes.apply(place.api, [nodes.eks_node("one", "g6.xlarge")])
    place.apply("chat", **ONE_L4)
    place.wait("chat", "Ready")
    overlay = {
        "apiVersion": "karpenter.sh/v1alpha1",
        "kind": "NodeOverlay",
        "metadata": {"name": "deal"},
        "spec": {
            "requirements": [
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6.xlarge"]},
            ],
            "price": "0.25",
        },
    }
    place.api.apply(overlay)

    def repriced() -> bool:
        return bool(place.status("chat")["plan"]["cost"]["usdPerHour"] == "0.25")

    eventually(repriced, "the overlay's price", 10.0)
    assert place.status("chat")["plan"]["cost"]["priceSource"] == "NodeOverlay deal"


# ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_price_that_changes_changes_the_cost_and_not_the_workload(place: Place, price_book: Object) -> None:
    nodes.apply(place.api, [nodes.eks_node("one", "g6.xlarge")])
    place.apply("chat", **ONE_L4)
    before = place.wait("chat", "Ready")
    children = place.children()
    place.api.merge(price_book, {"data": {"prices.yaml": price("0.5")}})

    def repriced() -> bool:
        return bool(place.status("chat")["plan"]["cost"]["usdPerHour"] == "0.5")

    eventually(repriced, "the new price", 10.0)
    after = place.status("chat")
    assert after["plan"]["hash"] == before["plan"]["hash"]
    assert "price book" in after["plan"]["cost"]["priceSource"]
    assert place.children() == children


def test_a_price_off_by_730_is_refused_and_the_prices_before_stay(place: Place, price_book: Object) -> None:
    nodes.apply(place.api, [nodes.eks_node("one", "g6.xlarge")])
    place.api.merge(price_book, {"data": {"prices.yaml": price("0.5")}})
    place.apply("chat", **ONE_L4)
    eventually(lambda: place.status("chat")["plan"]["cost"]["usdPerHour"] == "0.5", "the price book is read")
    place.api.merge(price_book, {"data": {"prices.yaml": price("365")}})
    status = place.wait("chat", "PricesFresh", "False", reason="PriceBookRefused")
    assert "far outside what is known of l4" in message(status, "PricesFresh")
    assert status["plan"]["cost"]["usdPerHour"] == "0.5"
    place.wait("chat", "Ready")
    eventually(lambda: "PriceStale" in place.events("chat"), "an event tells it")


def test_a_budget_that_blocks_fails_closed_where_no_price_is_known(place: Place) -> None:
    nodes.apply(place.api, [nodes.bare_metal_node("own", L4, 2)])
    place.apply("chat", **ONE_L4, budget={"maximumUsdPerHour": "100"})
    place.wait("chat", "Stalled", reason="PriceUnknown")
    assert place.children() == {}
    place.apply("chat", **ONE_L4, budget={"maximumUsdPerHour": "100", "enforcement": "Warn"})
    place.wait("chat", "Ready")


# ── specs ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_spec_that_the_schema_lets_through_and_the_planner_refuses_says_every_fault(place: Place) -> None:
    place.apply("chat", hardware={"allow": ["l44", "h900"]}, model={"allow": ["lama"]})
    status = place.wait("chat", "Stalled", reason="InvalidSpec")
    said = message(status, "SpecValid")
    for field in ("spec.hardware.allow[0]", "spec.hardware.allow[1]", "spec.model.allow[0]"):
        assert field in said
    place.apply("chat", deploy={"policy": "Plan"})
    place.wait("chat", "Ready")


def test_a_resource_written_by_an_older_schema_is_read_and_its_faults_are_told(place: Place) -> None:
    (definition,) = documents(DEFINITION)
    older = copy.deepcopy(definition)
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"useCase": {"type": "string"}},
    }
    place.api.apply(older)
    spec = {
        "slo": {"percentile": "P80"},
        "workload": {"concurrentUsers": 10, "requestsPerSecond": "1"},
        "deploy": {"policy": "Always"},
        "replicas": 3,
    }
    try:
        eventually(lambda: place.apply("old", **spec), "an older version wrote it")
    finally:
        place.api.apply(definition)
    status = place.wait("old", "Stalled", reason="InvalidSpec")
    said = message(status, "SpecValid")
    for field in ("spec.slo.percentile", "spec.deploy.policy"):
        assert field in said
    place.delete("old")


def test_no_call_was_forbidden(control_plane: Cluster, operator: Operator) -> None:
    """The last test of this file looks back on all of them."""
    whole = type(control_plane.audit)(control_plane.folder / "audit" / "audit.log")
    assert [f"{one.verb} {one.uri} {one.reason}" for one in whole.forbidden(operator.user)] == []
    assert "a defect" not in operator.log()
