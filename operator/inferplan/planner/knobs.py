"""The requirements of a scenario that can be loosened, each with how to drop it and how to put a value back.

A knob knows its field in the spec, what the search should minimise once it is dropped, and the smallest value
that the plan so found needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any, TypeVar

from inferplan.domain.hardware import Terms
from inferplan.domain.plan import Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Budget, HardwareSource, LoadKind, Lossy, Pin, Scenario, Slo

CONTEXT_GRAIN_TOKENS = 256
LARGEST_FLEET_GPUS = 2_048
"""How far the question "how many GPUs would do" is followed."""

Part = TypeVar("Part", Slo, Budget)

WHOLE_PIN = "select.pin"
_CENT, _NANO = Decimal("0.01"), Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value put back: what to write, the scenario with it, and words for people."""

    to: str
    scenario: Scenario
    text: str


@dataclass(frozen=True, slots=True)
class Knob:
    """One requirement that can be loosened.

    Parameters
    ----------
    field
        Dotted path in the spec.
    current
        Value as it stands.
    dropped
        The scenario without the requirement.
    minimise
        What the search minimises to find the smallest sufficient value: ``cost``, ``ttft``, ``tpot``, ``e2e``,
        ``duration``, ``gpus``, ``price`` (of an hour), ``quality`` (the loss of it); ``load`` and ``context`` are
        bisected.
    fit
        From the scenario in which it is dropped and the plan found to the value to put back.
    """

    field: str
    current: str
    dropped: Scenario
    minimise: str
    fit: Callable[[Scenario, Plan], Setting]
    reason: ReasonCode | None = None
    """Reason of rejection that the requirement stands for; None for a pin, which stands for many."""


def knobs(scenario: Scenario) -> tuple[Knob, ...]:
    """All requirements of the scenario that can be loosened, in the order of the spec."""
    if scenario.pin is not None:
        return (*_pin_knobs(scenario, scenario.pin), *_latency_knobs(scenario))
    return (
        *_latency_knobs(scenario),
        *_load_knobs(scenario),
        *_context_knobs(scenario),
        *_quality_knobs(scenario),
        *_model_knobs(scenario),
        *_hardware_knobs(scenario),
        *_budget_knobs(scenario),
    )


def _latency_knobs(scenario: Scenario) -> list[Knob]:
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

        dropped = replace(scenario, slo=_without(slo, attribute))
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


def _load_knobs(scenario: Scenario) -> list[Knob]:
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
                f"{work.request_rate_rps:g}",
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
        return Setting(f"{work.request_rate_rps:g}", open_, f"up to {work.request_rate_rps:g} requests/s")
    return Setting(str(work.items), open_, f"up to {work.items:,} items")


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


def _context_knobs(scenario: Scenario) -> list[Knob]:
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


def _quality_knobs(scenario: Scenario) -> list[Knob]:
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
        found.append(Knob("quality.quantization.allow", _listed(allowed), dropped, "cost", fit_format, reason))
    return found


def _name_format(to: str) -> Callable[[Scenario, Plan], Setting]:
    def fit(open_: Scenario, plan: Plan) -> Setting:
        return Setting(to, open_, f"{plan.configuration.checkpoint.quantization} weights")

    return fit


def _model_knobs(scenario: Scenario) -> list[Knob]:
    policy, found = scenario.model, []

    def fit_model(open_: Scenario, plan: Plan) -> Setting:
        used = plan.configuration.model.id
        wider = replace(open_.model, allow=None if policy.allow is None else (*policy.allow, used))
        return Setting(_listed((*(policy.allow or ()), used)), replace(open_, model=wider), f"allow {used}")

    def fit_license(open_: Scenario, plan: Plan) -> Setting:
        used = plan.configuration.model.license
        licenses = (*(policy.licenses or ()), used)
        wider = replace(open_.model, licenses=licenses)
        return Setting(_listed(licenses), replace(open_, model=wider), f"accept the {used} licence")

    if policy.allow is not None and policy.custom is None:
        dropped = replace(scenario, model=replace(policy, allow=None))
        found.append(
            Knob("model.allow", _listed(policy.allow), dropped, "cost", fit_model, ReasonCode.MODEL_NOT_ALLOWED)
        )
    if policy.licenses is not None:
        dropped = replace(scenario, model=replace(policy, licenses=None))
        found.append(
            Knob("model.licenses", _listed(policy.licenses), dropped, "cost", fit_license, ReasonCode.LICENSE_DENIED)
        )
    return found


