"""Why a candidate is turned down before any load is put on it: small pure checks in ordered, named lists.

Each check looks at one thing and may be called alone. A check of weights or GPUs answers with a
:class:`Finding` or None; a check of shapes answers for all rows at once with a :class:`Verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import LayerKind, ModelSpec, Quantization, QuantizationMethod, WeightPart
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Lossy, Pin, Scenario
from inferplan.estimate.weights import dense_layers
from inferplan.planner.candidates import ShapeTable, Weights
from inferplan.planner.engine_support import engine_runs_it, kv_dtype_runs, quantization_runs
from inferplan.planner.supply import Supply
from inferplan.planner.verdict import Verdict

LOSSLESS_RECOVERY_PERCENT = 99.0
"""Published average accuracy kept by a format, from which we call it lossless (within benchmark noise)."""


SIXTEEN_BITS = 16
_SIXTEEN_BIT = frozenset({Quantization.FP16, Quantization.BF16})


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found against one thing."""

    limit: float | None = None
    actual: float | None = None
    unit: str = ""
    detail: str = ""


def recovery_percent(method: QuantizationMethod, params_total: int) -> float | None:
    """Published accuracy kept by a method on models of this size [%]; 16-bit keeps all, None is unknown."""
    if method.quantization in _SIXTEEN_BIT:
        return 100.0
    known = [percent for size_from, percent in method.recovery_percent if size_from * 1e9 <= params_total]
    return known[-1] if known else (method.recovery_percent[0][1] if method.recovery_percent else None)


def is_lossless(weights: Weights) -> bool:
    """Whether the format is the one that the model was published in, or keeps what benchmarks can tell."""
    if not weights.checkpoint.made_while_loading and weights.checkpoint.repository == weights.model.id:
        return True
    recovery = recovery_percent(weights.method, weights.model.params_total)
    return recovery is not None and recovery >= LOSSLESS_RECOVERY_PERCENT


def matches(model: ModelSpec, pattern: str) -> bool:
    """Whether a shell pattern names a model: its id, an alias or its family."""
    names = (model.id, *model.aliases, model.family)
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for name in names)


# ── what a pin leaves ────────────────────────────────────────────────────────────────────────────────────


def pinned_model(weights: Weights, pin: Pin) -> Finding | None:
    """Turn down models other than the pinned one."""
    if pin.model is None or matches(weights.model, pin.model):
        return None
    return Finding(detail=f"pinned model is {pin.model}")


def pinned_checkpoint(table: Sequence[Weights], pin: Pin) -> list[Finding | None]:
    """Turn down a pinned model that nobody publishes in the pinned format, and that no engine brings into it."""
    wanted = pin.quantization
    if pin.model is None or wanted is None:
        return [None] * len(table)
    ours = [w for w in table if pinned_model(w, pin) is None]
    if not ours or any(same_format(wanted, w.checkpoint.quantization) for w in ours):
        return [None] * len(table)
    formats = list(dict.fromkeys(w.checkpoint.quantization for w in ours))
    detail = f"there is {', '.join(formats)}; make {wanted} weights (llm-compressor) and name them in model.custom"
    return [Finding(detail=detail)] * len(table)


def pinned_format(weights: Weights, pin: Pin) -> Finding | None:
    """Turn down weight formats other than the pinned one."""
    if pin.quantization is None or same_format(pin.quantization, weights.checkpoint.quantization):
        return None
    return Finding(detail=f"pinned quantization is {pin.quantization}")


def pinned_gpu(gpu: GpuSpec, pin: Pin) -> Finding | None:
    """Turn down GPUs other than the pinned one."""
    if pin.gpu is None or gpu.id == pin.gpu:
        return None
    return Finding(detail=f"pinned GPU is {pin.gpu}")


# ── checks of weights, in order ──────────────────────────────────────────────────────────────────────────


def model_allowed(weights: Weights, scenario: Scenario) -> Finding | None:
    """Apply ``model.allow``, ``model.deny`` and the task."""
    policy, model = scenario.model, weights.model
    if scenario.task is not model.task:
        return Finding(detail=f"a {model.task} model; the task is {scenario.task}")
    if policy.custom is not None:
        return None
    if policy.allow is not None and not any(matches(model, pattern) for pattern in policy.allow):
        return Finding(detail="not in model.allow")
    if any(matches(model, pattern) for pattern in policy.deny):
        return Finding(detail="in model.deny")
    return None


def model_sizable(weights: Weights, scenario: Scenario) -> Finding | None:
    """Turn down models whose KV layout the catalog cannot express."""
    del scenario
    return Finding(detail=weights.model.not_sizable) if weights.model.not_sizable else None


def license_allowed(weights: Weights, scenario: Scenario) -> Finding | None:
    """Apply ``model.licenses``."""
    allowed = scenario.model.licenses
    if allowed is None or any(fnmatchcase(weights.model.license.casefold(), a.casefold()) for a in allowed):
        return None
    return Finding(detail=f"licence is {weights.model.license}")


