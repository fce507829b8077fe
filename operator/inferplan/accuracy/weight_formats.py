"""Which quantization method the weights of a run had: the column, the checkpoint's name and the model decide."""

from __future__ import annotations

from inferplan.accuracy.model_names import cut
from inferplan.domain.catalog import Catalog
from inferplan.domain.model import Checkpoint, ModelSpec, Quantization, QuantizationMethod

_SPELLINGS = {
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "fp16",
    "float16": "fp16",
    "half": "fp16",
    "16": "fp16",
    "fp8": "fp8",
    "fp8e4m3": "fp8",
    "e4m3": "fp8",
    "fp8block": "fp8_block",
    "fp8dynamic": "fp8",
    "w8a8fp8": "fp8",
    "fp8w8a8": "fp8",
    "nvfp4": "nvfp4",
    "fp4": "nvfp4",
    "mxfp4": "mxfp4",
    "w4a16mxfp4": "mxfp4",
    "awq": "awq",
    "int4awq": "awq",
    "awqint4": "awq",
    "awqmarlin": "awq",
    "gptq": "gptq_int4",
    "gptqint4": "gptq_int4",
    "int4gptq": "gptq_int4",
    "gptqmarlin": "gptq_int4",
    "int4": "int4",
    "4bit": "int4",
    "w4a16": "w4a16",
    "int4w4a16": "w4a16",
    "int8": "int8",
    "8bit": "int8",
    "w8a8": "int8_w8a8",
    "int8w8a8": "int8_w8a8",
    "w8a8int8": "int8_w8a8",
    "w8a16": "gptq_int8",
    "gptqint8": "gptq_int8",
    "int8gptq": "gptq_int8",
    "eetq": "eetq_int8",
    "int8eetq": "eetq_int8",
}
"""What the column says, without case and signs, to a method, or to ``int4`` and ``int8``, which leave it open."""
_LEFT_OPEN = {"int4": ("awq", "gptq_int4", "w4a16", "w4a16_experts"), "int8": ("int8_w8a8", "gptq_int8", "eetq_int8")}
_PER_CHANNEL_MAKERS = frozenset({"redhatai", "neuralmagic", "nvidia", "amd", "nm-testing"})
"""Makers whose FP8 checkpoints have a scale per tensor or channel, whatever the model's own maker did."""
_BY_WORD = {
    "fp8": "fp8",
    "nvfp4": "nvfp4",
    "mxfp4": "mxfp4",
    "awq": "awq",
    "gptq": "gptq_int4",
    "int4": "int4",
    "w4a16": "w4a16",
    "int8": "int8",
    "w8a8": "int8_w8a8",
    "w8a16": "gptq_int8",
    "eetq": "eetq_int8",
    "bf16": "bf16",
    "fp16": "fp16",
}


def method_of(catalog: Catalog, model: ModelSpec, name: str, column: str) -> QuantizationMethod | str:
    """Return the method of a run's weights, or why it is not known.

    Parameters
    ----------
    name
        The checkpoint's name as the run gives it.
    column
        What the run says about its weights; empty if nothing, then the name decides, then the published weights.
    """
    key = _key(column)
    if key and key not in _SPELLINGS:
        return f'weight format "{column}" is not known'
    wanted = _SPELLINGS.get(key) or _of_name(name)
    if not wanted:
        own = _checkpoint(model, name)
        wanted = model.checkpoints[0].method if own is None else own
    method = catalog.method(_of_model(model, name, wanted))
    if method is None:
        return f'weight format "{column or wanted}" is not in the catalog'
    checkpoint = _stored_as(model, name, method)
    return method if checkpoint is None else method.of(checkpoint)


def _stored_as(model: ModelSpec, name: str, method: QuantizationMethod) -> Checkpoint | None:
    """Return the checkpoint whose layers a run's weights have: the named one, or the model's own in that format.

    Somebody else's checkpoint in the same format may leave other layers in 16 bit, so it has none.
    """
    alike = [c for c in model.checkpoints if c.method == method.id]
    wanted = name.casefold()
    named = next((c for c in alike if c.repository.casefold() == wanted), None)
    if named is not None or wanted in {known.casefold() for known in (model.id, *model.aliases)}:
        return named or next(iter(alike), None)
    return None


def _key(column: str) -> str:
    return "".join(sign for sign in column.casefold() if sign.isalnum())


def _of_name(name: str) -> str:
    formats = cut(name).formats
    if "gptq" in formats and "int8" in formats:
        return "gptq_int8"
    return next((_BY_WORD.get(word, "") for word in formats), "")


def _checkpoint(model: ModelSpec, name: str) -> str | None:
    wanted = name.casefold()
    return next((c.method for c in model.checkpoints if c.repository.casefold() == wanted), None)


def _of_model(model: ModelSpec, name: str, wanted: str) -> str:
    """Refine a format by what the model's checkpoints really are (FP8 in blocks, experts alone in 4 bit)."""
    own = _checkpoint(model, name)
    methods = [c.method for c in model.checkpoints]
    if wanted == "fp8":
        of_eight_bit = [c.method for c in model.checkpoints if c.quantization is Quantization.FP8]
        if own in of_eight_bit:
            return own or wanted
        per_channel = name.casefold().partition("/")[0] in _PER_CHANNEL_MAKERS
        return of_eight_bit[0] if of_eight_bit and not per_channel else "fp8"
    if wanted in _LEFT_OPEN:
        by_name = _of_name(name)
        open_to = _LEFT_OPEN[wanted]
        for found in (own, by_name, *methods):
            if found in open_to:
                return found
        return open_to[0]
    return wanted
