"""Records as they are written in the catalog's files, and how each becomes a value of the domain."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from inferplan.domain import calibration, deployment, estimate, hardware, model, scenario

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Amount = Annotated[Decimal, BeforeValidator(lambda v: Decimal(v) if isinstance(v, str) else v)]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]


class Record(BaseModel):
    """Base of all records: strict, frozen, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)


class Source(Record):
    """Where facts come from."""

    fields: list[str] = Field(min_length=1)
    title: str = Field(min_length=1)
    retrieved: Date
    url: str | None = None
    licence: str | None = None

    def to_domain(self) -> model.Source:
        """Convert."""
        return model.Source(tuple(self.fields), self.title, self.retrieved, self.url, self.licence)


class Sourced(Record):
    """A record that names its sources."""

    sources: list[Source] = Field(min_length=1)

    def domain_sources(self) -> tuple[model.Source, ...]:
        """Convert the sources."""
        return tuple(source.to_domain() for source in self.sources)


class Attention(Record):
    """A group of layers with one KV layout."""

    kind: Literal["full", "sliding", "chunked", "mla", "linear"]
    layers: Positive
    kv_heads: int = 0
    key_head_dim: int = 0
    value_head_dim: int = 0
    window_tokens: Positive | None = None
    latent_values_per_token: int = 0
    state_bytes_per_sequence: int = 0

    def to_domain(self) -> model.AttentionLayers:
        """Convert."""
        return model.AttentionLayers(
            model.LayerKind(self.kind),
            self.layers,
            self.kv_heads,
            self.key_head_dim,
            self.value_head_dim,
            self.window_tokens,
            self.latent_values_per_token,
            self.state_bytes_per_sequence,
        )


class Experts(Record):
    """The routed part of a mixture of experts."""

    experts: Positive
    experts_per_token: Positive
    expert_intermediate_size: Positive
    layers: Positive
    shared_experts: int = 0
    shared_intermediate_size: int = 0
    matrices_per_expert: Positive = 3
    dense_beside_experts: bool = False

    def to_domain(self) -> model.MixtureOfExperts:
        """Convert."""
        return model.MixtureOfExperts(**self.model_dump())


class Weights(Record):
    """A checkpoint that can be downloaded."""

    repository: str
    method: str
    revision: str | None = None
    verified: bool = True


class Score(Record):
    """A published score."""

    metric: str
    value: Amount
    as_of: Date
    source: str
    ci95: Amount | None = None

    def to_domain(self) -> model.QualityScore:
        """Convert."""
        return model.QualityScore(self.metric, self.value, self.as_of, self.source, self.ci95)


class Model(Sourced):
    """A model."""

    id: str
    family: str
    architecture: str
    params_total: Positive
    params_active: Positive
    layers: Positive
    hidden_size: Positive
    attention_heads: Positive
    kv_heads: Positive
    head_dim: Positive
    intermediate_size: int = Field(ge=0)
    vocab_size: Positive
    tie_word_embeddings: bool
    max_position_embeddings: Positive
    native_dtype: Literal["float16", "bfloat16"]
    license: str
    gated: bool | None = None
    refuses_float16: bool = False
    extra_params: int = 0
    not_sizable: str | None = None
    aliases: list[str] = []
    notes: list[str] = []
    moe: Experts | None = None
    attention: list[Attention] = []
    checkpoints: list[Weights] = Field(min_length=1)
    scores: list[Score] = []

    def to_domain(self, quantizations: dict[str, model.Quantization]) -> model.ModelSpec:
        """Convert; ``quantizations`` names the weight format of every method."""
        return model.ModelSpec(
            id=self.id,
            family=self.family,
            architecture=self.architecture,
            params_total=self.params_total,
            params_active=self.params_active,
            layers=self.layers,
            hidden_size=self.hidden_size,
            attention_heads=self.attention_heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            intermediate_size=self.intermediate_size,
            vocab_size=self.vocab_size,
            tie_word_embeddings=self.tie_word_embeddings,
            max_position_embeddings=self.max_position_embeddings,
            attention=tuple(group.to_domain() for group in self.attention),
            moe=None if self.moe is None else self.moe.to_domain(),
            native_dtype=model.Dtype(self.native_dtype),
            license=self.license,
            gated=self.gated,
            checkpoints=tuple(
                model.Checkpoint(c.repository, c.method, quantizations[c.method], c.revision, c.verified)
                for c in self.checkpoints
            ),
            scores=tuple(score.to_domain() for score in self.scores),
            aliases=tuple(self.aliases),
            refuses_float16=self.refuses_float16,
            extra_params=self.extra_params,
            not_sizable=self.not_sizable,
            notes=tuple(self.notes),
            sources=self.domain_sources(),
        )