def _hardware_knobs(scenario: Scenario) -> list[Knob]:
    policy = scenario.hardware

    def fit_gpu(open_: Scenario, plan: Plan) -> Setting:
        used = plan.configuration.gpu
        wider = None if policy.allow is None else (*policy.allow, used.id)
        narrower = tuple(gpu for gpu in policy.deny if gpu != used.id)
        changed = replace(open_, hardware=replace(open_.hardware, allow=wider, deny=narrower))
        to = _listed(narrower) if wider is None else _listed(wider)
        return Setting(to, changed, f"allow {used.name}")

    def fit_maximum(open_: Scenario, plan: Plan) -> Setting:
        gpus = plan.configuration.gpus
        changed = replace(open_, hardware=replace(open_.hardware, maximum_gpus=gpus))
        return Setting(str(gpus), changed, f"{gpus:,} GPUs")

    def dropped(**changes: Any) -> Scenario:
        return replace(scenario, hardware=replace(policy, **changes))

    def knob(field: str, current: str, open_: Scenario, fit: Callable[[Scenario, Plan], Setting]) -> Knob:
        reasons = {"allow": ReasonCode.GPU_NOT_ALLOWED, "deny": ReasonCode.GPU_NOT_ALLOWED}
        reason = ReasonCode.NO_INVENTORY if field == "source" else reasons.get(field, ReasonCode.NO_OFFERING)
        return Knob(f"hardware.{field}", current, open_, "cost", fit, reason)

    fleet = dropped(maximum_gpus=LARGEST_FLEET_GPUS)
    elsewhere, anyone = dropped(regions=None), dropped(providers=None)
    spot, market = dropped(terms=(*policy.terms, Terms.SPOT)), dropped(source=HardwareSource.MARKET)
    offered = (
        (policy.allow is not None, knob("allow", _listed(policy.allow or ()), dropped(allow=None), fit_gpu)),
        (bool(policy.deny), knob("deny", _listed(policy.deny), dropped(deny=()), fit_gpu)),
        (
            policy.maximum_gpus < LARGEST_FLEET_GPUS,
            Knob(
                "hardware.maximumGpus",
                str(policy.maximum_gpus),
                fleet,
                "gpus",
                fit_maximum,
                ReasonCode.GPUS_OVER_MAXIMUM,
            ),
        ),
        (
            policy.regions is not None,
            knob("regions", _listed(policy.regions or ()), elsewhere, _keep("(unset)", "any region")),
        ),
        (
            policy.providers is not None,
            knob("providers", _listed(policy.providers or ()), anyone, _keep("(unset)", "any provider")),
        ),
        (
            Terms.SPOT not in policy.terms,
            knob(
                "capacityTypes",
                _listed(policy.terms),
                spot,
                _keep(_listed((*policy.terms, Terms.SPOT)), "spot machines"),
            ),
        ),
        (
            policy.source is not HardwareSource.MARKET,
            knob("source", str(policy.source), market, _keep("Market", "GPUs rented on the market")),
        ),
    )
    return [entry for applies, entry in offered if applies]


def _keep(to: str, words: str) -> Callable[[Scenario, Plan], Setting]:
    """Leave the requirement dropped: there is no value in between."""
    return lambda open_, _: Setting(to, open_, words)


def _budget_knobs(scenario: Scenario) -> list[Knob]:
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

        dropped = replace(scenario, budget=_without(budget, attribute))
        found.append(Knob(f"budget.{path}", f"{limit:f}", dropped, minimise, fit, ReasonCode.OVER_BUDGET))
    return found


def _pin_knobs(scenario: Scenario, pin: Pin) -> list[Knob]:
    fields = (
        ("model", "model", lambda plan: plan.configuration.model.id),
        ("quantization", "quantization", lambda plan: plan.configuration.checkpoint.quantization),
        ("gpu", "gpu", lambda plan: plan.configuration.gpu.id),
        ("gpusPerReplica", "gpus_per_replica", lambda plan: plan.configuration.gpus_per_replica),
        ("replicas", "replicas", lambda plan: plan.configuration.replicas),
        ("maxNumSeqs", "max_num_seqs", lambda plan: plan.configuration.max_num_seqs),
    )
    found = []
    for path, attribute, read in fields:
        pinned = getattr(pin, attribute)
        if pinned is None:
            continue

        def fit(
            open_: Scenario,
            plan: Plan,
            path: str = path,
            attribute: str = attribute,
            read: Callable[[Plan], Any] = read,
        ) -> Setting:
            value = read(plan)
            again = replace(open_, pin=replace(open_.pin or Pin(), **{attribute: value}))
            return Setting(str(value), again, f"{path} {value}")

        dropped = replace(scenario, pin=replace(pin, **{attribute: None}))
        found.append(Knob(f"select.pin.{path}", str(pinned), dropped, "cost", fit))
    everything = replace(scenario, pin=None)
    found.append(Knob(WHOLE_PIN, "set", everything, "cost", lambda open_, _: Setting("(unset)", open_, "no pin")))
    return found


def _without(value: Part, attribute: str) -> Part:
    """Copy with one attribute unset."""
    changes: dict[str, Any] = {attribute: None}
    return replace(value, **changes)


def _listed(values: tuple[str, ...]) -> str:
    return f"[{', '.join(values)}]"
