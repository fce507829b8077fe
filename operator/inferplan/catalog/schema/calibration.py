"""Calibrated constants."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from inferplan.catalog.schema.base import Name, Record, Sourced
from inferplan.domain import calibration, estimate


class Range(Record):
    """Factors around a prediction."""

    metric: Literal["ttft", "tpot", "e2e", "throughput", "memory"]
    load: str
    evidence: Literal["Measured", "Calibrated", "Extrapolated"]
    low: float = Field(gt=0, le=1)
    high: float = Field(ge=1)
    before: str = ""


class CalibrationRecord(Sourced):
    """Calibrated constants."""

    id: Name
    engine: str
    gpu: str | None = None
    family: str | None = None
    before: str = ""
    constants: dict[str, float]
    assumed: list[str] = Field(default_factory=list)
    ranges: list[Range] = Field(default_factory=list)
    engine_versions: list[str] = Field(default_factory=list)
    runs: int = Field(default=0, ge=0)
    fitted_on: str = ""
    error_in_sample_percent: dict[str, float] = Field(default_factory=dict)
    error_out_of_sample_percent: dict[str, float] = Field(default_factory=dict)

    def to_domain(self) -> calibration.Calibration:
        """Convert."""
        return calibration.Calibration(
            id=self.id,
            engine=self.engine,
            gpu=self.gpu,
            family=self.family,
            constants=tuple(sorted(self.constants.items())),
            before=self.before,
            assumed=tuple(self.assumed),
            ranges=tuple(
                calibration.ErrorRange(r.metric, r.load, estimate.Evidence(r.evidence), r.low, r.high, r.before)
                for r in self.ranges
            ),
            engine_versions=tuple(self.engine_versions),
            runs=self.runs,
            fitted_on=self.fitted_on,
            error_in_sample_percent=tuple(sorted(self.error_in_sample_percent.items())),
            error_out_of_sample_percent=tuple(sorted(self.error_out_of_sample_percent.items())),
            sources=self.domain_sources(),
        )
