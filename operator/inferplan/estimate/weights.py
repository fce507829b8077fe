"""Parameters by part, and what they weigh on one GPU."""

from __future__ import annotations

from dataclasses import dataclass

from inferplan.domain.model import LayerKind, ModelSpec, QuantizationMethod

SIXTEEN_BIT_BYTES = 2.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of a model by part [count].

    ``attention`` and ``dense`` hold everything in the layers that every token uses; ``routed`` holds all
    experts, of which a token uses ``routed_active``. ``embedding`` is looked up, never multiplied; ``head`` is
    the LM head, zero bytes of its own when tied to the embedding.
    """

    embedding: int
    head: int
    attention: int
    dense: int
    routed: int
    routed_active: int
    extra: int

    @property
    def total(self) -> int:
        """All parameters that are loaded."""
        return self.embedding + self.head + self.attention + self.dense + self.routed + self.extra


def parameters(model: ModelSpec) -> Parameters:
    """Split a model's parameters by part.

    Notes
    -----
    Embedding and head have ``vocab x hidden`` each (one matrix if tied). Routed experts have ``matrices x hidden x
    expert width`` each. What the published total leaves after that is attention, norms, dense and shared MLP;
    taking it from the total keeps models with unusual layers (latent attention, linear attention) exact.

    Examples
    --------
    Mixtral 8x7B: 8 experts of 3 x 4096 x 14336 in 32 layers are 45.1e9, two of eight are active.
    """
    embedding = model.vocab_size * model.hidden_size
    head = 0 if model.tie_word_embeddings else embedding
    routed = routed_active = 0
    if model.moe is not None:
        moe = model.moe
        expert = moe.matrices_per_expert * model.hidden_size * moe.expert_intermediate_size
        routed = moe.layers * moe.experts * expert
        routed_active = moe.layers * moe.experts_per_token * expert
    rest = max(0, model.params_total - model.extra_params - embedding - head - routed)
    attention = sum(
        group.layers
        * model.hidden_size
        * (2 * model.attention_heads * model.head_dim + group.kv_heads * (group.key_head_dim + group.value_head_dim))
        for group in model.attention
        if group.kind is not LayerKind.LINEAR
    )
    attention = min(rest, attention)
    return Parameters(embedding, head, attention, rest - attention, routed, routed_active, model.extra_params)


def bytes_per_weight(method: QuantizationMethod) -> float:
    """Bytes of one quantized weight, scales included.

    >>> from inferplan.domain.model import Dtype, Quantization
    >>> bytes_per_weight(QuantizationMethod("awq", Quantization.INT4, 4.16, Dtype.FLOAT16, 75, None))
    0.52
    """
    return method.weight_bits / 8.0


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Bytes of a checkpoint by how a decode step reads them (whole model, before any split).

    ``embedding`` is loaded and hardly read; ``always`` is read in every step; ``routed`` by touched expert;
    ``head`` in every step that yields a token.
    """

    embedding: float
    head: float
    always: float
    routed: float
    extra: float

    @property
    def loaded(self) -> float:
        """Everything that sits in memory. A tied head is the embedding and is counted once."""
        return self.embedding + self.head + self.always + self.routed + self.extra


def weight_bytes(model: ModelSpec, method: QuantizationMethod) -> WeightBytes:
    """Bytes of a model's weights in one format.

    Notes
    -----
    Embeddings, LM head and vision towers stay in 16 bit unless the method quantizes them too; with
    ``experts_only`` everything but the routed experts stays in 16 bit.
    """
    count = parameters(model)
    quantized = bytes_per_weight(method)
    dense = SIXTEEN_BIT_BYTES if method.experts_only else quantized
    outer = quantized if method.quantizes_embeddings else SIXTEEN_BIT_BYTES
    return WeightBytes(
        embedding=count.embedding * outer,
        head=count.head * outer,
        always=(count.attention + count.dense) * dense,
        routed=count.routed * quantized,
        extra=count.extra * SIXTEEN_BIT_BYTES,
    )
