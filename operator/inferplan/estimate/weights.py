"""Parameters by part, and what they weigh: in a checkpoint, and on one GPU once the engine has loaded them.

References
----------
.. [1] vLLM 0.33.0, ``vllm/model_executor/layers``: which layers tensor parallelism splits and which it copies;
   ``rotary_embedding/base.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import LayerKind, ModelSpec, QuantizationMethod, WeightPart

SIXTEEN_BIT_BYTES = 2.0
WEIGHTS_IN_MEMORY = 1.001
"""Loaded weights over the sum of their parameters: alignment, scales of activations, workspaces of kernels (44 start-up
logs of vLLM 0.19.0 on H100: 0.996 to 1.006 beside the rotary table)."""


ROTARY_WIDTH_OF_LATENT_ATTENTION = 64
"""``qk_rope_head_dim`` of DeepSeek V3, Kimi K2 and GLM 5."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of a model by part [count].

    ``attention`` holds attention, linear attention, routers and norms, ``dense`` the MLPs without experts, ``shared``
    the experts that every token passes; ``routed`` holds all other experts, of which a token uses ``routed_active``.
    ``embedding`` is looked up, never multiplied; ``head`` is the LM head, zero when tied to the embedding.
    ``router`` (a part of ``attention``) never is quantized.
    """

    embedding: int
    head: int
    attention: int
    dense: int
    shared: int
    routed: int
    routed_active: int
    router: int

    @property
    def total(self) -> int:
        """All parameters that text serving loads."""
        return self.embedding + self.head + self.attention + self.dense + self.shared + self.routed


def parameters(model: ModelSpec) -> Parameters:
    """Split a model's parameters by part.

    Notes
    -----
    Embedding and head have ``vocab x hidden`` each (one matrix if tied), experts and MLPs ``matrices x hidden x
    width`` each. What the published total leaves after that is attention, with routers and norms; taking it from the
    total keeps models with unusual layers (latent attention, linear attention) exact.

    Examples
    --------
    Mixtral 8x7B: 8 experts of 3 x 4096 x 14336 in 32 layers are 45.1e9, two of eight are active.
    """
    embedding = model.vocab_size * model.hidden_size
    head = 0 if model.tie_word_embeddings else embedding
    routed = routed_active = shared = router = 0
    moe = model.moe
    if moe is not None:
        matrices = moe.layers * moe.matrices_per_expert * model.hidden_size
        routed = matrices * moe.experts * moe.expert_intermediate_size
        routed_active = matrices * moe.experts_per_token * moe.expert_intermediate_size
        shared = matrices * max(1, moe.shared_experts) * moe.shared_intermediate_size
        router = moe.layers * moe.experts * model.hidden_size
    rest = max(0, model.text_params - embedding - head - routed)
    dense = min(rest, 3 * dense_layers(model) * model.hidden_size * model.intermediate_size)
    shared = min(rest - dense, shared)
    attention = rest - dense - shared
    return Parameters(embedding, head, attention, dense, shared, routed, routed_active, min(router, attention))


def dense_layers(model: ModelSpec) -> int:
    """Layers with an MLP that every token passes and that is no expert.

    Notes
    -----
    Where attention and experts take turns as layers (Nemotron 3), no layer has such an MLP.
    """
    if model.moe is None or model.moe.dense_beside_experts:
        return model.layers
    take_turns = sum(group.layers for group in model.attention) + model.moe.layers == model.layers
    return 0 if take_turns else model.layers - model.moe.layers


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
    ``head`` in every step that yields a token. ``vision`` is loaded where images are served, and read by no decode
    step.
    """

    embedding: float
    head: float
    always: float
    routed: float
    vision: float

    @property
    def loaded(self) -> float:
        """All that text serving loads. A tied head is the embedding and is counted once."""
        return self.embedding + self.head + self.always + self.routed


def weight_bytes(model: ModelSpec, method: QuantizationMethod) -> WeightBytes:
    """Bytes of a model's weights in one format.

    Notes
    -----
    Embeddings, LM head, routers and vision towers stay in 16 bit; with ``experts_only`` everything but the routed
    experts does. Parts that a checkpoint stores otherwise (``method.stored_parts``) weigh what they say.
    """
    count = parameters(model)
    quantized = bytes_per_weight(method)
    inner = SIXTEEN_BIT_BYTES if method.experts_only else quantized
    outer = quantized if method.quantizes_embeddings else SIXTEEN_BIT_BYTES
    usual = {
        WeightPart.EMBEDDING: (count.embedding, outer),
        WeightPart.HEAD: (count.head, outer),
        WeightPart.ATTENTION: (count.attention - count.router, inner),
        WeightPart.DENSE: (count.dense, inner),
        WeightPart.SHARED: (count.shared, inner),
        WeightPart.ROUTED: (count.routed, quantized),
    }

    def size(part: WeightPart) -> float:
        left, width = usual[part]
        stored = 0.0
        for other in method.stored_parts:
            if other.part is part:
                taken = left if other.params is None else min(other.params, left)
                stored += taken * other.weight_bits / 8.0
                left -= taken
        return stored + left * width

    in_every_step = (WeightPart.ATTENTION, WeightPart.DENSE, WeightPart.SHARED)
    return WeightBytes(
        embedding=size(WeightPart.EMBEDDING),
        head=size(WeightPart.HEAD),
        always=sum(size(part) for part in in_every_step) + count.router * SIXTEEN_BIT_BYTES,
        routed=size(WeightPart.ROUTED),
        vision=model.vision_params * SIXTEEN_BIT_BYTES,
    )


