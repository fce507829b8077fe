"""One outcome as a report: the plan with its reasons, or the "no" with its evidence and the nearest "yes"."""

from __future__ import annotations

from collections.abc import Iterator

from inferplan.api.figures import decimal_text
from inferplan.api.status import summary
from inferplan.domain.deployment import Placement
from inferplan.domain.plan import Outcome, Plan, Relaxation, RemarkKind
from inferplan.domain.reasons import REASON_TEXT, Rejection
from inferplan.domain.scenario import LoadKind
from inferplan.report import numbers
from inferplan.report.outline import Report, Section, Table
from inferplan.report.started_with import started_with

SIGNS = {RemarkKind.STRENGTH: "✅", RemarkKind.CAUTION: "⚠️", RemarkKind.COST: "💰"}
ADVICE = {"StartWith": "Start with", "ScaleUp": "Scale up", "ScaleDown": "Scale down", "Avoid": "Avoid"}
TIER_TITLES = {"HighEnd": "High-end"}


def report(outcome: Outcome, *, everything: bool = False) -> Report:
    """Put an outcome into sections.

    Parameters
    ----------
    everything
        Also every reason for which candidates were turned down, with the nearest example.
    """
    return Report(
        title=outcome.scenario.name,
        headline=summary(outcome),
        good=outcome.chosen is not None,
        sections=tuple(_sections(outcome, everything=everything)),
    )


def _sections(outcome: Outcome, *, everything: bool) -> Iterator[Section]:
    chosen = outcome.chosen
    if chosen is not None:
        yield _tiers(outcome)
        if chosen.misses:
            yield _misses(chosen)
        yield Section(f"Analysis ({_tier(chosen)})", points=tuple(f"{SIGNS[r.kind]} {r.text}" for r in chosen.remarks))
        yield _cost(chosen, "item" if outcome.scenario.workload.kind is LoadKind.OFFLINE else "request")
    elif outcome.infeasibility is not None:
        yield from _no(outcome)
        if outcome.tiers:
            yield _tiers(outcome)
    if outcome.recommendations:
        points = tuple(f"{ADVICE.get(r.kind, r.kind)}: {r.text}" for r in outcome.recommendations)
        yield Section("Recommendations", points=points)
    if outcome.growth:
        yield _growth(outcome)
    if outcome.what_ifs:
        points = tuple(f"{w.title}: {w.effect}. Assumed: {w.assumption}." for w in outcome.what_ifs)
        yield Section("What if", points=points)
    yield _rejected(outcome, everything=everything)
    yield _search(outcome)


def _tier(plan: Plan) -> str:
    return TIER_TITLES.get(plan.tier, str(plan.tier))


def _tiers(outcome: Outcome) -> Section:
    plans = outcome.tiers
    names = tuple(_tier(plan) + (" ←" if plan is outcome.chosen and len(plans) > 1 else "") for plan in plans)
    rows = [(name, *(values(plan) for plan in plans)) for name, values in _ROWS]
    settings = started_with(outcome.scenario.pin)
    if settings:
        at = next(index for index, row in enumerate(rows) if row[0] == "KV cache")
        rows.insert(at + 1, ("Started with", *(settings for _ in plans)))
    if outcome.scenario.workload.kind is LoadKind.OFFLINE:
        rows = [row for row in rows if row[0] not in _SERVING_ONLY]
    else:
        rows = [row for row in rows if row[0] not in _BATCH_ONLY]
    shown = tuple(row for row in rows if any(cell != "–" for cell in row[1:]))
    title = "Plan" if len(plans) == 1 else "Tiers"
    if outcome.chosen is None:
        title = "⚠️ Plans that cannot be deployed yet"
    return Section(title, table=Table(("", *names), shown))


def _misses(plan: Plan) -> Section:
    """Say what an obeyed pin does not meet, each with its limit; times are judged at the high end of their range."""
    points = (f"❌ {miss.code}: {numbers.against(miss.actual, miss.limit, miss.unit)}" for miss in plan.misses)
    return Section("What the pinned configuration misses", points=tuple(points))


