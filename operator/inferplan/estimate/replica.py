"""One row per replica without load: every number that the formulas need, column by column.

The columns depend on the catalog alone, so the table is built once and asked many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.attention import attention_needs, find_kernel
from inferplan.domain.calibration import Calibration
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.estimate import Evidence
from inferplan.domain.hardware import GpuSpec, LinkKind
from inferplan.domain.model import DTYPE_BYTES, Dtype, LayerKind, ModelSpec, QuantizationMethod
from inferplan.domain.units import GIB
from inferplan.estimate import memory
from inferplan.estimate.constants import KERNELS, NAMES, Kernel, Resolved, release_of, resolve
from inferplan.estimate.drafting import draft_columns, tokens_per_step
from inferplan.estimate.expert_padding import expert_growth, rounding_table
from inferplan.estimate.kv_cache import cut_blocks, kv_layout, padded_layers
from inferplan.estimate.lora import lora_column
from inferplan.estimate.weights import copied_bytes, loaded_bytes, parameters, weight_bytes, wide_share

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EVIDENCE = (Evidence.MEASURED, Evidence.CALIBRATED, Evidence.EXTRAPOLATED)
NATIVE = frozenset({Kernel.EIGHT_BIT, Kernel.FOUR_BIT, Kernel.EXPERTS})
WEIGHT_ONLY = (Kernel.UNPACKED, Kernel.UNPACKED_EXPERTS)
RANGE_KEYS = tuple(
    (metric, load)
    for metric in ("ttft", "tpot", "e2e", "throughput")
    for load in ("closed_loop", "open_loop", "offline")
)


@dataclass(frozen=True, slots=True)
class Founded:
    """Calibrated constants, ranges and their words for every (engine, GPU).

    ``constants`` has shape (pairs, len(NAMES)); ``ranges`` shape (pairs, 2 len(RANGE_KEYS)), low before high.
    """

    constants: Floats
    ranges: Floats
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplicaTable:
    """Columns of shape (n,). Bytes, FLOP and rates are those of one GPU unless said otherwise.

    Parameters
    ----------
    step_activations_bytes, sampler_bytes_per_sequence
        Transient memory of the largest step, and of the sampler for each sequence of the batch limit.
    always_bytes, head_bytes, routed_bytes
        Weights read in every step, for the LM head, and all routed experts.
    experts, experts_per_token
        Zero for dense models.
    layer_flop_per_token, head_flop_per_token
        Arithmetic of one token in the layers and in the LM head.
    attention_flop
        FLOP of one prompt token per token of context before it.
    kv_read_full, kv_read_window
        KV bytes that one decode token reads per token of context (window: up to ``kv_window_tokens``).
    peak_flops_per_s
        Dense peak in the arithmetic that the weights run in.
    offloaded_bytes, host_bytes_per_s
        Weights that stay in the machine's memory, and how fast a GPU reads them from there.
    draft_bytes, draft_layers
        What drafting one token reads and passes.
    drafted_tokens, tokens_per_step
        Tokens drafted for each step, and tokens that a sequence gains in one; 0 and 1 without drafting.
    """

    tp: Floats
    pp: Floats
    layers: Floats
    hidden: Floats
    capacity_bytes: Floats
    granted_bytes: Floats
    weights_bytes: Floats
    step_activations_bytes: Floats
    sampler_bytes_per_sequence: Floats
    context_bytes: Floats
    """CUDA context and communication buffers, and the room for LoRA adapters."""
    counts_graphs: Floats
    largest_captured: Floats
    kv_block_bytes: Floats
    """One block of one group of layers: the unit in which the pool is handed out."""
    kv_block_tokens: Floats
    kv_window_block_tokens: Floats
    kv_full_groups: Floats
    kv_window_groups: Floats
    kv_state_groups: Floats
    kv_chunked: Floats
    kv_full_bytes_per_token: Floats
    kv_window_bytes_per_token: Floats
    kv_window_tokens: Floats
    kv_state_bytes: Floats
    kv_eight_bit: Floats
    always_bytes: Floats
    head_bytes: Floats
    routed_bytes: Floats
    experts: Floats
    experts_per_token: Floats
    expert_layers: Floats
    layer_flop_per_token: Floats
    expert_flop_per_token: Floats
    head_flop_per_token: Floats
    attention_flop: Floats
    window_attention_flop: Floats
    peak_flops_per_s: Floats
    peak_expert_flops_per_s: Floats
    peak_attention_flops_per_s: Floats
    bandwidth_bytes_per_s: Floats
    link_bytes_per_s: Floats
    max_num_batched_tokens: Floats
    offloaded_bytes: Floats
    host_bytes_per_s: Floats
    draft_bytes: Floats
    draft_layers: Floats
    drafted_tokens: Floats
    tokens_per_step: Floats
    eager: Floats
    serves: Floats
    has_head: Floats
    low_precision: Floats
    weight_only: Floats
    evidence_code: Floats
    pair: Ints
    """Index of the row's (engine, GPU) in ``founded``."""
    founded: Founded

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.tp)

    def constant(self, name: str) -> Floats:
        """One calibrated constant, shape (n,)."""
        values: Floats = self.founded.constants[self.pair, NAMES.index(name)]
        return values

    def factors(self, metric: str, load: str) -> tuple[Floats, Floats]:
        """Low and high factor of a metric under a kind of load, shape (n,) each."""
        at = 2 * RANGE_KEYS.index((metric, load))
        return self.founded.ranges[self.pair, at], self.founded.ranges[self.pair, at + 1]

    def detail(self, row: int) -> str:
        """What the predictions of a row stand on, in words."""
        return self.founded.details[int(self.pair[row])]

    def take(self, rows: NDArray[np.intp] | NDArray[np.int64] | slice) -> ReplicaTable:
        """Keep some rows, in the order given; a slice copies nothing."""
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {n: c if n == "founded" else c[rows] for n, c in columns.items()}
        return ReplicaTable(**taken)