def quality_known(weights: Weights, scenario: Scenario) -> Finding | None:
    """Turn down models without a score on the asked metric; a user's own model answers for itself."""
    quality = scenario.quality
    if quality.metric is None or quality.minimum is None or scenario.model.custom is not None:
        return None
    return Finding(detail=quality.metric) if weights.model.score(quality.metric) is None else None


def quality_sufficient(weights: Weights, scenario: Scenario) -> Finding | None:
    """Turn down models below the asked score."""
    quality = scenario.quality
    if quality.metric is None or quality.minimum is None or scenario.model.custom is not None:
        return None
    score = weights.model.score(quality.metric)
    if score is None or score.value >= quality.minimum:
        return None
    return Finding(float(quality.minimum), float(score.value), quality.metric)


def quantization_allowed(weights: Weights, scenario: Scenario) -> Finding | None:
    """Apply ``quality.quantization.allow``."""
    allowed = scenario.quality.quantizations
    given = weights.checkpoint.quantization
    if allowed is None or any(same_format(wanted, given) for wanted in allowed):
        return None
    return Finding(detail=f"{weights.checkpoint.quantization} is not allowed")


def quantization_lossless(weights: Weights, scenario: Scenario) -> Finding | None:
    """Apply ``quality.quantization.lossy: Avoid``."""
    if scenario.quality.lossy is Lossy.ALLOW or is_lossless(weights):
        return None
    recovery = recovery_percent(weights.method, weights.model.params_total)
    if recovery is None:
        return Finding(detail=f"accuracy of {weights.method.id} is not published for this size")
    return Finding(LOSSLESS_RECOVERY_PERCENT, recovery, "% of accuracy kept")


def context_within_model(weights: Weights, scenario: Scenario) -> Finding | None:
    """Refuse prompt + output beyond the trained positions."""
    wanted = max_model_len(scenario)
    if wanted <= weights.model.max_position_embeddings:
        return None
    return Finding(weights.model.max_position_embeddings, wanted, "tokens")


def max_model_len(scenario: Scenario) -> int:
    """Context that every replica is started with [tokens]."""
    pinned = scenario.pin.max_model_len if scenario.pin else None
    return pinned or scenario.context_tokens


def planned_tokens(scenario: Scenario) -> int:
    """Length of the sequences that a batch limit is to be filled with: P95 of prompt and output [tokens]."""
    work = scenario.workload
    return min(max_model_len(scenario), work.prompt.p95 + work.output.p95)


WeightCheck = Callable[[Weights, Scenario], Finding | None]

WEIGHT_CHECKS: tuple[tuple[ReasonCode, WeightCheck], ...] = (
    (ReasonCode.MODEL_NOT_ALLOWED, model_allowed),
    (ReasonCode.MODEL_NOT_SIZABLE, model_sizable),
    (ReasonCode.CONTEXT_OVER_MODEL_LIMIT, context_within_model),
    (ReasonCode.LICENSE_DENIED, license_allowed),
    (ReasonCode.QUALITY_UNKNOWN, quality_known),
    (ReasonCode.QUALITY_BELOW_MINIMUM, quality_sufficient),
    (ReasonCode.QUANTIZATION_NOT_ALLOWED, quantization_allowed),
    (ReasonCode.QUANTIZATION_LOSSY, quantization_lossless),
)

_OF_MODEL = frozenset(
    {
        ReasonCode.MODEL_NOT_ALLOWED,
        ReasonCode.LICENSE_DENIED,
        ReasonCode.QUALITY_UNKNOWN,
        ReasonCode.QUALITY_BELOW_MINIMUM,
    }
)
_OF_FORMAT = frozenset({ReasonCode.QUANTIZATION_NOT_ALLOWED, ReasonCode.QUANTIZATION_LOSSY})


def overridden(reason: ReasonCode, scenario: Scenario) -> bool:
    """Whether a pin settles what a preference would choose: it is then a caution and no refusal."""
    pin = scenario.pin
    if pin is None:
        return False
    return (
        (pin.model is not None and reason in _OF_MODEL)
        or (pin.quantization is not None and reason in _OF_FORMAT)
        or (pin.gpu is not None and reason is ReasonCode.GPU_NOT_ALLOWED)
    )


def same_format(wanted: Quantization, given: Quantization) -> bool:
    """Whether a format is the wanted one; both 16-bit formats count as one, models come in either."""
    return wanted is given or {wanted, given} <= _SIXTEEN_BIT


# ── checks of GPUs, in order ─────────────────────────────────────────────────────────────────────────────


def gpu_allowed(gpu: GpuSpec, scenario: Scenario, supply: Supply) -> Finding | None:
    """Apply ``hardware.allow`` and ``hardware.deny``."""
    del supply
    policy = scenario.hardware
    if policy.allow is not None and gpu.id not in policy.allow:
        return Finding(detail="not in hardware.allow")
    if gpu.id in policy.deny:
        return Finding(detail="in hardware.deny")
    return None


