"""What cannot be meant in a pin, whatever the catalog knows: what excludes each other, and what an engine cannot do."""

from __future__ import annotations

from collections.abc import Iterator

from inferplan.api.contradiction import Contradiction
from inferplan.api.v1alpha1.pin import EngineName, Pin, SpeculativeMethod
from inferplan.api.v1alpha1.spec import InferenceScenarioSpec
from inferplan.domain.deployment import TGI_WIGGLE_ROOM
from inferplan.domain.model import Task

_PIN = "spec.select.pin"
_VLLM_ONLY = f"leave it out, or write {_PIN}.engine: vLLM"


def pin_makes_sense(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Check that the settings of a pin go together, and that the engine has them."""
    pin = spec.select.pin
    if pin is None:
        return
    engines = possible_engines(spec)
    yield from _batch_fits(pin, engines)
    yield from _speculative(pin, spec.task)
    yield from _drafts_fit(pin, engines)
    if EngineName.TGI in engines:
        yield from _beyond_tgi(pin)


def possible_engines(spec: InferenceScenarioSpec) -> frozenset[EngineName]:
    """Engines that a plan may come to: the pinned one, or those that are allowed."""
    pin = spec.select.pin
    return frozenset(spec.engine.allow if pin is None or pin.engine is None else (pin.engine,))


def _batch_fits(pin: Pin, engines: frozenset[EngineName]) -> Iterator[Contradiction]:
    sequences, tokens = pin.max_num_seqs, pin.max_num_batched_tokens
    if EngineName.VLLM in engines and sequences is not None and tokens is not None and sequences > tokens:
        yield Contradiction(
            f"{_PIN}.maxNumSeqs",
            f"each sequence needs one token per step, so {sequences} do not fit in {tokens}",
            f"pin at most {tokens}, or raise maxNumBatchedTokens",
        )


def _speculative(pin: Pin, task: Task | None) -> Iterator[Contradiction]:
    decoding, here = pin.speculative_decoding, f"{_PIN}.speculativeDecoding"
    if decoding is None:
        return
    drafts = decoding.method is SpeculativeMethod.DRAFT_MODEL
    if drafts and decoding.model is None:
        yield Contradiction(f"{here}.model", "method DraftModel needs one", "name a smaller model of the same family")
    if not drafts and decoding.model is not None:
        yield Contradiction(f"{here}.model", f"method {decoding.method} drafts without a model", "leave it out")
    if task is Task.CLASSIFICATION:
        yield Contradiction(here, "a classifier generates nothing, so there is nothing to draft", "leave it out")


def _drafts_fit(pin: Pin, engines: frozenset[EngineName]) -> Iterator[Contradiction]:
    """Yield more drafted tokens than a step of vLLM has room for (``VllmConfig._set_max_num_scheduled_tokens``)."""
    decoding, tokens = pin.speculative_decoding, pin.max_num_batched_tokens
    if decoding is None or tokens is None or EngineName.VLLM not in engines:
        return
    if decoding.method is not SpeculativeMethod.NGRAM and tokens <= decoding.tokens:
        yield Contradiction(
            f"{_PIN}.maxNumBatchedTokens",
            f"a step of {tokens} tokens has no room for {decoding.tokens} drafted tokens and one more",
            f"set at least {decoding.tokens + 1}, or draft fewer tokens",
        )


def _beyond_tgi(pin: Pin) -> Iterator[Contradiction]:
    """Yield what text-generation-launcher has no argument for."""
    for name, value in (("cpuOffloadGib", pin.cpu_offload_gib), ("kvOffloadGib", pin.kv_offload_gib)):
        if value is not None:
            yield Contradiction(f"{_PIN}.{name}", "TGI keeps neither weights nor KV cache on the host", _VLLM_ONLY)
    share = pin.gpu_memory_utilization
    if share is not None and float(share) > TGI_WIGGLE_ROOM:
        yield Contradiction(
            f"{_PIN}.gpuMemoryUtilization",
            f"TGI takes at most {TGI_WIGGLE_ROOM} of each GPU, even with --cuda-memory-fraction=1, and never {share}",
            f'write "{TGI_WIGGLE_ROOM}" or less, or {_PIN}.engine: vLLM',
        )
    decoding = pin.speculative_decoding
    if decoding is not None and decoding.method is not SpeculativeMethod.NGRAM:
        yield Contradiction(
            f"{_PIN}.speculativeDecoding.method", f"TGI has no {decoding.method}, only Ngram", _VLLM_ONLY
        )
