"""Calibrated constants: data about engines on GPUs, with where each came from and how wrong it was."""

from __future__ import annotations

from dataclasses import dataclass

from inferplan.domain.estimate import Evidence
from inferplan.domain.model import Source


@dataclass(frozen=True, slots=True)
class ErrorRange:
    """Factors around an expected value that held nine of ten measurements on groups left out of the fit.

    ``low <= actual / expected <= high`` with nominal probability 0.9.
    """

    metric: str
    """``ttft``, ``tpot``, ``e2e``, ``throughput`` or ``memory``."""
    load: str
    """``closed_loop``, ``open_loop``, ``offline`` or ``*``."""
    evidence: Evidence
    low: float
    high: float
    before: str = ""
    """Holds for releases of the engine before this one alone (``0.14``), and then in place of the range without."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Constants of one engine generation on one GPU, one GPU family, or everywhere.

    Parameters
    ----------
    engine
        Engine id (``vllm``, ``tgi``).
    gpu, family
        At most one is set: a GPU id, or a family name. Neither means the global prior. The most specific
        record that states a constant wins.
    constants
        Name to value; the unit ends the name. The names are documented where they are used, in
        ``inferplan.estimate``.
    assumed
        Names among the constants that were not fitted; they are listed among a plan's assumptions.
    runs
        Number of measured rows behind the fit.
    """

    id: str
    engine: str
    gpu: str | None
    family: str | None
    constants: tuple[tuple[str, float], ...]
    before: str = ""
    """Holds for releases of the engine before this one alone (``0.8``), and then in place of all other records."""
    assumed: tuple[str, ...] = ()
    ranges: tuple[ErrorRange, ...] = ()
    engine_versions: tuple[str, ...] = ()
    runs: int = 0
    fitted_on: str = ""
    error_in_sample_percent: tuple[tuple[str, float], ...] = ()
    error_out_of_sample_percent: tuple[tuple[str, float], ...] = ()
    sources: tuple[Source, ...] = ()