def build_replicas(  # noqa: PLR0913 - one argument per axis of the table
    *,
    weights: Sequence[tuple[ModelSpec, QuantizationMethod]],
    engines: Sequence[EngineSpec],
    gpus: Sequence[GpuSpec],
    kv_dtypes: Sequence[Dtype | None],
    calibrations: Sequence[Calibration],
    weight: Ints,
    engine: Ints,
    gpu: Ints,
    kv: Ints,
    tp: Ints,
    pp: Ints,
) -> ReplicaTable:
    """Gather the columns of all rows from what depends on weights, on GPUs, and on both.

    Parameters
    ----------
    weights, engines, gpus, kv_dtypes
        What the index columns point into; a KV type of None is 16 bit.
    weight, engine, gpu, kv, tp, pp
        Index columns and parallel sizes, shape (n,).
    """
    of_weights = {name: np.array(values, dtype=np.float64)[weight] for name, values in _weight_columns(weights).items()}
    of_gpus = {name: np.array(values, dtype=np.float64)[gpu] for name, values in _gpu_columns(gpus).items()}
    flat = [
        resolve(calibrations, e.id, g, kernel, release=release_of(e.version))
        for e in engines
        for g in gpus
        for kernel in KERNELS
    ]
    tp_, pp_ = tp.astype(np.float64), pp.astype(np.float64)
    ranks = tp_ * pp_
    kv_bytes = np.array([2.0 if dtype is None else DTYPE_BYTES[dtype] for dtype in kv_dtypes])[kv]
    kernel, peak, expert_peak = _arithmetic(weights, gpus)
    pairs = (engine * len(gpus) + gpu) * len(KERNELS) + kernel[weight, gpu]
    heads = 1.0 / np.minimum(tp_, of_weights["kv_heads"])
    draft = {name: column[weight, engine] for name, column in draft_columns(weights, engines).items()}
    draft_kv = draft["kv_values_per_token"] * kv_bytes / np.minimum(tp_, draft["kv_heads"])
    packed = _packed_latent_bytes(weights, engines, gpus, kv_dtypes)[weight, engine, gpu, kv]
    plain = of_weights["latent"] * kv_bytes
    latent = (np.where(packed > 0, of_weights["latent_layers"] * packed, plain) + of_weights["indexer"]) / pp_
    full = of_weights["full"] * kv_bytes * heads / pp_ + latent + draft_kv
    window = of_weights["window"] * kv_bytes * heads / pp_
    state = of_weights["state"] / ranks
    blocks = cut_blocks(
        full_bytes_per_token=full,
        window_bytes_per_token=window,
        state_bytes=state * of_weights["state_filled"],
        full_groups=of_weights["full_groups"],
        window_groups=of_weights["window_groups"],
        state_groups=of_weights["state_groups"],
        block_tokens=np.array([float(e.kv_block_tokens) for e in engines])[engine],
    )
    items = [[0.0 if e.text_only else float(model.multimodal_item_tokens) for model, _ in weights] for e in engines]
    budget = np.array([[float(_batched_tokens(e, g)) for g in gpus] for e in engines])[engine, gpu]
    batched = np.maximum(budget, np.array(items)[engine, weight])
    fraction = np.array([e.memory_fraction for e in engines])[engine]
    capacity = of_gpus["memory"] - of_gpus["hidden"]
    pooling = of_weights["classifier"]
    rounding = {name: column[weight, engine, gpu] for name, column in rounding_table(weights, engines, gpus).items()}
    routed = of_weights["routed"] * expert_growth(
        expert_width=of_weights["expert_width"],
        hidden=of_weights["hidden"],
        matrices=of_weights["expert_matrices"],
        tp_size=tp_,
        rounding=rounding,
    )
    at_ends = np.where(pp_ > 1, of_weights["heavier_end"], of_weights["outer"])
    sees = of_weights["sees"] * np.array([float(memory.loads_vision(e)) for e in engines])[engine]
    in_layers = of_weights["always"] + routed
    offloaded = np.minimum(np.array([float(e.cpu_offload_bytes) for e in engines])[engine], in_layers / ranks)
    is_tgi = np.array([float(e.id == "tgi") for e in engines])[engine]
    graphs = np.array([float(memory.counts_graphs(e)) for e in engines])[engine]
    return ReplicaTable(
        tp=tp_,
        pp=pp_,
        layers=of_weights["layers"],
        hidden=of_weights["hidden"],
        capacity_bytes=capacity,
        granted_bytes=np.ceil(capacity * fraction),
        weights_bytes=loaded_bytes(
            always=of_weights["always"],
            routed=routed,
            ends=at_ends + draft["loaded_bytes"],
            vision=of_weights["vision"] * sees,
            everywhere=of_weights["everywhere"],
            absorbed=of_weights["absorbed"],
            kv_projections=of_weights["kv_projections"],
            tables=of_weights["tables"],
            kv_heads=of_weights["kv_heads"],
            tp_size=tp_,
            pp_size=pp_,
        )
        - offloaded,
        step_activations_bytes=memory.step_activation_bytes(
            batched_tokens=batched,
            hidden=of_weights["hidden"],
            has_experts=np.minimum(of_weights["experts"], 1.0),
        )
        + memory.ASSUMED_ENCODER_BYTES_PER_TOKEN * of_weights["image_tokens"] / tp_ * sees,
        sampler_bytes_per_sequence=memory.sampler_bytes(vocab=of_weights["vocab"]) * (1 - pooling) * (1 - is_tgi),
        context_bytes=memory.context_bytes(tp_size=tp_, over_pcie=_over_pcie(gpus, tp, gpu), is_tgi=is_tgi)
        + lora_column(weights, engines, weight=weight, engine=engine, tp_size=tp_, pp_size=pp_),
        counts_graphs=graphs * (1 - is_tgi),
        largest_captured=of_gpus["largest_captured"],
        kv_block_bytes=blocks.bytes,
        kv_block_tokens=blocks.full_tokens,
        kv_window_block_tokens=blocks.window_tokens,
        kv_full_groups=of_weights["full_groups"],
        kv_window_groups=of_weights["window_groups"],
        kv_state_groups=of_weights["state_groups"],
        kv_chunked=of_weights["chunked"],
        kv_full_bytes_per_token=full,
        kv_window_bytes_per_token=window,
        kv_window_tokens=of_weights["window_tokens"],
        kv_state_bytes=state,
        kv_eight_bit=(kv_bytes < 2.0).astype(np.float64),  # noqa: PLR2004 - bytes of 16 bit
        always_bytes=of_weights["always"] / ranks,
        head_bytes=of_weights["head"] / tp_ * (1 - pooling),
        routed_bytes=routed / ranks,
        experts=of_weights["experts"],
        experts_per_token=of_weights["experts_per_token"],
        expert_layers=of_weights["expert_layers"],
        layer_flop_per_token=2.0 * of_weights["shared_active"] / ranks,
        expert_flop_per_token=2.0 * of_weights["routed_active"] / ranks,
        head_flop_per_token=2.0 * of_weights["head_params"] / tp_ * (1 - pooling),
        attention_flop=of_weights["attention_flop"] / ranks,
        window_attention_flop=of_weights["window_attention_flop"] / ranks,
        peak_flops_per_s=peak[weight, gpu],
        peak_expert_flops_per_s=expert_peak[weight, gpu],
        peak_attention_flops_per_s=of_gpus["peak16"],
        bandwidth_bytes_per_s=of_gpus["bandwidth"],
        link_bytes_per_s=_link(gpus, tp, gpu),
        max_num_batched_tokens=batched,
        offloaded_bytes=offloaded,
        host_bytes_per_s=of_gpus["host_link"] / 2.0,
        draft_bytes=draft["read_bytes"] / tp_,
        draft_layers=draft["layers"],
        drafted_tokens=np.array([float(e.speculative.tokens if e.speculative else 0) for e in engines])[engine],
        tokens_per_step=np.array([tokens_per_step(e.speculative) for e in engines])[engine],
        eager=np.array([float(e.eager) for e in engines])[engine],
        serves=np.array([float(e.serves) for e in engines])[engine],
        has_head=1 - pooling,
        low_precision=(peak[weight, gpu] > of_gpus["peak16"]).astype(np.float64),
        weight_only=np.isin(kernel[weight, gpu], [KERNELS.index(kind) for kind in WEIGHT_ONLY]).astype(np.float64),
        evidence_code=np.array([float(EVIDENCE.index(r.evidence)) for r in flat])[pairs],
        pair=pairs,
        founded=Founded(
            constants=np.array([[getattr(r.constants, name) for name in NAMES] for r in flat]),
            ranges=np.array([_range_row(r) for r in flat]),
            details=tuple(r.detail for r in flat),
        ),
    )


