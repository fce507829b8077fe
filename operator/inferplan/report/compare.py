"""Several outcomes side by side: the cross-scenario comparison, every insight resting on the numbers of this run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from inferplan.api.figures import seconds
from inferplan.domain.plan import Outcome, Plan, WhatIf
from inferplan.domain.scenario import LoadKind, Tier
from inferplan.domain.units import GB
from inferplan.report import numbers
from inferplan.report.outline import Report, Section, Table


def comparison(outcomes: Sequence[Outcome]) -> Report:
    """Compare the chosen plans of several scenarios; those without a plan are named."""
    planned = [(outcome, outcome.chosen) for outcome in outcomes if outcome.chosen is not None]
    return Report(
        title="Comparison",
        headline=f"{len(planned)} of {len(outcomes)} scenarios have a plan",
        good=len(planned) == len(outcomes),
        sections=tuple(_sections(outcomes, planned)),
    )


Planned = Sequence[tuple[Outcome, Plan]]


def _sections(outcomes: Sequence[Outcome], planned: Planned) -> Iterator[Section]:
    yield replace(_performance(outcomes), points=tuple(_extremes(planned)))
    if not planned:
        return
    yield _memory(planned)
    yield _hardware(planned)
    yield _money(planned)
    yield _growth(planned)
    yield _ownership(planned)
    others = tuple(_others(planned))
    if others:
        yield Section("What else would bring", points=others)


def _extremes(planned: Planned) -> Iterator[str]:
    """Name the cheapest and the dearest request."""
    priced = [(plan.cost.per_request, outcome.scenario.name) for outcome, plan in planned if plan.cost.per_request]
    if len(priced) > 1:
        (low, cheap), (high, dear) = min(priced), max(priced)
        yield (
            f"a request costs least in {cheap} ({numbers.usd(low)}) and most in {dear} ({numbers.usd(high)}), "
            f"{numbers.number(float(high / low))} times as much"
        )


def _performance(outcomes: Sequence[Outcome]) -> Section:
    rows = tuple(_performance_row(outcome) for outcome in outcomes)
    return Section(
        "Performance summary",
        table=Table(("Scenario", "Model", "Hardware", "Throughput", "Latency P95", "Per request", "Per hour"), rows),
    )


def _performance_row(outcome: Outcome) -> tuple[str, ...]:
    plan = outcome.chosen
    if plan is None:
        reasons = ", ".join(outcome.infeasibility.binding) if outcome.infeasibility else ""
        return (outcome.scenario.name, "no plan", reasons, "–", "–", "–", "–")
    configuration, estimate = plan.configuration, plan.estimate
    if estimate.run_duration_s is not None:
        latency = f"run {numbers.number(estimate.run_duration_s.expected / 60)} min"
    elif estimate.output_tps_total.expected > 0:
        latency = f"first token {seconds(estimate.ttft.p95.expected)}, all {seconds(estimate.e2e.p95.expected)}"
    else:
        latency = seconds(estimate.e2e.p95.expected)
    return (
        outcome.scenario.name,
        f"{configuration.model.id} {configuration.checkpoint.quantization}",
        f"{configuration.gpus}× {configuration.gpu.name}",
        numbers.throughput(estimate),
        latency,
        "–" if plan.cost.per_request is None else numbers.usd(plan.cost.per_request),
        numbers.usd(plan.cost.per_hour),
    )


def _memory(planned: Planned) -> Section:
    rows, points = [], []
    for outcome, plan in planned:
        ledger = plan.estimate.memory
        rows.append(
            (
                outcome.scenario.name,
                numbers.gigabytes(ledger.weights_bytes),
                numbers.gigabytes(ledger.kv_needed_bytes),
                numbers.gigabytes(ledger.activations_bytes + ledger.overhead_bytes),
                numbers.memory(ledger),
                f"{plan.configuration.max_model_len:,}",
            )
        )
    heaviest = max(planned, key=lambda pair: _kv_share(pair[1]))
    lightest = min(planned, key=lambda pair: _kv_share(pair[1]))
    if heaviest is not lightest:
        points.append(
            f"{heaviest[0].scenario.name} keeps the largest share of its memory for sequences "
            f"({_kv_share(heaviest[1]):.0%} of what it uses), {lightest[0].scenario.name} the smallest "
            f"({_kv_share(lightest[1]):.0%})"
        )
    header = ("Scenario", "Weights", "KV at the batch limit", "Activations, engine", "Used per GPU", "Context [tokens]")
    return Section("Memory patterns", points=tuple(points), table=Table(header, tuple(rows)))


def _kv_share(plan: Plan) -> float:
    return plan.estimate.memory.kv_needed_bytes / max(plan.estimate.memory.needed_bytes, 1.0)


def _hardware(planned: Planned) -> Section:
    rows = []
    points: list[str] = []
    for outcome, plan in planned:
        busy = "full, for the run" if _is_batch(outcome) else f"{plan.cost.utilization_percent} % of saturation"
        rows.append(
            (
                outcome.scenario.name,
                f"{plan.configuration.replicas} × {plan.configuration.gpus_per_replica} GPU",
                busy,
                f"{plan.estimate.running_batch:.1f} of {plan.configuration.max_num_seqs}",
                str(plan.cost.gpus_idle),
                str(plan.estimate.evidence),
            )
        )
    idle = [(o, p) for o, p in planned if p.cost.gpus_idle]
    points.extend(f"{o.scenario.name} pays for {p.cost.gpus_idle} GPUs that stay idle" for o, p in idle)
    serving = [(o, p) for o, p in planned if not _is_batch(o)]
    if serving:
        least = min(serving, key=lambda pair: pair[1].cost.utilization_percent)
        points.append(f"{least[0].scenario.name} has most room: {least[1].cost.utilization_percent} % of saturation")
    header = ("Scenario", "Replicas × GPUs", "Busy", "Running / batch limit", "Idle GPUs", "Evidence")
    return Section("Hardware utilization", points=tuple(points), table=Table(header, tuple(rows)))


def _is_batch(outcome: Outcome) -> bool:
    return outcome.scenario.workload.kind is LoadKind.OFFLINE


def _money(planned: Planned) -> Section:
    rows, points = [], []
    for outcome, plan in planned:
        tiers = {entry.tier: entry for entry in outcome.tiers}
        cells = [_bill(outcome, tiers.get(tier)) for tier in Tier]
        rows.append((outcome.scenario.name, *cells, _spot(outcome)))
        cheap = tiers.get(Tier.BUDGET)
        if cheap is not None and cheap.cost.per_hour < plan.cost.per_hour:
            saved = plan.cost.per_month - cheap.cost.per_month
            cheaper = f"{numbers.usd(saved)} a month ({cheap.configuration.title})"
            points.append(f"{outcome.scenario.name}: the Budget tier saves {cheaper}")
        points.extend(_dearer(outcome, plan))
    header = ("Scenario", "Budget", "Recommended", "High-end", "On spot machines")
    return Section("Cost optimization", points=tuple(points), table=Table(header, tuple(rows)))


def _dearer(outcome: Outcome, plan: Plan) -> Iterator[str]:
    """Say what the best tier costs on top, and what spot machines save."""
    best = next((entry for entry in outcome.tiers if entry.tier is Tier.HIGH_END), None)
    name = outcome.scenario.name
    if best is not None and best.cost.per_month > plan.cost.per_month > 0:
        times = numbers.number(float(best.cost.per_month / plan.cost.per_month))
        yield f"{name}: the High-end tier costs {times} times as much ({best.configuration.title})"
    spot = _what_if(outcome, "Spot")
    if spot is not None and spot.cost_per_month is not None and 0 < spot.cost_per_month < plan.cost.per_month:
        saved = plan.cost.per_month - spot.cost_per_month
        yield f"{name}: spot machines save {saved / plan.cost.per_month:.0%}, {numbers.usd(saved)} a month"


def _what_if(outcome: Outcome, code: str) -> WhatIf | None:
    return next((entry for entry in outcome.what_ifs if entry.code == code), None)


def _bill(outcome: Outcome, plan: Plan | None) -> str:
    if plan is None:
        return "–"
    if _is_batch(outcome) and plan.cost.per_run is not None:
        return f"{numbers.usd(plan.cost.per_run)} a run"
    return f"{numbers.usd(plan.cost.per_month)} a month"


def _spot(outcome: Outcome) -> str:
    found = _what_if(outcome, "Spot")
    return "–" if found is None or found.cost_per_month is None else f"{numbers.usd(found.cost_per_month)} a month"


def _growth(planned: Planned) -> Section:
    factors = sorted({step.factor for outcome, _ in planned for step in outcome.growth})
    rows = []
    for outcome, _ in planned:
        by_factor = {step.factor: step.plan for step in outcome.growth}
        rows.append((outcome.scenario.name, *(_growth_cell(by_factor.get(factor)) for factor in factors)))
    header = ("Scenario", *(f"{factor}× load" for factor in factors))
    notes = ("cheapest plan, per month",)
    return Section("Growth", points=tuple(_steepness(planned)), table=Table(header, tuple(rows)), notes=notes)


def _steepness(planned: Planned) -> Iterator[str]:
    """Say what the largest growth costs, relative to today's cheapest plan."""
    for outcome, plan in planned:
        today = next((entry for entry in outcome.tiers if entry.tier is Tier.BUDGET), plan)
        step = outcome.growth[-1] if outcome.growth else None
        if step is None:
            continue
        name = outcome.scenario.name
        if step.plan is None:
            yield f"{name}: no plan carries {step.factor} times the load within its limits"
        elif today.cost.per_month > 0:
            times = numbers.number(float(step.plan.cost.per_month / today.cost.per_month))
            yield f"{name}: {step.factor} times the load costs {times} times as much"


