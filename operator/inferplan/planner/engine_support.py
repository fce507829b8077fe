"""Whether an engine starts a shape at all: GPU, architecture, number formats, weight formats and attention kernels.

What an engine has is data of its version in the catalog; what a model needs is data of the model. Nothing here depends
on the scenario.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.attention import AttentionNeeds, attention_needs, unmet_needs
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import Dtype, LayerKind, ModelSpec, Task
from inferplan.planner.candidates import ShapeTable, Weights, compute_dtype
from inferplan.planner.verdict import Verdict

Flags = NDArray[np.bool_]
Words = NDArray[np.object_]


def engine_runs_it(table: ShapeTable) -> Verdict:
    """Refuse GPUs, architectures, tasks, arithmetic and attention that the engine does not run."""
    attention = _Attention(table)

    def refusal(weights: Weights, engine: EngineSpec, gpu: GpuSpec) -> str:
        return (
            _gpu_refused(engine, gpu) or _model_refused(weights, engine, gpu) or attention.refused(weights, engine, gpu)
        )

    fails, detail = _spread(table, refusal)
    pipelines = np.array([engine.supports_pipeline for engine in table.engines], dtype=np.bool_)
    split = (table.pp > 1) & ~pipelines[table.engine] & ~fails
    return Verdict(fails | split, detail=np.where(split, "it has no pipeline parallelism", detail))


def quantization_runs(table: ShapeTable) -> Verdict:
    """Refuse weight formats for which the engine has no kernel on the GPU."""

    def refusal(weights: Weights, engine: EngineSpec, gpu: GpuSpec) -> str:
        method, highest = weights.method, weights.method.max_compute_capability
        if engine.id not in method.engines:
            return f"{engine.name} {engine.version} does not read {method.id}"
        if highest is not None and (gpu.compute_capability or 0) > highest:
            return f"no kernel for {method.id} above compute capability {_version(highest)}"
        return "needs a newer GPU" if (gpu.compute_capability or 0) < _least_for(weights) else ""

    fails, detail = _spread(table, refusal)
    limit = np.array([_least_for(weights) / 10 for weights in table.weights])[table.weight]
    actual = np.array([(gpu.compute_capability or 0) / 10 for gpu in table.gpus])[table.gpu]
    numeric = actual < limit
    return Verdict(
        fails,
        limit=np.where(numeric, limit, np.nan),
        actual=np.where(numeric, actual, np.nan),
        unit="compute capability",
        detail=np.where(numeric, "", detail),
    )


def kv_dtype_runs(table: ShapeTable) -> Verdict:
    """Refuse KV-cache types that no attention kernel of the engine reads on the GPU, and those of caches never used."""
    attention = _Attention(table)
    fails, detail = np.zeros(len(table), dtype=np.bool_), np.full(len(table), "", dtype=object)
    for index, dtype in enumerate(table.kv_dtypes):

        def refusal(weights: Weights, engine: EngineSpec, gpu: GpuSpec, dtype: Dtype | None = dtype) -> str:
            return attention.missing(weights.model, engine, gpu, dtype or compute_dtype(weights.model, gpu, engine))

        rows = np.flatnonzero(table.kv == index)
        fails[rows], detail[rows] = _spread(table.take(rows), refusal)
    used = np.array([_keeps_tokens(w.model) and w.model.task is not Task.CLASSIFICATION for w in table.weights])
    idle = (table.kv > 0) & ~used.astype(np.bool_)[table.weight]
    return Verdict(fails | idle, detail=np.where(idle, "no tokens are kept for later steps", detail))


def _spread(table: ShapeTable, refusal: Callable[[Weights, EngineSpec, GpuSpec], str]) -> tuple[Flags, Words]:
    """Ask once per (weights, engine, GPU) why it is refused ("" if it is not), and spread the answers over the rows."""
    shape = (len(table.weights), len(table.engines), len(table.gpus))
    answers = np.empty(int(np.prod(shape)), dtype=object)
    answers[:] = [refusal(w, e, g) for w in table.weights for e in table.engines for g in table.gpus]
    fails = np.array([answer != "" for answer in answers], dtype=np.bool_)
    at = np.ravel_multi_index((table.weight, table.engine, table.gpu), shape)
    return fails[at], answers[at]


class _Attention:
    """Attention kernels for the models of a table; models with the same needs are asked for once."""

    def __init__(self, table: ShapeTable) -> None:
        self._needs = {
            (w.model.id, e.id): attention_needs(w.model, text_only=e.text_only)
            for w in table.weights
            for e in table.engines
        }
        self._known: dict[tuple[tuple[AttentionNeeds, ...], str, int, Dtype], str] = {}

    def refused(self, weights: Weights, engine: EngineSpec, gpu: GpuSpec) -> str:
        """Say which layers have no kernel whatever the type of the cache; "" if they have one for some type."""
        own = compute_dtype(weights.model, gpu, engine)
        lacking = [self.missing(weights.model, engine, gpu, dtype) for dtype in (own, Dtype.FP8)]
        return "" if "" in lacking else lacking[0]

    def missing(self, model: ModelSpec, engine: EngineSpec, gpu: GpuSpec, dtype: Dtype) -> str:
        """Say which layers have no kernel on the GPU with this type of cache; "" if all have one."""
        needs, capability = self._needs[model.id, engine.id], gpu.compute_capability or 0
        key = (needs, engine.id, capability, dtype)
        if key not in self._known:
            unmet = unmet_needs(engine.attention_kernels, needs, capability, dtype)
            self._known[key] = "" if unmet is None else _no_kernel(engine, capability, unmet, dtype)
        return self._known[key]


def _no_kernel(engine: EngineSpec, capability: int, unmet: AttentionNeeds, dtype: Dtype) -> str:
    kernel = f"no attention kernel of {engine.name} {engine.version} on compute capability {_version(capability)}"
    return f"{kernel} for {unmet.words} with a KV cache in {dtype}"


def _gpu_refused(engine: EngineSpec, gpu: GpuSpec) -> str:
    why = engine.why_not_on(gpu)
    return f"{engine.name} {engine.version}: {why}" if why else ""


def _model_refused(weights: Weights, engine: EngineSpec, gpu: GpuSpec) -> str:
    model, method, known = weights.model, weights.method, engine.architectures
    if known is not None and not known.runs(model.architecture, model.task):
        does = "generates no text with" if model.task is Task.GENERATION else "does not classify with"
        return f"{engine.name} {engine.version} {does} {model.architecture}"
    if model.task is Task.CLASSIFICATION and not engine.supports_classification:
        return f"{engine.name} {engine.version} does not classify"
    if compute_dtype(model, gpu, engine) is Dtype.FLOAT16:
        if known is not None and known.refuses_float16(model.architecture):
            return f"{engine.name} {engine.version} does not run {model.architecture} in float16"
        if method.refuses_float16:
            return f"{method.id} is not run in float16"
    return _step_too_small(model, engine)


def _step_too_small(model: ModelSpec, engine: EngineSpec) -> str:
    """Say how many tokens a step must have room for; a default is raised to that, a token budget that was said is not.

    Notes
    -----
    Images whose tokens attend to one another are not cut (vLLM 0.33.0, ``vllm/v1/core/encoder_cache_manager.py``).
    """
    budget, needed = engine.batched_tokens, model.multimodal_item_tokens
    if budget is None or engine.text_only or budget >= needed:
        return ""
    return (
        f"a step of {budget:,} tokens has no room for an image or video of {model.id}, which takes up to {needed:,}"
        f" at once: raise maxNumBatchedTokens to {needed}, or serve text alone"
    )


def _keeps_tokens(model: ModelSpec) -> bool:
    return any(group.kind is not LayerKind.LINEAR for group in model.attention)


def _least_for(weights: Weights) -> int:
    """Compute capability x 10 from which the engine loads weights."""
    return max(weights.method.min_compute_capability, weights.checkpoint.min_compute_capability or 0)


def _version(compute_capability: int) -> str:
    return f"{compute_capability / 10:.1f}"
