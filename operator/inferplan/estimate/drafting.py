"""Speculative decoding: what drafting adds to a replica's memory and steps, and how many tokens a step yields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.deployment import EngineSpec, SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.model import LayerKind, ModelSpec, QuantizationMethod
from inferplan.estimate.kv_cache import kv_layout
from inferplan.estimate.weights import SIXTEEN_BIT_BYTES, parameters, weight_bytes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draft:
    """What drafts tokens, on all GPUs of a replica together.

    Parameters
    ----------
    loaded_bytes
        Weights that come on top of the model's.
    read_bytes
        Weights that drafting one token reads.
    layers
        Layers that one drafted token passes.
    kv_values_per_token, kv_heads
        KV values that its layers keep per token, and how many ways they can be split.
    """

    loaded_bytes: float = 0.0
    read_bytes: float = 0.0
    layers: int = 0
    kv_values_per_token: float = 0.0
    kv_heads: int = 1


NOTHING = Draft()


def draft_of(model: ModelSpec, method: QuantizationMethod, speculative: SpeculativeDecoding | None) -> Draft:
    """What an engine loads to draft tokens for a model.

    Notes
    -----
    A multi-token-prediction layer weighs what a layer of the model weighs on average, and attends as its layers with
    full attention do; it shares embedding and head. A draft model is loaded whole, in 16 bit.
    """
    if speculative is None or speculative.method is SpeculativeMethod.NGRAM:
        return NOTHING
    if speculative.method is SpeculativeMethod.DRAFT_MODEL:
        return NOTHING if speculative.draft is None else _whole(speculative.draft)
    size = weight_bytes(model, method)
    share = 0.0 if model.moe is None else model.moe.experts_per_token / model.moe.experts
    values, heads = 0.0, 1
    for group in model.attention:
        if group.kind is LayerKind.MLA:
            values, heads = float(group.latent_values_per_token), 1
        elif group.kind is LayerKind.FULL:
            values, heads = float(group.kv_heads * (group.key_head_dim + group.value_head_dim)), group.kv_heads
    return Draft(
        loaded_bytes=(size.always + size.routed) / model.layers,
        read_bytes=(size.always + size.routed * share) / model.layers + (size.head or size.embedding),
        layers=1,
        kv_values_per_token=values,
        kv_heads=max(heads, 1),
    )


def _whole(draft: ModelSpec) -> Draft:
    count, layout = parameters(draft), kv_layout(draft)
    read = count.total - (0 if draft.tie_word_embeddings else count.embedding) - count.routed + count.routed_active
    return Draft(
        loaded_bytes=count.total * SIXTEEN_BIT_BYTES,
        read_bytes=read * SIXTEEN_BIT_BYTES,
        layers=draft.layers,
        kv_values_per_token=(
            layout.full_values_per_token + layout.window_values_per_token + layout.latent_values_per_token
        ),
        kv_heads=layout.kv_heads,
    )


def draft_columns(
    weights: Sequence[tuple[ModelSpec, QuantizationMethod]], engines: Sequence[EngineSpec]
) -> dict[str, Floats]:
    """The fields of :class:`Draft` for every pair of weights and engine, shape (weights, engines) each."""
    found = [[draft_of(model, method, engine.speculative) for engine in engines] for model, method in weights]
    return {
        name: np.array([[float(getattr(draft, name)) for draft in row] for row in found]).reshape(
            len(weights), len(engines)
        )
        for name in Draft.__dataclass_fields__
    }


def tokens_per_step(speculative: SpeculativeDecoding | None) -> float:
    r"""Tokens that a sequence gains in one step on average.

    Notes
    -----
    .. math:: E = \frac{1 - a^{k+1}}{1 - a}

    with k drafted tokens of which a share a is accepted, each independently of the others [1]_.

    References
    ----------
    .. [1] Y. Leviathan, M. Kalman, Y. Matias, "Fast Inference from Transformers via Speculative Decoding", 2023,
       arXiv 2211.17192, equation 1.

    Examples
    --------
    >>> from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
    >>> round(tokens_per_step(SpeculativeDecoding(SpeculativeMethod.NGRAM, tokens=3, acceptance=0.7)), 3)
    2.533
    >>> tokens_per_step(SpeculativeDecoding(SpeculativeMethod.NGRAM, tokens=3, acceptance=1.0)), tokens_per_step(None)
    (4.0, 1.0)
    """
    if speculative is None:
        return 1.0
    return sum(speculative.acceptance**drafted for drafted in range(speculative.tokens + 1))
