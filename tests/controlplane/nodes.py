"""GPU nodes as clouds and machine rooms have them, for kwok to play.

They carry the labels, taints, instance types, places and resources that planning and scheduling see; where these
come from is said in :mod:`tests.controlplane.machines`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping
from functools import partial

from tests.controlplane.api import Api, Object, eventually
from tests.controlplane.machines import (
    AKS,
    EKS,
    GKE,
    MIB_PER_GIB,
    PODS_PER_NODE,
    Gpu,
    Machine,
    aks_pod_share,
    bare_pod_share,
    discovered,
    gke_pod_share,
)

GPU_RESOURCE = "nvidia.com/gpu"
PLAYED_BY_KWOK = {"kwok.x-k8s.io/node": "fake"}

# ── platforms ────────────────────────────────────────────────────────────────────────────────────────────────


def eks_node(
    name: str, instance_type: str, *, zone: str = "us-east-1a", spot: bool = False, karpenter: bool = False
) -> Object:
    """Return a node of an EKS node group, or of a Karpenter node pool; GPU Feature Discovery runs on both."""
    machine = EKS[instance_type]
    if karpenter:
        labels = {"karpenter.sh/capacity-type": "spot" if spot else "on-demand", "karpenter.sh/nodepool": "gpu"}
        if machine.gpu is not None:
            labels |= {
                "karpenter.k8s.aws/instance-gpu-name": machine.gpu.karpenter,
                "karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia",
                "karpenter.k8s.aws/instance-gpu-count": str(machine.gpus),
                "karpenter.k8s.aws/instance-gpu-memory": str(machine.gpu.karpenter_memory_mib),
            }
    else:
        pool = instance_type.replace(".", "-")
        labels = {
            "eks.amazonaws.com/capacityType": "SPOT" if spot else "ON_DEMAND",
            "eks.amazonaws.com/nodegroup": pool,
        }
    return _node(
        name,
        machine,
        labels=_place(instance_type, zone[:-1], zone) | labels | discovered(machine),
        taints=[_taint(GPU_RESOURCE, "true")] if machine.gpus else [],
        provider_id=f"aws:///{zone}/i-{_digits(name, 17)}",
        pod_share=(machine.pod_millicpu, machine.pod_memory_mib),
    )


def gke_node(
    name: str, machine_type: str, *, zone: str = "us-central1-a", spot: bool = False, discovery: bool = False
) -> Object:
    """Return a node of a GKE node pool, which names its GPU by GKE's own label unless discovery is installed."""
    machine = GKE[machine_type]
    labels = {"cloud.google.com/gke-nodepool": machine_type, "cloud.google.com/machine-family": machine_type[:2]}
    taints = []
    if machine.gpu is not None:
        labels |= {
            "cloud.google.com/gke-accelerator": machine.gpu.gke,
            "cloud.google.com/gke-accelerator-count": str(machine.gpus),
        }
        taints.append(_taint(GPU_RESOURCE, "present"))
    if spot:
        labels["cloud.google.com/gke-spot"] = "true"
        taints.append(_taint("cloud.google.com/gke-spot", "true"))
    return _node(
        name,
        machine,
        labels=_place(machine_type, zone[:-2], zone) | labels | (discovered(machine) if discovery else {}),
        taints=taints,
        provider_id=f"gce://example-project/{zone}/{name}",
        pod_share=gke_pod_share(machine),
    )


def aks_node(
    name: str, vm_size: str, *, region: str = "eastus", zone: int = 1, spot: bool = False, discovery: bool = False
) -> Object:
    """Return a node of an AKS node pool, whose labels do not name the GPU unless discovery is installed."""
    machine = AKS[vm_size]
    labels = {"kubernetes.azure.com/agentpool": "gpu", "kubernetes.azure.com/mode": "user"}
    taints = []
    if machine.gpu is not None:
        labels |= {"kubernetes.azure.com/accelerator": "nvidia", "accelerator": "nvidia"}
        taints.append(_taint("sku", "gpu"))
    if spot:
        labels["kubernetes.azure.com/scalesetpriority"] = "spot"
        taints.append(_taint("kubernetes.azure.com/scalesetpriority", "spot"))
    scale_set = "providers/Microsoft.Compute/virtualMachineScaleSets/aks-gpu"
    return _node(
        name,
        machine,
        labels=_place(vm_size, region, f"{region}-{zone}") | labels | (discovered(machine) if discovery else {}),
        taints=taints,
        provider_id=f"azure:///subscriptions/0/resourceGroups/example/{scale_set}/virtualMachines/{_digits(name, 4)}",
        pod_share=aks_pod_share(machine),
    )


