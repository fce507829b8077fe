"""Models: architecture, checkpoints, quality. What a weight file and its config.json state."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from decimal import Decimal


class Task(enum.StrEnum):
    """What the model is asked to do; a classifier generates nothing."""

    GENERATION = "Generation"
    CLASSIFICATION = "Classification"


class Dtype(enum.StrEnum):
    """Number format of compute or cache."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FP8 = "fp8"
    INT8 = "int8"
    FP4 = "fp4"


DTYPE_BYTES: dict[Dtype, float] = {
    Dtype.FLOAT32: 4.0,
    Dtype.FLOAT16: 2.0,
    Dtype.BFLOAT16: 2.0,
    Dtype.FP8: 1.0,
    Dtype.INT8: 1.0,
    Dtype.FP4: 0.5,
}


class Quantization(enum.StrEnum):
    """How people name the weight format of a checkpoint."""

    FP16 = "FP16"
    BF16 = "BF16"
    FP8 = "FP8"
    INT8 = "INT8"
    INT4 = "INT4"
    NVFP4 = "NVFP4"
    MXFP4 = "MXFP4"


class WeightPart(enum.StrEnum):
    """A part of a model's weights that checkpoints store in a format of its own."""

    EMBEDDING = "embedding"
    HEAD = "head"
    ATTENTION = "attention"
    """Attention and linear attention, norms."""
    DENSE = "dense"
    """MLPs that every token passes, without experts."""
    SHARED = "shared"
    """Experts that every token passes."""
    ROUTED = "routed"


@dataclass(frozen=True, slots=True)
class StoredPart:
    """Weights that a checkpoint stores in another width than its method's.

    Parameters
    ----------
    part
        Which part of the model.
    weight_bits
        Bits per weight, scales included (16: left unquantized).
    params
        How many of the part's weights [count]; None means all of them.
    """

    part: WeightPart
    weight_bits: float
    params: int | None = None


@dataclass(frozen=True, slots=True)
class QuantizationMethod:
    """How an engine stores and multiplies the weights of a checkpoint.

    Parameters
    ----------
    id
        Catalog id, for instance ``awq`` or ``fp8_block``.
    quantization
        The name people use.
    weight_bits
        Bits per quantized weight, group scales and zero points included (AWQ with groups of 128: 4.16).
    quantizes_embeddings
        Whether embeddings and LM head are stored quantized as well (hardly ever).
    experts_only
        Only routed experts are quantized, everything else stays in 16 bit (gpt-oss).
    compute_dtype
        Arithmetic used on GPUs at or above ``native_min_compute_capability``; below it (or if weight-only)
        the weights are unpacked to 16 bit.
    min_compute_capability
        Compute capability x 10 below which the engine refuses (75 = 7.5).
    max_compute_capability
        Compute capability x 10 above which it has no kernel; None = no such end.
    refuses_float16
        Its kernels compute in bfloat16 alone.
    native_min_compute_capability
        From here the arithmetic itself runs in ``compute_dtype``; None means weight-only everywhere.
    group_size
        Rows per scale; the row-split input size per rank must be a multiple of it. 0 = no groups.
    engines
        Engine ids that know the method.
    made_while_loading
        The engine makes it from the 16-bit checkpoint at start; no own weight files are needed.
    """

    id: str
    quantization: Quantization
    weight_bits: float
    compute_dtype: Dtype
    min_compute_capability: int
    native_min_compute_capability: int | None
    group_size: int = 0
    quantizes_embeddings: bool = False
    experts_only: bool = False
    engines: tuple[str, ...] = ("vllm",)
    made_while_loading: bool = False
    recovery_percent: tuple[tuple[float, float], ...] = ()
    """Published average accuracy kept, as (model size from [1e9 parameters], percent), ascending by size."""
    flag: str | None = None
    """Value of the engine's quantization flag where one has to be given (only when made while loading)."""
    stored_parts: tuple[StoredPart, ...] = ()
    """Parts that one checkpoint stores otherwise; see :meth:`of`."""
    max_compute_capability: int | None = None
    refuses_float16: bool = False
    sources: tuple[Source, ...] = ()

    def of(self, checkpoint: Checkpoint) -> QuantizationMethod:
        """Return the method as one checkpoint applies it, with the parts that it stores otherwise."""
        return (
            self
            if self.stored_parts == checkpoint.stored_parts
            else replace(self, stored_parts=checkpoint.stored_parts)
        )


class LayerKind(enum.StrEnum):
    """How a group of layers attends, which decides what it keeps per token."""

    FULL = "full"
    SLIDING = "sliding"
    CHUNKED = "chunked"
    MLA = "mla"
    LINEAR = "linear"
    """Linear attention or Mamba: a fixed state per sequence and nothing per token."""


@dataclass(frozen=True, slots=True)
class AttentionLayers:
    """A group of layers with one KV layout.

    Parameters
    ----------
    kind
        Full, sliding window, chunked local, multi-head latent, or linear/Mamba.
    layers
        How many layers.
    kv_heads, key_head_dim, value_head_dim
        Per-token KV values are ``kv_heads x (key_head_dim + value_head_dim)`` (not for MLA and linear).
    window_tokens
        Window or chunk length of sliding and chunked layers [tokens].
    latent_values_per_token
        MLA: ``kv_lora_rank + qk_rope_head_dim``; not split by tensor parallelism.
    indexer_layers, indexer_bytes_per_token
        Sparse attention: layers with an indexer of their own, and what each keeps per token whatever the type of the
        cache [bytes]; not split by tensor parallelism.
    state_bytes_per_sequence
        Linear/Mamba: state of one layer for one sequence [bytes], split by tensor parallelism.
    replicated_params
        MLA: weights of one layer that every tensor-parallel GPU holds whole [count]: the down-projections of queries,
        keys and values, and the indexer.
    absorbed_params
        MLA: weights of one layer's up-projection of keys and values [count], of which engines keep a second copy in
        16 bit for decoding.
    """

    kind: LayerKind
    layers: int
    kv_heads: int = 0
    key_head_dim: int = 0
    value_head_dim: int = 0
    window_tokens: int | None = None
    latent_values_per_token: int = 0
    state_bytes_per_sequence: int = 0
    replicated_params: int = 0
    absorbed_params: int = 0
    indexer_layers: int = 0
    indexer_bytes_per_token: int = 0


