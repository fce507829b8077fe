"""What is fitted: constants everywhere, and how far kernels, releases, GPU families and GPUs may deviate from them.

The logarithm of a constant is a sum::

    log c = everywhere + kernel + release + GPU family + GPU

Every term but the first starts at zero and is held there by its spread, so a term moves only as far as the runs pull
it: a GPU with few runs keeps its family's constants, and a family with few runs those of all.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.matching import Case
from inferplan.domain.calibration import Calibration
from inferplan.domain.hardware import GpuSpec
from inferplan.estimate.constants import (
    EARLIER_THAN,
    NAMES,
    Constants,
    Kernel,
    is_earlier,
    release_of,
    resolve,
)
from inferplan.estimate.replica import kernel_of

Floats = NDArray[np.float64]


class Level(enum.StrEnum):
    """Where a term of a constant holds."""

    EVERYWHERE = "everywhere"
    KERNEL = "kernel"
    EARLIER = "earlier"
    """vLLM releases before 0.14."""
    EARLIER_KERNEL = "earlier kernel"
    FAMILY = "family"
    GPU = "gpu"


class Scope(enum.StrEnum):
    """How much a calibration states."""

    ALL = "all"
    """Constants everywhere, by family and by GPU: a calibration that stands by itself."""
    GPU = "gpu"
    """How the measured GPUs deviate from the calibration at hand."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a constant may depend on."""

    family: str
    gpu: str
    kernel: Kernel
    earlier: bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """One term of one constant, as a logarithm: where it starts, and how far it strays (standard deviation)."""

    name: str
    level: Level
    key: str
    start: float
    spread: float

    def holds(self, place: Place) -> bool:
        """Whether the term is part of the constant there."""
        match self.level:
            case Level.EVERYWHERE:
                return True
            case Level.KERNEL:
                return place.kernel == self.key
            case Level.EARLIER:
                return place.earlier
            case Level.EARLIER_KERNEL:
                return place.earlier and place.kernel == self.key
            case Level.FAMILY:
                return place.family == self.key
            case Level.GPU:
                return place.gpu == self.key


SPREADS = {
    "weight_mbu": 0.07,
    "kv_mbu": 0.14,
    "eight_bit_kv_mbu": 0.2,
    "expert_mbu": 0.14,
    "mfu": 0.1,
    "low_precision_mfu": 0.14,
    "expert_mfu": 0.3,
    "attention_mfu": 0.2,
    "weight_only_slowdown": 0.1,
    "activation_passes": 0.35,
    "expert_activation_passes": 0.2,
    "link_efficiency": 0.1,
    "prompt_share": 0.07,
    "steps_before_prompt": 0.2,
    "burst_share": 0.3,
    "chain_share": 0.35,
    "request_token_overhead_s": 0.35,
    "stream_token_s": 0.15,
}
"""Spread of the constants everywhere: what their physics leaves open. Times are wide open."""
TIME_SPREAD = 0.5

OF_KERNELS = ("weight_mbu", "layer_overhead_s", "expert_mbu", "expert_mfu", "expert_layer_overhead_s")
OF_FOUR_BIT = ("low_precision_mfu",)
OF_EARLIER = ("layer_overhead_s", "step_overhead_s", "sequence_overhead_s", "stream_token_s", "uncaptured_layer_s")
OF_EARLIER_EIGHT_BIT = ("expert_mbu", "expert_layer_overhead_s", "expert_mfu")
"""Block-wise FP8 experts had slower kernels before."""
OF_FAMILIES = (
    "weight_mbu",
    "kv_mbu",
    "expert_mbu",
    "mfu",
    "low_precision_mfu",
    "expert_mfu",
    "attention_mfu",
    "step_overhead_s",
    "layer_overhead_s",
    "expert_layer_overhead_s",
    "uncaptured_layer_s",
    "sequence_overhead_s",
    "stream_token_s",
    "allreduce_latency_s",
    "link_efficiency",
)
OF_GPUS = ("weight_mbu", "kv_mbu", "mfu", "layer_overhead_s")
OF_MEASURED_GPUS = (
    *OF_GPUS,
    "eight_bit_kv_mbu",
    "expert_mbu",
    "low_precision_mfu",
    "expert_mfu",
    "attention_mfu",
    "expert_layer_overhead_s",
    "uncaptured_layer_s",
    "sequence_overhead_s",
    "request_overhead_s",
)
"""What a user's own runs may change for a GPU."""
KERNEL_SPREAD, EARLIER_SPREAD, EARLIER_SEQUENCE_SPREAD = 0.15, 0.15, 0.4
FAMILY_SPREAD, FAMILY_TIME_SPREAD, GPU_SPREAD, MEASURED_GPU_SPREAD = 0.07, 0.1, 0.03, 0.15

STARTS = {
    "tgi": {
        "kv_mbu": 0.06,
        "step_overhead_s": 2e-3,
        "layer_overhead_s": 90e-6,
        "sequence_overhead_s": 600e-6,
        "steps_before_prompt": 4.5,
        "request_overhead_s": 2e-3,
    },
}
"""Where an engine starts that is unlike vLLM: TGI pads the KV cache and serves its streams from Python."""
LEGACY_STARTS = {
    "layer_overhead_s": 110e-6,
    "step_overhead_s": 4e-3,
    "sequence_overhead_s": 60e-6,
    "stream_token_s": 250e-6,
}
"""vLLM before 0.8 plans each step in Python while the GPU waits, and serves its streams from the same process."""


def place_of(case: Case) -> Place:
    """Where the constants of a case hold."""
    release = release_of(case.engine.version)
    return Place(case.gpu.family, case.gpu.id, kernel_of(case.method, case.gpu), is_earlier(case.engine.id, release))


