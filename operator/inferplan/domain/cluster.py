"""What a cluster has: nodes with GPUs, seen through their labels, taints and requests."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from inferplan.domain.hardware import Terms


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node (``key=value:effect``)."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class GpuNode:
    """One node with GPUs.

    Parameters
    ----------
    gpu
        Catalog id of the GPU; None if the label was not recognised (``product_label`` says what stood there).
    gpus_allocatable, gpus_requested
        What the device plugin offers, and what running pods already ask for.
    usable
        False if cordoned, not ready, MIG-sliced or time-shared; ``reason`` says which.
    price_usd_per_hour
        Price of the whole node if known, with its source.
    divided
        MIG-sliced or time-shared: not ours to use, whatever else changes.
    cpu_allocatable_millicores, memory_allocatable_bytes, disk_allocatable_bytes
        What pods can ask for on the node (disk: ``ephemeral-storage``); None if it does not say.
    """

    name: str
    gpu: str | None
    product_label: str
    selector: tuple[tuple[str, str], ...]
    gpus_allocatable: int
    gpus_requested: int
    usable: bool
    reason: str
    instance_type: str
    region: str
    provider: str
    terms: Terms
    taints: tuple[Taint, ...] = ()
    price_usd_per_hour: Decimal | None = None
    price_source: str = ""
    price_as_of: str = ""
    divided: bool = False
    cpu_allocatable_millicores: int | None = None
    memory_allocatable_bytes: int | None = None
    disk_allocatable_bytes: int | None = None

    @property
    def machine(self) -> str:
        """Kind of machine: its instance type, or for a machine of one's own, which has none, the GPU in it.

        Never its name: the next node of the same kind is as good.
        """
        return self.instance_type or self.gpu or self.product_label

    @property
    def gpus_free(self) -> int:
        """GPUs that a new pod could ask for."""
        return max(0, self.gpus_allocatable - self.gpus_requested) if self.usable else 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """The GPU nodes of a cluster, sorted by name."""

    nodes: tuple[GpuNode, ...]
    origin: str
    """Where it was read from (a file name, "cluster")."""
