"""How the engine of a plan is started, where a pin says so, in words."""

from __future__ import annotations

from collections.abc import Iterator

from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.scenario import Pin
from inferplan.domain.units import GIB


def started_with(pin: Pin | None) -> str:
    """List what a pin says about the start of the engine; empty if nothing.

    >>> started_with(Pin(gpu_memory_utilization=0.95, eager=True))
    "95 % of each GPU's memory, no CUDA graphs"
    """
    return "" if pin is None else ", ".join(_settings(pin))


def _settings(pin: Pin) -> Iterator[str]:
    if pin.gpu_memory_utilization is not None:
        yield f"{100 * pin.gpu_memory_utilization:g} % of each GPU's memory"
    if pin.max_num_batched_tokens is not None:
        yield f"steps of up to {pin.max_num_batched_tokens:,} tokens"
    if pin.eager:
        yield "no CUDA graphs"
    if pin.text_only is False:
        yield "the parts for images and audio"
    if pin.cpu_offload_bytes:
        yield f"{pin.cpu_offload_bytes // GIB} GiB of each GPU's weights in the machine's memory"
    if pin.kv_offload_bytes:
        yield f"{pin.kv_offload_bytes // GIB} GiB of machine memory for KV cache"
    if pin.speculative is not None:
        yield drafting(pin.speculative)


def drafting(decoding: SpeculativeDecoding) -> str:
    """Say how tokens are drafted, and what is taken of them."""
    source = {
        SpeculativeMethod.NGRAM: "from repetitions",
        SpeculativeMethod.MTP: "by the model's MTP layer",
        SpeculativeMethod.DRAFT_MODEL: f"by {'' if decoding.draft is None else decoding.draft.id}",
    }[decoding.method]
    tokens = "1 token" if decoding.tokens == 1 else f"{decoding.tokens} tokens"
    return f"{tokens} drafted {source}, {100 * decoding.acceptance:.0f} % of them kept"