def bare_metal_node(name: str, gpu: Gpu, gpus: int, *, cpus: int = 128, memory_gib: int = 1024) -> Object:
    """Return a machine of one's own: no provider, no region, no instance type; only what discovery finds."""
    machine = Machine(gpu, gpus, cpus, memory_gib)
    return _node(
        name,
        machine,
        labels=discovered(machine),
        taints=[_taint(GPU_RESOURCE, "present")],
        provider_id="",
        pod_share=bare_pod_share(machine),
    )


def plain_node(name: str) -> Object:
    """Return a node without GPUs or taints, where the operator itself would run."""
    return eks_node(name, "m5.large")


def demo_pools() -> list[Object]:
    """Return 2 nodes with one T4, one with 4 L4, one with 8 A100 40 GB, one with 8 H100, and one without GPUs."""
    return [
        eks_node("gpu-t4-a", "g4dn.xlarge", zone="us-east-1a"),
        eks_node("gpu-t4-b", "g4dn.xlarge", zone="us-east-1b"),
        eks_node("gpu-l4", "g6.12xlarge", zone="us-east-1a"),
        eks_node("gpu-a100", "p4d.24xlarge", zone="us-east-1b"),
        eks_node("gpu-h100", "p5.48xlarge", zone="us-east-1c"),
        plain_node("plain"),
    ]


# ── changes to a node before it is applied ───────────────────────────────────────────────────────────────────


def shared(node: Object, replicas: int) -> Object:
    """Return the node with its GPUs shared in time, each ``replicas`` times."""
    node = copy.deepcopy(node)
    labels = node["metadata"]["labels"]
    labels["nvidia.com/gpu.product"] += "-SHARED"
    labels |= {"nvidia.com/gpu.replicas": str(replicas), "nvidia.com/gpu.sharing-strategy": "time-slicing"}
    return with_gpus(node, int(node["status"]["capacity"][GPU_RESOURCE]) * replicas)


def divided(node: Object, profile: str = "3g.20gb", slices: int = 2, *, mixed: bool = False) -> Object:
    """Return the node with its GPUs divided by MIG into ``slices`` each, strategy single or mixed."""
    node = copy.deepcopy(node)
    labels = node["metadata"]["labels"]
    labels["nvidia.com/mig.strategy"] = "mixed" if mixed else "single"
    count = int(node["status"]["capacity"][GPU_RESOURCE]) * slices
    if mixed:
        labels |= {
            f"nvidia.com/mig-{profile}.count": str(count),
            f"nvidia.com/mig-{profile}.product": f"{labels['nvidia.com/gpu.product']}-MIG-{profile}",
        }
        for offered in (node["status"]["capacity"], node["status"]["allocatable"]):
            offered |= {GPU_RESOURCE: "0", f"nvidia.com/mig-{profile}": str(count)}
        return node
    labels |= {
        "nvidia.com/gpu.product": f"{labels['nvidia.com/gpu.product']}-MIG-{profile}",
        "nvidia.com/gpu.memory": str(int(profile.partition(".")[2].removesuffix("gb")) * MIB_PER_GIB),
        "nvidia.com/gpu.count": str(count),
    }
    return with_gpus(node, count)


def with_gpus(node: Object, gpus: int) -> Object:
    """Return the node offering another number of GPUs: 0 is one whose device plugin has died."""
    node = copy.deepcopy(node)
    for offered in (node["status"]["capacity"], node["status"]["allocatable"]):
        offered[GPU_RESOURCE] = str(gpus)
    return node


