"""Which taints pods with GPUs stand: those of GPU and Arm nodes, those of the terms asked for, and the user's own."""

from __future__ import annotations

from collections.abc import Iterable

from inferplan.domain.cluster import GpuNode, Taint
from inferplan.domain.hardware import ARM64, Terms
from inferplan.domain.operation import Toleration, TolerationOperator

ARCHITECTURE = "kubernetes.io/arch"
"""Label with a node's CPU architecture, which every kubelet sets."""
GPU_TAINTS: tuple[tuple[str, str | None], ...] = (("nvidia.com/gpu", None), ("amd.com/gpu", None), ("sku", "gpu"))
"""Taints that keep pods without GPUs away from nodes with GPUs (GKE, the GPU operator's and AKS's customs).
A value of None stands for any."""
SPOT_TAINTS: dict[str, tuple[tuple[str, str], ...]] = {
    "gcp": (("cloud.google.com/gke-spot", "true"), ("cloud.google.com/gke-preemptible", "true")),
    "azure": (("kubernetes.azure.com/scalesetpriority", "spot"),),
}
"""Taints of spot nodes, by provider."""
ARM_TAINT = (ARCHITECTURE, ARM64)
"""Taint of every Arm node on GKE unless it is turned off; images for Arm stand it.

https://docs.cloud.google.com/kubernetes-engine/docs/how-to/prepare-arm-workloads-for-deployment, read 2026-11-29.
"""
CONDITIONS = "node.kubernetes.io/"
"""Kubernetes repeats a node's conditions (not ready, cordoned) as taints; they are judged as conditions."""
SOFT = "PreferNoSchedule"


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether a toleration matches a taint, as Kubernetes decides it.

    >>> tolerates(Toleration("dedicated"), Taint("dedicated", "us", "NoSchedule"))
    True
    >>> equal = Toleration("dedicated", TolerationOperator.EQUAL, "them", None)
    >>> tolerates(equal, Taint("dedicated", "us", "NoSchedule"))
    False
    """
    if toleration.key != taint.key or toleration.effect not in {None, taint.effect}:
        return False
    return toleration.operator is TolerationOperator.EXISTS or (toleration.value or "") == taint.value


def repelling(node: GpuNode, tolerations: Iterable[Toleration]) -> tuple[Taint, ...]:
    """Taints of a node that keep our pods away, whatever GPUs it has."""
    spot = SPOT_TAINTS.get(node.provider, ()) if node.terms is Terms.SPOT else ()
    own = tuple(tolerations)

    def stands(taint: Taint) -> bool:
        return (
            taint.effect == SOFT
            or taint.key.startswith(CONDITIONS)
            or any(taint.key == key and value in {None, taint.value} for key, value in (*GPU_TAINTS, ARM_TAINT, *spot))
            or any(tolerates(toleration, taint) for toleration in own)
        )

    return tuple(taint for taint in node.taints if not stands(taint))
