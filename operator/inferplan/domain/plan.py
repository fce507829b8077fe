"""Outcomes: a plan with its reasons, or a "no" with its evidence and the nearest "yes"."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

from inferplan.domain.deployment import Configuration, Cost
from inferplan.domain.estimate import Estimate
from inferplan.domain.reasons import ReasonCode, Rejection, RejectionSummary
from inferplan.domain.scenario import Scenario, Tier


class Compatibility(enum.StrEnum):
    """Whether the configuration fits its GPUs."""

    COMPATIBLE = "Compatible"
    TIGHT_FIT = "TightFit"
    INCOMPATIBLE = "Incompatible"


class RemarkKind(enum.StrEnum):
    """✅ strength, ⚠️ caution, 💰 cost."""

    STRENGTH = "Strength"
    CAUTION = "Caution"
    COST = "Cost"


@dataclass(frozen=True, slots=True)
class Remark:
    """One sentence of the analysis; the number that it rests on stands in the text."""

    kind: RemarkKind
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Miss:
    """A requirement that an obeyed pin does not meet."""

    code: ReasonCode
    limit: float
    actual: float
    unit: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration with everything predicted and priced.

    ``hash`` names the configuration and placement (not the predictions): equal hashes deploy equal things.
    """

    tier: Tier
    configuration: Configuration
    estimate: Estimate
    cost: Cost
    compatibility: Compatibility
    remarks: tuple[Remark, ...]
    misses: tuple[Miss, ...]
    hash: str
    source: str
    """Where the GPUs come from: ``Market``, ``Cluster`` or ``Owned``."""

    @property
    def title(self) -> str:
        """The configuration in one line, the reason codes of what it misses, and whether it cannot be deployed yet."""
        missed = f", misses {', '.join(dict.fromkeys(miss.code for miss in self.misses))}" if self.misses else ""
        return f"{self.configuration.title}{missed}{self.not_deployable}"

    @property
    def not_deployable(self) -> str:
        """Words to add to a line about a plan that cannot be deployed yet."""
        return "" if self.configuration.is_deployable else ", cannot be deployed yet"


@dataclass(frozen=True, slots=True)
class Change:
    """One field of the spec to write differently. ``field`` is the dotted path without ``spec.``."""

    field: str
    current: str
    to: str


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The smallest change of a requirement that gives a plan, checked by planning again.

    Mostly one change; several only where no single one helps. ``text`` says it to people ("+180 ms TTFT").
    """

    changes: tuple[Change, ...]
    text: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Infeasibility:
    """No candidate meets the scenario: what binds, what came nearest, what would help."""

    binding: tuple[ReasonCode, ...]
    nearest_miss: Rejection | None
    nearest: tuple[Relaxation, ...]
    evidence: tuple[Rejection, ...] = ()
    """For each binding reason the candidate that came nearest, with limit and actual value where they are numbers."""


@dataclass(frozen=True, slots=True)
class GrowthStep:
    """The plan for a multiple of today's load; None if none is feasible."""

    factor: int
    plan: Plan | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Something that could be done beside the plan, with the assumption that its figure rests on."""

    code: str
    title: str
    assumption: str
    effect: str
    cost_per_month: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Start with, scale up, scale down, avoid."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """How large the search was and what it searched."""

    candidates: int
    """Configurations evaluated or turned down, batch limits included."""
    shapes: int
    """Model x checkpoint x engine x GPU x parallelism x KV type."""
    catalog_digest: str
    prices_as_of: str
    source: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that one run of the planner found."""

    scenario: Scenario
    chosen: Plan | None
    tiers: tuple[Plan, ...]
    infeasibility: Infeasibility | None
    rejected: RejectionSummary
    growth: tuple[GrowthStep, ...]
    what_ifs: tuple[WhatIf, ...]
    recommendations: tuple[Recommendation, ...]
    assumptions: tuple[str, ...]
    search: SearchSpace
    cautions: tuple[str, ...] = ()
