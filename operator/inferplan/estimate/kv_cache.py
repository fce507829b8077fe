"""What a sequence keeps in the KV cache, and the blocks that an engine hands out for it.

An engine cuts its pool into blocks of one size. A model whose layers keep different things (all tokens, a window, a
state) has them put into groups of equally many layers; each group takes whole blocks from the common pool.

References
----------
.. [1] vLLM 0.33.0, ``vllm/v1/core/kv_cache_planning.py`` (groups, page sizes), ``kv_cache_utils.py``
   (``get_max_concurrency_for_kv_cache_config``), ``kv_cache_interface.py`` (blocks per request),
   ``platforms/interface.py`` (``_align_hybrid_block_size``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import LayerKind, ModelSpec

Floats = NDArray[np.float64]


WINDOWED = frozenset({LayerKind.SLIDING, LayerKind.CHUNKED})
FULL = frozenset({LayerKind.FULL, LayerKind.MLA})


STATES_KEPT = 2.0
"""States that a sequence's linear layers keep where prefixes are cached (vLLM's ``mamba_cache_mode`` "align"): the
running one and the last that others may start from."""
ALIKE = 1.5
"""Kinds of layers whose counts differ by less than this factor are grouped by the larger count, else by the smaller."""


@dataclass(frozen=True, slots=True)
class KvLayout:
    """KV values of one sequence on all GPUs together, before any split or copy [values, not bytes].

    ``full`` values per token grow with the sequence; ``window`` values per token count up to ``window_tokens``;
    ``latent`` values per token are kept whole on every tensor-parallel rank (MLA), and so are the bytes of indexers;
    ``state_bytes`` per sequence do not grow. Layers are counted as the engine groups them, the last group of a kind
    filled up.
    """

    full_values_per_token: float
    window_values_per_token: float
    window_tokens: float
    latent_values_per_token: float
    latent_layers: float
    indexer_bytes_per_token: float
    state_bytes: float
    kv_heads: int
    full_groups: int
    window_groups: int
    state_groups: int
    group_layers: int
    chunked: bool


def kv_layout(model: ModelSpec) -> KvLayout:
    """Add up a model's layer groups.

    Notes
    -----
    The engine gives all layers of a hybrid model blocks of one pool, in groups as large as the smallest kind (or as the
    largest, where the counts are alike); the larger kind is filled up to whole groups (gemma-3 4B: 29 sliding and 5
    full layers take the room of 30 and 5).

    Examples
    --------
    Llama 2 7B keeps 32 layers x 32 heads x (128 + 128) = 262,144 values per token: 524,288 bytes in 16 bit.
    """
    full = window = latent = state = indexer = latent_layers = 0.0
    window_tokens = 0.0
    heads = 0
    counts = {
        "full": sum(g.layers for g in model.attention if g.kind in FULL),
        "window": sum(g.layers for g in model.attention if g.kind in WINDOWED),
        "state": sum(g.layers for g in model.attention if g.kind is LayerKind.LINEAR),
    }
    size = group_layers(tuple(counts.values()))
    for group in model.attention:
        kind = "window" if group.kind in WINDOWED else "state" if group.kind is LayerKind.LINEAR else "full"
        layers = group.layers * padded_layers(counts[kind], size) / counts[kind]
        values = layers * group.kv_heads * (group.key_head_dim + group.value_head_dim)
        if group.kind is LayerKind.FULL:
            full += values
        elif group.kind in WINDOWED:
            window += values
            window_tokens = max(window_tokens, float(group.window_tokens or 0))
        elif group.kind is LayerKind.MLA:
            latent += layers * group.latent_values_per_token
            indexer += group.indexer_layers * group.indexer_bytes_per_token
            latent_layers += layers
        else:
            state += group.layers * group.state_bytes_per_sequence
        if group.kv_heads:
            heads = group.kv_heads if heads == 0 else min(heads, group.kv_heads)
    groups = {kind: -(-count // size) for kind, count in counts.items()}
    return KvLayout(
        full_values_per_token=full,
        window_values_per_token=window,
        window_tokens=window_tokens,
        latent_values_per_token=latent,
        latent_layers=latent_layers,
        indexer_bytes_per_token=indexer,
        state_bytes=state,
        kv_heads=max(1, heads),
        full_groups=groups["full"],
        window_groups=groups["window"],
        state_groups=groups["state"],
        group_layers=size,
        chunked=any(g.kind is LayerKind.CHUNKED for g in model.attention),
    )


def group_layers(counts: tuple[int, ...]) -> int:
    """Layers of one group, from how many layers there are of each kind.

    >>> group_layers((32, 0, 0)), group_layers((5, 29, 0)), group_layers((13, 12, 0)), group_layers((16, 0, 48))
    (32, 5, 13, 16)
    """
    found = [count for count in counts if count]
    if not found:
        return 1
    return max(found) if max(found) < ALIKE * min(found) else min(found)


def padded_layers(layers: int, group: int) -> int:
    """Layers rounded up to whole groups; unchanged if there are no groups.

    >>> padded_layers(29, 5), padded_layers(32, 0)
    (30, 32)
    """
    return layers if group == 0 else -(-layers // group) * group


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a pool is cut on one GPU, shape (n,) each.

    ``bytes`` of one block of one group; tokens that such a block holds in a group of full and of windowed layers.
    """

    bytes: Floats
    full_tokens: Floats
    window_tokens: Floats


