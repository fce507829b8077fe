"""A scenario: what a person needs, with every default resolved and every unit canonical."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from decimal import Decimal

from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import OwnedPool, Terms
from inferplan.domain.model import ModelSpec, Quantization, Task
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
        """Return the engine in the version and image asked for; the image of another version has its tag."""
        version = self.version or engine.version
        image = self.image or engine.image.replace(engine.version, version)
        return (
            engine
            if (version, image) == (engine.version, engine.image)
            else replace(engine, version=version, image=image)
        )


class Tier(enum.StrEnum):
    """The three answers that every scenario gets."""

    BUDGET = "Budget"
    RECOMMENDED = "Recommended"
    HIGH_END = "HighEnd"


@dataclass(frozen=True, slots=True)
class Pin:
    """A wish to evaluate exactly this; what is None is still chosen."""

    model: str | None = None
    quantization: Quantization | None = None
    gpu: str | None = None
    gpus_per_replica: int | None = None
    replicas: int | None = None
    max_num_seqs: int | None = None
    max_model_len: int | None = None
    engine: str | None = None

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
