"""Knobs of what is wished for: latency, deadline, load, context, quality, budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from inferplan.domain.plan import Change, Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import LoadKind, Lossy, Scenario
from inferplan.domain.units import SECONDS_PER_MINUTE
from inferplan.planner.knob import (
    CONTEXT_GRAIN_TOKENS,
    Knob,
    Setting,
    listed,
    longest_context,
    longest_request,
    without,
)
from inferplan.planner.schedule import without_time_limit

_CENT, _NANO = Decimal("0.01"), Decimal("0.000000001")


def _amount(value: Decimal) -> str:
    """Write an amount of money with cents at least, and no digit that says nothing.

    >>> _amount(Decimal("0.410000")), _amount(Decimal("0.412500")), _amount(Decimal(3))
    ('0.41', '0.4125', '3.00')
    """
    return f"{value.quantize(_CENT) if value == value.quantize(_CENT) else value.normalize():f}"


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
    return [*found, *_time_knobs(scenario)]


def _time_knobs(scenario: Scenario) -> list[Knob]:
    """Time that a run may take: the deadline or the window, whichever ends first; both if one is not enough."""
    work = scenario.workload
    window = None if work.schedule is None else work.schedule.window_minutes
    deadline = None if work.deadline_s is None else round(work.deadline_s / SECONDS_PER_MINUTE)
    ends = [(deadline, "workload.deadlineMinutes"), (window, "workload.schedule.windowMinutes")]
    limits = sorted((minutes, field) for minutes, field in ends if minutes is not None)
    if not limits:
        return []
    (limit, field), *others = limits

    def fit(open_: Scenario, plan: Plan) -> Setting:
        duration = plan.estimate.run_duration_s
        minutes = math.ceil((duration.high if duration else 0.0) / SECONDS_PER_MINUTE * (1 + 1e-9))
        longer = replace(
            open_.workload,
            deadline_s=None if deadline is None else float(max(minutes, deadline) * SECONDS_PER_MINUTE),
            schedule=None
            if work.schedule is None
            else replace(work.schedule, window_minutes=None if window is None else max(minutes, window)),
        )
        also = tuple(Change(name, str(now), str(minutes)) for now, name in others if now < minutes)
        return Setting(str(minutes), replace(open_, workload=longer), f"+{minutes - limit:,} min for the run", also)

    dropped = replace(scenario, workload=without_time_limit(work))
    return [Knob(field, str(limit), dropped, "duration", fit, ReasonCode.DEADLINE_MISSED)]


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
    """Scale the load down, in the units of the spec: one user, one item or 0.001 requests/s at least.

    None if that changes nothing.
    """
    work = scenario.workload
    if work.kind is LoadKind.CLOSED_LOOP:
        users = max(1, int((work.concurrent_users or 0) * share))
        smaller = replace(work, concurrent_users=users) if users < (work.concurrent_users or 0) else None
    elif work.kind is LoadKind.OPEN_LOOP:
        rate = max(1, math.floor((work.request_rate_rps or 0.0) * share * 1_000)) / 1_000
        smaller = replace(work, request_rate_rps=rate) if rate < (work.request_rate_rps or 0.0) else None
    else:
        items = max(1, int((work.items or 0) * share))
        smaller = replace(work, items=items) if items < (work.items or 0) else None
    return None if smaller is None else replace(scenario, workload=smaller)


def context_knobs(scenario: Scenario) -> list[Knob]:
    """The longest context that works: bisected for, and told by the plan itself where all else is pinned."""
    pinned = scenario.pin is not None and scenario.pin.max_model_len is not None
    if pinned or longest_request(scenario) >= scenario.context_tokens:
        return []

    def fit(open_: Scenario, plan: Plan) -> Setting:
        length = longest_context(open_, plan, scenario.context_tokens)
        return Setting(str(length), replace(open_, context_tokens=length), f"a context of {length:,} tokens")

    current, full = str(scenario.context_tokens), scenario.pin is not None and scenario.pin.is_full
    shortest = replace(scenario, context_tokens=longest_request(scenario))
    dropped, minimise = (shortest, "cost") if full else (scenario, "context")
    return [Knob("contextTokens", current, dropped, minimise, fit, ReasonCode.CONTEXT_OVER_MODEL_LIMIT)]


def with_context_share(scenario: Scenario, share: float) -> Scenario | None:
    """Shorten the context to a share of what lies beyond the longest request; None if that changes nothing."""
    least = longest_request(scenario)
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
    # What a request costs depends on a rate that is rounded when it is told: the last digit is the room for that.
    limits = (
        ("maximumUsdPerHour", "maximum_usd_per_hour", "per_hour", "/h", Decimal(0), "price"),
        ("maximumUsdPerMonth", "maximum_usd_per_month", "per_month", "/month", Decimal(0), "cost"),
        ("maximumUsdPerRequest", "maximum_usd_per_request", "per_request", "/request", _NANO, "cost"),
    )
    for path, attribute, figure, unit, room, minimise in limits:
        limit = getattr(budget, attribute)
        if limit is None:
            continue

        def fit(
            open_: Scenario,
            plan: Plan,
            attribute: str = attribute,
            figure: str = figure,
            unit: str = unit,
            room: Decimal = room,
            limit: Decimal = limit,
        ) -> Setting:
            value = getattr(plan.cost, figure) + room
            loosened = replace(open_, budget=replace(open_.budget, **{attribute: value}))
            return Setting(_amount(value), loosened, f"+${_amount(value - limit)}{unit}")

        dropped = replace(scenario, budget=without(budget, attribute))
        found.append(Knob(f"budget.{path}", f"{limit:f}", dropped, minimise, fit, ReasonCode.OVER_BUDGET))
    return found