def wide_share(model: ModelSpec, method: QuantizationMethod) -> float:
    """Share of the weights that every token passes which a checkpoint leaves in 16 bit though its method does not."""
    count = parameters(model)
    sizes = {
        WeightPart.ATTENTION: count.attention - count.router,
        WeightPart.DENSE: count.dense,
        WeightPart.SHARED: count.shared,
    }
    wide = sum(
        sizes[part.part] if part.params is None else min(part.params, sizes[part.part])
        for part in method.stored_parts
        if part.part in sizes and part.weight_bits >= 8.0 * SIXTEEN_BIT_BYTES
    )
    return wide / max(sum(sizes.values()), 1)


@dataclass(frozen=True, slots=True)
class Copied:
    """Bytes that tensor parallelism does not split evenly (whole model).

    ``everywhere`` sits whole on every GPU of a stage: routers, and the down-projections of latent attention.
    ``absorbed`` are second copies, split like the first. ``kv_projections`` are split by KV heads and copied beyond
    their number. ``tables`` are no weights: the rotary embedding's cosines and sines, whole on every GPU and in every
    stage.
    """

    everywhere: float
    absorbed: float
    kv_projections: float
    tables: float


def copied_bytes(model: ModelSpec, method: QuantizationMethod) -> Copied:
    """What every GPU keeps besides its share.

    Notes
    -----
    The rotary table has ``positions x rotary width`` values of 16 bit: 2.5 GiB for the ten million positions of
    Llama 4 Scout, 0.5 GiB for the stretched positions of gemma 3 4B, and hardly anything else.
    """
    count, width = parameters(model), _attention_width(method)
    kv = replicated = absorbed = 0
    rotary = model.head_dim
    for group in model.attention:
        if group.kind is LayerKind.MLA:
            replicated += group.layers * group.replicated_params
            absorbed += group.layers * group.absorbed_params
            rotary = ROTARY_WIDTH_OF_LATENT_ATTENTION
        elif group.kind is not LayerKind.LINEAR:
            kv += group.layers * model.hidden_size * group.kv_heads * (group.key_head_dim + group.value_head_dim)
    positions = model.rotary_positions or model.max_position_embeddings
    return Copied(
        everywhere=count.router * SIXTEEN_BIT_BYTES + replicated * width,
        absorbed=absorbed * SIXTEEN_BIT_BYTES,
        kv_projections=min(kv, count.attention) * width,
        tables=positions * rotary * SIXTEEN_BIT_BYTES,
    )


def loaded_bytes(  # noqa: PLR0913 - one argument per column
    *,
    always: Floats,
    routed: Floats,
    ends: Floats,
    vision: Floats,
    everywhere: Floats,
    absorbed: Floats,
    kv_projections: Floats,
    tables: Floats,
    kv_heads: Floats,
    tp_size: Floats,
    pp_size: Floats,
) -> Floats:
    """Bytes of weights that an engine loads on one GPU, shape (n,).

    Parameters
    ----------
    always, routed, vision
        As in :class:`WeightBytes`; ``routed`` with the padding of its kernels.
    ends
        Embedding and head that one GPU's stage keeps.
    everywhere, absorbed, kv_projections, tables
        As in :class:`Copied`.

    Notes
    -----
    ``m x ((always - everywhere + absorbed + routed) / (tp x pp) + everywhere / pp + KV copies + (ends + vision) / tp)
    + tables``
    """
    copies = kv_projections / pp_size * (1.0 / np.minimum(tp_size, kv_heads) - 1.0 / tp_size)
    layers = (always - everywhere + absorbed + routed) / (tp_size * pp_size) + everywhere / pp_size + copies
    return WEIGHTS_IN_MEMORY * (layers + (ends + vision) / tp_size) + tables


def _attention_width(method: QuantizationMethod) -> float:
    """Bytes of a weight of the attention, in the width that most of it is stored in."""
    for other in method.stored_parts:
        if other.part is WeightPart.ATTENTION:
            return other.weight_bits / 8.0
    return SIXTEEN_BIT_BYTES if method.experts_only else bytes_per_weight(method)
