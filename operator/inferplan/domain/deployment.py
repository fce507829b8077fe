"""One configuration: what exactly would run."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from decimal import Decimal

from inferplan.domain.architectures import Architectures
from inferplan.domain.attention import AttentionKernel
from inferplan.domain.hardware import AMD64, ARM64, GpuSpec, Terms
from inferplan.domain.lora import LoraRoom
from inferplan.domain.model import Checkpoint, Dtype, ModelSpec, QuantizationMethod, Source

_VERSION_TAG = re.compile(r"v?(\d+\.\d+(?:\.\d+)?)(?:[-_.+][^\d].*)?", re.ASCII)
ASSUMED_SPECULATIVE_ACCEPTANCE = 0.7
"""Share of drafted tokens accepted; published figures for EAGLE-3 and n-gram drafts range from 0.5 to 0.8."""
TGI_WIGGLE_ROOM = 0.90
"""Share of its own fraction of the GPU that TGI takes (text-generation-inference v3.3.7, TGI_WIGGLE_ROOM)."""


class SpeculativeMethod(enum.StrEnum):
    """Where drafted tokens come from, in the engine's words."""

    NGRAM = "ngram"
    """Repetitions in the text itself: no weights, no cache."""
    MTP = "mtp"
    """The multi-token-prediction layer that the checkpoint brings."""
    DRAFT_MODEL = "draft_model"
    """A smaller model of the same vocabulary."""


@dataclass(frozen=True, slots=True)
class SpeculativeDecoding:
    """Tokens drafted cheaply and checked by the model in one step.

    Parameters
    ----------
    tokens
        Tokens drafted for each step.
    acceptance
        Share of drafted tokens that the model keeps, an assumption of whoever asks for it.
    draft
        The draft model and how its weights are stored; None for methods that need none.
    """

    method: SpeculativeMethod
    tokens: int
    acceptance: float
    draft: ModelSpec | None = None


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An inference engine of one version and what it can do.

    Parameters
    ----------
    min_compute_capability, max_compute_capability
        Compute capability x 10 of the GPUs that the image has code for; no upper end where it has code for all.
    image_architectures
        CPU architectures that the image is built for.
    architectures
        Which ``architectures`` of config.json it runs; None = all.
    memory_fraction
        Share of the GPU's total memory that we let it take (vLLM ``--gpu-memory-utilization``).
    attention_kernels
        In the order in which it tries them.
    chosen_only_on_request
        The planner never picks it by itself (an engine that nobody maintains any more).
    """

    id: str
    name: str
    version: str
    image: str
    min_compute_capability: int
    vendors: tuple[str, ...]
    architectures: Architectures | None
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
    batched_tokens: int | None = None
    """Token budget of a step that it is started with; None = its default for the GPU."""
    least_batched_tokens: int = 0
    """Token budget that a default is raised to: a step must have room for one token of every running sequence."""
    eager: bool = False
    """Started without CUDA graphs."""
    text_only: bool = True
    """Vision and audio parts of a checkpoint are neither loaded nor profiled."""
    cpu_offload_bytes: int = 0
    """Weights of each GPU that stay in the machine's memory and are read from there in every step."""
    kv_offload_bytes: int = 0
    """Machine memory of a replica that keeps KV blocks which the GPUs had to give up."""
    speculative: SpeculativeDecoding | None = None
    lora: LoraRoom | None = None
    """Room for adapters that it is started with."""
    serves: bool = True
    """Sends tokens to clients; false where a script calls it in its own process."""
    max_compute_capability: int | None = None
    image_architectures: tuple[str, ...] = (AMD64, ARM64)
    sources: tuple[Source, ...] = ()

    @property
    def other_version_in_image(self) -> str:
        """The version that the image's tag names where it is another one than :attr:`version`; else empty.

        A digest, or a tag that is no version, names none. A tag without a patch release goes with all of them.
        """
        tag = self.image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        found = _VERSION_TAG.fullmatch(tag)
        if found is None:
            return ""
        named, planned = found[1].split("."), self.version.split(".")
        return "" if named == planned[: len(named)] else found[1]

    def why_not_on(self, gpu: GpuSpec) -> str:
        """Say why the image does not run on a GPU; empty if it does."""
        if gpu.vendor not in self.vendors:
            return f"its image has no code for GPUs of {gpu.vendor}"
        capability = gpu.compute_capability or 0
        highest = self.max_compute_capability
        if capability < self.min_compute_capability or (highest is not None and capability > highest):
            until = "" if highest is None else f" to {highest / 10}"
            has = f"{self.min_compute_capability / 10}{until or ' and above'}"
            return f"its image has code for compute capability {has}; the {gpu.name} has {capability / 10}"
        if gpu.host_architecture not in self.image_architectures:
            built = ", ".join(self.image_architectures)
            return f"its image is built for {built}; machines with the {gpu.name} are {gpu.host_architecture}"
        return ""


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
    def is_deployable(self) -> bool:
        """Whether manifests can be written for it: a replica that spans machines cannot be deployed yet."""
        return self.pp_size == 1

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
    on_demand_usd_per_hour: Decimal | None = None
    """What the same machine costs on demand, beside a spot price."""


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
