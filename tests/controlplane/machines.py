"""GPUs and the machines that carry them, as clouds offer them: what nodes are made of.

Sources: NVIDIA/k8s-device-plugin docs/gpu-feature-discovery (labels and their values), Karpenter's instance type
reference (EKS machines and what pods can get of them), Google's and Microsoft's pages on reserved node resources.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB_PER_GIB = 1024
PODS_PER_NODE = 110


@dataclass(frozen=True, slots=True)
class Gpu:
    """What labels say about a GPU: by GPU Feature Discovery, by GKE, by Karpenter on AWS."""

    product: str
    family: str
    compute: tuple[int, int]
    memory_mib: int
    gke: str
    karpenter: str
    karpenter_memory_mib: int
    mig_capable: bool = False


T4 = Gpu("Tesla-T4", "turing", (7, 5), 15360, "nvidia-tesla-t4", "t4", 16384)
A10G = Gpu("NVIDIA-A10G", "ampere", (8, 6), 23028, "", "a10g", 22888)
L4 = Gpu("NVIDIA-L4", "ada-lovelace", (8, 9), 23034, "nvidia-l4", "l4", 22888)
L40S = Gpu("NVIDIA-L40S", "ada-lovelace", (8, 9), 46068, "", "l40s", 45776)
A100_40 = Gpu("NVIDIA-A100-SXM4-40GB", "ampere", (8, 0), 40960, "nvidia-tesla-a100", "a100", 40960, mig_capable=True)
A100_80 = Gpu("NVIDIA-A100-SXM4-80GB", "ampere", (8, 0), 81920, "nvidia-a100-80gb", "a100", 81920, mig_capable=True)
A100_80_PCIE = replace(A100_80, product="NVIDIA-A100-80GB-PCIe", gke="")
H100 = Gpu("NVIDIA-H100-80GB-HBM3", "hopper", (9, 0), 81559, "nvidia-h100-80gb", "h100", 81920, mig_capable=True)
H200 = Gpu("NVIDIA-H200", "hopper", (9, 0), 143771, "nvidia-h200-141gb", "h200", 144384, mig_capable=True)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine; ``pod_*`` is what pods can get of it where the cloud publishes that."""

    gpu: Gpu | None
    gpus: int
    cpus: int
    memory_gib: int
    pod_millicpu: int = 0
    pod_memory_mib: int = 0


EKS = {
    "m5.large": Machine(None, 0, 2, 8, 1930, 6903),
    "g4dn.xlarge": Machine(T4, 1, 4, 16, 3920, 14481),
    "g4dn.12xlarge": Machine(T4, 4, 48, 192, 47810, 178933),
    "g5.xlarge": Machine(A10G, 1, 4, 16, 3920, 14162),
    "g5.12xlarge": Machine(A10G, 4, 48, 192, 47810, 173400),
    "g6.xlarge": Machine(L4, 1, 4, 16, 3920, 14162),
    "g6.12xlarge": Machine(L4, 4, 48, 192, 47810, 178933),
    "g6e.xlarge": Machine(L40S, 1, 4, 32, 3920, 29317),
    "g6e.12xlarge": Machine(L40S, 4, 48, 384, 47810, 360157),
    "p4d.24xlarge": Machine(A100_40, 8, 96, 1152, 95690, 1082712),
    "p4de.24xlarge": Machine(A100_80, 8, 96, 1152, 95690, 1082712),
    "p5.4xlarge": Machine(H100, 1, 16, 256, 15890, 240830),
    "p5.48xlarge": Machine(H100, 8, 192, 2048, 191450, 1938410),
    "p5en.48xlarge": Machine(H200, 8, 192, 2048, 191450, 1937332),
}
GKE = {
    "e2-standard-4": Machine(None, 0, 4, 16),
    "n1-standard-8": Machine(T4, 1, 8, 30),
    "g2-standard-8": Machine(L4, 1, 8, 32),
    "g2-standard-24": Machine(L4, 2, 24, 96),
    "g2-standard-48": Machine(L4, 4, 48, 192),
    "a2-highgpu-1g": Machine(A100_40, 1, 12, 85),
    "a2-ultragpu-1g": Machine(A100_80, 1, 12, 170),
    "a3-highgpu-8g": Machine(H100, 8, 208, 1872),
}
AKS = {
    "Standard_D4s_v5": Machine(None, 0, 4, 16),
    "Standard_NC4as_T4_v3": Machine(T4, 1, 4, 28),
    "Standard_NC64as_T4_v3": Machine(T4, 4, 64, 440),
    "Standard_NC24ads_A100_v4": Machine(A100_80_PCIE, 1, 24, 220),
    "Standard_NC48ads_A100_v4": Machine(A100_80_PCIE, 2, 48, 440),
    "Standard_ND96isr_H100_v5": Machine(H100, 8, 96, 1900),
}


