"""Every configuration that could be meant: model x checkpoint x engine x GPU x parallelism x KV type.

One row of the table is a *shape*: a replica without batch limit and without load. The table depends on the
catalog alone, so it is built once and asked many times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.catalog import Catalog
from inferplan.domain.deployment import Configuration, EngineSpec
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import Checkpoint, Dtype, ModelSpec, Quantization, QuantizationMethod
from inferplan.domain.scenario import CustomModel

Ints = NDArray[np.int64]

TP_SIZES = (1, 2, 4, 8, 16)
PP_SIZES = (1, 2, 4)
"""Pipeline stages; more than one only where tensor parallelism already fills a machine."""
BATCH_LIMITS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Values tried for ``max_num_seqs``."""

_SIXTEEN_BIT = frozenset({Quantization.FP16, Quantization.BF16})
_CUSTOM_METHODS = {
    Quantization.FP8: "fp8",
    Quantization.INT8: "int8_w8a8",
    Quantization.INT4: "w4a16",
    Quantization.NVFP4: "nvfp4",
    Quantization.MXFP4: "mxfp4",
    Quantization.FP16: "fp16",
    Quantization.BF16: "bf16",
}


@dataclass(frozen=True, slots=True)
class Weights:
    """A model with one of its checkpoints and how an engine reads it."""

    model: ModelSpec
    checkpoint: Checkpoint
    method: QuantizationMethod


@dataclass(frozen=True, slots=True)
class ShapeTable:
    """All shapes, column by column.

    Parameters
    ----------
    weights, gpus, engines, kv_dtypes
        What the index columns point into.
    weight, gpu, engine, kv
        Index columns, shape (n,).
    tp, pp
        Parallel sizes, shape (n,).
    own_cache
        Whether the KV cache has the type that the checkpoint has by itself, shape (n,).
    """

    weights: tuple[Weights, ...]
    gpus: tuple[GpuSpec, ...]
    engines: tuple[EngineSpec, ...]
    kv_dtypes: tuple[Dtype | None, ...]
    """None is the type of the arithmetic, 16 bit."""
    weight: Ints
    gpu: Ints
    engine: Ints
    kv: Ints
    tp: Ints
    pp: Ints
    own_cache: NDArray[np.bool_]

    def __len__(self) -> int:
        """Count the shapes."""
        return len(self.weight)

    def take(self, rows: NDArray[np.intp]) -> ShapeTable:
        """Keep some rows, in the order given."""
        return replace(
            self,
            weight=self.weight[rows],
            gpu=self.gpu[rows],
            engine=self.engine[rows],
            kv=self.kv[rows],
            tp=self.tp[rows],
            pp=self.pp[rows],
            own_cache=self.own_cache[rows],
        )

    def configuration(
        self, row: int, *, max_num_seqs: int, max_model_len: int, max_num_batched_tokens: int, replicas: int
    ) -> Configuration:
        """Spell one row out."""
        weights = self.weights[self.weight[row]]
        gpu = self.gpus[self.gpu[row]]
        engine = self.engines[self.engine[row]]
        compute = compute_dtype(weights.model, gpu, engine)
        return Configuration(
            model=weights.model,
            checkpoint=weights.checkpoint,
            method=weights.method,
            engine=engine,
            gpu=gpu,
            tp_size=int(self.tp[row]),
            pp_size=int(self.pp[row]),
            kv_dtype=self.kv_dtypes[self.kv[row]] or compute,
            compute_dtype=compute,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            max_model_len=max_model_len,
            gpu_memory_utilization=engine.memory_fraction,
            replicas=replicas,
        )

    def title(self, row: int) -> str:
        """Name a row in one line."""
        weights, gpu = self.weights[self.weight[row]], self.gpus[self.gpu[row]]
        gpus = int(self.tp[row] * self.pp[row])
        kv = self.kv_dtypes[self.kv[row]]
        tail = "" if self.own_cache[row] else f", {kv or '16-bit'} KV cache"
        short = weights.model.id.rsplit("/", 1)[-1]
        return f"{short} {weights.checkpoint.quantization} on {gpus}x {gpu.name}{tail}"


