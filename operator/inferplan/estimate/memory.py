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
from inferplan.domain.hardware import GpuSpec, LinkKind
from inferplan.domain.units import GIB
from inferplan.estimate.constants import Release, release_of
from inferplan.estimate.expert_padding import BLACKWELL, CONSUMER_BLACKWELL
from inferplan.estimate.kv_cache import STATES_KEPT, blocks_admitted, sequence_bytes

if TYPE_CHECKING:
    from inferplan.estimate.replica import ReplicaTable

Floats = NDArray[np.float64]

HIDDEN_BYTES, HIDDEN_BYTES_OF_CARDS = 0.46 * GIB, 0.66 * GIB
"""Memory that the driver's tool prints and an engine does not get (H100: 79.65 against 79.19 GiB), for modules and for
PCIe cards. The latter was read off one pool alone, of an RTX 4090 (vLLM 0.19), and holds what else is missing there."""
SAMPLER_BYTES_PER_LOGIT = 14.0
"""Peak bytes per sequence and vocabulary entry in the sampler's profile run (float32 logits and copies)."""
ACTIVATION_BYTES_PER_TOKEN_AND_HIDDEN = 11.9
MOE_ACTIVATION_BYTES = 0.55 * GIB
CONTEXT_BYTES_ALONE = 0.46 * GIB
CONTEXT_BYTES_PARALLEL = 2.01 * GIB
CONTEXT_BYTES_PER_DOUBLING = 0.10 * GIB
"""CUDA context and libraries; with tensor parallelism NCCL's buffers come on top, more with every doubling. Over NVLink
switches they take 2.1 GiB (H100; eight A100s in vLLM 0.7 alike). Over PCIe they add hardly anything: logs show 0.20 and
0.25 GiB beside the allocator on RTX 3090s and on two RTX 4090s (vllm-project/vllm#14447, #13061), as on one GPU."""
GRAPHS_BYTES = 0.65 * GIB
GRAPHS_BYTES_PER_LAYER = 0.018 * GIB
"""CUDA graphs of all batch sizes up to 512 (:data:`SIZES_MEASURED` of them)."""
GRAPHS_COUNTED_FROM = (0, 21)
"""vLLM takes CUDA graphs off the KV pool from this version on; before, they came out of what the grant leaves."""
LARGEST_CAPTURED, LARGEST_CAPTURED_ON_BLACKWELL = 512.0, 1024.0
SIZES_MEASURED = 51.0
ASSUMED_ENCODER_BYTES_PER_TOKEN = 1.84 * GIB / 16_384
"""Profile run of a vision encoder, per token of its largest image; split over the GPUs as the tower is. The recipes of
Qwen3.5, whose images have up to 16,384 tokens, gain 2.7 GiB by ``--language-model-only`` on one GPU
(vllm-project/recipes, 2026), of which 0.86 GiB are the tower's weights. Encoders of few tokens show no peak of their
own in the logs of gemma 3 and Llama 4."""
ASSUMED_TGI_OVERHEAD_BYTES = 1.0 * GIB
"""Context, graphs and communication of TGI, whose share of memory is already taken at 0.9 for it."""


def hidden_bytes(gpu: GpuSpec) -> float:
    """Memory of a GPU that its driver reports and an engine does not get [bytes]."""
    return HIDDEN_BYTES_OF_CARDS if gpu.form_factor.startswith("PCIe") else HIDDEN_BYTES


