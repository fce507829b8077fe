"""GPUs as their datasheets and drivers describe them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from inferplan.catalog.schema.base import Count, Name, Positive, Rate, Record, Sourced
from inferplan.domain import hardware, model


class Link(Record):
    """Link between GPUs."""

    kind: Literal["NVLink", "NVLinkBridge", "InfinityFabric", "RoCE", "PCIe"]
    bandwidth_bytes_per_s: Rate
    domain_gpus: Positive


class Gpu(Sourced):
    """A GPU."""

    id: Name
    name: Name
    vendor: Literal["nvidia", "amd", "intel"]
    family: str
    compute_capability: int | None = None
    form_factor: str
    launch_year: int
    memory_bytes: Positive
    memory_is_reported: bool
    memory_marketing_gb: Positive
    hbm_bandwidth_bytes_per_s: Rate
    pcie_bandwidth_bytes_per_s: Rate
    tdp_w: Count
    node_sizes: list[Positive] = Field(min_length=1)
    product_labels: list[Name]
    host_architecture: Literal["amd64", "arm64"] = "amd64"
    aliases: list[Name] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    peak_flops_per_s: dict[Literal["float32", "float16", "bfloat16", "fp8", "int8", "fp4"], Rate]
    interconnect: Link

    def to_domain(self) -> hardware.GpuSpec:
        """Convert."""
        return hardware.GpuSpec(
            id=self.id,
            name=self.name,
            vendor=self.vendor,
            family=self.family,
            compute_capability=self.compute_capability,
            form_factor=self.form_factor,
            memory_bytes=self.memory_bytes,
            memory_is_reported=self.memory_is_reported,
            memory_marketing_gb=self.memory_marketing_gb,
            hbm_bandwidth_bytes_per_s=self.hbm_bandwidth_bytes_per_s,
            peak_flops_per_s=tuple((model.Dtype(name), peak) for name, peak in self.peak_flops_per_s.items()),
            interconnect=hardware.Interconnect(
                hardware.LinkKind(self.interconnect.kind),
                self.interconnect.bandwidth_bytes_per_s,
                self.interconnect.domain_gpus,
            ),
            pcie_bandwidth_bytes_per_s=self.pcie_bandwidth_bytes_per_s,
            tdp_w=self.tdp_w,
            node_sizes=tuple(self.node_sizes),
            product_labels=tuple(self.product_labels),
            launch_year=self.launch_year,
            aliases=tuple(self.aliases),
            notes=tuple(self.notes),
            sources=self.domain_sources(),
            host_architecture=self.host_architecture,
        )
