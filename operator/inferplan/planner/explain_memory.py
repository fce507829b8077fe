"""The arithmetic of a plan's memory, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from inferplan.estimate import memory
from inferplan.estimate.drafting import draft_of
from inferplan.estimate.kv_cache import kv_layout
from inferplan.estimate.replica_load import (
    running_context,
)
from inferplan.estimate.weights import WEIGHTS_IN_MEMORY, copied_bytes, weight_bytes
from inferplan.planner.arithmetic import Step, Subject, first, number, slots_of


def explain_memory(s: Subject) -> Iterator[Step]:
    """From the weights to the sequences that the KV pool holds."""
    configuration, table = s.plan.configuration, s.table
    size = weight_bytes(configuration.model, configuration.method)
    copied = copied_bytes(configuration.model, configuration.method)
    ranks, tp, pp = configuration.gpus_per_replica, configuration.tp_size, configuration.pp_size
    method = f"catalog, method {configuration.method.id}"
    ends = size.embedding + size.head if pp == 1 else max(size.embedding, size.head)
    vision = size.vision if memory.loads_vision(configuration.engine) else 0.0
    routed = first(table.routed_bytes) * ranks
    draft = draft_of(configuration.model, configuration.method, configuration.engine.speculative).loaded_bytes
    beside, formula = number(vision), "embedding and LM head + vision"
    if draft:
        beside, formula = f"{beside} + {number(draft)}", f"{formula} + draft"
    offloaded = first(table.offloaded_bytes)
    left, kept = ("", "") if not offloaded else (" - offloaded", f" - {number(offloaded)}")
    copies = copied.kv_projections / pp * (1 / min(tp, kv_layout(configuration.model).kv_heads) - 1 / tp)
    yield Step(
        "Memory",
        "Weights on one GPU",
        f"((layers + padded experts) / GPUs + what every GPU holds + ({formula}) / TP) x padding + rotary table{left}",
        f"(({number(size.always - copied.everywhere + copied.absorbed)} + {number(routed)}) / {ranks}"
        f" + {number(copied.everywhere)} / {pp} + {number(copies)} + ({number(ends)} + {beside}) / {tp})"
        f" * {WEIGHTS_IN_MEMORY} + {number(copied.tables)}{kept}",
        first(table.weights_bytes),
        "bytes",
        method,
    )
    yield Step(
        "Memory",
        "Memory that the engine sees",
        "reported memory - what the driver keeps",
        f"{configuration.gpu.memory_bytes} - {memory.hidden_bytes(configuration.gpu)}",
        first(table.capacity_bytes),
        "bytes",
        f"catalog, GPU {configuration.gpu.id}",
    )
    yield Step(
        "Memory",
        "Granted to the engine",
        "ceil(visible x gpu-memory-utilization)",
        f"ceil({number(table.capacity_bytes)} * {configuration.gpu_memory_utilization})",
        first(table.granted_bytes),
        "bytes",
        "vLLM, request_memory",
    )
    yield Step(
        "Memory",
        "KV cache of one token",
        "layers x KV heads on this GPU x (key + value size) x bytes",
        f"{number(table.kv_full_bytes_per_token)} + {number(table.kv_window_bytes_per_token)}",
        s.plan.estimate.memory.kv_bytes_per_token,
        "bytes",
        f"catalog, model {configuration.model.id}",
    )
    activations = memory.activations_bytes(table, configuration.max_num_seqs)
    pool = memory.kv_pool_bytes(table, configuration.max_num_seqs)
    left = (
        f"{number(table.granted_bytes)} - {number(table.weights_bytes)} - {number(activations)}"
        f" - {number(memory.overhead_bytes(table, configuration.max_num_seqs))}"
    )
    block = number(table.kv_block_bytes)
    yield Step(
        "Memory",
        "KV pool of one GPU",
        "floor((granted - weights - activations - overhead) / block) x block",
        f"floor(({left}) / {block}) * {block}",
        first(pool),
        "bytes",
        "vLLM, determine_available_memory; constants in estimate/memory.py",
    )
    one = memory.sequence_bytes_of(table, running_context(s.load))
    yield Step(
        "Memory",
        "Sequences that run at once at most",
        "min(max_num_seqs, floor(pool / KV of one sequence at the mean context))",
        f"max(1, min({configuration.max_num_seqs}, floor({number(pool)} / {number(one)})))",
        first(slots_of(s)),
        "sequences",
        "vLLM scheduler",
    )