def _parallel(plan: Plan) -> str:
    configuration = plan.configuration
    text = f"{configuration.gpus_per_replica}× {configuration.gpu.name}"
    if configuration.gpus_per_replica > 1:
        pipeline = f" × PP {configuration.pp_size}" if configuration.pp_size > 1 else ""
        text += f" (TP {configuration.tp_size}{pipeline})"
    return text


def _checkpoint(plan: Plan) -> str:
    checkpoint = plan.configuration.checkpoint
    return f"{checkpoint.repository}, made while loading" if checkpoint.made_while_loading else checkpoint.repository


def _money_per_request(plan: Plan) -> str:
    return "–" if plan.cost.per_request is None else numbers.usd(plan.cost.per_request)


def _where(plan: Plan) -> str:
    return ", ".join(f"{p.count}× {p.provider} {p.instance_type}" for p in plan.cost.placements)


def _per_run(plan: Plan) -> str:
    return "–" if plan.cost.per_run is None else numbers.usd(plan.cost.per_run)


def _run(plan: Plan) -> str:
    return "–" if plan.estimate.run_duration_s is None else numbers.minutes(plan.estimate.run_duration_s)


_ROWS = (
    ("Model", lambda p: p.configuration.model.id),
    ("Weights", lambda p: str(p.configuration.checkpoint.quantization)),
    ("Checkpoint", _checkpoint),
    ("Engine", lambda p: f"{p.configuration.engine.name} {p.configuration.engine.version}"),
    ("GPU of a replica", _parallel),
    ("Replicas", lambda p: str(p.configuration.replicas)),
    ("Batch limit", lambda p: str(p.configuration.max_num_seqs)),
    ("Context", lambda p: f"{p.configuration.max_model_len:,} tokens"),
    ("KV cache", lambda p: str(p.configuration.kv_dtype)),
    ("Memory per GPU", lambda p: numbers.memory(p.estimate.memory)),
    ("Fits", lambda p: f"{numbers.SIGNS[p.compatibility]} {numbers.FIT[p.compatibility]}"),
    ("Speed per user", lambda p: numbers.speed(p.estimate)),
    ("Throughput", lambda p: numbers.throughput(p.estimate)),
    ("TTFT P95", lambda p: numbers.duration(p.estimate.ttft.p95)),
    ("Request P95", lambda p: numbers.duration(p.estimate.e2e.p95)),
    ("Run", _run),
    ("Utilization", lambda p: f"{p.cost.utilization_percent} %"),
    ("Evidence", lambda p: str(p.estimate.evidence)),
    ("Per request", _money_per_request),
    ("Per run", _per_run),
    ("Per hour", lambda p: numbers.usd(p.cost.per_hour)),
    ("Per month", lambda p: f"{numbers.usd(p.cost.per_month)} ({decimal_text(p.cost.hours_per_month)} h)"),
    ("On", _where),
)
_SERVING_ONLY = frozenset({"TTFT P95", "Request P95", "Utilization", "Speed per user"})
_BATCH_ONLY = frozenset({"Run", "Per run"})


def _used(place: Placement) -> str:
    """Say how many GPUs of the machines are used, and where a share of a machine is all that is paid for."""
    there = place.count * place.gpus_per_instance
    share = ", the rest is free" if place.gpus_used + place.gpus_idle < there else ""
    return f"{place.gpus_used} of {there}{share}"


