"""Plans, nodes and rendered objects for tests of rendering."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from inferplan.domain.cluster import GpuNode, Inventory, Taint
from inferplan.domain.deployment import Configuration, Placement
from inferplan.domain.hardware import Terms
from inferplan.domain.manifest import Manifest
from inferplan.domain.operation import BatchFiles, Deploy, Identity
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import EnginePolicy, LoadKind, Scenario, Schedule
from inferplan.render.renderer import render
from tests.builders import make_engine, make_scenario, make_workload
from tests.unit.api.outcomes import make_cost, make_plan

GPU_TAINT = Taint("nvidia.com/gpu", "true", "NoSchedule")
H100_LABEL = (("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3"),)
GKE_LABEL = (("cloud.google.com/gke-accelerator", "nvidia-h100-80gb"),)


def configured(plan: Plan | None = None, **overrides: Any) -> Plan:
    """Give a plan another configuration."""
    base = plan or make_plan()
    return replace(base, configuration=replace(base.configuration, **overrides))


def placed(plan: Plan | None = None, **overrides: Any) -> Plan:
    """Put a plan on other machines."""
    base = plan or make_plan()
    return replace(base, cost=make_cost(placements=(make_placement(**overrides),)))


def make_placement(**overrides: Any) -> Placement:
    base: Placement = make_cost().placements[0]
    return replace(base, **overrides)


def in_cluster(plan: Plan | None = None, **overrides: Any) -> Plan:
    """A plan on the nodes of :func:`make_inventory`."""
    chosen = {"instance_type": "p5.48xlarge", "gpus_per_instance": 8, **overrides}
    return replace(placed(plan, **chosen), source="Cluster")


def make_node(**overrides: Any) -> GpuNode:
    """A p5.48xlarge with eight free H100."""
    base = GpuNode(
        name="a",
        gpu="h100-80gb-sxm",
        product_label="NVIDIA-H100-80GB-HBM3",
        selector=H100_LABEL,
        gpus_allocatable=8,
        gpus_requested=0,
        usable=True,
        reason="",
        instance_type="p5.48xlarge",
        region="us-east-1",
        provider="aws",
        terms=Terms.ON_DEMAND,
        taints=(GPU_TAINT,),
        price_usd_per_hour=Decimal("55.04"),
        cpu_allocatable_millicores=191_450,
        memory_allocatable_bytes=1_938_410 * 2**20,
    )
    return replace(base, **overrides)


def make_inventory(*nodes: GpuNode) -> Inventory:
    return Inventory(nodes or (make_node(),), "test")


def make_deploy(**overrides: Any) -> Deploy:
    return replace(Deploy(Identity("chatbot", "team")), **overrides)


def make_batch_scenario(*, schedule: Schedule | None = None, **overrides: Any) -> Scenario:
    """1,000 items within an hour."""
    work = make_workload(kind=LoadKind.OFFLINE, concurrent_users=None, items=1000, deadline_s=3600.0, schedule=schedule)
    return make_scenario(**{"name": "nightly", "workload": work, **overrides})


def make_batch_deploy(**overrides: Any) -> Deploy:
    return make_deploy(
        identity=Identity("nightly", "team"), batch=BatchFiles("items", "in.jsonl", "out.jsonl"), **overrides
    )


def tgi(plan: Plan | None = None) -> Plan:
    """The same plan on TGI 3.3.7."""
    engine = make_engine(
        id="tgi", name="TGI", version="3.3.7", image="ghcr.io/huggingface/text-generation-inference:3.3.7"
    )
    return configured(plan, engine=engine, gpu_memory_utilization=0.9)


def rendered(
    plan: Plan | None = None,
    deploy: Deploy | None = None,
    *,
    scenario: Scenario | None = None,
    inventory: Inventory | None = None,
) -> dict[str, Manifest]:
    """Render and sort by kind."""
    found = render(
        plan or make_plan(), deploy or make_deploy(), scenario=scenario or make_scenario(), inventory=inventory
    )
    return {manifest.kind: manifest for manifest in found}


def pod_spec(found: dict[str, Manifest]) -> dict[str, Any]:
    """The pod of whatever runs pods."""
    (kind,) = {"Deployment", "Job", "CronJob"} & set(found)
    spec = found[kind].body["spec"]
    job = spec["jobTemplate"]["spec"] if kind == "CronJob" else spec
    pod: dict[str, Any] = job["template"]["spec"]
    return pod


def container(found: dict[str, Manifest]) -> dict[str, Any]:
    first: dict[str, Any] = pod_spec(found)["containers"][0]
    return first


def environment(found: dict[str, Manifest]) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container(found)["env"]}


def flag(words: list[str], name: str) -> str | None:
    """Value of ``--name=value`` on a command line."""
    return next((word.partition("=")[2] for word in words if word.partition("=")[0] == name), None)


def with_engine(**overrides: Any) -> Scenario:
    return make_scenario(engine=EnginePolicy(**overrides))


def shape(plan: Plan) -> Configuration:
    return plan.configuration
