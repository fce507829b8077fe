"""Calibrated constants: their names, meaning and prior values; records of the catalog override them.

Every constant is resolved for an (engine, GPU) from three layers: the prior below, then the record of the engine, then
that of the GPU's family, then that of the GPU itself.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache

from inferplan.domain.calibration import Calibration, ErrorRange
from inferplan.domain.estimate import Evidence
from inferplan.domain.hardware import GpuSpec


class Kernel(enum.StrEnum):
    """How an engine multiplies the weights of a row: which kernels run, and so how well they do."""

    WIDE = "16bit"
    EIGHT_BIT = "8bit"
    FOUR_BIT = "4bit"
    UNPACKED = "unpacked"
    """Quantized weights that are unpacked to 16 bit on the way (weight-only)."""
    EXPERTS = "4bit_experts"
    """Experts alone in four bits, everything else in 16 (gpt-oss)."""
    UNPACKED_EXPERTS = "unpacked_experts"
    """The same, unpacked on the way."""


KERNELS = tuple(Kernel)


@dataclass(frozen=True, slots=True)
class Constants:
    """What the formulas need beyond datasheets. The values here are the uncalibrated prior.

    Parameters
    ----------
    weight_mbu
        Achieved share of peak memory bandwidth while weights are read.
    kv_mbu, eight_bit_kv_mbu
        The same for the KV cache in attention, in 16 bit and in 8 bit.
    expert_mbu
        The same for routed experts (grouped matrix products read scattered blocks).
    mfu
        Achieved share of the dense peak in large matrix products.
    low_precision_mfu
        The same with FP8, INT8 or FP4 arithmetic.
    expert_mfu
        The same in the grouped products of routed experts, of the peak in their own arithmetic.
    attention_mfu
        The same in prefill attention, of the 16-bit peak.
    weight_only_slowdown
        Factor on arithmetic time where quantized weights are unpacked to 16 bit first.
    activation_passes, expert_activation_passes
        How often the 16-bit activations of a token (per layer; per layer and chosen expert) cross memory.
    step_overhead_s, layer_overhead_s, expert_layer_overhead_s, sequence_overhead_s
        Host and launch time per step, per layer of a step, per layer with experts on top of that, and per running
        sequence [s].
    uncaptured_layer_s
        Launch time per layer of a step that holds more tokens than CUDA graphs are captured for, on top of that [s].
    stream_token_s
        Time in which the front end sends one token of one stream; it bounds the pace of a step [s].
    allreduce_latency_s
        Fixed time of one all-reduce [s]; two per layer with tensor parallelism.
    link_efficiency
        Achieved share of the link's bandwidth in large all-reduces.
    prompt_share
        Share of a prompt's own time by which it stretches the steps of the sequences that decode meanwhile.
    steps_before_prompt
        Steps of the running batch that pass before a new prompt is scheduled and its first token is sent.
    burst_share
        Share of a burst's prompts that a request finds before it on average, if a closed loop starts all its users
        at once as benchmarks do.
    intake_s
        Time by which each further request of a burst comes in later: a client sends, and a front end takes in, one
        after another [s].
    chain_share
        Share of its own time by which a prompt waits for a neighbour's if all requests of a closed loop are of one
        length, and so come back in the order in which they were answered.
    request_overhead_s, request_token_overhead_s
        Time of a request outside the engine's steps: HTTP, first detokenization; tokenization per prompt token [s].
    """

    weight_mbu: float = 0.87
    kv_mbu: float = 0.82
    eight_bit_kv_mbu: float = 0.65
    expert_mbu: float = 0.80
    mfu: float = 0.65
    low_precision_mfu: float = 0.55
    expert_mfu: float = 0.27
    attention_mfu: float = 0.50
    weight_only_slowdown: float = 1.15
    activation_passes: float = 10.0
    expert_activation_passes: float = 10.0
    step_overhead_s: float = 0.1e-3
    layer_overhead_s: float = 50e-6
    expert_layer_overhead_s: float = 35e-6
    uncaptured_layer_s: float = 200e-6
    sequence_overhead_s: float = 10e-6
    stream_token_s: float = 35e-6
    allreduce_latency_s: float = 7e-6
    link_efficiency: float = 0.75
    prompt_share: float = 0.85
    steps_before_prompt: float = 1.25
    burst_share: float = 0.05
    intake_s: float = 5e-3
    chain_share: float = 0.4
    request_overhead_s: float = 0.015
    request_token_overhead_s: float = 1e-6


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
        return factors_of(self.ranges, metric, load, self.evidence) or _PRIOR_RANGES[metric]


def factors_of(ranges: Sequence[ErrorRange], metric: str, load: str, evidence: Evidence) -> tuple[float, float] | None:
    """Low and high factor of the first range that holds, one for the kind of load before one for all; None if none."""
    for wanted in (load, "*"):
        for entry in ranges:
            if (entry.metric, entry.load, entry.evidence) == (metric, wanted, evidence):
                return entry.low, entry.high
    return None


Release = tuple[int, ...]
EARLIER_THAN = (0, 14)
"""vLLM releases before this one spend more host time per sequence (no asynchronous scheduling by default)."""
EARLIER_RATIO = "ratio_before_0_14"


def release_of(version: str) -> Release | None:
    """First two numbers of a version; None if it has none.

    >>> release_of("0.11.1"), release_of("nightly")
    ((0, 11), None)
    """
    parts = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return tuple(parts) if len(parts) == len(EARLIER_THAN) else None


def is_earlier(engine: str, release: Release | None) -> bool:
    """Whether a release is of vLLM's earlier generation; releases that are not known are not."""
    return engine == "vllm" and release is not None and release < EARLIER_THAN


