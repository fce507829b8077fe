"""A pin as users write it -> the pin as the planner reads it, and back."""

from __future__ import annotations

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from inferplan.api.figures import decimal_text
from inferplan.api.names import Names
from inferplan.api.pin_checks import possible_engines
from inferplan.api.v1alpha1 import InferenceScenarioSpec
from inferplan.api.v1alpha1.pin import EngineName, Execution, KvCacheType, Modalities, SpeculativeMethod
from inferplan.api.v1alpha1.pin import SpeculativeDecoding as WrittenDecoding
from inferplan.domain.catalog import Catalog
from inferplan.domain.deployment import ASSUMED_SPECULATIVE_ACCEPTANCE, SpeculativeDecoding
from inferplan.domain.deployment import SpeculativeMethod as Method
from inferplan.domain.model import Dtype, ModelSpec
from inferplan.domain.scenario import Pin
from inferplan.domain.units import GIB

PIN = "spec.select.pin"
_DECODING = f"{PIN}.speculativeDecoding"
_METHODS = {
    SpeculativeMethod.NGRAM: Method.NGRAM,
    SpeculativeMethod.MTP: Method.MTP,
    SpeculativeMethod.DRAFT_MODEL: Method.DRAFT_MODEL,
}
_WRITTEN_METHODS = {method: written for written, method in _METHODS.items()}


def to_pin(spec: InferenceScenarioSpec, names: Names, catalog: Catalog) -> Pin | None:
    """Read a pin; what the catalog does not know becomes a fault."""
    written = spec.select.pin
    if written is None:
        return None
    _check_step(spec, names, catalog)
    share = written.gpu_memory_utilization
    return Pin(
        model=_model(spec, names),
        quantization=written.quantization,
        gpu=None if written.gpu is None else names.gpu(f"{PIN}.gpu", written.gpu),
        gpus_per_replica=written.gpus_per_replica,
        replicas=written.replicas,
        max_num_seqs=written.max_num_seqs,
        max_model_len=written.max_model_len,
        engine=None if written.engine is None else written.engine.value.casefold(),
        kv_dtype=None if written.kv_cache_type is None else Dtype(written.kv_cache_type.value),
        gpu_memory_utilization=None if share is None else float(share),
        max_num_batched_tokens=written.max_num_batched_tokens,
        eager=None if written.execution is None else written.execution is Execution.EAGER,
        text_only=None if written.modalities is None else written.modalities is Modalities.TEXT,
        cpu_offload_bytes=None if written.cpu_offload_gib is None else written.cpu_offload_gib * GIB,
        kv_offload_bytes=None if written.kv_offload_gib is None else written.kv_offload_gib * GIB,
        speculative=None
        if written.speculative_decoding is None
        else _decoding(written.speculative_decoding, spec, names, catalog),
    )


def from_pin(pin: Pin) -> dict[str, Any]:
    """Write a pin; what it leaves open is absent."""
    share = pin.gpu_memory_utilization
    fields = {
        "model": pin.model,
        "quantization": None if pin.quantization is None else pin.quantization.value,
        "gpu": pin.gpu,
        "gpusPerReplica": pin.gpus_per_replica,
        "replicas": pin.replicas,
        "maxNumSeqs": pin.max_num_seqs,
        "maxModelLen": pin.max_model_len,
        "engine": None if pin.engine is None else engine_name(pin.engine).value,
        "kvCacheType": None if pin.kv_dtype is None else KvCacheType(pin.kv_dtype.value).value,
        "gpuMemoryUtilization": None if share is None else decimal_text(Decimal(repr(share))),
        "maxNumBatchedTokens": pin.max_num_batched_tokens,
        "execution": None if pin.eager is None else (Execution.EAGER if pin.eager else Execution.CUDA_GRAPHS).value,
        "cpuOffloadGib": None if pin.cpu_offload_bytes is None else pin.cpu_offload_bytes // GIB,
        "kvOffloadGib": None if pin.kv_offload_bytes is None else pin.kv_offload_bytes // GIB,
        "speculativeDecoding": None if pin.speculative is None else from_decoding(pin.speculative),
        "modalities": None if pin.text_only is None else (Modalities.TEXT if pin.text_only else Modalities.ALL).value,
    }
    return {name: value for name, value in fields.items() if value is not None}


def from_decoding(decoding: SpeculativeDecoding) -> dict[str, Any]:
    """Write speculative decoding."""
    draft = {} if decoding.draft is None else {"model": decoding.draft.id}
    return {
        "method": _WRITTEN_METHODS[decoding.method].value,
        "tokens": decoding.tokens,
        "acceptancePercent": round(100 * decoding.acceptance),
        **draft,
    }