def discovered(machine: Machine) -> dict[str, str]:
    """Return the labels that GPU Feature Discovery and the GPU operator put on a machine."""
    gpu = machine.gpu
    if gpu is None:
        return {}
    return {
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": gpu.product,
        "nvidia.com/gpu.family": gpu.family,
        "nvidia.com/gpu.compute.major": str(gpu.compute[0]),
        "nvidia.com/gpu.compute.minor": str(gpu.compute[1]),
        "nvidia.com/gpu.memory": str(gpu.memory_mib),
        "nvidia.com/gpu.count": str(machine.gpus),
        "nvidia.com/gpu.replicas": "1",
        "nvidia.com/gpu.sharing-strategy": "none",
        "nvidia.com/gpu.mode": "compute",
        "nvidia.com/cuda.driver-version.major": "580",
        "nvidia.com/cuda.runtime-version.major": "13",
        "nvidia.com/cuda.runtime-version.minor": "0",
        "nvidia.com/mig.capable": str(gpu.mig_capable).lower(),
    }


# ── what is left for pods, by each cloud's published rule ────────────────────────────────────────────────────


def gke_pod_share(machine: Machine) -> tuple[int, int]:
    """Return what GKE leaves for pods [milli-CPU, MiB]: it keeps shares that fall as machines grow.

    >>> gke_pod_share(GKE["e2-standard-4"])  # 25 % of 4 GiB, 20 % of 4, 10 % of 8; 6 %, 1 %, 0.5 %, 0.5 % of a CPU
    (3920, 13621)
    """
    memory_mib = machine.memory_gib * MIB_PER_GIB
    gib = MIB_PER_GIB
    kept_mib = _graded(memory_mib, ((4 * gib, 0.25), (4 * gib, 0.20), (8 * gib, 0.10), (112 * gib, 0.06)), 0.02)
    kept_millicpu = _graded(machine.cpus * 1000, ((1000, 0.06), (1000, 0.01), (2000, 0.005)), 0.0025)
    return round(machine.cpus * 1000 - kept_millicpu), int(memory_mib - kept_mib - EVICTION_MIB)


def aks_pod_share(machine: Machine) -> tuple[int, int]:
    """Return what AKS leaves for pods [milli-CPU, MiB]: it keeps CPU by size, and 20 MiB a pod + 50 MiB.

    >>> aks_pod_share(AKS["Standard_NC4as_T4_v3"])
    (3860, 26322)
    """
    kept_millicpu = next(kept for cpus, kept in _AKS_KEPT_MILLICPU if machine.cpus <= cpus)
    kept_mib = 20 * PODS_PER_NODE + 50 + EVICTION_MIB
    return machine.cpus * 1000 - kept_millicpu, machine.memory_gib * MIB_PER_GIB - kept_mib


def bare_pod_share(machine: Machine) -> tuple[int, int]:
    """Return what a kubelet without reservations leaves for pods [milli-CPU, MiB]."""
    return machine.cpus * 1000, machine.memory_gib * MIB_PER_GIB - EVICTION_MIB


EVICTION_MIB = 100
"""What the kubelet keeps back everywhere, so that it can evict in time."""

_AKS_KEPT_MILLICPU = ((2, 100), (4, 140), (8, 180), (16, 260), (32, 420), (10**6, 740))


def _graded(amount: float, steps: tuple[tuple[float, float], ...], beyond: float) -> float:
    """Sum up a share of each step of an amount, and of all that lies beyond the steps."""
    kept = 0.0
    for size, share in steps:
        part = min(amount, size)
        kept += part * share
        amount -= part
    return kept + amount * beyond
