"""From a choice of the search to a plan: predictions spelled out, priced, judged and named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from inferplan.domain.deployment import Configuration, Cost, EngineSpec, Placement
from inferplan.domain.estimate import Estimate
from inferplan.domain.model import Task
from inferplan.domain.plan import Miss, Plan, Remark, RemarkKind
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Scenario
from inferplan.domain.units import HOURS_PER_MONTH, SECONDS_PER_HOUR
from inferplan.estimate.cost import cost
from inferplan.estimate.spelled_out import estimate
from inferplan.planner.candidates import Weights
from inferplan.planner.constraints import WEIGHT_CHECKS, max_model_len, overridden
from inferplan.planner.field import Field
from inferplan.planner.load import replica_load
from inferplan.planner.remarks import Subject, analyse, compatibility, in_order, not_deployable
from inferplan.planner.schedule import runs_per_month
from inferplan.planner.search import Choice
from inferplan.planner.targets import LOAD_UNITS, ROUNDING
from inferplan.planner.tiers import TierChoice


def assemble(field: Field, scenario: Scenario, found: TierChoice, load_factor: float = 1.0) -> Plan:
    """Spell out, price and judge what a tier came to, at the scenario's load."""
    choice = found.choice
    configuration = _configuration(field, scenario, choice)
    predicted = predict_plan(field, scenario, choice, load_factor)
    slots = choice.replicas * configuration.pp_size
    placements = field.supply.place(configuration.gpu.id, configuration.tp_size, slots)
    money = _cost(scenario, predicted, placements)
    misses = _misses(scenario, configuration, predicted, money)
    subject = Subject(scenario, found.tier, configuration, predicted, money, misses, field.supply.source)
    given_up = tuple(
        Remark(RemarkKind.CAUTION, "GivenUp", f"{found.tier} could not have {wish}") for wish in found.given_up
    )
    return Plan(
        tier=found.tier,
        configuration=configuration,
        estimate=predicted,
        cost=money,
        compatibility=compatibility(predicted),
        remarks=(*not_deployable(configuration), *in_order((*analyse(subject), *given_up))),
        misses=misses,
        hash=plan_hash(configuration, placements, _overrides(scenario)),
        source=field.supply.source,
    )


def _configuration(field: Field, scenario: Scenario, choice: Choice) -> Configuration:
    return field.shapes.configuration(
        choice.row,
        max_num_seqs=choice.max_num_seqs,
        max_model_len=max_model_len(scenario),
        max_num_batched_tokens=int(field.replica.max_num_batched_tokens[choice.row]),
        replicas=choice.replicas,
    )


def predict_plan(field: Field, scenario: Scenario, choice: Choice, load_factor: float = 1.0) -> Estimate:
    """Predict one choice with all percentiles and ranges."""
    load = replica_load(scenario, choice.replicas, choice.max_num_seqs, load_factor)
    items = None if scenario.workload.items is None else scenario.workload.items * load_factor
    model = field.shapes.weights[field.shapes.weight[choice.row]].model
    return estimate(
        field.replica.take(np.array([choice.row])),
        load,
        replicas=choice.replicas,
        positions=model.max_position_embeddings,
        items=items,
    )


def _cost(scenario: Scenario, predicted: Estimate, placements: tuple[Placement, ...]) -> Cost:
    work = scenario.workload
    duration = predicted.run_duration_s
    hours = Decimal(HOURS_PER_MONTH)
    if duration is not None and work.schedule is not None:
        runs = runs_per_month(work.schedule.cron)
        used = (runs * Decimal(repr(duration.expected)) / SECONDS_PER_HOUR).quantize(Decimal("0.01"))
        hours = min(used, hours)  # a pinned run may outlast the time to the next start, which is then left out
    return cost(
        placements,
        requests_per_s=predicted.requests_per_s,
        input_tokens=work.prompt.mean,
        output_tokens=work.output.mean if scenario.task is Task.GENERATION else 0,
        utilization=predicted.utilization,
        hours_per_month=hours,
        run_duration_s=None if duration is None else duration.expected,
    )