def _others(planned: Planned) -> Iterator[str]:
    """List what could be done beside the plans; spot machines and renting stand in sections of their own."""
    for outcome, _ in planned:
        for entry in outcome.what_ifs:
            if entry.code not in {"Spot", "RentInstead"}:
                yield f"{outcome.scenario.name}: {entry.title}: {entry.effect}"


def _growth_cell(plan: Plan | None) -> str:
    if plan is None:
        return "no plan"
    return f"{numbers.usd(plan.cost.per_month)} ({plan.configuration.gpus}× {plan.configuration.gpu.name})"


def _ownership(planned: Planned) -> Section:
    total = sum((plan.cost.per_month for _, plan in planned), start=Decimal(0))
    gpus = sum(plan.configuration.gpus for _, plan in planned)
    memory = sum(plan.configuration.gpus * plan.configuration.gpu.memory_bytes for _, plan in planned) / GB
    points = [
        f"together {numbers.usd(total)} a month for {gpus} GPUs with {memory:,.0f} GB",
        *_rent(planned, lambda outcome: outcome.scenario.name),
    ]
    return Section("Total cost of ownership", points=tuple(points))


def _rent(planned: Planned, name: Callable[[Outcome], str]) -> Iterator[str]:
    for outcome, plan in planned:
        found = _what_if(outcome, "RentInstead")
        if found is not None:
            yield f"{name(outcome)}: owned at {numbers.usd(plan.cost.per_hour)}/h; {found.effect}"
        elif plan.source == "Market":
            place = plan.cost.placements[0]
            yield (
                f"{name(outcome)}: rented, {place.terms}, {place.provider} {place.region}, prices of {place.as_of}; "
                f"owning is planned with hardware.owned"
            )
