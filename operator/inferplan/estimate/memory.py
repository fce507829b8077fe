"""The ledger that the engine keeps of one GPU's memory, and what it leaves for the KV cache.

Constants from start-up logs of vLLM 0.19.0 on H100 80 GB (44 models and parallel sizes, llm-d planner,
Apache-2.0): the pools they imply stay below every measured pool, by less than 5 % for dense models.

References
----------
.. [1] vLLM 0.33.0, ``vllm/v1/worker/gpu_worker.py``, ``determine_available_memory``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.units import GIB
from inferplan.estimate.constants import release_of
from inferplan.estimate.kv_cache import sequence_bytes

if TYPE_CHECKING:
    from inferplan.estimate.replica import ReplicaTable

Floats = NDArray[np.float64]

HIDDEN_BYTES, HIDDEN_BYTES_OF_CARDS = 0.46 * GIB, 0.66 * GIB
"""Memory that the driver's tool prints and an engine does not get (H100: 79.65 against 79.19 GiB), for modules and for
PCIe cards. The latter was read off one pool alone, of an RTX 4090 (vLLM 0.19), and holds what else is missing there."""
WEIGHTS_IN_MEMORY = 1.0017
"""Loaded weights over the sum of their parameters (padding, buffers)."""
SAMPLER_BYTES_PER_LOGIT = 13.9
"""Peak bytes per sequence and vocabulary entry in the sampler's profile run (float32 logits and copies)."""
ACTIVATION_BYTES_PER_TOKEN_AND_HIDDEN = 11.9
MOE_ACTIVATION_BYTES = 0.55 * GIB
CONTEXT_BYTES_ALONE = 0.46 * GIB
CONTEXT_BYTES_PARALLEL = 2.01 * GIB
CONTEXT_BYTES_PER_DOUBLING = 0.10 * GIB
"""CUDA context and libraries; with tensor parallelism NCCL's buffers come on top, more with every doubling."""
GRAPHS_BYTES = 0.65 * GIB
GRAPHS_BYTES_PER_LAYER = 0.018 * GIB
GRAPHS_COUNTED_FROM = (0, 21)
"""vLLM takes CUDA graphs off the KV pool from this version on; before, they came out of what the grant leaves."""
ASSUMED_VISION_SHARE, ASSUMED_VISION_BYTES = 0.07, 3.0 * GIB
"""Multimodal checkpoints hold more than the catalog counts (vision tower, projector): this share of the weights on one
GPU, at most that much (Llama 4 Scout: 2.8 GiB, gemma 3 4B: 0.6 GiB on every GPU)."""
ASSUMED_TGI_OVERHEAD_BYTES = 1.0 * GIB
"""Context, graphs and communication of TGI, whose share of memory is already taken at 0.9 for it."""


def hidden_bytes(gpu: GpuSpec) -> float:
    """Memory of a GPU that its driver reports and an engine does not get [bytes]."""
    return HIDDEN_BYTES_OF_CARDS if gpu.form_factor.startswith("PCIe") else HIDDEN_BYTES


def step_activation_bytes(*, batched_tokens: Floats, hidden: Floats, has_experts: Floats) -> Floats:
    """Highest transient memory of the profile run's step on one GPU, the sampler's apart [bytes].

    Notes
    -----
    ``a x batched_tokens x min(hidden, 4096) (+ experts x batched_tokens / 8192)``.
    """
    return (
        ACTIVATION_BYTES_PER_TOKEN_AND_HIDDEN * batched_tokens * np.minimum(hidden, 4096.0)
        + MOE_ACTIVATION_BYTES * has_experts * batched_tokens / 8192.0
    )


def sampler_bytes(*, vocab: Floats) -> Floats:
    """Transient memory of the profile run's sampler for each sequence [bytes].

    Notes
    -----
    ``s x vocab``: logits dominate the profile run of large vocabularies and do not shrink with tensor parallelism.
    """
    return SAMPLER_BYTES_PER_LOGIT * vocab


