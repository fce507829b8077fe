"""Why a candidate was turned down. The codes are closed, documented here once, and never renamed."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ReasonCode(enum.StrEnum):
    """Reason of a rejection."""

    MODEL_NOT_ALLOWED = "ModelNotAllowed"
    MODEL_NOT_SIZABLE = "ModelNotSizable"
    LICENSE_DENIED = "LicenseDenied"
    QUALITY_UNKNOWN = "QualityUnknown"
    QUALITY_BELOW_MINIMUM = "QualityBelowMinimum"
    QUANTIZATION_NOT_ALLOWED = "QuantizationNotAllowed"
    QUANTIZATION_LOSSY = "QuantizationLossy"
    CHECKPOINT_MISSING = "CheckpointMissing"
    CONTEXT_OVER_MODEL_LIMIT = "ContextOverModelLimit"
    ENGINE_UNSUPPORTED = "EngineUnsupported"
    QUANTIZATION_UNSUPPORTED = "QuantizationUnsupported"
    KV_DTYPE_UNSUPPORTED = "KvDtypeUnsupported"
    GPU_NOT_ALLOWED = "GpuNotAllowed"
    TP_NOT_DIVISOR = "TpNotDivisor"
    TP_BEYOND_NODE = "TpBeyondNode"
    NO_OFFERING = "NoOffering"
    NO_INVENTORY = "NoInventory"
    WEIGHTS_DONT_FIT = "WeightsDontFit"
    NOT_DEPLOYABLE = "NotDeployable"
    KV_CACHE_TOO_SMALL = "KvCacheTooSmall"
    GPUS_OVER_MAXIMUM = "GpusOverMaximum"
    TTFT_OVER_TARGET = "TtftOverTarget"
    TPOT_OVER_TARGET = "TpotOverTarget"
    LATENCY_OVER_TARGET = "LatencyOverTarget"
    LOAD_OVER_CAPACITY = "LoadOverCapacity"
    DEADLINE_MISSED = "DeadlineMissed"
    OVER_BUDGET = "OverBudget"
    PIN_MISMATCH = "PinMismatch"


REASON_TEXT: dict[ReasonCode, str] = {
    ReasonCode.MODEL_NOT_ALLOWED: "the scenario's model.allow / model.deny leave the model out",
    ReasonCode.MODEL_NOT_SIZABLE: "the catalog cannot express the model's KV layout, so its memory is unknown",
    ReasonCode.LICENSE_DENIED: "the model's licence is not among model.licenses",
    ReasonCode.QUALITY_UNKNOWN: "no published score on the asked metric; unknown is not a pass",
    ReasonCode.QUALITY_BELOW_MINIMUM: "the model's published score is below quality.minimum",
    ReasonCode.QUANTIZATION_NOT_ALLOWED: "the weight format is not among quality.quantization.allow",
    ReasonCode.QUANTIZATION_LOSSY: "published accuracy after quantization falls below what lossy: Avoid accepts",
    ReasonCode.CHECKPOINT_MISSING: "no checkpoint of the model exists in the asked format",
    ReasonCode.CONTEXT_OVER_MODEL_LIMIT: "prompt + output (or contextTokens) exceed the model's trained positions",
    ReasonCode.ENGINE_UNSUPPORTED: "the engine does not run this architecture, this GPU, or the attention on it",
    ReasonCode.QUANTIZATION_UNSUPPORTED: "the engine has no kernel for this weight format on this GPU",
    ReasonCode.KV_DTYPE_UNSUPPORTED: "no attention kernel of the engine reads this KV cache type on this GPU",
    ReasonCode.GPU_NOT_ALLOWED: "the scenario's hardware.allow / hardware.deny leave the GPU out",
    ReasonCode.TP_NOT_DIVISOR: "tensor parallelism does not divide the heads or the quantization groups",
    ReasonCode.TP_BEYOND_NODE: "no machine with this GPU holds so many of them",
    ReasonCode.NO_OFFERING: "no price for this GPU on the asked terms, providers and regions",
    ReasonCode.NO_INVENTORY: "the cluster has no free GPU of this kind (or too few on one node)",
    ReasonCode.WEIGHTS_DONT_FIT: "weights and the engine's own needs exceed the GPU's memory",
    ReasonCode.NOT_DEPLOYABLE: "a replica spans several machines, which cannot be deployed yet",
    ReasonCode.KV_CACHE_TOO_SMALL: "what is left for KV cache does not hold the sequences asked for",
    ReasonCode.GPUS_OVER_MAXIMUM: "more GPUs than hardware.maximumGpus (or than there are) would be needed",
    ReasonCode.TTFT_OVER_TARGET: "time to first token misses its target, however many replicas",
    ReasonCode.TPOT_OVER_TARGET: "time per output token misses its target, however many replicas",
    ReasonCode.LATENCY_OVER_TARGET: "the whole request misses its latency target, however many replicas",
    ReasonCode.LOAD_OVER_CAPACITY: "the offered load exceeds what the replicas can serve",
    ReasonCode.DEADLINE_MISSED: "the run does not finish before its deadline",
    ReasonCode.OVER_BUDGET: "the cheapest number of replicas costs more than the budget",
    ReasonCode.PIN_MISMATCH: "select.pin asks for something else",
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """One candidate, turned down, with the limit that it broke and by how much.

    Parameters
    ----------
    code
        Reason.
    candidate
        The candidate in one line.
    limit, actual
        Limit and actual value in ``unit``; None where the reason is not a number.
    """

    code: ReasonCode
    candidate: str
    limit: float | None
    actual: float | None
    unit: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RejectionCount:
    """How many candidates fell for one reason, and the nearest of them as example."""

    code: ReasonCode
    count: int
    example: Rejection


@dataclass(frozen=True, slots=True)
class RejectionSummary:
    """All rejections of one search, in the order in which the checks ran."""

    total: int
    by_reason: tuple[RejectionCount, ...]