def _range_row(resolved: Resolved) -> list[float]:
    return [factor for metric, load in RANGE_KEYS for factor in resolved.factors(metric, load)]


def _weight_columns(weights: Sequence[tuple[ModelSpec, QuantizationMethod]]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for model, method in weights:
        size, count, layout = weight_bytes(model, method), parameters(model), kv_layout(model)
        copied = copied_bytes(model, method)
        attending = sum(g.layers for g in model.attention if g.kind in {LayerKind.FULL, LayerKind.MLA})
        windowed = sum(g.layers for g in model.attention if g.kind in {LayerKind.SLIDING, LayerKind.CHUNKED})
        linear = sum(g.layers for g in model.attention if g.kind is LayerKind.LINEAR)
        moe = model.moe
        row = {
            "layers": model.layers,
            "hidden": model.hidden_size,
            "vocab": model.vocab_size,
            "outer": size.embedding + size.head,
            "heavier_end": max(size.embedding, size.head),
            "always": size.always,
            "head": size.head or size.embedding,
            "routed": size.routed,
            "head_params": count.head or count.embedding,
            "everywhere": copied.everywhere,
            "absorbed": copied.absorbed,
            "kv_projections": copied.kv_projections,
            "tables": copied.tables,
            "shared_active": count.attention + count.dense + count.shared,
            "routed_active": count.routed_active,
            "expert_layers": moe.layers if moe else 0,
            "experts": moe.experts if moe else 0,
            "experts_per_token": moe.experts_per_token if moe else 0,
            "expert_width": moe.expert_intermediate_size if moe else 1,
            "expert_matrices": moe.matrices_per_expert if moe else 3,
            "full": layout.full_values_per_token,
            "window": layout.window_values_per_token,
            "window_tokens": layout.window_tokens,
            "latent": layout.latent_values_per_token,
            "latent_layers": layout.latent_layers,
            "indexer": layout.indexer_bytes_per_token,
            "state": layout.state_bytes,
            "state_filled": padded_layers(linear, layout.group_layers) / linear if linear else 1.0,
            "full_groups": layout.full_groups,
            "window_groups": layout.window_groups,
            "state_groups": layout.state_groups,
            "chunked": layout.chunked,
            "kv_heads": layout.kv_heads,
            "attention_flop": 4.0 * model.attention_heads * model.head_dim * attending,
            "window_attention_flop": 4.0 * model.attention_heads * model.head_dim * windowed,
            "vision": size.vision,
            "image_tokens": model.image_tokens,
            "sees": 1.0 if model.vision_params else 0.0,
            "classifier": 1.0 if model.task.value == "Classification" else 0.0,
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(float(value))
    return columns


def _gpu_columns(gpus: Sequence[GpuSpec]) -> dict[str, list[float]]:
    return {
        "memory": [float(g.memory_bytes) for g in gpus],
        "hidden": [memory.hidden_bytes(g) for g in gpus],
        "largest_captured": [memory.largest_captured(g) for g in gpus],
        "bandwidth": [g.hbm_bandwidth_bytes_per_s for g in gpus],
        "host_link": [g.pcie_bandwidth_bytes_per_s for g in gpus],
        "peak16": [g.peak(Dtype.FLOAT16) or 1.0 for g in gpus],
    }


def _arithmetic(
    weights: Sequence[tuple[ModelSpec, QuantizationMethod]], gpus: Sequence[GpuSpec]
) -> tuple[Ints, Floats, Floats]:
    """Kernels of each (weights, GPU), and the dense peaks of its layers and of its experts.

    Where a checkpoint leaves some layers in 16 bit, the peak is that at which all layers take the same time together.
    """
    methods = list(dict.fromkeys(method for _, method in weights))
    kinds = np.zeros((len(methods), len(gpus)), dtype=np.int64)
    peaks = np.zeros((len(methods), len(gpus)))
    expert_peaks = np.zeros((len(methods), len(gpus)))
    for m, method in enumerate(methods):
        for g, gpu in enumerate(gpus):
            sixteen = gpu.peak(Dtype.FLOAT16) or 1.0
            kind = kernel_of(method, gpu)
            own = gpu.peak(method.compute_dtype) or sixteen
            kinds[m, g] = KERNELS.index(kind)
            expert_peaks[m, g] = own if kind in NATIVE else sixteen
            peaks[m, g] = sixteen if method.experts_only else expert_peaks[m, g]
    number = {method: m for m, method in enumerate(methods)}
    of = [number[method] for _, method in weights]
    peaks = peaks[of]
    sixteen_bit = np.array([gpu.peak(Dtype.FLOAT16) or 1.0 for gpu in gpus])
    for w, (model, method) in enumerate(weights):
        share = wide_share(model, method)
        if share > 0 and not method.experts_only:
            peaks[w] = 1.0 / (share / sixteen_bit + (1.0 - share) / peaks[w])
    return kinds[of], peaks, expert_peaks[of]


def kernel_of(method: QuantizationMethod, gpu: GpuSpec) -> Kernel:
    """Which kernels multiply a format's weights on a GPU.

    A GPU without a compute capability (not NVIDIA's) runs natively whatever its datasheet has a peak for.
    """
    if method.weight_bits >= 16:  # noqa: PLR2004 - 16 bits per weight
        return Kernel.WIDE
    least = method.native_min_compute_capability
    capable = least is not None and (gpu.compute_capability is None or gpu.compute_capability >= least)
    runs = capable and gpu.peak(method.compute_dtype) is not None
    if not runs:
        return Kernel.UNPACKED_EXPERTS if method.experts_only else Kernel.UNPACKED
    if method.experts_only:
        return Kernel.EXPERTS
    return Kernel.FOUR_BIT if method.weight_bits < 8 else Kernel.EIGHT_BIT  # noqa: PLR2004 - bits per weight


def _over_pcie(gpus: Sequence[GpuSpec], tp: Ints, gpu: Ints) -> Floats:
    every = np.array([memory.over_pcie(g, tp) for g in gpus])
    return every[gpu, np.arange(len(tp))].astype(np.float64)


def _packed_latent_bytes(
    weights: Sequence[tuple[ModelSpec, QuantizationMethod]],
    engines: Sequence[EngineSpec],
    gpus: Sequence[GpuSpec],
    kv_dtypes: Sequence[Dtype | None],
) -> Floats:
    """Bytes per token and layer of a latent cache whose layout is the attention kernel's own, 0 where it is none."""
    found = np.zeros((len(weights), len(engines), len(gpus), len(kv_dtypes)))
    for w, (model, _) in enumerate(weights):
        if not model.sparse_attention:
            continue
        for e, engine in enumerate(engines):
            (needs,) = attention_needs(model, text_only=engine.text_only)
            for g, gpu in enumerate(gpus):
                for k, dtype in enumerate(kv_dtypes):
                    kernel = find_kernel(
                        engine.attention_kernels, needs, gpu.compute_capability or 0, dtype or model.native_dtype
                    )
                    found[w, e, g, k] = 0 if kernel is None else kernel.latent_bytes_per_token or 0
    return found


def _link(gpus: Sequence[GpuSpec], tp: Ints, gpu: Ints) -> Floats:
    """Bandwidth of one direction between the GPUs of a replica; PCIe beyond the link's domain."""
    link = np.array([g.interconnect.bandwidth_bytes_per_s for g in gpus])[gpu]
    domain = np.array([g.interconnect.domain_gpus for g in gpus])[gpu]
    pcie = np.array([g.pcie_bandwidth_bytes_per_s for g in gpus])[gpu]
    over_pcie = np.array([g.interconnect.kind is LinkKind.PCIE for g in gpus], dtype=np.bool_)[gpu]
    return np.where((tp > domain) | over_pcie, pcie, link) / 2.0


def _batched_tokens(engine: EngineSpec, gpu: GpuSpec) -> int:
    """Token budget of a step: as said, or by GPU memory; A100s keep the smallest default whatever their size."""
    if engine.batched_tokens is not None:
        return engine.batched_tokens
    size = gpu.memory_bytes / GIB
    fitting = [tokens for from_gib, tokens in engine.default_batched_tokens if size >= from_gib]
    default = engine.default_batched_tokens[0][1] if gpu.id.startswith("a100") else fitting[-1]
    return max(default, engine.least_batched_tokens)
