"""One configuration: what exactly would run."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from inferplan.domain.attention import AttentionKernel
from inferplan.domain.hardware import GpuSpec, Terms
from inferplan.domain.model import Checkpoint, Dtype, ModelSpec, QuantizationMethod, Source


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An inference engine of one version and what it can do.

    Parameters
    ----------
    min_compute_capability
        Compute capability x 10.
    architectures
        ``architectures[0]`` values of config.json that it runs; None = all of the catalog.
    memory_fraction
        Share of the GPU's total memory that we let it take (vLLM ``--gpu-memory-utilization``).
    attention_kernels
        In the order in which it tries them.
    chosen_only_on_request
        The planner never picks it by itself (an engine in maintenance mode).
    """

    id: str
    name: str
    version: str
    image: str
    min_compute_capability: int
    vendors: tuple[str, ...]
    architectures: tuple[str, ...] | None
    memory_fraction: float
    attention_kernels: tuple[AttentionKernel, ...]
    kv_block_tokens: int
    supports_pipeline: bool
    supports_classification: bool
    default_batched_tokens: tuple[tuple[float, int], ...]
    """Default token budget per step, as (GPU memory from [GiB], tokens), ascending."""
    chosen_only_on_request: bool
    notes: tuple[str, ...]
    bfloat16_min_compute_capability: int = 80
    max_num_seqs: int | None = None
    """Limit of running sequences that it is started with; None = its default."""
    text_only: bool = True
    """Started so that a model that could takes no images and no video."""
    eager: bool = False
    """Started without CUDA graphs."""
    serves: bool = True
    """Sends tokens to clients; false where a script calls it in its own process."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """A complete deployment of one scenario."""

    model: ModelSpec
    checkpoint: Checkpoint
    method: QuantizationMethod
    engine: EngineSpec
    gpu: GpuSpec
    tp_size: int
    pp_size: int
    kv_dtype: Dtype
    compute_dtype: Dtype
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    gpu_memory_utilization: float
    replicas: int

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of one engine instance."""
        return self.tp_size * self.pp_size

    @property
    def gpus(self) -> int:
        """GPUs of the whole deployment."""
        return self.gpus_per_replica * self.replicas

    @property
    def title(self) -> str:
        """The configuration in one line, as people say it."""
        parallel = f"{self.gpus_per_replica}x {self.gpu.name}"
        replicas = "1 replica" if self.replicas == 1 else f"{self.replicas} replicas"
        short = self.model.id.rsplit("/", 1)[-1]
        return f"{short} {self.checkpoint.quantization} on {parallel}, {replicas}"


@dataclass(frozen=True, slots=True)
class Placement:
    """Machines that a deployment occupies: one kind of instance or node, and how many of them.

    ``price_usd_per_hour`` is for one machine; ``gpus_idle`` counts GPUs paid for and left unused over all
    of them. For shared cluster nodes ``share`` is the part of the machine that the deployment pays for.
    """

    provider: str
    region: str
    instance_type: str
    count: int
    gpus_per_instance: int
    gpus_used: int
    gpus_idle: int
    price_usd_per_hour: Decimal
    terms: Terms
    as_of: str
    source: str
    vcpus: int | None = None
    memory_gib: float | None = None
    """CPUs and memory of one machine, where the price list says them."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan costs, and on what that rests. Exact decimals, USD.

    Notes
    -----
    ``per_request = per_hour / 3600 / requests_per_s`` with the requests per second at the modelled load;
    ``per_million_output_tokens`` is None when nothing is generated. ``hours_per_month`` is 730, or the hours
    of the schedule for batch runs.
    """

    per_hour: Decimal
    per_month: Decimal
    hours_per_month: Decimal
    per_request: Decimal | None
    per_million_output_tokens: Decimal | None
    per_million_total_tokens: Decimal | None
    per_run: Decimal | None
    requests_per_s: Decimal
    utilization_percent: int
    placements: tuple[Placement, ...]
    gpus_idle: int
