"""What the planner found -> the status as users and clusters read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inferplan.api.figures import decimal_text, dollars, figure, rounded, seconds
from inferplan.api.plan_status import TEXT, cost_status, line, plan_status, tier_status
from inferplan.api.resolve import Resolved
from inferplan.api.v1alpha1.status import (
    NEVER_OBSERVED,
    ChangeStatus,
    Condition,
    ConditionStatus,
    EvidenceStatus,
    GrowthStatus,
    InfeasibilityStatus,
    InferenceScenarioStatus,
    RecommendationStatus,
    RejectedStatus,
    RejectionExample,
    RejectionStatus,
    RelaxationStatus,
    ResolvedStatus,
    SearchStatus,
    WhatIfStatus,
)
from inferplan.api.yaml_scalars import shorten
from inferplan.domain.model import Task
from inferplan.domain.plan import GrowthStep, Infeasibility, Outcome, Plan, WhatIf
from inferplan.domain.reasons import REASON_TEXT, Rejection, RejectionSummary
from inferplan.domain.scenario import LoadKind


def outcome_to_status(
    outcome: Outcome, resolved: Iterable[Resolved] = (), generation: int = NEVER_OBSERVED
) -> InferenceScenarioStatus:
    """Write an outcome as a status; equal outcomes give equal statuses.

    Parameters
    ----------
    outcome
        What the planner found.
    resolved
        Where each value of the scenario came from.
    generation
        ``metadata.generation`` of the spec that was planned; -1 for a file that never was in a cluster.
    """
    return InferenceScenarioStatus(
        observed_generation=generation,
        conditions=_conditions(outcome, generation),
        summary=line(summary(outcome)),
        plan=None if outcome.chosen is None else plan_status(outcome.chosen),
        tiers=tuple(tier_status(plan) for plan in outcome.tiers[:3]),
        infeasibility=None if outcome.infeasibility is None else _infeasibility(outcome.infeasibility),
        rejected=_rejected(outcome.rejected),
        growth=tuple(_growth(step) for step in outcome.growth[:8]),
        what_ifs=tuple(_what_if(item) for item in outcome.what_ifs[:16]),
        recommendations=tuple(
            RecommendationStatus(kind=line(item.kind), text=shorten(item.text, TEXT))
            for item in outcome.recommendations[:16]
        ),
        cautions=tuple(shorten(text, TEXT) for text in outcome.cautions[:32]),
        assumptions=tuple(shorten(text, TEXT) for text in outcome.assumptions[:64]),
        resolved=tuple(
            ResolvedStatus(
                field=line(row.field),
                value=line(row.value),
                origin=row.origin,
                reason=shorten(row.reason, TEXT),
            )
            for row in list(resolved)[:96]
        ),
        search=SearchStatus(
            candidates=outcome.search.candidates,
            shapes=outcome.search.shapes,
            catalog_digest=line(outcome.search.catalog_digest),
            prices_as_of=line(outcome.search.prices_as_of),
            source=line(outcome.search.source),
        ),
    )


def status_document(status: InferenceScenarioStatus) -> dict[str, Any]:
    """Return a status as JSON and YAML write it: camelCase, and nothing that is empty."""
    written = status.model_dump(by_alias=True, mode="json", exclude_none=True)
    return {key: value for key, value in written.items() if value not in ("", [])}


def summary(outcome: Outcome) -> str:
    """Say the outcome in one line."""
    plan = outcome.chosen
    if plan is None:
        return _no_plan(outcome)
    cost = f"{dollars(plan.cost.per_hour)}/h"
    if outcome.scenario.task is Task.CLASSIFICATION or outcome.scenario.workload.kind is LoadKind.OFFLINE:
        speed = f"{figure(plan.estimate.requests_per_s, 3)} items/s"
    else:
        speed = f"TTFT p95 {seconds(plan.estimate.ttft.p95.expected)}"
    missed = f", misses {', '.join(miss.code for miss in plan.misses)}" if plan.misses else ""
    return f"{plan.configuration.title}, {cost}, {speed}{missed}{plan.not_deployable}"


def _no_plan(outcome: Outcome) -> str:
    found = outcome.infeasibility
    if found is None:
        return "no plan"
    reasons = ", ".join(found.binding) or "nothing to choose from"
    nearest = found.nearest[0] if found.nearest else None
    tail = "" if nearest is None else f"; feasible with {nearest.text}: {nearest.plan.title}"
    return f"no feasible plan: {reasons}{tail}"


def _conditions(outcome: Outcome, generation: int) -> tuple[Condition, ...]:
    """Write the two conditions that planning alone decides."""
    observed = generation if generation >= 0 else None
    feasible = outcome.chosen is not None
    message = shorten(summary(outcome), TEXT)
    if not feasible and outcome.infeasibility is not None:
        reasons = [f"{code}: {REASON_TEXT[code]}" for code in outcome.infeasibility.binding]
        message = shorten("; ".join(reasons) or message, TEXT)
    return (
        Condition(
            type="PlanFeasible",
            status=ConditionStatus.TRUE if feasible else ConditionStatus.FALSE,
            reason="PlanFound" if feasible else "NoFeasiblePlan",
            message=message,
            observed_generation=observed,
        ),
        Condition(
            type="Ready",
            status=ConditionStatus.FALSE,
            reason="Planned" if feasible else "NoFeasiblePlan",
            message="planned; nothing was applied" if feasible else "there is no plan to apply",
            observed_generation=observed,
        ),
    )


def _example(rejection: Rejection) -> RejectionExample:
    return RejectionExample(
        candidate=line(rejection.candidate),
        limit=None if rejection.limit is None else figure(rejection.limit),
        actual=None if rejection.actual is None else figure(rejection.actual),
        unit=line(rejection.unit),
        detail=shorten(rejection.detail, TEXT),
    )


def _rejected(found: RejectionSummary) -> RejectedStatus:
    return RejectedStatus(
        total=found.total,
        by_reason=tuple(
            RejectionStatus(code=entry.code, count=entry.count, example=_example(entry.example))
            for entry in found.by_reason[:64]
        ),
    )


def _infeasibility(found: Infeasibility) -> InfeasibilityStatus:
    return InfeasibilityStatus(
        binding=found.binding,
        evidence=tuple(EvidenceStatus(code=item.code, **_example(item).model_dump()) for item in found.evidence),
        nearest_miss=None if found.nearest_miss is None else _example(found.nearest_miss),
        nearest=tuple(
            RelaxationStatus(
                changes=tuple(
                    ChangeStatus(field=line(change.field), current=line(change.current), to=line(change.to))
                    for change in item.changes[:8]
                ),
                text=shorten(item.text, TEXT),
                plan=line(item.plan.title),
                usd_per_hour=decimal_text(item.plan.cost.per_hour),
            )
            for item in found.nearest[:16]
        ),
    )


def _growth(step: GrowthStep) -> GrowthStatus:
    plan: Plan | None = step.plan
    if plan is None:
        return GrowthStatus(factor=step.factor)
    cost = cost_status(plan.cost)
    return GrowthStatus(
        factor=step.factor,
        plan=line(plan.title),
        replicas=plan.configuration.replicas,
        usd_per_month=cost.usd_per_month,
        usd_per_request=cost.usd_per_request,
    )


def _what_if(item: WhatIf) -> WhatIfStatus:
    return WhatIfStatus(
        code=line(item.code),
        title=line(item.title),
        assumption=shorten(item.assumption, TEXT),
        effect=shorten(item.effect, TEXT),
        usd_per_month=None if item.cost_per_month is None else rounded(item.cost_per_month),
    )