def step_activation_bytes(*, batched_tokens: Floats, hidden: Floats, has_experts: Floats) -> Floats:
    """Highest transient memory of the profile run's step on one GPU, the sampler's apart [bytes].

    Parameters
    ----------
    sequences
        Limit of running sequences that the engine is started with; its profile run samples for no more of them than
        there are tokens in a step.

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


def largest_captured(gpu: GpuSpec) -> float:
    """Largest batch that an engine captures as a CUDA graph by default [sequences]."""
    capability = gpu.compute_capability or 0
    on_blackwell = BLACKWELL <= capability < CONSUMER_BLACKWELL
    return LARGEST_CAPTURED_ON_BLACKWELL if on_blackwell else LARGEST_CAPTURED


def sizes_captured(sequences: Floats, largest: Floats | float = LARGEST_CAPTURED) -> Floats:
    """Count the batch sizes that are captured as CUDA graphs.

    Parameters
    ----------
    sequences
        Limit of running sequences; sizes go up to twice that, for steps that hold some prompt tokens.
    largest
        Largest size in any case.

    Notes
    -----
    1, 2, 4, then every eighth up to 256, then every sixteenth.

    Examples
    --------
    >>> sizes_captured(np.array([1.0, 2.0, 16.0, 1024.0])).tolist()
    [2.0, 3.0, 7.0, 51.0]
    """
    most = np.minimum(2.0 * sequences, largest)
    small = np.minimum(np.floor(np.log2(np.maximum(most, 1.0))), 2.0) + 1.0
    by_eight = np.floor(np.minimum(most, 256.0) / 8.0)
    by_sixteen = np.floor(np.maximum(most - 256.0, 0.0) / 16.0)
    return small + by_eight + by_sixteen


def graph_bytes(*, layers: Floats, sequences: Floats, largest: Floats | float = LARGEST_CAPTURED) -> Floats:
    """Memory of CUDA graphs on one GPU [bytes].

    Notes
    -----
    A fixed part, the first capture with its workspaces, and a part per layer and captured size.
    """
    return GRAPHS_BYTES + GRAPHS_BYTES_PER_LAYER * layers * sizes_captured(sequences, largest) / SIZES_MEASURED


def context_bytes(*, tp_size: Floats, over_pcie: Floats | float, is_tgi: Floats) -> Floats:
    """CUDA context and communication buffers of one GPU [bytes].

    Parameters
    ----------
    over_pcie
        1 where the GPUs of a replica talk over PCIe or a bridge and not over NVLink switches, else 0.
    is_tgi
        1 or 0; TGI's share is one figure for all that it keeps to itself.
    """
    doublings = np.log2(np.maximum(tp_size, 1.0))
    buffers = np.where(np.asarray(over_pcie) > 0, CONTEXT_BYTES_ALONE, CONTEXT_BYTES_PARALLEL)
    parallel = buffers + CONTEXT_BYTES_PER_DOUBLING * doublings
    context = np.where(np.asarray(tp_size) > 1, parallel, CONTEXT_BYTES_ALONE)
    return np.where(is_tgi > 0, ASSUMED_TGI_OVERHEAD_BYTES, context)


def overhead_bytes(table: ReplicaTable, max_num_seqs: Floats | float) -> Floats:
    """CUDA context, communication buffers and, where the engine counts them, CUDA graphs of one GPU [bytes].

    Parameters
    ----------
    max_num_seqs
        The batch limit that the engine is started with: graphs are captured up to twice that.
    """
    sequences = np.asarray(max_num_seqs, dtype=np.float64)
    graphs = graph_bytes(layers=table.layers / table.pp, sequences=sequences, largest=table.largest_captured)
    return table.context_bytes + table.counts_graphs * graphs


def free_at_start_bytes(table: ReplicaTable) -> Floats:
    """Memory that an engine finds free on a GPU of its own when it starts [bytes], shape (n,).

    Notes
    -----
    Its CUDA context is there already. vLLM refuses to start where its share of the whole memory is more than that
    (vLLM 0.33.0, ``vllm/v1/worker/utils.py``, ``request_memory``).
    """
    return table.capacity_bytes - CONTEXT_BYTES_ALONE


def left_bytes(table: ReplicaTable, max_num_seqs: Floats | float) -> Floats:
    """What the grant leaves for the KV cache, negative where it leaves none [bytes], shape (n,)."""
    taken = table.weights_bytes + activations_bytes(table, max_num_seqs) + overhead_bytes(table, max_num_seqs)
    return table.granted_bytes - taken


def over_pcie(gpu: GpuSpec, tp_size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the GPUs of a replica talk over PCIe or a bridge, shape of ``tp_size``."""
    link = gpu.interconnect
    return (tp_size > link.domain_gpus) | (link.kind in {LinkKind.PCIE, LinkKind.NVLINK_BRIDGE})


def counts_graphs(engine: EngineSpec) -> bool:
    """Whether an engine takes its CUDA graphs off the KV pool.

    Versions that cannot be read count as new; without graphs there are none to take off.
    """
    if engine.eager:
        return False
    release = release_of(engine.version)
    return release is None or release >= GRAPHS_COUNTED_FROM


def loads_vision(engine: EngineSpec) -> bool:
    """Whether an engine loads vision towers; vLLM alone can leave them out."""
    return engine.id != "vllm" or not engine.text_only


def kv_pool_bytes(table: ReplicaTable, max_num_seqs: Floats | float) -> Floats:
    """KV pool of one GPU: what the grant leaves, in whole blocks; zero where nothing is left [bytes], shape (n,)."""
    left = np.maximum(left_bytes(table, max_num_seqs), 0.0)
    return np.floor(left / table.kv_block_bytes) * table.kv_block_bytes


def kept_state_bytes(table: ReplicaTable) -> Floats:
    """Bytes of the states that one sequence keeps on one GPU, in whole blocks; shape (n,)."""
    return table.kv_state_groups * STATES_KEPT * table.kv_block_bytes