class Link(Record):
    """Link between GPUs."""

    kind: Literal["NVLink", "NVLinkBridge", "InfinityFabric", "RoCE", "PCIe"]
    bandwidth_bytes_per_s: Rate
    domain_gpus: Positive


class Gpu(Sourced):
    """A GPU."""

    id: str
    name: str
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
    tdp_w: int = Field(ge=0)
    node_sizes: list[Positive] = Field(min_length=1)
    product_labels: list[str]
    aliases: list[str] = []
    notes: list[str] = []
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
        )


class Recovery(Record):
    """Published accuracy kept, for models from a size on."""

    params_from_billions: float
    percent: float = Field(gt=0, le=100)


class Method(Sourced):
    """A quantization method."""

    id: str
    quantization: Literal["FP16", "BF16", "FP8", "INT8", "INT4", "NVFP4", "MXFP4"]
    weight_bits: float = Field(gt=0, le=32)
    compute_dtype: Literal["float16", "bfloat16", "fp8", "int8", "fp4"]
    min_compute_capability: int
    native_min_compute_capability: int | None = None
    group_size: int = 0
    quantizes_embeddings: bool = False
    experts_only: bool = False
    engines: list[str] = Field(min_length=1)
    made_while_loading: bool = False
    flag: str | None = None
    recovery: list[Recovery] = []

    def to_domain(self) -> model.QuantizationMethod:
        """Convert."""
        return model.QuantizationMethod(
            id=self.id,
            quantization=model.Quantization(self.quantization),
            weight_bits=self.weight_bits,
            compute_dtype=model.Dtype(self.compute_dtype),
            min_compute_capability=self.min_compute_capability,
            native_min_compute_capability=self.native_min_compute_capability,
            group_size=self.group_size,
            quantizes_embeddings=self.quantizes_embeddings,
            experts_only=self.experts_only,
            engines=tuple(self.engines),
            made_while_loading=self.made_while_loading,
            recovery_percent=tuple(sorted((r.params_from_billions, r.percent) for r in self.recovery)),
            flag=self.flag,
            sources=self.domain_sources(),
        )


class KvDtype(Record):
    """A KV-cache type and the lowest compute capability for it."""

    dtype: Literal["fp8", "int8", "fp4"]
    min_compute_capability: int


class BatchedTokens(Record):
    """Default token budget of GPUs from a memory size on."""

    from_gib: float
    tokens: Positive