def _cost(plan: Plan, what: str) -> Section:
    cost = plan.cost
    rows = tuple(
        (
            f"{place.count}× {place.instance_type}",
            f"{place.provider} {place.region}".strip(),
            str(place.terms),
            f"{numbers.usd(place.price_usd_per_hour)}/h",
            _used(place),
            f"{place.source} {place.as_of}".strip(),
        )
        for place in cost.placements
    )
    rate = f"{decimal_text(cost.requests_per_s)} {what}s/s"
    notes = [f"cost per {what} = {numbers.usd(cost.per_hour)} / 3600 / {rate}"]
    if cost.per_million_output_tokens is not None:
        notes.append(f"{numbers.usd(cost.per_million_output_tokens)} per million output tokens")
    if cost.per_million_total_tokens is not None:
        notes.append(f"{numbers.usd(cost.per_million_total_tokens)} per million tokens in and out")
    table = Table(("Machines", "Where", "Terms", "Price each", "GPUs used", "Price from"), rows)
    return Section("Cost", table=table, notes=tuple(notes))


def _no(outcome: Outcome) -> Iterator[Section]:
    found = outcome.infeasibility
    if found is None:
        return
    examples = {entry.code: entry for entry in found.evidence}
    points = [f"❌ {code}: {REASON_TEXT[code]}{_numbers(examples.get(code))}" for code in found.binding]
    if found.nearest_miss is not None:
        points.append(f"nearest miss: {_example(found.nearest_miss)}")
    yield Section("No plan meets this scenario", points=tuple(points))
    if found.nearest:
        table = Table(
            ("Change", "From", "To", "Gives", "Per hour"),
            tuple(row for offer in found.nearest for row in _offer(offer)),
        )
        yield Section("The nearest yes", table=table, notes=("every line was planned again with its change",))
    else:
        yield Section("The nearest yes", paragraphs=("No single change and no pair of changes gives a plan.",))


def _offer(offer: Relaxation) -> Iterator[tuple[str, ...]]:
    for index, change in enumerate(offer.changes):
        first = index == 0
        yield (
            change.field if first else f"and {change.field}",
            change.current,
            change.to,
            offer.plan.title if first else "",
            numbers.usd(offer.plan.cost.per_hour) if first else "",
        )


def _growth(outcome: Outcome) -> Section:
    rows = tuple(
        (
            f"{step.factor}×",
            "no plan" if step.plan is None else step.plan.title,
            "" if step.plan is None else f"{numbers.usd(step.plan.cost.per_month)}",
        )
        for step in outcome.growth
    )
    what = "Cheapest plan" if outcome.scenario.pin is None else "Pinned plan"
    return Section("Growth", table=Table(("Load", what, "Per month"), rows, frozenset({2})))


def _example(rejection: Rejection) -> str:
    text = rejection.candidate
    if rejection.limit is not None and rejection.actual is not None:
        text += f": {numbers.against(rejection.actual, rejection.limit, rejection.unit)}"
    return text.strip() + (f" ({rejection.detail})" if rejection.detail else "")


def _numbers(rejection: Rejection | None) -> str:
    if rejection is None or rejection.limit is None or rejection.actual is None:
        return ""
    return f" ({numbers.against(rejection.actual, rejection.limit, rejection.unit)} at the nearest)"


def _rejected(outcome: Outcome, *, everything: bool) -> Section:
    found = sorted(outcome.rejected.by_reason, key=lambda entry: -entry.count)
    if everything:
        rows = tuple(
            (str(entry.code), f"{entry.count:,}", REASON_TEXT[entry.code], _example(entry.example)) for entry in found
        )
        table = Table(("Reason", "Candidates", "Meaning", "Nearest example"), rows, frozenset({1}))
        return Section("Why not the others", table=table)
    parts = ", ".join(f"{entry.code} {entry.count:,}" for entry in found)
    return Section("Why not the others", paragraphs=(f"{parts}." if parts else "Nothing was turned down.",))


def _search(outcome: Outcome) -> Section:
    search = outcome.search
    points = [*outcome.assumptions, *outcome.cautions]
    dates = f"; prices of {search.prices_as_of}" if search.prices_as_of else ""
    paragraph = (
        f"{search.candidates:,} candidates ({search.shapes:,} shapes) on GPUs of: {search.source}{dates}; "
        f"catalog {search.catalog_digest[:12]}. Ranges are nominal 90 %."
    )
    return Section("Searched and assumed", paragraphs=(paragraph,), points=tuple(points))
