"""A scenario: what a person needs, with every default resolved and every unit canonical."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

from inferplan.domain.deployment import Configuration, EngineSpec, SpeculativeDecoding
from inferplan.domain.hardware import OwnedPool, Terms
from inferplan.domain.lora import lora_room
from inferplan.domain.model import Dtype, ModelSpec, Quantization, Task
from inferplan.domain.operation import Toleration
from inferplan.domain.units import SECONDS_PER_MINUTE


class UseCase(enum.StrEnum):
    """Which preset the scenario starts from."""

    CHATBOT = "Chatbot"
    SUMMARIZATION = "Summarization"
    BATCH_CLASSIFICATION = "BatchClassification"
    CUSTOM = "Custom"


class LoadKind(enum.StrEnum):
    """How requests arrive."""

    CLOSED_LOOP = "closed_loop"
    """N people, each of whom sends the next request ``think_time_s`` after the answer to the last."""
    OPEN_LOOP = "open_loop"
    """Requests arrive at a rate, whether or not earlier ones are done."""
    OFFLINE = "offline"
    """A run of items that is there at once and has a deadline."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Token counts over requests. A pinned length has ``mean == p95``."""

    mean: int
    p95: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a batch run starts (cron) and for how long its window lasts [minutes]."""

    cron: str
    time_zone: str
    window_minutes: int | None


@dataclass(frozen=True, slots=True)
class Workload:
    """The offered load.

    Exactly one of ``concurrent_users``, ``request_rate_rps`` and ``items`` is set, as ``kind`` says.
    ``burstiness`` is the squared coefficient of variation of the gaps between arrivals (1 = Poisson).
    """

    kind: LoadKind
    prompt: Lengths
    output: Lengths
    shared_prefix_tokens: int = 0
    concurrent_users: int | None = None
    think_time_s: float = 0.0
    request_rate_rps: float | None = None
    burstiness: float = 1.0
    items: int | None = None
    deadline_s: float | None = None
    schedule: Schedule | None = None

    @property
    def time_limit_s(self) -> float | None:
        """Time that a run may take [s]: up to its deadline and within the window of its schedule."""
        window = None if self.schedule is None else self.schedule.window_minutes
        limits = [] if window is None else [float(window * SECONDS_PER_MINUTE)]
        return min([*limits, *([] if self.deadline_s is None else [self.deadline_s])], default=None)


@dataclass(frozen=True, slots=True)
class Slo:
    """Latency targets [s] at one percentile; None means no target."""

    percentile: int = 95
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_latency_s: float | None = None


class Lossy(enum.StrEnum):
    """Whether a weight format may cost published accuracy."""

    ALLOW = "Allow"
    AVOID = "Avoid"


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """How good the answers must be."""

    level: str | None = None
    """Named level that the minimum came from, if one was named."""
    metric: str | None = None
    minimum: Decimal | None = None
    quantizations: tuple[Quantization, ...] | None = None
    """Weight formats allowed; None allows all."""
    lossy: Lossy = Lossy.ALLOW


@dataclass(frozen=True, slots=True)
class CustomModel:
    """A user's own model: a repository with the architecture of ``base`` (a catalog model) or its own."""

    repository: str
    revision: str | None
    base: str | None
    architecture: ModelSpec | None
    task: Task
    quantization: Quantization | None
    """Format of the weights in the repository; None = 16 bit."""


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """Which models may be chosen. Patterns are shell-style (``Qwen/*``)."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    licenses: tuple[str, ...] | None = None
    custom: CustomModel | None = None


class HardwareSource(enum.StrEnum):
    """Where GPUs may come from."""

    AUTO = "Auto"
    CLUSTER = "Cluster"
    MARKET = "Market"
    OWNED = "Owned"


@dataclass(frozen=True, slots=True)
class HardwarePolicy:
    """Which GPUs may be used, from whom, and how many."""

    source: HardwareSource = HardwareSource.AUTO
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    maximum_gpus: int = 256
    terms: tuple[Terms, ...] = (Terms.ON_DEMAND,)
    markets: tuple[str, ...] = ("Cloud",)
    providers: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    owned: tuple[OwnedPool, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    """Taints beyond those of GPU nodes that the pods will stand: they decide which nodes can be had."""


class Enforcement(enum.StrEnum):
    """What an exceeded budget does."""

    BLOCK = "Block"
    WARN = "Warn"


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits of cost; None means no limit."""

    maximum_usd_per_hour: Decimal | None = None
    maximum_usd_per_month: Decimal | None = None
    maximum_usd_per_request: Decimal | None = None
    enforcement: Enforcement = Enforcement.BLOCK


@dataclass(frozen=True, slots=True)
class EnginePolicy:
    """Which inference engines may be used."""

    allow: tuple[str, ...] = ("vllm",)
    version: str | None = None
    image: str | None = None
    extra_args: tuple[str, ...] = ()
    remote_code: bool = False
    """Whether code from a model's repository may run."""

    def applied_to(self, engine: EngineSpec) -> EngineSpec:
        """Return the engine as asked for: version, image and adapters; the image of another version has its tag."""
        version = self.version or engine.version
        image = self.image or engine.image.replace(engine.version, version)
        lora = lora_room(self.extra_args)
        return (
            engine
            if (version, image, lora) == (engine.version, engine.image, engine.lora)
            else replace(engine, version=version, image=image, lora=lora)
        )