def activations_bytes(table: ReplicaTable, max_num_seqs: Floats | float) -> Floats:
    """Highest transient memory of the profile run on one GPU [bytes], shape (n,).

    Parameters
    ----------
    max_num_seqs
        The batch limit that the engine is started with. It profiles as many sequences, and no more than a step has
        tokens.
    """
    sequences = np.minimum(max_num_seqs, table.max_num_batched_tokens)
    return table.step_activations_bytes + table.sampler_bytes_per_sequence * sequences


def left_bytes(table: ReplicaTable, max_num_seqs: Floats | float) -> Floats:
    """What the grant leaves for the KV cache, negative where it leaves none [bytes], shape (n,)."""
    transient = activations_bytes(table, max_num_seqs)
    return table.granted_bytes - table.weights_bytes - transient - table.overhead_bytes


def overhead_bytes(*, tp_size: Floats, layers: Floats, counts_graphs: Floats, is_tgi: Floats) -> Floats:
    """CUDA context, communication buffers and, where the engine counts them, CUDA graphs of one GPU [bytes].

    Parameters
    ----------
    counts_graphs, is_tgi
        1 or 0.
    """
    doublings = np.log2(np.maximum(tp_size, 1.0))
    parallel = CONTEXT_BYTES_PARALLEL + CONTEXT_BYTES_PER_DOUBLING * doublings
    context = np.where(np.asarray(tp_size) > 1, parallel, CONTEXT_BYTES_ALONE)
    graphs = counts_graphs * (GRAPHS_BYTES + GRAPHS_BYTES_PER_LAYER * layers)
    return np.where(is_tgi > 0, ASSUMED_TGI_OVERHEAD_BYTES, context + graphs)


def counts_graphs(engine: EngineSpec) -> bool:
    """Whether an engine takes its CUDA graphs off the KV pool.

    Versions that cannot be read count as new; without graphs there are none to take off.
    """
    if engine.eager:
        return False
    release = release_of(engine.version)
    return release is None or release >= GRAPHS_COUNTED_FROM


def kv_pool_bytes(table: ReplicaTable, max_num_seqs: Floats | float) -> Floats:
    """KV pool of one GPU: what the grant leaves, in whole blocks; zero where nothing is left [bytes], shape (n,)."""
    left = np.maximum(left_bytes(table, max_num_seqs), 0.0)
    return np.floor(left / table.kv_block_bytes) * table.kv_block_bytes


def sequence_bytes_of(table: ReplicaTable, tokens: Floats | float) -> Floats:
    """KV bytes of one sequence of that many tokens on one GPU, shape (n,)."""
    return sequence_bytes(
        np.asarray(tokens, dtype=np.float64),
        full_bytes_per_token=table.kv_full_bytes_per_token,
        window_bytes_per_token=table.kv_window_bytes_per_token,
        window_tokens=table.kv_window_tokens,
        state_bytes=table.kv_state_bytes,
        block_tokens=table.kv_block_tokens,
    )


def sequences_held(table: ReplicaTable, tokens: Floats | float, max_num_seqs: Floats | float) -> Floats:
    """Sequences of that length that the pool holds at once, shape (n,)."""
    return np.floor(kv_pool_bytes(table, max_num_seqs) / np.maximum(sequence_bytes_of(table, tokens), 1.0))


def longest_context(table: ReplicaTable, positions: float, max_num_seqs: Floats | float) -> Floats:
    """Largest ``max_model_len`` of which one sequence fits the pool, up to the model's positions [tokens], shape (n,).

    Zero where not even one block fits. Found by bisection, for no layout of the cache holds less of a shorter sequence.
    """
    low, high = np.zeros(len(table)), np.full(len(table), np.floor(positions))
    fits = sequences_held(table, high, max_num_seqs) >= 1.0
    low = np.where(fits, high, low)
    while np.any(high - low > 1.0):
        middle = np.floor((low + high) / 2.0)
        fits = sequences_held(table, middle, max_num_seqs) >= 1.0
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low


def kv_pool_tokens(table: ReplicaTable, max_num_seqs: Floats | float) -> Floats:
    """Tokens of full-attention KV that one replica's pool holds, as the engine logs it, shape (n,)."""
    per_token = table.kv_full_bytes_per_token + table.kv_window_bytes_per_token
    return np.floor(kv_pool_bytes(table, max_num_seqs) / np.maximum(per_token, 1e-9))