def engine_name(engine: str) -> EngineName:
    """Name an engine as people do."""
    return next(name for name in EngineName if name.value.casefold() == engine)


def _model(spec: InferenceScenarioSpec, names: Names) -> str | None:
    written, custom = spec.select.pin, spec.model.custom
    model = None if written is None else written.model
    if custom is None:
        return None if model is None else names.model(f"{PIN}.model", model)
    if model is not None and model != custom.repository:
        problem = f'"{model}" is not the custom model'
        names.fault(f"{PIN}.model", problem, f"leave it out, or write {custom.repository}")
    return custom.repository


def _check_step(spec: InferenceScenarioSpec, names: Names, catalog: Catalog) -> None:
    """Refuse a token budget that has no room for an image of any model that may be chosen, where images are served."""
    pin = spec.select.pin
    budget = None if pin is None else pin.max_num_batched_tokens
    if pin is None or budget is None or not _serves_images(spec, catalog):
        return
    models = _candidates(spec, catalog)
    nearest = min(models, key=lambda model: model.multimodal_item_tokens, default=None)
    if nearest is not None and nearest.multimodal_item_tokens > budget:
        needed = nearest.multimodal_item_tokens
        names.fault(
            f"{PIN}.maxNumBatchedTokens",
            f"a step of {budget:,} tokens has no room for an image or video of {nearest.id}, which takes up to"
            f" {needed:,} at once",
            f"write {needed} or more, or modalities: {Modalities.TEXT.value}",
        )


def _serves_images(spec: InferenceScenarioSpec, catalog: Catalog) -> bool:
    """Whether every engine that a plan may come to is started with images."""
    written = None if spec.select.pin is None else spec.select.pin.modalities
    if written is not None:
        return written is Modalities.ALL
    engines = [catalog.engine(engine.value) for engine in possible_engines(spec)]
    return all(engine is not None and not engine.text_only for engine in engines)


def _candidates(spec: InferenceScenarioSpec, catalog: Catalog) -> list[ModelSpec]:
    """Models of the catalog that a plan may come to."""
    custom, pin, allowed = spec.model.custom, spec.select.pin, spec.model.allow
    if custom is not None:
        allowed = () if custom.base is None else (custom.base,)
    elif pin is not None and pin.model is not None:
        allowed = (pin.model,)
    if allowed is None:
        return list(catalog.models)
    named = [catalog.model(name) for name in allowed]
    patterns = [name.casefold() for name in allowed]
    matching = [model for model in catalog.models if any(fnmatchcase(model.id.casefold(), p) for p in patterns)]
    return [*matching, *(model for model in named if model is not None)]


def _decoding(
    written: WrittenDecoding, spec: InferenceScenarioSpec, names: Names, catalog: Catalog
) -> SpeculativeDecoding:
    target = _target(spec, catalog)
    draft = None
    if written.model is not None:
        draft = catalog.model(names.model(f"{_DECODING}.model", written.model))
    if written.method is SpeculativeMethod.DRAFT_MODEL and target is not None and draft is not None:
        _check_draft(draft, target, names)
    if written.method is SpeculativeMethod.MTP and target is not None and not target.mtp_layers:
        names.fault(
            f"{_DECODING}.method",
            f"{target.id} has no multi-token-prediction layer that the catalog knows of",
            "use Ngram, or DraftModel with a smaller model of its family",
        )
    percent = written.acceptance_percent
    return SpeculativeDecoding(
        method=_METHODS[written.method],
        tokens=written.tokens,
        acceptance=ASSUMED_SPECULATIVE_ACCEPTANCE if percent is None else percent / 100,
        draft=draft,
    )


def _target(spec: InferenceScenarioSpec, catalog: Catalog) -> ModelSpec | None:
    """Find the model that speculative decoding serves; None if it is not said or not known."""
    custom, pin = spec.model.custom, spec.select.pin
    name = custom.base if custom is not None else None if pin is None else pin.model
    return None if name is None else catalog.model(name)


def _check_draft(draft: ModelSpec, target: ModelSpec, names: Names) -> None:
    """Refuse a draft that the engine would refuse, and one that could not be faster."""
    if draft.vocab_size != target.vocab_size:
        names.fault(
            f"{_DECODING}.model",
            f"{draft.id} has a vocabulary of {draft.vocab_size} tokens, and {target.id} one of {target.vocab_size}",
            "name a draft with the same vocabulary, mostly a smaller model of the same family",
        )
    elif draft.params_active >= target.params_active:
        names.fault(
            f"{_DECODING}.model",
            f"{draft.id} is no smaller than {target.id}, so drafting with it takes as long as answering",
            "name a smaller model of the same family",
        )
