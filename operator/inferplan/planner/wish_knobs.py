"""Knobs of what is wished for: latency, deadline, load, context, quality, budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal

from inferplan.domain.plan import Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import LoadKind, Lossy, Scenario
from inferplan.planner.knob import Knob, Setting, listed, without

CONTEXT_GRAIN_TOKENS = 256
"""Contexts are offered in multiples of this."""

_CENT, _NANO = Decimal("0.01"), Decimal("0.000000001")


def latency_knobs(scenario: Scenario) -> list[Knob]:
    """Latency targets, and the deadline of a run."""
    slo, at = scenario.slo, scenario.slo.percentile
    targets = (
        ("timeToFirstTokenMilliseconds", "ttft_s", "ttft", "TTFT", ReasonCode.TTFT_OVER_TARGET),
        ("timePerOutputTokenMilliseconds", "tpot_s", "tpot", "TPOT", ReasonCode.TPOT_OVER_TARGET),
        ("requestLatencyMilliseconds", "e2e_latency_s", "e2e", "request latency", ReasonCode.LATENCY_OVER_TARGET),
    )
    found = []
    for path, attribute, metric, words, reason in targets:
        limit = getattr(slo, attribute)
        if limit is None:
            continue

        def fit(
            open_: Scenario,
            plan: Plan,
            attribute: str = attribute,
            metric: str = metric,
            words: str = words,
            limit: float = limit,
        ) -> Setting:
            needed_ms = math.ceil(getattr(plan.estimate, metric).at(at).high * 1e3 * (1 + 1e-9))
            loosened = replace(open_, slo=replace(open_.slo, **{attribute: needed_ms / 1e3}))
            return Setting(str(needed_ms), loosened, f"+{needed_ms - round(limit * 1e3):,} ms {words} (P{at})")

        dropped = replace(scenario, slo=without(slo, attribute))
        found.append(Knob(f"slo.{path}", f"{round(limit * 1e3)}", dropped, metric, fit, reason))
    deadline = scenario.workload.deadline_s
    if deadline is not None:

        def fit_deadline(open_: Scenario, plan: Plan) -> Setting:
            duration = plan.estimate.run_duration_s
            minutes = math.ceil((duration.high if duration else 0.0) / 60 * (1 + 1e-9))
            loosened = replace(open_, workload=replace(open_.workload, deadline_s=minutes * 60.0))
            return Setting(str(minutes), loosened, f"+{minutes - round(deadline / 60):,} min for the run")

        dropped = replace(scenario, workload=replace(scenario.workload, deadline_s=None))
        found.append(
            Knob(
                "workload.deadlineMinutes",
                f"{round(deadline / 60)}",
                dropped,
                "duration",
                fit_deadline,
                ReasonCode.DEADLINE_MISSED,
            )
        )
    return found


def load_knobs(scenario: Scenario) -> list[Knob]:
    """Less load: the planner bisects for the largest load that works, so the fit is left to it."""
    work = scenario.workload
    if work.kind is LoadKind.CLOSED_LOOP:
        return [
            Knob(
                "workload.concurrentUsers",
                str(work.concurrent_users),
                scenario,
                "load",
                _fit_load,
                ReasonCode.LOAD_OVER_CAPACITY,
            )
        ]
    if work.kind is LoadKind.OPEN_LOOP:
        return [
            Knob(
                "workload.requestsPerSecond",
                _rate(work.request_rate_rps),
                scenario,
                "load",
                _fit_load,
                ReasonCode.LOAD_OVER_CAPACITY,
            )
        ]
    return [Knob("workload.items", str(work.items), scenario, "load", _fit_load, ReasonCode.LOAD_OVER_CAPACITY)]


def _fit_load(open_: Scenario, plan: Plan) -> Setting:
    del plan
    work = open_.workload
    if work.kind is LoadKind.CLOSED_LOOP:
        return Setting(str(work.concurrent_users), open_, f"up to {work.concurrent_users:,} users")
    if work.kind is LoadKind.OPEN_LOOP:
        return Setting(_rate(work.request_rate_rps), open_, f"up to {_rate(work.request_rate_rps)} requests/s")
    return Setting(str(work.items), open_, f"up to {work.items:,} items")


def _rate(value: float | None) -> str:
    """Write a rate as the spec does: plain decimals."""
    return f"{value or 0.0:.3f}".rstrip("0").rstrip(".")


def with_load_share(scenario: Scenario, share: float) -> Scenario | None:
    """Scale the load down, in the units of the spec; None below one user, item or 0.001 requests/s."""
    work = scenario.workload
    if work.kind is LoadKind.CLOSED_LOOP:
        users = int((work.concurrent_users or 0) * share)
        return replace(scenario, workload=replace(work, concurrent_users=users)) if users else None
    if work.kind is LoadKind.OPEN_LOOP:
        rate = math.floor((work.request_rate_rps or 0.0) * share * 1_000) / 1_000
        return replace(scenario, workload=replace(work, request_rate_rps=rate)) if rate else None
    items = int((work.items or 0) * share)
    return replace(scenario, workload=replace(work, items=items)) if items else None


def context_knobs(scenario: Scenario) -> list[Knob]:
    """A shorter context: the planner bisects for the longest one that works, so the fit is left to it."""
    if _longest_request(scenario) >= scenario.context_tokens:
        return []

    def fit(open_: Scenario, plan: Plan) -> Setting:
        del plan
        return Setting(str(open_.context_tokens), open_, f"a context of {open_.context_tokens:,} tokens")

    current = str(scenario.context_tokens)
    return [Knob("contextTokens", current, scenario, "context", fit, ReasonCode.CONTEXT_OVER_MODEL_LIMIT)]


def _longest_request(scenario: Scenario) -> int:
    return scenario.workload.prompt.p95 + scenario.workload.output.p95


def with_context_share(scenario: Scenario, share: float) -> Scenario | None:
    """Shorten the context to a share of what lies beyond the longest request; None if that changes nothing."""
    least = _longest_request(scenario)
    context = least + int((scenario.context_tokens - least) * share)
    context = max(least, context // CONTEXT_GRAIN_TOKENS * CONTEXT_GRAIN_TOKENS)
    return replace(scenario, context_tokens=context) if context < scenario.context_tokens else None


def quality_knobs(scenario: Scenario) -> list[Knob]:
    """The score asked for, and which weight formats may be used."""
    quality, found = scenario.quality, []
    if quality.minimum is not None and quality.metric is not None:
        metric, minimum = quality.metric, quality.minimum

        def fit(open_: Scenario, plan: Plan) -> Setting:
            score = plan.configuration.model.score(metric)
            value = score.value if score is not None else Decimal(0)
            loosened = replace(open_, quality=replace(open_.quality, level=None, metric=metric, minimum=value))
            return Setting(f"{metric}: {value}", loosened, f"{value - minimum:+} on {metric}")

        dropped = replace(scenario, quality=replace(quality, level=None, minimum=None))
        current = quality.level or f"{metric}: {minimum}"
        found.append(Knob("quality.minimum", current, dropped, "quality", fit, ReasonCode.QUALITY_BELOW_MINIMUM))
    if quality.lossy is Lossy.AVOID:
        dropped = replace(scenario, quality=replace(quality, lossy=Lossy.ALLOW))
        reason = ReasonCode.QUANTIZATION_LOSSY
        found.append(Knob("quality.quantization.lossy", "Avoid", dropped, "cost", _name_format("Allow"), reason))
    if quality.quantizations is not None:
        allowed = quality.quantizations
        dropped = replace(scenario, quality=replace(quality, quantizations=None))

        def fit_format(open_: Scenario, plan: Plan) -> Setting:
            used = plan.configuration.checkpoint.quantization
            wider = replace(open_, quality=replace(open_.quality, quantizations=(*allowed, used)))
            return Setting(f"[{', '.join((*allowed, used))}]", wider, f"{used} weights")

        reason = ReasonCode.QUANTIZATION_NOT_ALLOWED
        found.append(Knob("quality.quantization.allow", listed(allowed), dropped, "cost", fit_format, reason))
    return found


def _name_format(to: str) -> Callable[[Scenario, Plan], Setting]:
    def fit(open_: Scenario, plan: Plan) -> Setting:
        return Setting(to, open_, f"{plan.configuration.checkpoint.quantization} weights")

    return fit


def budget_knobs(scenario: Scenario) -> list[Knob]:
    """Limits of cost."""
    budget, found = scenario.budget, []
    limits = (
        ("maximumUsdPerHour", "maximum_usd_per_hour", "per_hour", "/h", _CENT, "price"),
        ("maximumUsdPerMonth", "maximum_usd_per_month", "per_month", "/month", _CENT, "cost"),
        ("maximumUsdPerRequest", "maximum_usd_per_request", "per_request", "/request", _NANO, "cost"),
    )
    for path, attribute, figure, unit, quantum, minimise in limits:
        limit = getattr(budget, attribute)
        if limit is None:
            continue

        def fit(
            open_: Scenario,
            plan: Plan,
            attribute: str = attribute,
            figure: str = figure,
            unit: str = unit,
            quantum: Decimal = quantum,
            limit: Decimal = limit,
        ) -> Setting:
            value = (getattr(plan.cost, figure) + quantum).quantize(quantum, rounding=ROUND_CEILING)
            loosened = replace(open_, budget=replace(open_.budget, **{attribute: value}))
            return Setting(f"{value:f}", loosened, f"+${value - limit:f}{unit}")

        dropped = replace(scenario, budget=without(budget, attribute))
        found.append(Knob(f"budget.{path}", f"{limit:f}", dropped, minimise, fit, ReasonCode.OVER_BUDGET))
    return found