def gpu_offered(gpu: GpuSpec, scenario: Scenario, supply: Supply) -> Finding | None:
    """Turn down GPUs that nobody rents out on the asked terms."""
    if supply.source != "Market" or supply.has_gpu(gpu.id):
        return None
    terms = ", ".join(scenario.hardware.terms)
    return Finding(detail=f"no price for {gpu.name} ({terms}) in the asked regions")


def gpu_in_inventory(gpu: GpuSpec, scenario: Scenario, supply: Supply) -> Finding | None:
    """Turn down GPUs that the cluster does not have free."""
    del scenario
    if supply.source == "Market" or supply.has_gpu(gpu.id):
        return None
    return Finding(detail=f"no free {gpu.name} with a known price")


GpuCheck = Callable[[GpuSpec, Scenario, Supply], Finding | None]

GPU_CHECKS: tuple[tuple[ReasonCode, GpuCheck], ...] = (
    (ReasonCode.GPU_NOT_ALLOWED, gpu_allowed),
    (ReasonCode.NO_OFFERING, gpu_offered),
    (ReasonCode.NO_INVENTORY, gpu_in_inventory),
)


# ── checks of shapes that depend on the catalog alone, in order ──────────────────────────────────────────


def tp_divides(table: ShapeTable) -> Verdict:
    """Refuse tensor-parallel sizes that do not divide the heads, and more stages than layers."""
    heads = np.array([w.model.attention_heads for w in table.weights])[table.weight]
    kv_heads = np.array([max(1, w.model.kv_heads) for w in table.weights])[table.weight]
    layers = np.array([w.model.layers for w in table.weights])[table.weight]
    uneven = (heads % table.tp != 0) | ((np.maximum(kv_heads, table.tp) % np.minimum(kv_heads, table.tp)) != 0)
    limit, actual = (np.where(uneven, count, np.nan) for count in (heads, table.tp))
    return Verdict(uneven | (layers < table.pp), limit, actual, "attention heads")


def tp_keeps_groups(table: ShapeTable) -> Verdict:
    """Refuse tensor-parallel sizes that cut a layer's width unevenly or through a quantization group.

    Notes
    -----
    What counts are the inputs of layers that are split by rows (vLLM 0.33.0, ``quantization/utils/fp8_utils.py``
    and ``marlin_utils.py``): attention heads, dense MLP and shared experts, as far as they are quantized. Routed
    experts are padded or scaled more finely.
    """
    if not table.weights:
        return Verdict(np.zeros(len(table), dtype=np.bool_))
    widths, groups = (np.array(each)[table.weight] for each in zip(*map(_split_by_rows, table.weights), strict=True))
    limit, actual = np.full(len(table), np.nan), np.full(len(table), np.nan)
    fails = np.zeros(len(table), dtype=np.bool_)
    for width, group in zip(widths.T, groups.T, strict=True):
        share = width / table.tp
        cut = (table.tp > 1) & (share % group != 0) & ~fails
        fails |= cut
        limit[cut], actual[cut] = group[cut], share[cut]
    return Verdict(fails, limit, actual, "rows of a layer on each GPU (they must be whole quantization groups)")


def _split_by_rows(weights: Weights) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Input widths that tensor parallelism splits [rows], 0 where there is none, and the groups in which to split."""
    model, method = weights.model, weights.method
    latent = any(group.kind is LayerKind.MLA for group in model.attention)
    widths = {
        WeightPart.ATTENTION: 0 if latent else model.attention_heads * model.head_dim,
        WeightPart.DENSE: model.intermediate_size if dense_layers(model) else 0,
        WeightPart.SHARED: model.moe.shared_intermediate_size * max(1, model.moe.shared_experts) if model.moe else 0,
    }
    wide = {part.part for part in method.stored_parts if part.weight_bits >= SIXTEEN_BITS and part.params is None}
    groups = (1 if method.experts_only or part in wide else max(1, method.group_size) for part in widths)
    return tuple(widths.values()), tuple(groups)


def tp_in_machine(table: ShapeTable) -> Verdict:
    """Keep tensor parallelism inside one machine."""
    largest = np.array([max(g.node_sizes) for g in table.gpus])[table.gpu]
    return Verdict(table.tp > largest, largest.astype(float), table.tp.astype(float), "GPUs in one machine")


ShapeCheck = Callable[[ShapeTable], Verdict]

SHAPE_CHECKS: tuple[tuple[ReasonCode, ShapeCheck], ...] = (
    (ReasonCode.ENGINE_UNSUPPORTED, engine_runs_it),
    (ReasonCode.QUANTIZATION_UNSUPPORTED, quantization_runs),
    (ReasonCode.KV_DTYPE_UNSUPPORTED, kv_dtype_runs),
    (ReasonCode.TP_BEYOND_NODE, tp_in_machine),
    (ReasonCode.TP_NOT_DIVISOR, tp_divides),
    (ReasonCode.TP_NOT_DIVISOR, tp_keeps_groups),
)
