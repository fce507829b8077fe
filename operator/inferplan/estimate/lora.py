"""Memory that an engine takes for LoRA adapters when it starts: two matrices of zeros beside each adapted weight.

References
----------
.. [1] vLLM 0.33.0, ``vllm/lora/layers``: ``base_linear.py``, ``column_parallel_linear.py``, ``row_parallel_linear.py``,
   ``fused_moe.py``, ``vocab_parallel_embedding.py``, ``logits_processor.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.deployment import EngineSpec
from inferplan.domain.lora import LoraRoom
from inferplan.domain.model import ModelSpec, QuantizationMethod
from inferplan.estimate.weights import dense_layers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BYTES_PER_VALUE = 2.0
"""Adapters have the type of the arithmetic, which is 16 bit (``lora_dtype: auto``)."""
GATED = 3
"""Matrices of an MLP with a gate: two into it, one out of it."""
ADAPTED_VOCABULARIES = frozenset({
    "Llama4ForConditionalGeneration", "LlamaForCausalLM", "MixtralForCausalLM", "NemotronHForCausalLM",
    "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "Qwen3_5ForConditionalGeneration",
    "Qwen3_5MoeForConditionalGeneration",
})  # fmt: skip
"""Architectures whose embedding and LM head take adapters too (``embedding_modules`` of their classes)."""


def lora_bytes(model: ModelSpec, room: LoraRoom, *, tp_size: Floats, pp_size: Floats) -> Floats:
    """Memory of one GPU for the adapters of one batch [bytes], shape of ``tp_size``.

    Parameters
    ----------
    tp_size, pp_size
        Parallel sizes [count].

    Notes
    -----
    Of a weight of ``in`` by ``out``, ``A`` has ``rank x in`` values and ``B`` has ``out x rank``. Tensor parallelism
    splits the ``B`` of weights split by columns (query, key, value, gate, up) and the ``A`` of weights split by rows
    (output, down); the other half is whole on every GPU unless it is fully sharded. Experts have matrices of their
    own. Latent and linear attention count as query, key, value and output of ``heads x head_dim``.
    """
    width = np.where(np.asarray(room.fully_sharded), tp_size, 1.0)
    hidden = float(model.hidden_size)
    queries = float(model.attention_heads * model.head_dim)
    keys = model.kv_heads * model.head_dim / np.minimum(tp_size, float(max(model.kv_heads, 1)))
    into = 3.0 * hidden / width + queries / tp_size + 2.0 * keys
    out_of = queries / tp_size + hidden / width
    values = sum(group.layers for group in model.attention) * (into + out_of)
    values = values + sum(count * _mlp(hidden, inner, gates, tp_size, width) for count, inner, gates in _mlps(model))
    ends = 0.0
    if model.architecture in ADAPTED_VOCABULARIES:
        ends = 2.0 * (model.vocab_size + hidden)
    return BYTES_PER_VALUE * room.slots * room.rank * (values / pp_size + ends)


def lora_column(
    weights: Sequence[tuple[ModelSpec, QuantizationMethod]],
    engines: Sequence[EngineSpec],
    *,
    weight: Ints,
    engine: Ints,
    tp_size: Floats,
    pp_size: Floats,
) -> Floats:
    """Memory of one GPU for adapters in every row of a table [bytes], shape (n,); none where none are asked for.

    Parameters
    ----------
    weights, engines
        What the index columns point into.
    weight, engine, tp_size, pp_size
        Index columns and parallel sizes, shape (n,).
    """
    found = np.zeros(len(weight))
    for place, spec in enumerate(engines):
        if spec.lora is None or spec.id != "vllm":
            continue
        for of_weights in np.unique(weight[engine == place]):
            rows = (engine == place) & (weight == of_weights)
            model = weights[of_weights][0]
            found[rows] = lora_bytes(model, spec.lora, tp_size=tp_size[rows], pp_size=pp_size[rows])
    return found


def _mlps(model: ModelSpec) -> list[tuple[float, float, int]]:
    """MLPs of the whole model: how many, how wide [values] and of how many matrices into them."""
    moe = model.moe
    if moe is None:
        return [(float(model.layers), float(model.intermediate_size), GATED - 1)]
    shared = max(1, moe.shared_experts) * moe.shared_intermediate_size
    return [
        (float(dense_layers(model)), float(model.intermediate_size), GATED - 1),
        (float(moe.layers * moe.experts), float(moe.expert_intermediate_size), moe.matrices_per_expert - 1),
        (float(moe.layers if shared else 0), float(shared), GATED - 1),
    ]


def _mlp(hidden: float, inner: float, gates: int, tp_size: Floats, width: Floats) -> Floats:
    """Values of ``A`` and ``B`` of one MLP on one GPU, for each rank."""
    return gates * (hidden / width + inner / tp_size) + inner / tp_size + hidden / width