def _misses(scenario: Scenario, configuration: Configuration, predicted: Estimate, money: Cost) -> tuple[Miss, ...]:
    """Requirements that an obeyed pin (or a budget that only warns) does not meet."""
    at, slo = scenario.slo.percentile, scenario.slo
    misses = []
    targets = (
        (ReasonCode.TTFT_OVER_TARGET, slo.ttft_s, predicted.ttft),
        (ReasonCode.TPOT_OVER_TARGET, slo.tpot_s, predicted.tpot),
        (ReasonCode.LATENCY_OVER_TARGET, slo.e2e_latency_s, predicted.e2e),
    )
    for code, target, latency in targets:
        if target is not None and latency.at(at).high > target:
            misses.append(Miss(code, target, latency.at(at).high, LOAD_UNITS[code]))
    if predicted.offered_rps > predicted.capacity_rps.low * (1.0 + ROUNDING):
        code = ReasonCode.LOAD_OVER_CAPACITY
        misses.append(Miss(code, predicted.capacity_rps.low, predicted.offered_rps, LOAD_UNITS[code]))
    deadline, duration = scenario.workload.time_limit_s, predicted.run_duration_s
    if deadline is not None and duration is not None and duration.high > deadline:
        misses.append(Miss(ReasonCode.DEADLINE_MISSED, deadline, duration.high, "s"))
    budget = scenario.budget
    over = (
        (budget.maximum_usd_per_hour, money.per_hour, "USD/h"),
        (budget.maximum_usd_per_month, money.per_month, "USD/month"),
        (budget.maximum_usd_per_request, money.per_request, "USD/request"),
    )
    for limit, actual, unit in over:
        if limit is not None and actual is not None and actual > limit:
            misses.append(Miss(ReasonCode.OVER_BUDGET, float(limit), float(actual), unit))
    weights = Weights(configuration.model, configuration.checkpoint, configuration.method)
    for code, check in WEIGHT_CHECKS:
        finding = check(weights, scenario) if overridden(code, scenario) else None
        if finding is not None and finding.limit is not None and finding.actual is not None:
            misses.append(Miss(code, finding.limit, finding.actual, finding.unit))
    return tuple(misses)


def _overrides(scenario: Scenario) -> tuple[str, ...]:
    """What the user says about the engine beyond its version."""
    asked = scenario.engine
    return (*((asked.image,) if asked.image is not None else ()), *asked.extra_args)


def _started_with(engine: EngineSpec) -> Iterator[str]:
    """Tell how an engine is started where that is not how it starts by itself."""
    if engine.eager:
        yield "eager"
    if not engine.text_only:
        yield "all modalities"
    if engine.cpu_offload_bytes:
        yield f"weights offloaded {engine.cpu_offload_bytes}"
    if engine.kv_offload_bytes:
        yield f"KV cache offloaded {engine.kv_offload_bytes}"
    if engine.speculative is not None:
        draft = "" if engine.speculative.draft is None else engine.speculative.draft.id
        yield f"drafted {engine.speculative.method} {engine.speculative.tokens} {draft}"


def plan_hash(configuration: Configuration, placements: tuple[Placement, ...], overrides: tuple[str, ...] = ()) -> str:
    """Name what would be deployed: equal hashes deploy equal things, predictions and prices aside."""
    parts = (
        configuration.engine.id,
        configuration.engine.version,
        configuration.checkpoint.repository,
        configuration.checkpoint.revision or "",
        configuration.method.id,
        configuration.gpu.id,
        configuration.tp_size,
        configuration.pp_size,
        configuration.kv_dtype,
        configuration.compute_dtype,
        configuration.max_num_seqs,
        configuration.max_num_batched_tokens,
        configuration.max_model_len,
        configuration.gpu_memory_utilization,
        configuration.replicas,
        *_started_with(configuration.engine),
        *((p.provider, p.region, p.instance_type, p.count, str(p.terms)) for p in placements),
        *overrides,
    )
    return hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:12]
