"""What must hold for every scenario, whatever the numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferplan.domain.catalog import Catalog
from inferplan.domain.model import AttentionLayers, Checkpoint, LayerKind, Quantization
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Budget, Lengths, LoadKind, Scenario, Slo, Workload
from inferplan.planner import Planner
from inferplan.planner.budget import budget_micro_usd
from inferplan.planner.candidates import BATCH_LIMITS
from inferplan.planner.load import forecast, saturation_rps
from inferplan.planner.search import cheapest
from inferplan.planner.supply import UNAVAILABLE
from inferplan.planner.targets import Ask, passes
from tests.builders import make_catalog, make_gpu, make_mixtral, make_model, make_offering, make_t4

SMALL = make_model(
    id="test/small-1b",
    family="small",
    params_total=1_235_814_400,
    params_active=1_235_814_400,
    layers=16,
    hidden_size=2048,
    kv_heads=8,
    head_dim=64,
    intermediate_size=8192,
    vocab_size=32000,
    attention=(AttentionLayers(LayerKind.FULL, layers=16, kv_heads=8, key_head_dim=64, value_head_dim=64),),
    max_position_embeddings=32768,
    checkpoints=(Checkpoint("test/small-1b", "fp16", Quantization.FP16),),
)


def small_catalog() -> Catalog:
    return make_catalog(models=tuple(sorted((make_model(), make_mixtral(), SMALL), key=lambda model: model.id)))


CATALOG = small_catalog()
PLANNER = Planner(CATALOG)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    kind = draw(st.sampled_from(list(LoadKind)))
    prompt = draw(st.integers(16, 1500))
    output = draw(st.integers(2, 500))
    work = Workload(
        kind=kind,
        prompt=Lengths(prompt, int(prompt * draw(st.floats(1.0, 1.6)))),
        output=Lengths(output, int(output * draw(st.floats(1.0, 1.6)))),
        concurrent_users=draw(st.integers(1, 2000)) if kind is LoadKind.CLOSED_LOOP else None,
        think_time_s=draw(st.sampled_from([0.0, 5.0, 30.0])),
        request_rate_rps=draw(st.floats(0.01, 200)) if kind is LoadKind.OPEN_LOOP else None,
        items=draw(st.integers(1, 10**6)) if kind is LoadKind.OFFLINE else None,
        deadline_s=draw(st.floats(60, 86_400)) if kind is LoadKind.OFFLINE else None,
        burstiness=draw(st.sampled_from([0.5, 1.0, 3.0])),
    )
    slo = Slo(
        percentile=draw(st.sampled_from([50, 90, 95, 99])),
        ttft_s=draw(st.none() | st.floats(0.05, 5)) if kind is not LoadKind.OFFLINE else None,
        tpot_s=draw(st.none() | st.floats(0.005, 0.5)) if kind is not LoadKind.OFFLINE else None,
        e2e_latency_s=draw(st.none() | st.floats(0.5, 60)) if kind is not LoadKind.OFFLINE else None,
    )
    budget = Budget(maximum_usd_per_hour=draw(st.none() | st.integers(1, 400).map(Decimal)))
    from inferplan.domain.model import Task
    from inferplan.domain.scenario import HardwarePolicy, UseCase

    return Scenario(
        name="drawn",
        use_case=UseCase.CUSTOM,
        task=Task.GENERATION,
        workload=work,
        slo=slo,
        context_tokens=draw(st.sampled_from([3000, 4096, 16384])),
        budget=budget,
        hardware=HardwarePolicy(maximum_gpus=draw(st.sampled_from([4, 16, 32]))),
        growth_factors=(),
    )


def bill(plan: Plan) -> Decimal:
    """What the search minimises: a run's cost for batches, an hour's for services."""
    return plan.cost.per_hour if plan.cost.per_run is None else plan.cost.per_run


def budget_plan(planner: Planner, scenario: Scenario) -> Plan | None:
    return planner.best(scenario)


@given(scenarios())
def test_a_plan_meets_every_requirement_when_checked_again(scenario: Scenario) -> None:
    plan = budget_plan(PLANNER, scenario)
    if plan is None:
        return
    at = scenario.slo.percentile
    assert plan.misses == ()
    for target, latency in (
        (scenario.slo.ttft_s, plan.estimate.ttft),
        (scenario.slo.tpot_s, plan.estimate.tpot),
        (scenario.slo.e2e_latency_s, plan.estimate.e2e),
    ):
        assert target is None or latency.at(at).high <= target * (1 + 1e-9)
    limit = scenario.budget.maximum_usd_per_hour
    assert limit is None or plan.cost.per_hour <= limit
    assert plan.configuration.gpus <= scenario.hardware.maximum_gpus


@given(scenarios())
def test_the_planner_finds_what_trying_everything_finds(scenario: Scenario) -> None:
    """Brute force: every shape, every batch limit, every number of replicas up to eight."""
    scenario = replace(scenario, hardware=replace(scenario.hardware, maximum_gpus=8))
    attempt = PLANNER._attempt(scenario, None)
    field = attempt.field
    best = UNAVAILABLE
    if len(field.shapes):
        everything = [
            (row, seqs, replicas)
            for row, seqs, replicas in product(range(len(field.shapes)), BATCH_LIMITS, range(1, 9))
            if field.holds[row, BATCH_LIMITS.index(seqs)] and replicas * field.gpus_per_replica[row] <= 8
        ]
        row, seqs, replicas = (np.array(column, dtype=np.int64) for column in zip(*everything, strict=True))
        ahead = forecast(field, scenario, row, seqs, replicas, 1.0)
        cost = field.cost(row, replicas)
        limit = budget_micro_usd(scenario)
        good = passes(Ask(scenario), ahead) & (cost < UNAVAILABLE)
        if limit is not None:
            good &= cost <= limit
        work = scenario.workload
        if work.kind is LoadKind.OFFLINE and work.items is not None:
            expected, _ = saturation_rps(field, scenario, row, seqs)
            hours = work.items / (expected * replicas) / 3600
            cost = np.rint(np.where(good, cost, 0) * hours).astype(np.int64)
        if good.any():
            best = cost[good].min()
    found = cheapest(attempt.contest)
    assert (UNAVAILABLE if found is None else found.bill) == best


@given(scenarios(), st.floats(1.0, 3.0))
def test_a_looser_target_or_a_higher_budget_never_costs_more(scenario: Scenario, factor: float) -> None:
    before = budget_plan(PLANNER, scenario)
    slo = scenario.slo
    looser = replace(
        scenario,
        slo=replace(
            slo,
            ttft_s=None if slo.ttft_s is None else slo.ttft_s * factor,
            tpot_s=None if slo.tpot_s is None else slo.tpot_s * factor,
            e2e_latency_s=None if slo.e2e_latency_s is None else slo.e2e_latency_s * factor,
        ),
        budget=replace(scenario.budget, maximum_usd_per_hour=None),
    )
    after = budget_plan(PLANNER, looser)
    if before is not None:
        assert after is not None
        assert bill(after) <= bill(before) + Decimal("0.0002")


@given(scenarios())
def test_more_memory_never_makes_a_feasible_plan_infeasible(scenario: Scenario) -> None:
    before = budget_plan(PLANNER, scenario)
    larger = replace(
        CATALOG,
        gpus=tuple(replace(gpu, memory_bytes=int(gpu.memory_bytes * 1.25)) for gpu in CATALOG.gpus),
    )
    after = budget_plan(Planner(larger), scenario)
    if before is not None:
        assert after is not None
        assert bill(after) <= bill(before) + Decimal("0.0002")


@given(scenarios(), st.integers(1, 99))
def test_a_cheaper_price_never_raises_the_bill(scenario: Scenario, percent: int) -> None:
    before = budget_plan(PLANNER, scenario)
    cheaper = replace(
        CATALOG,
        offerings=tuple(
            replace(offer, price_usd_per_hour=(offer.price_usd_per_hour * percent / 100).quantize(Decimal("0.0001")))
            if index == percent % len(CATALOG.offerings)
            else offer
            for index, offer in enumerate(CATALOG.offerings)
        ),
    )
    after = budget_plan(Planner(cheaper), scenario)
    if before is not None:
        assert after is not None
        assert bill(after) <= bill(before) + Decimal("0.0002")


@given(scenarios(), st.randoms(use_true_random=False))
def test_the_order_of_the_catalog_is_irrelevant(scenario: Scenario, random: object) -> None:
    offerings = list(CATALOG.offerings)
    random.shuffle(offerings)  # type: ignore[attr-defined]
    shuffled = replace(CATALOG, offerings=tuple(offerings))
    before, after = budget_plan(PLANNER, scenario), budget_plan(Planner(shuffled), scenario)
    assert before == after


@given(scenarios())
def test_every_relaxation_offered_gives_a_plan(scenario: Scenario) -> None:
    outcome = PLANNER.plan(scenario)
    if outcome.infeasibility is None:
        return
    for offer in outcome.infeasibility.nearest:
        assert offer.changes
        assert offer.plan.misses == ()


@given(scenarios())
def test_every_candidate_is_accounted_for(scenario: Scenario) -> None:
    outcome = PLANNER.plan(scenario)
    assert outcome.rejected.total == sum(entry.count for entry in outcome.rejected.by_reason)
    assert outcome.rejected.total <= outcome.search.candidates
    if outcome.chosen is None:
        assert outcome.rejected.by_reason


def test_a_better_gpu_is_never_refused_for_memory() -> None:
    bigger = make_gpu(id="h100-huge", memory_bytes=400 * 2**30)
    catalog = make_catalog(
        gpus=tuple(sorted((make_gpu(), bigger, make_t4()), key=lambda gpu: gpu.id)),
        offerings=(*CATALOG.offerings, make_offering(gpu="h100-huge", instance_type="huge")),
    )
    table = Planner(catalog)._static_table(dataclasses.replace(_scenario(), context_tokens=4096))
    assert not any(
        table.everything.gpus[table.everything.gpu[row]].id == "h100-huge" and table.reasons[code] == "WeightsDontFit"
        for row, code in enumerate(table.code)
        if code >= 0
    )


def _scenario() -> Scenario:
    from tests.builders import make_scenario

    return make_scenario()


@pytest.mark.parametrize("users", [1, 10, 100, 1000])
def test_cost_per_request_is_price_per_second_over_requests_per_second(users: int) -> None:
    from tests.builders import make_scenario, make_workload

    plan = PLANNER.best(make_scenario(workload=make_workload(concurrent_users=users)))
    assert plan is not None
    expected = plan.cost.per_hour / 3600 / plan.cost.requests_per_s
    assert plan.cost.per_request == expected.quantize(Decimal("0.000000001"))
