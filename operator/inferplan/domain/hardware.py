"""GPUs (what a device is) and offerings (what one can rent), kept apart on purpose."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from inferplan.domain.model import Dtype, Source

AMD64, ARM64 = "amd64", "arm64"
"""CPU architectures, as the label ``kubernetes.io/arch`` and the platforms of container images name them."""


class LinkKind(enum.StrEnum):
    """How GPUs of one node talk to each other."""

    NVLINK = "NVLink"
    NVLINK_BRIDGE = "NVLinkBridge"
    INFINITY_FABRIC = "InfinityFabric"
    ROCE = "RoCE"
    PCIE = "PCIe"


@dataclass(frozen=True, slots=True)
class Interconnect:
    """Link between GPUs.

    Parameters
    ----------
    bandwidth_bytes_per_s
        Per GPU, both directions together (datasheet figure).
    domain_gpus
        GPUs that reach each other over it; beyond that they use PCIe.
    """

    kind: LinkKind
    bandwidth_bytes_per_s: float
    domain_gpus: int


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """A device as its datasheet and driver describe it.

    Parameters
    ----------
    memory_bytes
        Total memory that the driver reports; where no report is known, the marketing capacity x 0.93
        (``memory_is_reported`` is False).
    hbm_bandwidth_bytes_per_s
        Peak memory bandwidth.
    peak_flops_per_s
        Dense peaks by number format; a format that is absent does not run natively.
    compute_capability
        CUDA compute capability x 10 (75 = 7.5); None for other makers.
    host_architecture
        CPU architecture of its machines as Kubernetes and container images name it; amd64 unless the GPU comes with a
        CPU of its own kind.
    """

    id: str
    name: str
    vendor: str
    family: str
    """Architecture as the calibration knows it: Turing, Ampere, Ada, Hopper, Blackwell, CDNA3, ..."""
    compute_capability: int | None
    form_factor: str
    memory_bytes: int
    memory_is_reported: bool
    memory_marketing_gb: int
    hbm_bandwidth_bytes_per_s: float
    peak_flops_per_s: tuple[tuple[Dtype, float], ...]
    interconnect: Interconnect
    pcie_bandwidth_bytes_per_s: float
    tdp_w: int
    node_sizes: tuple[int, ...]
    product_labels: tuple[str, ...]
    """Values of ``nvidia.com/gpu.product`` (and the clouds' own accelerator labels) that mean this GPU."""
    launch_year: int
    aliases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    host_architecture: str = AMD64

    def peak(self, dtype: Dtype) -> float | None:
        """Dense peak [FLOP/s] of a number format, or None if it does not run natively."""
        return dict(self.peak_flops_per_s).get(dtype)


class Terms(enum.StrEnum):
    """On which terms a GPU is had."""

    ON_DEMAND = "OnDemand"
    SPOT = "Spot"
    COMMITTED = "Committed"
    OWNED = "Owned"


class Market(enum.StrEnum):
    """Who sells: a cloud, or strangers' machines. The latter two only when asked for."""

    CLOUD = "Cloud"
    COMMUNITY = "Community"
    MARKETPLACE = "Marketplace"


@dataclass(frozen=True, slots=True)
class Offering:
    """A whole instance with a price: the thing one can rent.

    ``price_usd_per_hour`` is for the instance, not for one GPU; ``on_demand_usd_per_hour`` stands beside a spot price
    where the same source states both.
    """

    provider: str
    region: str
    instance_type: str
    gpu: str
    gpu_count: int
    terms: Terms
    market: Market
    price_usd_per_hour: Decimal
    as_of: str
    source: str
    vcpus: int | None = None
    memory_gib: float | None = None
    on_demand_usd_per_hour: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OwnedPool:
    """Machines that the user owns, and what they cost while they live.

    Parameters
    ----------
    nodes
        How many such machines there are.
    purchase_usd_per_node
        Paid once, spread over ``life_years``; ``residual_percent`` of it comes back at the end.
    power_w_per_node
        Mean draw at the plug of one machine, before PUE.
    maintenance_percent_per_year
        Of the purchase price.
    other_usd_per_month
        Staff, rack space and the like for one machine.
    """

    name: str
    gpu: str
    gpus_per_node: int
    nodes: int
    purchase_usd_per_node: Decimal
    life_years: Decimal
    power_w_per_node: int
    pue: Decimal
    usd_per_kwh: Decimal
    maintenance_percent_per_year: Decimal
    residual_percent: Decimal
    other_usd_per_month: Decimal