@dataclass(frozen=True, slots=True)
class MixtureOfExperts:
    """The routed part of a mixture-of-experts model.

    ``layers`` is the number of layers that have experts; the model's remaining layers are dense.
    """

    experts: int
    experts_per_token: int
    expert_intermediate_size: int
    layers: int
    shared_experts: int = 0
    shared_intermediate_size: int = 0
    matrices_per_expert: int = 3
    dense_beside_experts: bool = False
    """A dense MLP of ``intermediate_size`` runs beside the experts in every layer (gemma-4 MoE)."""


WEIGHTS_BAND_PERCENT = 3.0
"""Band around the computed size of loaded weights wherever a checkpoint's configuration is known [%]."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights that can be downloaded (or made while loading) in one format.

    Parameters
    ----------
    verified
        Whether the repository was seen in a maker's document, a recipe or a config copy.
    kv_cache_dtype
        KV-cache type that the checkpoint itself asks for, with scales in its files; None where it asks for none, and
        the cache has the type of the arithmetic.
    min_compute_capability
        Compute capability x 10 below which the engine refuses this checkpoint whatever its method; None = the method's.
    """

    repository: str
    method: str
    """Id of a :class:`QuantizationMethod`."""
    quantization: Quantization
    revision: str | None = None
    verified: bool = True
    made_while_loading: bool = False
    kv_cache_dtype: Dtype | None = None
    min_compute_capability: int | None = None
    stored_parts: tuple[StoredPart, ...] = ()
    """Parts that are stored in another width than the method's."""
    weights_band_percent: float = WEIGHTS_BAND_PERCENT
    """How far the loaded size may lie from the computed one [%], either way."""
    weights_band_reason: str = ""
    """Why the band is wider than the usual one."""


@dataclass(frozen=True, slots=True)
class QualityScore:
    """A published score of a model."""

    metric: str
    value: Decimal
    as_of: str
    source: str
    ci95: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where facts come from: which fields, from what, read when."""

    fields: tuple[str, ...]
    title: str
    retrieved: str
    url: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model as its config.json and weight files describe it.

    Parameters
    ----------
    params_total
        Weights as published; :attr:`text_params` are those that serve text.
    params_active
        Weights that one token uses (equals ``params_total`` for dense models).
    attention
        Groups of layers by KV layout. Empty if the layout cannot be expressed: such a model is listed,
        never sized, and ``not_sizable`` says why.
    max_position_embeddings
        Trained positions; prompt + output never exceed it.
    native_dtype
        Compute type of the published weights (``bfloat16``, ``float16``).
    """

    id: str
    family: str
    architecture: str
    params_total: int
    params_active: int
    layers: int
    hidden_size: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tie_word_embeddings: bool
    max_position_embeddings: int
    attention: tuple[AttentionLayers, ...]
    moe: MixtureOfExperts | None
    native_dtype: Dtype
    license: str
    gated: bool | None
    checkpoints: tuple[Checkpoint, ...]
    scores: tuple[QualityScore, ...] = ()
    task: Task = Task.GENERATION
    aliases: tuple[str, ...] = ()
    """Other names of the very same weights, such as the repository's earlier name."""
    same_shape: tuple[str, ...] = ()
    """Other checkpoints with these layers and widths: predictions hold for them, licence, context and quality do not.
    So they are not names of this model."""
    same_shape_with_vision: tuple[str, ...] = ()
    """Those of ``same_shape`` with a vision tower, which this model lacks: only the language part is alike."""
    attention_sinks: bool = False
    """Each head has a learned sink (gpt-oss)."""
    sparse_attention: bool = False
    """An indexer picks the tokens that are attended to (DeepSeek-V3.2, GLM-5)."""
    image_prefix: bool = False
    """The tokens of an image attend to one another in both directions (gemma-3, gemma-4)."""
    multimodal_item_tokens: int = 0
    """Tokens of the largest image or video that has to be taken in a single step; 0 where none has to be."""
    vision_params: int = 0
    """Vision tower and projector, in 16 bit; not loaded where text alone is served."""
    vision_counted: bool = False
    """Whether the published ``params_total`` counts the vision tower (gemma 3); else it comes on top."""
    image_tokens: int = 0
    """Tokens of the largest image that the vision tower takes at once."""
    rotary_positions: int | None = None
    """Positions of the rotary embedding's table where a scaling stretches them beyond ``max_position_embeddings``."""
    mtp_layers: int = 0
    """Multi-token-prediction layers of the checkpoint that the engine can draft with; beyond ``params_total``."""
    not_sizable: str | None = None
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = field(default=())

    @property
    def multimodal(self) -> bool:
        """Whether it takes images or video as well, by the name that such architectures have."""
        return self.architecture.endswith("ForConditionalGeneration")

    @property
    def text_params(self) -> int:
        """Weights loaded for text serving [count]."""
        return self.params_total - self.vision_params * self.vision_counted

    def score(self, metric: str) -> QualityScore | None:
        """Return the newest score of a metric, or None when the quality is unknown."""
        found = [score for score in self.scores if score.metric == metric]
        return max(found, key=lambda score: score.as_of, default=None)