def everything(places: Iterable[Place], engine: str, *, legacy: bool = False) -> tuple[Parameter, ...]:
    """Parameters of a calibration that stands by itself."""
    seen = list(dict.fromkeys(places))
    starts = {**STARTS.get(engine, {}), **(LEGACY_STARTS if legacy else {})}
    found = []
    for name in NAMES:
        start = starts.get(name, getattr(Constants(), name))
        wider = 2.0 if name in starts else 1.0
        found.append(Parameter(name, Level.EVERYWHERE, "", log(start), SPREADS.get(name, TIME_SPREAD) * wider))
    for kernel in sorted({p.kernel for p in seen if p.kernel is not Kernel.WIDE}):
        names = (*OF_KERNELS, *(OF_FOUR_BIT if kernel is Kernel.FOUR_BIT else ()))
        found.extend(Parameter(name, Level.KERNEL, kernel, 0.0, KERNEL_SPREAD) for name in names)
    if any(p.earlier for p in seen) and not all(p.earlier for p in seen):
        for name in OF_EARLIER:
            spread = EARLIER_SEQUENCE_SPREAD if name == "sequence_overhead_s" else EARLIER_SPREAD
            found.append(Parameter(name, Level.EARLIER, "", 0.0, spread))
        if any(p.earlier and p.kernel is Kernel.EIGHT_BIT for p in seen):
            found.extend(
                Parameter(name, Level.EARLIER_KERNEL, Kernel.EIGHT_BIT, 0.0, 2.0 * KERNEL_SPREAD)
                for name in OF_EARLIER_EIGHT_BIT
            )
    for family in sorted({p.family for p in seen}):
        for name in OF_FAMILIES:
            spread = FAMILY_TIME_SPREAD if name.endswith("_s") else FAMILY_SPREAD
            found.append(Parameter(name, Level.FAMILY, family, 0.0, spread * (2.0 if legacy else 1.0)))
    for gpu in sorted({p.gpu for p in seen}):
        found.extend(Parameter(name, Level.GPU, gpu, 0.0, GPU_SPREAD) for name in OF_GPUS)
    return tuple(found)


def of_gpus(places: Iterable[Place]) -> tuple[Parameter, ...]:
    """Parameters of the measured GPUs alone."""
    return tuple(
        Parameter(name, Level.GPU, gpu, 0.0, MEASURED_GPU_SPREAD)
        for gpu in sorted({place.gpu for place in places})
        for name in OF_MEASURED_GPUS
    )


@dataclass(frozen=True, slots=True)
class Design:
    """How parameters make up the constants of places: ``log c = base + sum of terms``.

    ``base`` has shape (places, constants); ``terms`` shape (parameters, places), true where a parameter holds;
    ``column`` is the constant of each parameter.
    """

    parameters: tuple[Parameter, ...]
    places: tuple[Place, ...]
    base: Floats
    terms: NDArray[np.bool_]
    column: NDArray[np.int64]

    def constants(self, values: Floats) -> Floats:
        """Constants of all places for the parameters' values, shape (places, constants)."""
        logs = self.base.copy()
        for at, value in enumerate(values):
            logs[self.terms[at], self.column[at]] += value
        found: Floats = np.minimum(np.exp(logs), CEILINGS)
        return found


MOST_SHARE = 0.97
CEILINGS = np.array(
    [MOST_SHARE if name.endswith(("mbu", "mfu")) or name == "link_efficiency" else np.inf for name in NAMES]
)
"""No share of a peak is ever taken to exceed this."""


def design(parameters: Sequence[Parameter], places: Sequence[Place], base: Floats) -> Design:
    """Lay parameters out over places; see :class:`Design`."""
    return Design(
        parameters=tuple(parameters),
        places=tuple(places),
        base=base,
        terms=np.array([[p.holds(place) for place in places] for p in parameters], dtype=np.bool_),
        column=np.array([NAMES.index(p.name) for p in parameters]),
    )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a design for any places.

    Parameters
    ----------
    engine
        Engine id.
    legacy
        Whether the engine is vLLM with its first scheduler.
    calibrations
        What is known already; then only measured GPUs are fitted, as they deviate from it. None: everything is fitted.
    gpus
        Specifications of the GPUs, for what is known of them.
    """

    engine: str
    legacy: bool = False
    calibrations: tuple[Calibration, ...] | None = None
    gpus: tuple[GpuSpec, ...] = ()

    @property
    def own(self) -> bool:
        """Whether it is measured GPUs that are fitted, beside what is known."""
        return self.calibrations is not None

    def design(self, places: Sequence[Place], parameters: Sequence[Parameter] | None = None) -> Design:
        """Lay out the parameters for places, or given ones."""
        if parameters is None:
            parameters = of_gpus(places) if self.own else everything(places, self.engine, legacy=self.legacy)
        if self.calibrations is None:
            return design(parameters, places, np.zeros((len(places), len(NAMES))))
        return design(parameters, places, np.log(np.maximum(self._known(places, self.calibrations), _NOTHING)))

    def _known(self, places: Sequence[Place], calibrations: Sequence[Calibration]) -> Floats:
        by_id = {gpu.id: gpu for gpu in self.gpus}
        rows = []
        for place in places:
            release = (0, 7) if self.legacy else (EARLIER_THAN[0], EARLIER_THAN[1] - 1) if place.earlier else None
            found = resolve(calibrations, self.engine, by_id[place.gpu], place.kernel, release=release)
            rows.append([getattr(found.constants, name) for name in NAMES])
        return np.array(rows)


_NOTHING = 1e-12