def labelled(node: Object, labels: Mapping[str, str]) -> Object:
    """Return the node with further or other labels."""
    node = copy.deepcopy(node)
    node["metadata"]["labels"] |= labels
    return node


# ── in a cluster ─────────────────────────────────────────────────────────────────────────────────────────────


def apply(api: Api, nodes: Iterable[Object], *, timeout_s: float = 30.0) -> None:
    """Make the cluster have these nodes as they are written, and wait until all are ready.

    A node that is there already keeps its pods and gets the labels, taints and resources written here, uncordoned.
    """
    nodes = list(nodes)
    for node in nodes:
        found = api.find("v1", "Node", node["metadata"]["name"])
        if found is None:
            api.create(node)
            continue
        gone = dict.fromkeys(found["metadata"].get("labels", {}))
        metadata = {"labels": gone | node["metadata"]["labels"]}
        api.merge(node, {"metadata": metadata, "spec": {"taints": node["spec"]["taints"], "unschedulable": None}})
        offered = {
            key: dict.fromkeys(found["status"].get(key, {})) | node["status"][key]
            for key in ("capacity", "allocatable")
        }
        api.merge(node, {"status": offered}, subresource="status")
    for name in [node["metadata"]["name"] for node in nodes]:
        eventually(partial(_is_ready, api, name), f"node {name} ready", timeout_s)


def _is_ready(api: Api, name: str) -> bool:
    """Tell whether a node is ready and pods may be placed on it."""
    node = api.get("v1", "Node", name)
    conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions", [])}
    taints = {taint["key"] for taint in node["spec"].get("taints", [])}
    return conditions.get("Ready") == "True" and "node.kubernetes.io/not-ready" not in taints


def cordon(api: Api, name: str, *, cordoned: bool = True) -> None:
    """Keep new pods off a node, or let them on it again."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    api.merge(node, {"spec": {"unschedulable": cordoned or None}})


def delete(api: Api, names: Iterable[str]) -> None:
    """Take nodes away, with the pods on them, as when a machine is given back."""
    for name in names:
        api.delete("v1", "Node", name)
        for pod in api.list("v1", "Pod"):
            if pod["spec"].get("nodeName") == name:
                path = api.path("v1", "Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
                api.request("DELETE", path, {"gracePeriodSeconds": 0})


def clear(api: Api) -> None:
    """Take all played nodes away; see :func:`delete`."""
    played = [
        node for node in api.list("v1", "Node") if PLAYED_BY_KWOK.items() <= node["metadata"]["annotations"].items()
    ]
    delete(api, [node["metadata"]["name"] for node in played])


# ── parts of a node ──────────────────────────────────────────────────────────────────────────────────────────


def _node(
    name: str,
    machine: Machine,
    *,
    labels: Mapping[str, str],
    taints: list[dict[str, str]],
    provider_id: str,
    pod_share: tuple[int, int],
) -> Object:
    common = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    gpus = {GPU_RESOURCE: str(machine.gpus)} if machine.gpus else {}
    memory_mib = max(pod_share[1], machine.memory_gib * MIB_PER_GIB * 96 // 100)  # firmware and kernel take theirs
    ephemeral = {"ephemeral-storage": "500Gi", "pods": str(PODS_PER_NODE)}
    spec = {"providerID": provider_id} if provider_id else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": common | dict(labels), "annotations": dict(PLAYED_BY_KWOK)},
        "spec": {**spec, "taints": taints},
        "status": {
            "capacity": {"cpu": str(machine.cpus), "memory": f"{memory_mib}Mi", **ephemeral, **gpus},
            "allocatable": {"cpu": f"{pod_share[0]}m", "memory": f"{pod_share[1]}Mi", **ephemeral, **gpus},
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "kubeletVersion": "v1.36.3",
                "containerRuntimeVersion": "containerd://2.2.1",
            },
        },
    }


def _place(instance_type: str, region: str, zone: str) -> dict[str, str]:
    return {
        "node.kubernetes.io/instance-type": instance_type,
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": zone,
    }


def _taint(key: str, value: str) -> dict[str, str]:
    return {"key": key, "value": value, "effect": "NoSchedule"}


def _digits(name: str, length: int) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:length]
