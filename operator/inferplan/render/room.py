"""What a pod asks for beside its GPUs: CPUs and memory that fit the machines of the plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inferplan.domain.cluster import GpuNode
from inferplan.domain.deployment import Configuration, Placement
from inferplan.domain.plan import Plan
from inferplan.domain.units import GIB, MIB

CPUS_BESIDE_GPUS = 2
"""vLLM wants 2 + N cores for N GPUs (its documentation, configuration/optimization)."""
ASSUMED_WEIGHTS_IN_MEMORY = 0.25
"""Share of the weights that must be in memory at once while they are loaded; the rest is reclaimable page cache."""
LEAST_MEMORY_BYTES = 8 * GIB
ASSUMED_DAEMONS_MILLICORES = 500
ASSUMED_DAEMONS_BYTES = GIB
"""Left for the daemons of a node (half a CPU to one, and 1 to 2 GiB, are usual)."""
ASSUMED_ALLOCATABLE_CPU = 0.97
ASSUMED_ALLOCATABLE_MEMORY = 0.86
"""Part of a machine that pods can ask for at all, the careful end: g6.xlarge with 4 vCPUs and 16 GiB leaves 3.92 and
13.83 GiB (Karpenter's instance types); larger machines leave more."""
SHARED_MEMORY_BYTES_PER_GPU = GIB
"""For NCCL and the queues between the processes of a replica; 1 to 20 GiB in published charts."""
LEAST_MILLICORES = 500
LEAST_REQUEST_BYTES = GIB


@dataclass(frozen=True, slots=True)
class Room:
    """Requests of one pod; memory has no limit, since loading fills the page cache."""

    cpu_millicores: int
    memory_bytes: int
    shared_memory_bytes: int
    """0 for a single GPU, which shares nothing."""
    offload_limit_bytes: int | None = None
    """Memory of a machine that goes with the pod's GPUs; None where nobody says what the machine has."""

    @property
    def cpu(self) -> str:
        """CPUs as Kubernetes writes them."""
        return f"{self.cpu_millicores}m" if self.cpu_millicores % 1000 else str(self.cpu_millicores // 1000)

    @property
    def memory(self) -> str:
        """Memory as Kubernetes writes it."""
        return f"{self.memory_bytes // MIB}Mi"

    @property
    def shared_memory(self) -> str:
        """Size of ``/dev/shm`` as Kubernetes writes it."""
        return f"{self.shared_memory_bytes // MIB}Mi"


def room(plan: Plan, nodes: tuple[GpuNode, ...]) -> Room:
    """Work out what a pod asks for: what the engine wants, or its GPUs' share of the machine if that is less.

    Parameters
    ----------
    nodes
        Nodes of the plan; none for a plan on the market, whose machines are known from the price list.
    """
    chosen = plan.configuration
    gpus = chosen.gpus_per_replica
    shared = SHARED_MEMORY_BYTES_PER_GPU * gpus if gpus > 1 else 0
    weights = plan.estimate.memory.weights_bytes * gpus
    cpu = (CPUS_BESIDE_GPUS + gpus) * 1000
    offloaded = offloaded_bytes(chosen)
    memory = max(LEAST_MEMORY_BYTES, math.ceil(weights * ASSUMED_WEIGHTS_IN_MEMORY)) + shared + offloaded
    shares = [_node_share(node, gpus) for node in nodes] or [_share(place, gpus) for place in plan.cost.placements]
    fitting_cpu = min([cpu, *(share[0] for share in shares if share[0] is not None)])
    limit = min((share[1] for share in shares if share[1] is not None), default=None)
    fitting_memory = memory if limit is None else max(offloaded, min(memory, limit))
    return Room(
        cpu_millicores=max(fitting_cpu // 100 * 100, LEAST_MILLICORES),
        memory_bytes=max(fitting_memory // MIB * MIB, LEAST_REQUEST_BYTES),
        shared_memory_bytes=shared,
        offload_limit_bytes=limit,
    )


def offloaded_bytes(chosen: Configuration) -> int:
    """Machine memory that the engine of one replica pins for weights and KV cache, beyond what loading takes."""
    return chosen.engine.cpu_offload_bytes * chosen.gpus_per_replica + chosen.engine.kv_offload_bytes


def _node_share(node: GpuNode, gpus: int) -> tuple[int | None, int | None]:
    return _part(node.cpu_allocatable_millicores, node.memory_allocatable_bytes, gpus, node.gpus_allocatable)


def _share(place: Placement, gpus: int) -> tuple[int | None, int | None]:
    cpu = None if place.vcpus is None else int(place.vcpus * 1000 * ASSUMED_ALLOCATABLE_CPU)
    memory = None if place.memory_gib is None else int(place.memory_gib * GIB * ASSUMED_ALLOCATABLE_MEMORY)
    return _part(cpu, memory, gpus, place.gpus_per_instance)


def _part(cpu: int | None, memory: int | None, gpus: int, of: int) -> tuple[int | None, int | None]:
    """Part of a machine that goes with some of its GPUs, the daemons' part left out."""
    whole = max(of, gpus, 1)
    return (
        None if cpu is None else max(0, cpu - ASSUMED_DAEMONS_MILLICORES) * gpus // whole,
        None if memory is None else max(0, memory - ASSUMED_DAEMONS_BYTES) * gpus // whole,
    )
