"""Models: architecture, checkpoints, published scores."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inferplan.catalog.schema.base import Amount, Count, Date, Name, Positive, Record, Sourced
from inferplan.domain import model

Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""A commit of a repository, whole: a short one is no name that stays."""


class Attention(Record):
    """A group of layers with one KV layout."""

    kind: Literal["full", "sliding", "chunked", "mla", "linear"]
    layers: Positive
    kv_heads: Count = 0
    key_head_dim: Count = 0
    value_head_dim: Count = 0
    window_tokens: Positive | None = None
    latent_values_per_token: Count = 0
    indexer_layers: Count = 0
    indexer_bytes_per_token: Count = 0
    state_bytes_per_sequence: Count = 0
    replicated_params: Count = 0
    absorbed_params: Count = 0

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
            self.replicated_params,
            self.absorbed_params,
            self.indexer_layers,
            self.indexer_bytes_per_token,
        )


class Experts(Record):
    """The routed part of a mixture of experts."""

    experts: Positive
    experts_per_token: Positive
    expert_intermediate_size: Positive
    layers: Positive
    shared_experts: Count = 0
    shared_intermediate_size: Count = 0
    matrices_per_expert: Positive = 3
    dense_beside_experts: bool = False

    def to_domain(self) -> model.MixtureOfExperts:
        """Convert."""
        return model.MixtureOfExperts(**self.model_dump())


class Stored(Record):
    """Weights that a checkpoint stores in another width than its method's."""

    part: Literal["embedding", "head", "attention", "dense", "shared", "routed"]
    weight_bits: float = Field(gt=0, le=32)
    params: Positive | None = None

    def to_domain(self) -> model.StoredPart:
        """Convert."""
        return model.StoredPart(model.WeightPart(self.part), self.weight_bits, self.params)


class Weights(Record):
    """A checkpoint that can be downloaded."""

    repository: Name
    method: str
    revision: Commit | None = None
    verified: bool = True
    kv_cache_dtype: Literal["fp8"] | None = None
    min_compute_capability: Positive | None = None
    stored_parts: list[Stored] = Field(default_factory=list)
    weights_band_percent: float = Field(default=model.WEIGHTS_BAND_PERCENT, ge=model.WEIGHTS_BAND_PERCENT, le=100)
    weights_band_reason: str = ""

    @model_validator(mode="after")
    def _explained(self) -> Self:
        """A band wider than the usual one needs its reason."""
        if (self.weights_band_percent > model.WEIGHTS_BAND_PERCENT) != bool(self.weights_band_reason):
            message = "weights_band_reason: say why the band is wider than the usual one, and only then"
            raise ValueError(message)
        return self

    def to_domain(self, quantizations: dict[str, model.Quantization]) -> model.Checkpoint:
        """Convert; ``quantizations`` names the weight format of every method."""
        return model.Checkpoint(
            repository=self.repository,
            method=self.method,
            quantization=quantizations[self.method],
            revision=self.revision,
            verified=self.verified,
            kv_cache_dtype=None if self.kv_cache_dtype is None else model.Dtype(self.kv_cache_dtype),
            min_compute_capability=self.min_compute_capability,
            stored_parts=tuple(part.to_domain() for part in self.stored_parts),
            weights_band_percent=self.weights_band_percent,
            weights_band_reason=self.weights_band_reason,
        )


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

    id: Name
    family: str
    architecture: str
    params_total: Positive
    params_active: Positive
    layers: Positive
    hidden_size: Positive
    attention_heads: Positive
    kv_heads: Positive
    head_dim: Positive
    intermediate_size: Count
    vocab_size: Positive
    tie_word_embeddings: bool
    max_position_embeddings: Positive
    native_dtype: Literal["float16", "bfloat16"]
    license: str
    gated: bool | None = None
    vision_params: Count = 0
    vision_counted: bool = False
    image_tokens: Count = 0
    rotary_positions: Positive | None = None
    mtp_layers: Count = 0
    attention_sinks: bool = False
    sparse_attention: bool = False
    image_prefix: bool = False
    multimodal_item_tokens: Count = 0
    not_sizable: str | None = None
    aliases: list[Name] = Field(default_factory=list)
    same_shape: list[Name] = Field(default_factory=list)
    same_shape_with_vision: list[Name] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    moe: Experts | None = None
    attention: list[Attention] = Field(default_factory=list)
    checkpoints: list[Weights] = Field(min_length=1)
    scores: list[Score] = Field(default_factory=list)

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
            checkpoints=tuple(checkpoint.to_domain(quantizations) for checkpoint in self.checkpoints),
            scores=tuple(score.to_domain() for score in self.scores),
            aliases=tuple(self.aliases),
            same_shape=tuple(self.same_shape),
            same_shape_with_vision=tuple(self.same_shape_with_vision),
            vision_params=self.vision_params,
            vision_counted=self.vision_counted,
            image_tokens=self.image_tokens,
            rotary_positions=self.rotary_positions,
            mtp_layers=self.mtp_layers,
            attention_sinks=self.attention_sinks,
            sparse_attention=self.sparse_attention,
            image_prefix=self.image_prefix,
            multimodal_item_tokens=self.multimodal_item_tokens,
            not_sizable=self.not_sizable,
            notes=tuple(self.notes),
            sources=self.domain_sources(),
        )
