"""The status: what was decided, why, and what has become of it."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from inferplan.api.v1alpha1.plan import Figure, Line, PlanStatus, Text, TierStatus, WholeNumber
from inferplan.api.v1alpha1.scalars import Relaxed, StatusModel
from inferplan.domain.reasons import ReasonCode

NEVER_OBSERVED = -1
"""Generation of a status that nobody has written yet: a fresh object never looks done."""


class ConditionStatus(enum.StrEnum):
    """Truth of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Origin(enum.StrEnum):
    """Where a value comes from."""

    SPEC = "Spec"
    PRESET = "Preset"
    DEFAULT = "Default"


class Condition(StatusModel):
    """A condition as Kubernetes defines it (meta/v1). Offline plans have no transition time."""

    type: Annotated[str, Field(max_length=316)] = Field(description="Kind of the condition, such as Ready.")
    status: Relaxed[ConditionStatus] = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="Reason in one CamelCase word.")
    message: Annotated[str, Field(max_length=32_768)] = Field(description="Details for people.")
    observed_generation: WholeNumber | None = Field(
        default=None, description="Generation of the spec that the condition speaks of."
    )
    last_transition_time: Annotated[str, Field(max_length=40)] | None = Field(
        default=None,
        description="When the status last changed.",
        json_schema_extra={"format": "date-time"},
    )


class ResolvedStatus(StatusModel):
    """One value that the plan was made with, and where it comes from."""

    field: Line = Field(description="Path in the spec.")
    value: Line = Field(description="The value.")
    origin: Relaxed[Origin] = Field(description="Spec, Preset or Default.")
    reason: Text = Field(default="", description="Why this value.")


class RejectionExample(StatusModel):
    """The nearest candidate that fell for a reason."""

    candidate: Line = Field(description="The candidate in one line.")
    limit: Figure | None = Field(default=None, description="The limit that it broke.")
    actual: Figure | None = Field(default=None, description="Its value.")
    unit: Line = Field(default="", description="Unit of both.")
    detail: Text = Field(default="", description="Details.")


class EvidenceStatus(RejectionExample):
    """The nearest candidate that fell for a binding reason."""

    code: Relaxed[ReasonCode] = Field(description="Reason code.")


class RejectionStatus(StatusModel):
    """How many candidates fell for one reason."""

    code: Relaxed[ReasonCode] = Field(description="Reason code.")
    count: WholeNumber = Field(description="Candidates that fell for it.")
    example: RejectionExample = Field(description="The nearest of them.")


class RejectedStatus(StatusModel):
    """Candidates that were turned down."""

    total: WholeNumber = Field(description="All of them.")
    by_reason: tuple[RejectionStatus, ...] = Field(default=(), max_length=64, description="By reason.")


class ChangeStatus(StatusModel):
    """One field of the spec to write differently."""

    field: Line = Field(description="Path in the spec.")
    current: Line = Field(description="Value now.")
    to: Line = Field(description="Value to write.")


class RelaxationStatus(StatusModel):
    """The smallest change of a requirement that gives a plan, checked by planning again."""

    changes: tuple[ChangeStatus, ...] = Field(max_length=8, description="What to write; all of it together.")
    text: Text = Field(description="The change in words.")
    plan: Line = Field(description="The plan that it gives, in one line.")
    usd_per_hour: Figure = Field(description="Cost of that plan per hour.")


class InfeasibilityStatus(StatusModel):
    """Why there is no plan, and what would give one."""

    binding: tuple[Relaxed[ReasonCode], ...] = Field(default=(), max_length=64, description="Reasons that bind.")
    evidence: tuple[EvidenceStatus, ...] = Field(
        default=(), max_length=64, description="For each binding reason the candidate that came nearest."
    )
    nearest_miss: RejectionExample | None = Field(default=None, description="The candidate that came nearest.")
    nearest: tuple[RelaxationStatus, ...] = Field(default=(), max_length=16, description="What would help, each alone.")