class Tier(enum.StrEnum):
    """The three answers that every scenario gets."""

    BUDGET = "Budget"
    RECOMMENDED = "Recommended"
    HIGH_END = "HighEnd"


Value = TypeVar("Value")


def _said(wish: Value | None, otherwise: Value) -> Value:
    """A wish, or what holds without one."""
    return otherwise if wish is None else wish


@dataclass(frozen=True, slots=True)
class Pin:
    """A wish to evaluate exactly this; what is None is still chosen.

    Parameters
    ----------
    kv_dtype
        Type of the KV cache; 16-bit types stand for the compute type.
    gpu_memory_utilization, max_num_batched_tokens, eager, text_only, cpu_offload_bytes, kv_offload_bytes, speculative
        How the engine is started, as the fields of :class:`~inferplan.domain.deployment.EngineSpec`; what is None
        stays the engine's default.
    """

    model: str | None = None
    quantization: Quantization | None = None
    gpu: str | None = None
    gpus_per_replica: int | None = None
    replicas: int | None = None
    max_num_seqs: int | None = None
    max_model_len: int | None = None
    engine: str | None = None
    kv_dtype: Dtype | None = None
    gpu_memory_utilization: float | None = None
    max_num_batched_tokens: int | None = None
    eager: bool | None = None
    text_only: bool | None = None
    cpu_offload_bytes: int | None = None
    kv_offload_bytes: int | None = None
    speculative: SpeculativeDecoding | None = None

    @classmethod
    def of(cls, chosen: Configuration) -> Pin:
        """Ask for exactly what a configuration is; its context stays the scenario's."""
        engine = chosen.engine
        return cls(
            model=chosen.model.id,
            quantization=chosen.checkpoint.quantization,
            gpu=chosen.gpu.id,
            gpus_per_replica=chosen.gpus_per_replica,
            replicas=chosen.replicas,
            max_num_seqs=chosen.max_num_seqs,
            kv_dtype=chosen.kv_dtype,
            gpu_memory_utilization=engine.memory_fraction,
            max_num_batched_tokens=engine.batched_tokens,
            eager=engine.eager,
            text_only=engine.text_only,
            cpu_offload_bytes=engine.cpu_offload_bytes,
            kv_offload_bytes=engine.kv_offload_bytes,
            speculative=engine.speculative,
        )

    def applied_to(self, engine: EngineSpec) -> EngineSpec:
        """Return the engine as it is started under this pin."""
        return replace(
            engine,
            memory_fraction=_said(self.gpu_memory_utilization, engine.memory_fraction),
            batched_tokens=_said(self.max_num_batched_tokens, engine.batched_tokens),
            least_batched_tokens=max(engine.least_batched_tokens, self._beyond_default(engine)),
            eager=_said(self.eager, engine.eager),
            text_only=_said(self.text_only, engine.text_only),
            cpu_offload_bytes=_said(self.cpu_offload_bytes, engine.cpu_offload_bytes),
            kv_offload_bytes=_said(self.kv_offload_bytes, engine.kv_offload_bytes),
            speculative=_said(self.speculative, engine.speculative),
        )

    def _beyond_default(self, engine: EngineSpec) -> int:
        """The next power of two where the engine's smallest default step has no room for the batch limit, else 0."""
        sequences = self.max_num_seqs or 0
        smallest = min(tokens for _, tokens in engine.default_batched_tokens)
        return 0 if sequences <= smallest else 1 << (sequences - 1).bit_length()

    @property
    def is_full(self) -> bool:
        """Whether nothing that decides cost or memory is left to choose."""
        return None not in (
            self.model,
            self.quantization,
            self.gpu,
            self.gpus_per_replica,
            self.replicas,
            self.max_num_seqs,
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is wanted. Everything that the planner needs and nothing about how the cluster is written to."""

    name: str
    use_case: UseCase
    task: Task
    workload: Workload
    slo: Slo
    context_tokens: int
    """Prompt + output that every replica must be able to hold for one request."""
    quality: QualityPolicy = field(default_factory=QualityPolicy)
    model: ModelPolicy = field(default_factory=ModelPolicy)
    hardware: HardwarePolicy = field(default_factory=HardwarePolicy)
    budget: Budget = field(default_factory=Budget)
    engine: EnginePolicy = field(default_factory=EnginePolicy)
    tier: Tier = Tier.RECOMMENDED
    pin: Pin | None = None
    growth_factors: tuple[int, ...] = (2, 5, 10)
    headroom_percent: int = 25
    """Load beyond today's that Recommended must still serve."""


@dataclass(frozen=True, slots=True)
class PresetValue:
    """One default of a preset with the reason for it. ``field`` is the dotted path in the spec."""

    field: str
    value: str | int | tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults of a use case, as data with reasons."""

    use_case: UseCase
    task: Task
    title: str
    values: tuple[PresetValue, ...]

    def get(self, path: str) -> str | int | tuple[str, ...] | None:
        """Return the default at a dotted path (``slo.percentile``), or None."""
        for entry in self.values:
            if entry.field == path:
                return entry.value
        return None


@dataclass(frozen=True, slots=True)
class QualityLevel:
    """A named level (``Good``) with the score that it stands for and why."""

    name: str
    metric: str
    minimum: Decimal
    reason: str