def compute_dtype(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> Dtype:
    """Type in which the engine computes: the model's own, or float16 where bfloat16 is not to be had."""
    capability = gpu.compute_capability or 0
    if model.native_dtype is Dtype.BFLOAT16 and capability < engine.bfloat16_min_compute_capability:
        return Dtype.FLOAT16
    return model.native_dtype


def build_shapes(catalog: Catalog, models: Sequence[ModelSpec], engines: Sequence[EngineSpec]) -> ShapeTable:
    """Cross everything with everything; nothing is left out here, the constraints do that with a reason."""
    weights = tuple(entry for model in models for entry in _weights(catalog, model, engines))
    kv_dtypes: tuple[Dtype | None, ...] = (None, Dtype.FP8)
    parallel = [(tp, 1) for tp in TP_SIZES] + [(0, pp) for pp in PP_SIZES if pp > 1]
    axes = np.indices((len(weights), len(engines), len(catalog.gpus), len(parallel), len(kv_dtypes)))
    weight, engine, gpu, form, kv = (axis.ravel() for axis in axes)
    largest = np.array([_largest_tp(spec) for spec in catalog.gpus], dtype=np.int64)
    tp = np.array([tp for tp, _ in parallel], dtype=np.int64)[form]
    pp = np.array([pp for _, pp in parallel], dtype=np.int64)[form]
    own = np.array([[w.checkpoint.kv_cache_dtype is dtype for dtype in kv_dtypes] for w in weights], dtype=np.bool_)
    return ShapeTable(
        weights=weights,
        gpus=catalog.gpus,
        engines=tuple(engines),
        kv_dtypes=kv_dtypes,
        weight=weight,
        gpu=gpu,
        engine=engine,
        kv=kv,
        tp=np.where(tp == 0, largest[gpu], tp),
        pp=pp,
        own_cache=own.reshape(-1, len(kv_dtypes))[weight, kv],
    )


def _largest_tp(gpu: GpuSpec) -> int:
    """Largest tensor-parallel size that fills one machine with this GPU."""
    return max((tp for tp in TP_SIZES if tp <= max(gpu.node_sizes)), default=1)


def _weights(catalog: Catalog, model: ModelSpec, engines: Sequence[EngineSpec]) -> list[Weights]:
    """Checkpoints that exist, and those that one of the engines makes from the 16-bit one while loading."""
    running = {engine.id for engine in engines}
    entries = []
    offered = set()
    sixteen_bit = None
    for checkpoint in model.checkpoints:
        method = catalog.method(checkpoint.method)
        if method is None:
            continue
        entries.append(Weights(model, checkpoint, method.of(checkpoint)))
        offered.add(checkpoint.quantization)
        if checkpoint.quantization in _SIXTEEN_BIT:
            sixteen_bit = checkpoint
    if sixteen_bit is not None:
        for method in catalog.methods:
            if method.made_while_loading and method.quantization not in offered and running & set(method.engines):
                made = replace(sixteen_bit, method=method.id, quantization=method.quantization, made_while_loading=True)
                entries.append(Weights(model, made, method.of(made)))
    return entries


def custom_model(custom: CustomModel, catalog: Catalog) -> ModelSpec | None:
    """A user's own model: the base's architecture under the user's repository; None if the base is unknown."""
    base = custom.architecture or (catalog.model(custom.base) if custom.base else None)
    if base is None:
        return None
    if custom.architecture is not None:
        base = _as_its_kind(base, catalog)
    native = Quantization.FP16 if base.native_dtype is Dtype.FLOAT16 else Quantization.BF16
    quantization = custom.quantization or native
    checkpoint = _listed(base, custom.repository, quantization) or Checkpoint(
        repository=custom.repository, method=_CUSTOM_METHODS[quantization], quantization=quantization
    )
    checkpoint = replace(checkpoint, revision=custom.revision)
    return replace(base, id=custom.repository, aliases=(), checkpoints=(checkpoint,), scores=(), task=custom.task)


def _listed(base: ModelSpec, repository: str, quantization: Quantization) -> Checkpoint | None:
    """Find a user's repository among the checkpoints of its base, which say exactly how its layers are stored."""
    wanted = repository.casefold()
    formats = _SIXTEEN_BIT if quantization in _SIXTEEN_BIT else {quantization}
    return next((c for c in base.checkpoints if c.repository.casefold() == wanted and c.quantization in formats), None)


def _as_its_kind(described: ModelSpec, catalog: Catalog) -> ModelSpec:
    """Give a model that is described by its numbers what the engine's code of its architecture brings along."""
    kind = next((model for model in catalog.models if model.architecture == described.architecture), None)
    if kind is None:
        return described
    return replace(
        described,
        attention_sinks=kind.attention_sinks,
        sparse_attention=kind.sparse_attention,
        image_prefix=kind.image_prefix,
        multimodal_item_tokens=kind.multimodal_item_tokens,
    )