class SearchStatus(StatusModel):
    """How large the search was and what it searched."""

    candidates: WholeNumber = Field(description="Configurations evaluated or turned down.")
    shapes: WholeNumber = Field(description="Model x checkpoint x engine x GPU x parallelism x KV type.")
    catalog_digest: Line = Field(description="SHA-256 over all records of the catalog.")
    prices_as_of: Line = Field(description="Date of the prices.")
    source: Line = Field(description="Where GPUs were looked for.")


class GrowthStatus(StatusModel):
    """The plan for a multiple of today's load."""

    factor: WholeNumber = Field(description="Multiple of today's load.")
    plan: Line | None = Field(default=None, description="The plan in one line; absent: none is feasible.")
    replicas: WholeNumber | None = Field(default=None, description="Engine instances.")
    usd_per_month: Figure | None = Field(default=None, description="Cost per month.")
    usd_per_request: Figure | None = Field(default=None, description="Cost per request (item).")


class WhatIfStatus(StatusModel):
    """Something that could be done beside the plan."""

    code: Line = Field(description="Stable code.")
    title: Line = Field(description="What could be done.")
    assumption: Text = Field(description="What the effect rests on.")
    effect: Text = Field(description="What it would bring.")
    usd_per_month: Figure | None = Field(default=None, description="Cost per month with it.")


class RecommendationStatus(StatusModel):
    """Start with, scale up, scale down, avoid."""

    kind: Line = Field(description="Kind of the recommendation.")
    text: Text = Field(description="The recommendation.")


class ChildStatus(StatusModel):
    """An object that the operator owns for the scenario."""

    api_version: Line = Field(description="API version.")
    kind: Line = Field(description="Kind.")
    name: Line = Field(description="Name.")
    ready: bool = Field(description="Whether it does what it should.")


class HistoryStatus(StatusModel):
    """A change of the plan."""

    time: Annotated[str, Field(max_length=40)] = Field(description="When.", json_schema_extra={"format": "date-time"})
    from_plan: Line = Field(default="", description="Hash before; empty: none.")
    to_plan: Line = Field(default="", description="Hash after; empty: none.")
    trigger: Line = Field(description="What led to it.")
    saved_usd_per_hour: Figure | None = Field(default=None, description="Saving per hour.")


class InferenceScenarioStatus(StatusModel):
    """What was decided, why, and what has become of it."""

    observed_generation: Annotated[int, Field(ge=NEVER_OBSERVED)] = Field(
        default=NEVER_OBSERVED, description="Generation of the spec that this status speaks of; -1: none yet."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Conditions; Ready sums them up.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    summary: Line = Field(default="", description="The outcome in one line.")
    plan: PlanStatus | None = Field(default=None, description="The plan; absent: there is none.")
    tiers: tuple[TierStatus, ...] = Field(default=(), max_length=3, description="Budget, Recommended, HighEnd.")
    infeasibility: InfeasibilityStatus | None = Field(default=None, description="Why there is no plan.")
    rejected: RejectedStatus | None = Field(default=None, description="Candidates that were turned down.")
    growth: tuple[GrowthStatus, ...] = Field(default=(), max_length=8, description="Plans for more load.")
    what_ifs: tuple[WhatIfStatus, ...] = Field(default=(), max_length=16, description="What else could be done.")
    recommendations: tuple[RecommendationStatus, ...] = Field(
        default=(), max_length=16, description="Start with, scale up, scale down, avoid."
    )
    cautions: tuple[Text, ...] = Field(default=(), max_length=32, description="What to know before trusting the plan.")
    assumptions: tuple[Text, ...] = Field(default=(), max_length=64, description="Figures without a source.")
    resolved: tuple[ResolvedStatus, ...] = Field(
        default=(), max_length=96, description="Every value that the plan was made with."
    )
    search: SearchStatus | None = Field(default=None, description="How large the search was.")
    children: tuple[ChildStatus, ...] = Field(default=(), max_length=32, description="Objects owned.")
    history: tuple[HistoryStatus, ...] = Field(default=(), max_length=5, description="The last changes of the plan.")
    last_handled_reconcile_at: Line = Field(
        default="", description="The last inferplan.dev/requestedAt that was answered."
    )
