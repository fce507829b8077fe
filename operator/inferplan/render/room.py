"""What a pod asks for beside its GPUs: CPUs, memory and disk that fit the machines of the plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inferplan.domain.cluster import GpuNode
from inferplan.domain.deployment import Configuration, Placement
from inferplan.domain.plan import Plan
from inferplan.domain.units import GB, GIB, MIB
from inferplan.estimate.offloading import offloaded_weight_bytes
from inferplan.render.timing import weight_file_bytes

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
ASSUMED_BESIDE_WEIGHTS = 1.1
"""Files of a repository that are fetched, to the weights that the model needs: layers that are loaded and not used,
tokenizer, configuration."""
ASSUMED_CACHES_BYTES = 8 * GIB
"""Compiled graphs and kernels of one configuration: up to some hundred MB each, of several kinds and shapes."""
ASSUMED_TMP_BYTES = 4 * GIB
"""Sockets, and files of compilers at work."""
ASSUMED_WRITTEN_BYTES = GIB
"""Logs (10 MiB five times over by the kubelet's defaults) and whatever else is written beside the volumes."""
ASSUMED_LARGE_WEIGHTS_BYTES = 100 * GB
"""From here on weights belong on a volume that outlives the pod: root disks of nodes have 20 to 200 GB, and fetching
this much at every start takes more than a quarter of an hour at 100 MB/s."""


@dataclass(frozen=True, slots=True)
class Room:
    """Requests of one pod; memory has no limit, since loading fills the page cache.

    Parameters
    ----------
    shared_memory_bytes
        0 for a single GPU, which shares nothing.
    weights_disk_bytes
        Most that the weights may take of the node's own disk; 0 where they lie on a volume.
    disk_needed_bytes, disk_bytes
        What the pod may write to the node's own disk, and what it asks for: no more than some node has for it, so
        nothing where no node says what it has.
    disk_there_bytes
        What the node with the least has for it; None if no node says.
    """

    cpu_millicores: int
    memory_bytes: int
    shared_memory_bytes: int
    """0 for a single GPU, which shares nothing."""
    offload_limit_bytes: int | None = None
    """Memory of a machine that goes with the pod's GPUs; None where nobody says what the machine has."""
    weights_disk_bytes: int = 0
    disk_needed_bytes: int = 0
    disk_bytes: int = 0
    disk_there_bytes: int | None = None

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

    @property
    def disk(self) -> str:
        """The node's own disk as Kubernetes writes it (``ephemeral-storage``)."""
        return f"{self.disk_bytes // MIB}Mi"

    @property
    def weights_disk(self) -> str:
        """Limit of the volume of the weights as Kubernetes writes it."""
        return f"{self.weights_disk_bytes // MIB}Mi"

    @property
    def caches_disk(self) -> str:
        """Limit of the volume of the caches as Kubernetes writes it."""
        return f"{ASSUMED_CACHES_BYTES // MIB}Mi"

    @property
    def tmp_disk(self) -> str:
        """Limit of ``/tmp`` as Kubernetes writes it."""
        return f"{ASSUMED_TMP_BYTES // MIB}Mi"


def room(plan: Plan, nodes: tuple[GpuNode, ...], *, on_volume: bool = False) -> Room:
    """Work out what a pod asks for: what the engine wants, or its GPUs' share of the machine if that is less.

    Parameters
    ----------
    nodes
        Nodes of the plan; none for a plan on the market, whose machines are known from the price list.
    on_volume
        The weights lie on a volume of their own and take nothing of the node's disk.

    Notes
    -----
    Disk of a node is shared by the replicas that it holds: ``allocatable / min(replicas, its GPUs / GPUs of one)``.
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
    weights_disk = 0 if on_volume else _mebibytes(weight_file_bytes(plan) * ASSUMED_BESIDE_WEIGHTS + GIB)
    disk = weights_disk + ASSUMED_CACHES_BYTES + ASSUMED_TMP_BYTES + ASSUMED_WRITTEN_BYTES
    disks = [_disk_share(node, chosen) for node in nodes if node.disk_allocatable_bytes]
    return Room(
        cpu_millicores=max(fitting_cpu // 100 * 100, LEAST_MILLICORES),
        memory_bytes=max(fitting_memory // MIB * MIB, LEAST_REQUEST_BYTES),
        shared_memory_bytes=shared,
        offload_limit_bytes=limit,
        weights_disk_bytes=weights_disk,
        disk_needed_bytes=disk,
        disk_bytes=min(disk, max(disks, default=0) // MIB * MIB) if nodes else disk,
        disk_there_bytes=min(disks, default=None),
    )


def _mebibytes(size_bytes: float) -> int:
    return math.ceil(size_bytes / MIB) * MIB


def _disk_share(node: GpuNode, chosen: Configuration) -> int:
    """Disk of a node for one of the replicas that it may hold."""
    replicas = min(chosen.replicas, max(1, node.gpus_allocatable // chosen.gpus_per_replica))
    return (node.disk_allocatable_bytes or 0) // max(1, replicas)


def offloaded_bytes(chosen: Configuration) -> int:
    """Machine memory that the engine of one replica pins for weights and KV cache, beyond what loading takes."""
    weights = offloaded_weight_bytes(chosen) * chosen.gpus_per_replica
    return _mebibytes(weights) + chosen.engine.kv_offload_bytes


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