def founding(calibrations: Sequence[Calibration], engine: str, release: Release | None) -> list[Calibration]:
    """Records that hold for a release: those made for releases before some later one stand by themselves."""
    of_engine = [c for c in calibrations if c.engine == engine]
    before = [c for c in of_engine if c.before and release is not None and release < (release_of(c.before) or ())]
    return before or [c for c in of_engine if not c.before]


@cache
def _spellings(kernel: Kernel) -> tuple[tuple[str, str, str, str], ...]:
    """Every constant's name, for one kind of kernel, and as ratios of the earlier generation."""
    return tuple((n, f"{n}_{kernel}", f"{n}_{EARLIER_RATIO}", f"{n}_{kernel}_{EARLIER_RATIO}") for n in NAMES)


def ranges_holding(ranges: Sequence[ErrorRange], *, earlier: bool) -> list[ErrorRange]:
    """Ranges that hold for a generation: its own first, and those of all others."""
    plain = [entry for entry in ranges if not entry.before]
    return [*(entry for entry in ranges if entry.before), *plain] if earlier else plain


def resolve(
    calibrations: Sequence[Calibration],
    engine: str,
    gpu: GpuSpec,
    kernel: Kernel = Kernel.WIDE,
    *,
    release: Release | None = None,
) -> Resolved:
    """Lay the records over the prior, the most specific last.

    A record may state a constant for one kind of kernel alone (``expert_mbu_4bit``); it wins over the plain one of
    the same record. For engines of the earlier generation ``<name>_ratio_before_0_14`` multiplies the result, again
    for one kind of kernel alone if it says so (``expert_mbu_8bit_ratio_before_0_14``).
    """
    values = {name: getattr(Constants(), name) for name in NAMES}
    ratios = dict.fromkeys(NAMES, 1.0)
    holding = founding(calibrations, engine, release)
    general = [c for c in holding if c.gpu is None and c.family is None]
    family = [c for c in holding if c.family == gpu.family]
    own = [c for c in holding if c.gpu == gpu.id]
    ranges: list[ErrorRange] = []
    earlier = is_earlier(engine, release)
    for record in (*general, *family, *own):
        stated = dict(record.constants)
        for name, of_kernel, ratio, ratio_of_kernel in _spellings(kernel):
            values[name] = stated.get(of_kernel, stated.get(name, values[name]))
            ratios[name] = stated.get(ratio_of_kernel, stated.get(ratio, ratios[name]))
        ranges = [*ranges_holding(record.ranges, earlier=earlier), *ranges]
    if own and own[-1].runs:
        evidence, detail = Evidence.MEASURED, f"{engine} was measured on {gpu.name} ({own[-1].runs} runs)"
    elif family and family[-1].runs:
        runs = family[-1].runs
        evidence, detail = Evidence.CALIBRATED, f"{engine} was measured on {gpu.family} GPUs ({runs} runs)"
    else:
        evidence, detail = Evidence.EXTRAPOLATED, f"{engine} on {gpu.name} rests on its datasheet alone"
    if earlier:
        values = {name: value * ratios[name] for name, value in values.items()}
    return Resolved(Constants(**values), evidence, detail, tuple(ranges))
