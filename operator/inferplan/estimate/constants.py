"""Calibrated constants: their names, meaning and prior values; records of the catalog override them.

Every constant is resolved for an (engine, GPU) from three layers: the prior below, then the record of the engine, then
that of the GPU's family, then that of the GPU itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from inferplan.domain.calibration import Calibration, ErrorRange
from inferplan.domain.estimate import Evidence
from inferplan.domain.hardware import GpuSpec


@dataclass(frozen=True, slots=True)
class Constants:
    """What the formulas need beyond datasheets. The values here are the uncalibrated prior.

    Parameters
    ----------
    weight_mbu
        Achieved share of peak memory bandwidth while weights are read.
    kv_mbu
        The same for the KV cache in attention.
    expert_mbu
        The same for routed experts (grouped matrix products read scattered blocks).
    mfu
        Achieved share of the dense peak in large matrix products.
    low_precision_mfu
        The same with FP8, INT8 or FP4 arithmetic.
    attention_mfu
        The same in prefill attention.
    weight_only_slowdown
        Factor on arithmetic time where quantized weights are unpacked to 16 bit first.
    step_overhead_s, layer_overhead_s, sequence_overhead_s, token_overhead_s
        Host and launch time per step, per layer of a step, per running sequence and per prompt token [s].
    allreduce_latency_s
        Fixed time of one all-reduce [s]; two per layer with tensor parallelism.
    link_efficiency
        Achieved share of the link's bandwidth in large all-reduces.
    request_overhead_s
        Time of a request outside the engine's steps: HTTP, tokenization, first detokenization [s].
    """

    weight_mbu: float = 0.85
    kv_mbu: float = 0.70
    expert_mbu: float = 0.65
    mfu: float = 0.60
    low_precision_mfu: float = 0.50
    attention_mfu: float = 0.35
    weight_only_slowdown: float = 1.15
    step_overhead_s: float = 1.0e-3
    layer_overhead_s: float = 12e-6
    sequence_overhead_s: float = 8e-6
    token_overhead_s: float = 0.0
    allreduce_latency_s: float = 12e-6
    link_efficiency: float = 0.60
    request_overhead_s: float = 0.012


NAMES = tuple(field.name for field in fields(Constants))

_PRIOR_RANGES = {
    "ttft": (0.45, 2.2),
    "tpot": (0.60, 1.6),
    "e2e": (0.60, 1.6),
    "throughput": (0.60, 1.6),
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """Constants for one (engine, GPU), how well they are founded, and the ranges that hold."""

    constants: Constants
    evidence: Evidence
    detail: str
    ranges: tuple[ErrorRange, ...]

    def factors(self, metric: str, load: str) -> tuple[float, float]:
        """Low and high factor of a metric under a kind of load."""
        for wanted in (load, "*"):
            for entry in self.ranges:
                if (entry.metric, entry.load, entry.evidence) == (metric, wanted, self.evidence):
                    return entry.low, entry.high
        return _PRIOR_RANGES[metric]


def resolve(calibrations: Sequence[Calibration], engine: str, gpu: GpuSpec) -> Resolved:
    """Lay the records over the prior, the most specific last."""
    values = {name: getattr(Constants(), name) for name in NAMES}
    general = [c for c in calibrations if c.engine == engine and c.gpu is None and c.family is None]
    family = [c for c in calibrations if c.engine == engine and c.family == gpu.family]
    own = [c for c in calibrations if c.engine == engine and c.gpu == gpu.id]
    ranges: list[ErrorRange] = []
    for record in (*general, *family, *own):
        values.update({name: value for name, value in record.constants if name in values})
        ranges = [*record.ranges, *ranges]
    if own and own[-1].runs:
        evidence, detail = Evidence.MEASURED, f"{engine} was measured on {gpu.name} ({own[-1].runs} runs)"
    elif family and family[-1].runs:
        runs = family[-1].runs
        evidence, detail = Evidence.CALIBRATED, f"{engine} was measured on {gpu.family} GPUs ({runs} runs)"
    else:
        evidence, detail = Evidence.EXTRAPOLATED, f"{engine} on {gpu.name} rests on its datasheet alone"
    return Resolved(Constants(**values), evidence, detail, tuple(ranges))