def cut_blocks(
    *,
    full_bytes_per_token: Floats,
    window_bytes_per_token: Floats,
    state_bytes: Floats,
    full_groups: Floats,
    window_groups: Floats,
    state_groups: Floats,
    block_tokens: Floats,
) -> Blocks:
    """Cut a pool into blocks of one size.

    Parameters
    ----------
    full_bytes_per_token, window_bytes_per_token, state_bytes
        Of all groups of a kind together, on one GPU.
    block_tokens
        Tokens of a block where nothing speaks against it.

    Notes
    -----
    A block holds what the widest kind keeps of ``block_tokens`` tokens; a kind that keeps less per token gets more
    tokens into it. Beside linear layers, blocks are made as long as their state is large (Qwen3.6 27B: 784 tokens).

    Examples
    --------
    Qwen3.6 27B: 16 full layers of 4096 bytes per token, 48 linear ones of 3,207,168 bytes in three groups.
    """
    full = full_bytes_per_token / np.maximum(full_groups, 1.0)
    window = window_bytes_per_token / np.maximum(window_groups, 1.0)
    state = state_bytes / np.maximum(state_groups, 1.0)
    widest = np.maximum(np.maximum(full, window), 1e-9)
    tokens = block_tokens * np.maximum(np.ceil(state / (block_tokens * widest) - 1e-9), 1.0)
    size = tokens * widest

    def held(per_token: Floats) -> Floats:
        more = np.floor(size / np.maximum(per_token, 1e-9) + 1e-9)
        whole = np.abs(more * per_token - size) < 1e-6 * size
        return np.where((per_token > 0) & whole, more, tokens)

    return Blocks(np.maximum(size, 1.0), held(full), held(window))


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

    Parameters
    ----------
    state_bytes
        Of the states that a sequence keeps, in whole blocks.
    block_tokens
        Tokens of a block in a group of full layers.

    Notes
    -----
    ``ceil(tokens / block) x block x full + min(that, window + block) x window bytes + state``.
    """
    held = np.ceil(tokens / block_tokens) * block_tokens
    in_window = np.minimum(held, window_tokens + block_tokens)
    return held * full_bytes_per_token + in_window * window_bytes_per_token + state_bytes


def blocks_admitted(  # noqa: PLR0913 - one argument per column
    tokens: Floats,
    *,
    in_flight_tokens: Floats,
    full_groups: Floats,
    window_groups: Floats,
    state_groups: Floats,
    full_block_tokens: Floats,
    window_block_tokens: Floats,
    window_tokens: Floats,
    chunked: Floats,
) -> Floats:
    """Blocks that the engine sets aside for one sequence of ``tokens`` before it admits it.

    Parameters
    ----------
    in_flight_tokens
        Tokens that are scheduled and not yet settled: a step's budget, times the steps that overlap.
    chunked
        1 where windows are chunks, which begin at a block's edge; 0 where they slide.

    Notes
    -----
    ``full groups x ceil(tokens / block) + window groups x (ceil(min(window - 1 + in flight, tokens) / block) + 1)
    + states x state groups``.
    """
    retained = window_tokens - (1.0 - chunked)
    in_window = np.ceil(np.minimum(retained + in_flight_tokens, tokens) / window_block_tokens) + (1.0 - chunked)
    return full_groups * np.ceil(tokens / full_block_tokens) + window_groups * in_window + state_groups * STATES_KEPT