class Engine(Sourced):
    """An inference engine."""

    id: str
    name: str
    version: str
    image: str
    min_compute_capability: int
    bfloat16_min_compute_capability: int
    vendors: list[str]
    architectures: list[str] | None = None
    memory_fraction: float = Field(gt=0, le=1)
    kv_block_tokens: Positive
    supports_pipeline: bool
    supports_classification: bool
    chosen_only_on_request: bool
    notes: list[str] = []
    kv_dtypes: list[KvDtype] = []
    default_batched_tokens: list[BatchedTokens] = Field(min_length=1)

    def to_domain(self) -> deployment.EngineSpec:
        """Convert."""
        return deployment.EngineSpec(
            id=self.id,
            name=self.name,
            version=self.version,
            image=self.image,
            min_compute_capability=self.min_compute_capability,
            vendors=tuple(self.vendors),
            architectures=None if self.architectures is None else tuple(self.architectures),
            memory_fraction=self.memory_fraction,
            kv_dtypes=tuple((model.Dtype(kv.dtype), kv.min_compute_capability) for kv in self.kv_dtypes),
            kv_block_tokens=self.kv_block_tokens,
            supports_pipeline=self.supports_pipeline,
            supports_classification=self.supports_classification,
            default_batched_tokens=tuple(sorted((b.from_gib, b.tokens) for b in self.default_batched_tokens)),
            chosen_only_on_request=self.chosen_only_on_request,
            notes=tuple(self.notes),
            bfloat16_min_compute_capability=self.bfloat16_min_compute_capability,
            sources=self.domain_sources(),
        )


class PresetValue(Record):
    """One default with its reason."""

    field: str
    value: str | int
    reason: str = Field(min_length=1)


class Preset(Sourced):
    """Defaults of a use case."""

    use_case: Literal["Chatbot", "Summarization", "BatchClassification", "Custom"]
    task: Literal["Generation", "Classification"]
    title: str
    values: list[PresetValue]

    @property
    def id(self) -> str:
        """The use case names the preset."""
        return self.use_case

    def to_domain(self) -> scenario.Preset:
        """Convert."""
        values = tuple(scenario.PresetValue(v.field, v.value, v.reason) for v in self.values)
        return scenario.Preset(scenario.UseCase(self.use_case), model.Task(self.task), self.title, values)


class Level(Sourced):
    """A named quality level."""

    name: str
    metric: str
    minimum: Amount
    reason: str

    @property
    def id(self) -> str:
        """The name."""
        return self.name

    def to_domain(self) -> scenario.QualityLevel:
        """Convert."""
        return scenario.QualityLevel(self.name, self.metric, self.minimum, self.reason)


class Range(Record):
    """Factors around a prediction."""

    metric: Literal["ttft", "tpot", "e2e", "throughput", "memory"]
    load: str
    evidence: Literal["Measured", "Calibrated", "Extrapolated"]
    low: float = Field(gt=0, le=1)
    high: float = Field(ge=1)


class CalibrationRecord(Sourced):
    """Calibrated constants."""

    id: str
    engine: str
    gpu: str | None = None
    family: str | None = None
    constants: dict[str, float]
    assumed: list[str] = []
    ranges: list[Range] = []
    engine_versions: list[str] = []
    runs: int = Field(default=0, ge=0)
    fitted_on: str = ""
    error_in_sample_percent: dict[str, float] = {}
    error_out_of_sample_percent: dict[str, float] = {}

    def to_domain(self) -> calibration.Calibration:
        """Convert."""
        return calibration.Calibration(
            id=self.id,
            engine=self.engine,
            gpu=self.gpu,
            family=self.family,
            constants=tuple(sorted(self.constants.items())),
            assumed=tuple(self.assumed),
            ranges=tuple(
                calibration.ErrorRange(r.metric, r.load, estimate.Evidence(r.evidence), r.low, r.high)
                for r in self.ranges
            ),
            engine_versions=tuple(self.engine_versions),
            runs=self.runs,
            fitted_on=self.fitted_on,
            error_in_sample_percent=tuple(sorted(self.error_in_sample_percent.items())),
            error_out_of_sample_percent=tuple(sorted(self.error_out_of_sample_percent.items())),
            sources=self.domain_sources(),
        )


KINDS: dict[str, type[Sourced]] = {
    "models": Model,
    "gpus": Gpu,
    "engines": Engine,
    "methods": Method,
    "presets": Preset,
    "levels": Level,
    "calibration": CalibrationRecord,
}
"""Folder to the kind of record that its TOML files hold, one record a file."""
