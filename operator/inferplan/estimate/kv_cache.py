"""What a sequence keeps in the KV cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import LayerKind, ModelSpec

Floats = NDArray[np.float64]


WINDOWED = frozenset({LayerKind.SLIDING, LayerKind.CHUNKED})


@dataclass(frozen=True, slots=True)
class KvLayout:
    """KV values of one sequence on all GPUs together, before any split or copy [values, not bytes].

    ``full`` values per token grow with the sequence; ``window`` values per token count up to ``window_tokens``;
    ``latent`` values per token are kept whole on every tensor-parallel rank (MLA); ``state_bytes`` per sequence
    do not grow.
    """

    full_values_per_token: float
    window_values_per_token: float
    window_tokens: float
    latent_values_per_token: float
    state_bytes: float
    kv_heads: int


def kv_layout(model: ModelSpec) -> KvLayout:
    """Add up a model's layer groups.

    Notes
    -----
    The engine gives all layers of a hybrid model pages of one pool, in groups as large as the smaller kind; the
    larger kind is padded to whole groups (gemma-3 4B: 29 sliding and 5 full layers take the room of 30 and 5).

    Examples
    --------
    Llama 2 7B keeps 32 layers x 32 heads x (128 + 128) = 262,144 values per token: 524,288 bytes in 16 bit.
    """
    full = window = latent = state = 0.0
    window_tokens = 0.0
    heads = 0
    windowed = sum(g.layers for g in model.attention if g.kind in WINDOWED)
    smaller = min(windowed, sum(g.layers for g in model.attention if g.kind is LayerKind.FULL))
    for group in model.attention:
        values = padded_layers(group.layers, smaller) * group.kv_heads * (group.key_head_dim + group.value_head_dim)
        if group.kind is LayerKind.FULL:
            full += values
        elif group.kind in WINDOWED:
            window += values
            window_tokens = max(window_tokens, float(group.window_tokens or 0))
        elif group.kind is LayerKind.MLA:
            latent += group.layers * group.latent_values_per_token
        else:
            state += group.layers * group.state_bytes_per_sequence
        if group.kv_heads:
            heads = group.kv_heads if heads == 0 else min(heads, group.kv_heads)
    return KvLayout(full, window, window_tokens, latent, state, max(1, heads))


def padded_layers(layers: int, group: int) -> int:
    """Layers rounded up to whole groups; unchanged if there are no groups.

    >>> padded_layers(29, 5), padded_layers(32, 0)
    (30, 32)
    """
    return layers if group == 0 else -(-layers // group) * group


def head_share(tp_size: Floats, kv_heads: Floats) -> Floats:
    """Share of the KV heads that one tensor-parallel rank keeps: split while it can, copied beyond.

    >>> float(head_share(np.array(4.0), np.array(8.0))), float(head_share(np.array(16.0), np.array(8.0)))
    (0.25, 0.125)
    """
    return 1.0 / np.minimum(tp_size, kv_heads)


def sequence_bytes(
    tokens: Floats,
    *,
    full_bytes_per_token: Floats,
    window_bytes_per_token: Floats,
    window_tokens: Floats,
    state_bytes: Floats,
    block_tokens: Floats,
) -> Floats:
    """KV bytes of one sequence of ``tokens`` on one GPU, whole blocks.

    Notes
    -----
    ``ceil(tokens / block) x block x full + min(that, window + block) x window bytes + state``.
    """
    held = np.ceil(tokens / block_tokens) * block_tokens
    in_window = np.minimum(held, window_tokens + block_tokens)
    return held * full_bytes_per_token + in_window * window_bytes_per_token + state_bytes
