"""Inference engines, and the weight formats that they read."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from inferplan.catalog.schema.base import Count, Name, Positive, Record, Sourced
from inferplan.domain import architectures, attention, deployment, model


class Recovery(Record):
    """Published accuracy kept, for models from a size on."""

    params_from_billions: float = Field(ge=0)
    percent: float = Field(gt=0, le=100)


class Method(Sourced):
    """A quantization method."""

    id: Name
    quantization: Literal["FP16", "BF16", "FP8", "INT8", "INT4", "NVFP4", "MXFP4"]
    weight_bits: float = Field(gt=0, le=32)
    compute_dtype: Literal["float16", "bfloat16", "fp8", "int8", "fp4"]
    min_compute_capability: Count
    max_compute_capability: Count | None = None
    native_min_compute_capability: int | None = None
    group_size: Count = 0
    quantizes_embeddings: bool = False
    experts_only: bool = False
    refuses_float16: bool = False
    engines: list[str] = Field(min_length=1)
    made_while_loading: bool = False
    flag: str | None = None
    recovery: list[Recovery] = Field(default_factory=list)

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
            max_compute_capability=self.max_compute_capability,
            refuses_float16=self.refuses_float16,
            sources=self.domain_sources(),
        )


class AttentionKernel(Record):
    """What one attention kernel does, on a range of compute capabilities (x 10)."""

    name: Name
    min_compute_capability: Count
    max_compute_capability: Count | None = None
    cache_dtypes: list[Literal["float16", "bfloat16", "fp8"]] = Field(min_length=1)
    head_sizes: list[Positive] = Field(default_factory=list)
    head_size_multiple: Positive = 1
    min_head_size: Positive = 1
    max_head_size: Positive | None = None
    latent: bool = False
    sparse: bool = False
    sinks: bool = False
    image_prefix: bool = False
    mixed_head_sizes: bool = False
    latent_bytes_per_token: Count | None = None

    def to_domain(self) -> attention.AttentionKernel:
        """Convert."""
        given = self.model_dump(exclude={"cache_dtypes", "head_sizes"})
        return attention.AttentionKernel(
            cache_dtypes=tuple(model.Dtype(dtype) for dtype in self.cache_dtypes),
            head_sizes=tuple(self.head_sizes),
            **given,
        )


class BatchedTokens(Record):
    """Default token budget of GPUs from a memory size on."""

    from_gib: float = Field(ge=0)
    tokens: Positive


class Architectures(Record):
    """Names of architectures by what the engine does with them."""

    generate: list[str] = Field(min_length=1)
    classify: list[str] = Field(default_factory=list)
    refuse_float16: list[str] = Field(default_factory=list)
    layers: dict[str, list[str]] = Field(default_factory=dict)
    """What the layers have beyond one size of heads and one window -> the architectures that have it."""

    def to_domain(self) -> architectures.Architectures:
        """Convert."""
        return architectures.Architectures(
            generate=frozenset(self.generate),
            classify=frozenset(self.classify),
            refuse_float16=frozenset(self.refuse_float16),
            layers=tuple((name, what) for what, names in self.layers.items() for name in names),
        )


class Engine(Sourced):
    """An inference engine."""

    id: Name
    name: str
    version: str
    image: str
    min_compute_capability: Count
    max_compute_capability: Count | None = None
    bfloat16_min_compute_capability: Count
    image_architectures: list[Literal["amd64", "arm64"]] = Field(min_length=1)
    vendors: list[str]
    architectures: Architectures | None = None
    memory_fraction: float = Field(gt=0, le=1)
    kv_block_tokens: Positive
    supports_pipeline: bool
    supports_classification: bool
    chosen_only_on_request: bool
    notes: list[str] = Field(default_factory=list)
    text_only: bool
    attention_kernels: list[AttentionKernel] = Field(min_length=1)
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
            architectures=None if self.architectures is None else self.architectures.to_domain(),
            memory_fraction=self.memory_fraction,
            attention_kernels=tuple(kernel.to_domain() for kernel in self.attention_kernels),
            kv_block_tokens=self.kv_block_tokens,
            supports_pipeline=self.supports_pipeline,
            supports_classification=self.supports_classification,
            default_batched_tokens=tuple(sorted((b.from_gib, b.tokens) for b in self.default_batched_tokens)),
            chosen_only_on_request=self.chosen_only_on_request,
            notes=tuple(self.notes),
            text_only=self.text_only,
            bfloat16_min_compute_capability=self.bfloat16_min_compute_capability,
            max_compute_capability=self.max_compute_capability,
            image_architectures=tuple(self.image_architectures),
            sources=self.domain_sources(),
        )