def sequence_bytes_of(table: ReplicaTable, tokens: Floats | float) -> Floats:
    """KV bytes of one sequence of that many tokens on one GPU, shape (n,)."""
    return sequence_bytes(
        np.asarray(tokens, dtype=np.float64),
        full_bytes_per_token=table.kv_full_bytes_per_token,
        window_bytes_per_token=table.kv_window_bytes_per_token,
        window_tokens=table.kv_window_tokens,
        state_bytes=kept_state_bytes(table),
        block_tokens=table.kv_block_tokens,
    )


def sequences_held(table: ReplicaTable, tokens: Floats | float, max_num_seqs: Floats | float) -> Floats:
    """Sequences of that length that the pool holds at once, shape (n,)."""
    return np.floor(kv_pool_bytes(table, max_num_seqs) / np.maximum(sequence_bytes_of(table, tokens), 1.0))


def least_pool_bytes(table: ReplicaTable, max_model_len: Floats | float) -> Floats:
    """Pool of one GPU below which the engine does not start: one sequence of that length, and a spare block [bytes].

    Notes
    -----
    vLLM: "To serve at least one request with the model's max seq len, ... KV cache is needed". Its pool keeps one block
    that stands for blocks that have left a window.
    """
    return (_blocks_admitted(table, max_model_len) + 1.0) * table.kv_block_bytes


def longest_context(table: ReplicaTable, positions: float, max_num_seqs: Floats | float) -> Floats:
    """Largest ``max_model_len`` of which one sequence fits the pool, up to the model's positions [tokens], shape (n,).

    Zero where not even one block fits. Found by bisection, for no layout of the cache holds less of a shorter sequence.
    """
    pool = kv_pool_bytes(table, max_num_seqs)
    low, high = np.zeros(len(table)), np.full(len(table), np.floor(positions))
    fits = pool >= least_pool_bytes(table, high)
    low = np.where(fits, high, low)
    while np.any(high - low > 1.0):
        middle = np.floor((low + high) / 2.0)
        fits = pool >= least_pool_bytes(table, middle)
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return low


def logs_by_length(version: str) -> bool:
    """Whether an engine of that version tells its pool by the length of a sequence; see :func:`kv_pool_tokens`."""
    release = release_of(version)
    return release is None or release >= LOGGED_BY_LENGTH_FROM


def kv_pool_tokens(
    table: ReplicaTable,
    max_model_len: Floats | float,
    max_num_seqs: Floats | float,
    *,
    by_length: NDArray[np.bool_] | bool = True,
) -> Floats:
    """Tokens that one replica's pool holds, as the engine logs it ("GPU KV cache size"), shape (n,).

    Parameters
    ----------
    by_length
        Whether the engine's version tells it by length (:func:`logs_by_length`).

    Notes
    -----
    By length: blocks of the pool over the blocks of one sequence of ``max_model_len``, times that length. Models with
    windows or linear layers are said to hold more tokens the longer the length is. Before that: ``blocks / groups x
    tokens of the shortest block``. Both are one for models that keep all tokens in all layers.
    """
    blocks = np.floor(kv_pool_bytes(table, max_num_seqs) / table.kv_block_bytes)
    groups = table.kv_full_groups + table.kv_window_groups + table.kv_state_groups
    windowed = table.kv_window_groups > 0
    shortest = np.minimum(table.kv_block_tokens, np.where(windowed, table.kv_window_block_tokens, np.inf))
    length = np.asarray(max_model_len, dtype=np.float64)
    return np.where(
        by_length,
        np.floor(blocks / np.maximum(_blocks_admitted(table, length), 1.0) * length + 1e-6),
        np.floor(blocks / np.maximum(groups, 1.0)) * shortest,
    )


LOGGED_BY_LENGTH_FROM: Release = (0, 21)
"""vllm-project/vllm#43308: gemma 4 31B in one pool, 55 thousand tokens logged by 0.20 and 525 thousand by 0.21."""
STEPS_AT_ONCE = 2.0
"""Steps that overlap: the scheduler runs one ahead of the GPU."""


def _blocks_admitted(table: ReplicaTable, tokens: Floats | float) -> Floats:
    return blocks_admitted(
        np.asarray(tokens, dtype=np.float64),
        in_flight_tokens=table.max_num_batched_tokens * (STEPS_AT_ONCE + table.pp - 1.0),
        full_groups=table.kv_full_groups,
        window_groups=table.kv_window_groups,
        state_groups=table.kv_state_groups,
        full_block_tokens=table.kv_block_tokens,
        window_block_tokens=table.kv_window_block_tokens,
        window_tokens=table.kv_window_tokens,
        chunked=table.kv_chunked,
    )
