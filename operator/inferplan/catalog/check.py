"""The deep checks of a catalog: figures that contradict each other, prices off the mark, clashing names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from inferplan.catalog.files import Records, read
from inferplan.catalog.loader import dangling, of_kind
from inferplan.catalog.schema import CalibrationRecord, Gpu, Model
from inferplan.catalog.schema.model import Attention
from inferplan.domain.errors import Fault

DENSE_RATIO = 2.2
"""FP8 over 16-bit peak beyond which one of the two is a sparse figure."""
PARAMETERS_TOLERANCE = 0.02
PRICE_FACTOR = 8.0
"""Price of a GPU-hour over (or under) the median of its GPU from which it is called absurd."""

PLAUSIBLE_BANDWIDTH = (1e10, 1e14)
"""Memory bandwidths between the slowest and the fastest device one could serve on [bytes/s]."""
PLAUSIBLE_PEAK = (1e11, 1e18)
"""The same for peaks [FLOP/s]."""
_PER_TOKEN = ("kv_heads", "key_head_dim")  # no value_head_dim where the keys are the values (gemma-4)
_NEEDS = {
    "full": _PER_TOKEN,
    "sliding": (*_PER_TOKEN, "window_tokens"),
    "chunked": (*_PER_TOKEN, "window_tokens"),
    "mla": ("latent_values_per_token",),
    "linear": ("state_bytes_per_sequence",),
}
"""What has to be known of a group of layers, by kind."""


def check_catalog(overlay: Path | None = None) -> tuple[Fault, ...]:
    """Verify everything: form, references, figures, names, prices. Every fault at once.

    Parameters
    ----------
    overlay
        A user's folder to lay over ours first.
    """
    records = read(overlay)
    return (
        *records.faults,
        *dangling(records),
        *_models(records),
        *_gpus(records),
        *_offerings(records),
        *_calibration(records),
    )


def _where(records: Records, kind: str, record_id: str) -> str:
    return f"{records.files[kind, record_id.casefold()]}: {record_id}"


def _models(records: Records) -> Iterator[Fault]:
    names: dict[str, str] = {}
    for model in of_kind(records, "models", Model):
        where = _where(records, "models", model.id)
        for name in (model.id, *model.aliases, *model.same_shape):
            other = names.setdefault(name.casefold(), model.id)
            if other != model.id:
                yield Fault(where, f'name "{name}" belongs to {other} too', "names are unique")
        for name in sorted({*model.same_shape_with_vision} - {*model.same_shape}):
            yield Fault(where, f'same_shape_with_vision names "{name}", which same_shape does not', "name it in both")
        yield from _model(model, where)


def _model(model: Model, where: str) -> Iterator[Fault]:
    if not model.attention and model.not_sizable is None:
        yield Fault(where, "has no attention layers", "describe them, or say in not_sizable why they cannot be")
    if model.params_active > model.params_total:
        yield Fault(where, f"params_active {model.params_active:,} exceeds params_total {model.params_total:,}")
    if model.moe is None and model.params_active != model.params_total:
        yield Fault(where, "a dense model uses all its parameters", "params_active = params_total")
    embedding = model.vocab_size * model.hidden_size * (1 if model.tie_word_embeddings else 2)
    if embedding > model.params_total:
        yield Fault(where, f"its embedding alone has {embedding:,} parameters, more than params_total")
    if model.image_prefix and not model.multimodal_item_tokens:
        yield Fault(where, "image_prefix without multimodal_item_tokens", "a step has to hold the largest item")
    for group in model.attention:
        yield from _attention(group, where)
    attending = sum(group.layers for group in model.attention)
    if attending > model.layers:
        yield Fault(where, f"{attending} attention layers in {model.layers} layers")
    if model.moe is not None:
        routed = (
            model.moe.layers
            * model.moe.experts
            * model.moe.matrices_per_expert
            * model.hidden_size
            * model.moe.expert_intermediate_size
        )
        if routed > model.params_total * (1 + PARAMETERS_TOLERANCE):
            yield Fault(where, f"its experts alone have {routed:,} parameters, more than params_total")


def _attention(group: Attention, where: str) -> Iterator[Fault]:
    """Yield what a group of layers lacks of that by which its kind is sized."""
    lacking = [name for name in _NEEDS[group.kind] if not getattr(group, name)]
    if lacking:
        yield Fault(where, f"{group.kind} attention without {', '.join(lacking)}", "the cache is sized by it")


def _gpus(records: Records) -> Iterator[Fault]:
    names: dict[str, str] = {}
    for gpu in of_kind(records, "gpus", Gpu):
        where = _where(records, "gpus", gpu.id)
        for name in sorted({gpu.id, gpu.name, *gpu.aliases, *gpu.product_labels}):
            other = names.setdefault(name.casefold(), gpu.id)
            if other != gpu.id:
                yield Fault(where, f'name "{name}" belongs to {other} too', "names are unique")
        sixteen, eight = gpu.peak_flops_per_s.get("float16"), gpu.peak_flops_per_s.get("fp8")
        if sixteen is None:
            yield Fault(where, "has no float16 peak", "the dense figure of the datasheet")
        elif eight is not None and eight > DENSE_RATIO * sixteen and gpu.vendor == "nvidia":
            yield Fault(where, f"fp8 is {eight / sixteen:.1f} x float16", "dense peaks only, never the sparse figure")
        low, high = PLAUSIBLE_BANDWIDTH
        if not low <= gpu.hbm_bandwidth_bytes_per_s <= high:
            yield Fault(where, f"bandwidth of {gpu.hbm_bandwidth_bytes_per_s:g} bytes/s", "bytes/s, not GB/s")
        low, high = PLAUSIBLE_PEAK
        for name, peak in gpu.peak_flops_per_s.items():
            if not low <= peak <= high:
                yield Fault(where, f"{name} peak of {peak:g} FLOP/s", "FLOP/s, not TFLOP/s")
        marketing = gpu.memory_marketing_gb * 1e9
        if not marketing * 0.85 <= gpu.memory_bytes <= marketing * 1.08:
            yield Fault(where, f"memory_bytes {gpu.memory_bytes:,} does not go with {gpu.memory_marketing_gb} GB")


def _offerings(records: Records) -> Iterator[Fault]:
    per_gpu: dict[tuple[str, str], list[float]] = defaultdict(list)
    for offering in records.offerings.values():
        per_gpu[offering.gpu, offering.terms].append(float(offering.price_usd_per_hour) / offering.gpu_count)
        for tag in offering.source.split("+"):
            if tag not in records.tags:
                yield Fault(
                    f"offerings: {offering.instance_type}",
                    f'source "{tag}" is not described',
                    "add it to offerings.toml",
                )
    middle = {key: median(prices) for key, prices in per_gpu.items()}
    for offering in records.offerings.values():
        price, usual = float(offering.price_usd_per_hour) / offering.gpu_count, middle[offering.gpu, offering.terms]
        if not usual / PRICE_FACTOR <= price <= usual * PRICE_FACTOR and offering.market.value == "Cloud":
            where = f"offerings: {offering.provider} {offering.region} {offering.instance_type} {offering.terms}"
            yield Fault(where, f"${price:.2f} per GPU-hour; the median of {offering.gpu} is ${usual:.2f}")


def _calibration(records: Records) -> Iterator[Fault]:
    for entry in of_kind(records, "calibration", CalibrationRecord):
        where = _where(records, "calibration", entry.id)
        if entry.gpu is not None and entry.family is not None:
            yield Fault(where, "names a GPU and a family", "one of them, or neither")
        for name in entry.assumed:
            if name not in entry.constants:
                yield Fault(where, f'assumed constant "{name}" is not among the constants')
