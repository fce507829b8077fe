"""The calibration of one engine generation: fitted, checked on what was left out, and ready to be written."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.fit_held_out import THIN, LeftOut, held_out_errors, ranges
from inferplan.accuracy.fit_parameters import Recipe
from inferplan.accuracy.fit_points import Points, gather, with_room
from inferplan.accuracy.fit_solve import Fitted, solve
from inferplan.accuracy.matching import Case
from inferplan.accuracy.outcome import RANGED, measured
from inferplan.accuracy.runs import LoadType
from inferplan.domain.calibration import ErrorRange
from inferplan.domain.catalog import Catalog
from inferplan.domain.estimate import Evidence
from inferplan.estimate.constants import release_of

Floats = NDArray[np.float64]

LEGACY_BEFORE = (0, 8)
"""vLLM's first scheduler (V0) was the default before this release."""
UNFIT = frozenset(
    {
        "overload",
        "load_missing",
        "inconsistent_e2e",
        "repeat_disagrees",
        "non_monotonic_length",
        "non_monotonic_batch",
    }
)
"""Flags of runs that are predicted and scored, but not fitted."""


class Generation(enum.StrEnum):
    """Engines that are calibrated apart."""

    VLLM = "vllm"
    VLLM_LEGACY = "vllm before 0.8"
    TGI = "tgi"

    @property
    def engine(self) -> str:
        """Engine id."""
        return "tgi" if self is Generation.TGI else "vllm"


def generation_of(case: Case) -> Generation:
    """Which calibration a case belongs to."""
    if case.engine.id == "tgi":
        return Generation.TGI
    release = release_of(case.engine.version)
    return Generation.VLLM_LEGACY if release is not None and release < LEGACY_BEFORE else Generation.VLLM


def _nobody(_: str) -> None:
    """Hear nothing."""


def unfit(case: Case) -> str:
    """Why a case may not be fitted; empty if it may."""
    flags = {word.strip() for word in case.run.flag.replace(";", ",").split(",")} & UNFIT
    if case.load is LoadType.STARTUP:
        return "starts an engine and serves nothing"
    if flags:
        return f"is flagged {', '.join(sorted(flags))}"
    if case.run.tp is None:
        return "states no tp"
    if all(measured(case.run, metric) is None for metric in RANGED):
        return "has no measured latency or throughput"
    return ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A fit with its errors: in sample, and of cases left out by pair, GPU, model family and source.

    ``errors`` have shape (metrics, cases). ``left_out`` is empty if nothing was left out.
    """

    generation: Generation
    points: Points
    fitted: Fitted
    in_sample: Floats
    left_out: dict[LeftOut, Floats]
    ranges: tuple[ErrorRange, ...]


def calibrate(
    cases: Sequence[Case],
    generation: Generation,
    recipe: Recipe,
    *,
    check: bool = True,
    tell: Callable[[str], None] = _nobody,
) -> Checked | None:
    """Fit one engine generation to the cases that may be fitted; None if there are none.

    Parameters
    ----------
    check
        Whether to leave out groups, which takes some forty more fits, and gives the ranges.
    tell
        Hears what is being fitted; it takes minutes.
    """
    fitting = with_room([case for case in cases if generation_of(case) is generation and not unfit(case)])
    points = gather(fitting, apart=recipe.own)
    if not points.cases:
        return None
    tell(f"{generation.value}: {len(points.cases)} runs")
    fitted = solve(points, recipe.design(points.places))
    in_sample = points.errors(fitted.constants)
    if not check:
        return Checked(generation, points, fitted, in_sample, {}, ())
    if recipe.own:
        pairs = {LeftOut.PAIR: held_out_errors(points, recipe, LeftOut.PAIR)}
        return Checked(generation, points, fitted, in_sample, pairs, _own_ranges(points, pairs[LeftOut.PAIR]))
    left_out: dict[LeftOut, Floats] = {}
    for of in LeftOut:
        tell(f"{generation.value}: without each {of.value}")
        left_out[of] = held_out_errors(points, recipe, of)
    return Checked(generation, points, fitted, in_sample, left_out, _ranges(points, left_out))


def recipe_for(generation: Generation, known: Catalog | None) -> Recipe:
    """How a generation is fitted: by itself, or as its measured GPUs deviate from a catalog's calibration."""
    legacy = generation is Generation.VLLM_LEGACY
    if known is None:
        return Recipe(generation.engine, legacy)
    return Recipe(generation.engine, legacy, known.calibrations, known.gpus)


FEWEST_PAIRS = 4
"""Pairs of GPU and model family from which on runs have ranges of their own."""


def _own_ranges(points: Points, errors: Floats) -> tuple[ErrorRange, ...]:
    """Ranges of a user's own runs; none if they are too few to say."""
    pairs = {(case.gpu.id, case.model.family) for case in points.cases}
    everyone = np.ones(len(points.cases), dtype=np.bool_)
    if len(pairs) < FEWEST_PAIRS or len(points.cases) < THIN:
        return ()
    return ranges(points.cases, {Evidence.MEASURED: [(errors, everyone)]})


def _ranges(points: Points, left_out: dict[LeftOut, Floats]) -> tuple[ErrorRange, ...]:
    """Ranges by evidence: of measured GPUs all that was left out, of others a GPU whose family was measured or not."""
    families: dict[str, set[str]] = {}
    for case in points.cases:
        families.setdefault(case.gpu.family, set()).add(case.gpu.id)
    everyone = np.ones(len(points.cases), dtype=np.bool_)
    kin = np.array([len(families[case.gpu.family]) > 1 for case in points.cases])
    of_kin, of_strangers = (kin if np.any(kin) else everyone), (~kin if not np.all(kin) else everyone)
    return ranges(
        points.cases,
        {
            Evidence.MEASURED: [(errors, everyone) for errors in left_out.values()],
            Evidence.CALIBRATED: [(left_out[LeftOut.GPU], of_kin)],
            Evidence.EXTRAPOLATED: [(left_out[LeftOut.GPU], of_strangers)],
        },
    )
