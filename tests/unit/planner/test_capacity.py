"""Capacity is judged like everything else: at the conservative end of its range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferplan.domain.plan import Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import HardwarePolicy, LoadKind, Pin, Scenario, Slo, Tier
from inferplan.planner import Planner
from inferplan.planner.load import forecast
from tests.builders import make_catalog, make_scenario, make_workload

PLANNER = Planner(make_catalog())
NO_TARGETS = Slo(95)


def serving(kind: LoadKind, amount: float, **overrides: object) -> Scenario:
    work = make_workload(
        kind=kind,
        concurrent_users=int(amount) if kind is LoadKind.CLOSED_LOOP else None,
        request_rate_rps=amount if kind is LoadKind.OPEN_LOOP else None,
        think_time_s=10.0,
    )
    base = make_scenario(workload=work, slo=NO_TARGETS, hardware=HardwarePolicy(maximum_gpus=64), growth_factors=(2, 5))
    return replace(base, **overrides)  # type: ignore[arg-type]


AMOUNTS = [(LoadKind.OPEN_LOOP, rate) for rate in (0.1, 1.0, 5.0, 30.0)] + [
    (LoadKind.CLOSED_LOOP, users) for users in (2.0, 30.0, 300.0, 2_000.0)
]


@pytest.mark.parametrize(("kind", "amount"), AMOUNTS)
def test_no_serving_plan_has_more_load_than_it_is_sure_to_serve(kind: LoadKind, amount: float) -> None:
    outcome = PLANNER.plan(serving(kind, amount))
    assert outcome.chosen is not None
    grown = [step.plan for step in outcome.growth if step.plan is not None]
    for plan in (*outcome.tiers, *grown):
        assert plan.estimate.requests_per_s <= plan.estimate.capacity_rps.low * (1 + 1e-6)
        assert plan.estimate.offered_rps == pytest.approx(plan.estimate.requests_per_s)


def pinned(replicas: int, rate: float) -> Plan:
    pin = Pin(
        model="meta-llama/Llama-2-7b-chat-hf",
        quantization=make_catalog().model("meta-llama/Llama-2-7b-chat-hf").checkpoints[0].quantization,  # type: ignore[union-attr]
        gpu="h100-80gb-sxm",
        gpus_per_replica=1,
        replicas=replicas,
        engine="vllm",
        max_num_seqs=32,
    )
    chosen = PLANNER.plan(serving(LoadKind.OPEN_LOOP, rate, pin=pin)).chosen
    assert chosen is not None
    return chosen


def test_a_pin_that_is_not_sure_to_serve_its_load_says_so_in_requests_per_second() -> None:
    roomy = pinned(1, 0.1)
    low, expected = roomy.estimate.capacity_rps.low, roomy.estimate.capacity_rps.expected
    between = (low + expected) / 2
    plan = pinned(1, between)
    assert plan.estimate.utilization < 1.0
    (miss,) = [miss for miss in plan.misses if miss.code is ReasonCode.LOAD_OVER_CAPACITY]
    assert miss.limit == pytest.approx(low)
    assert miss.actual == pytest.approx(between)
    assert miss.unit == "requests/s"
    assert pinned(2, between).misses == ()


def test_near_saturation_the_high_end_is_that_of_the_queue_and_not_a_factor() -> None:
    low = pinned(1, 0.1).estimate.capacity_rps.low
    for share, grows in ((0.1, 1.05), (0.98, 3.0)):
        estimate = pinned(1, low * share).estimate
        factor = pinned(1, 0.001).estimate
        relaxed = factor.ttft.p95.high / factor.ttft.p95.expected
        ratio = estimate.ttft.p95.high / estimate.ttft.p95.expected
        assert (ratio > grows * relaxed) is (share > 0.5), (share, ratio, relaxed)


@pytest.mark.parametrize(("kind", "amount"), AMOUNTS)
def test_more_replicas_are_never_worse(kind: LoadKind, amount: float) -> None:
    scenario = serving(kind, amount)
    field = PLANNER._attempt(scenario, None).field
    replicas = np.arange(1, 33, dtype=np.int64)
    for row in range(0, len(field.shapes), 5):
        rows = np.full(len(replicas), row, dtype=np.int64)
        for seqs in (1, 8, 64):
            ahead = forecast(field, scenario, rows, np.full(len(rows), seqs, dtype=np.int64), replicas, 1.0)
            for values in (ahead.offered_rps / ahead.capacity_rps, ahead.ttft_s, ahead.tpot_s, ahead.e2e_s):
                assert np.all(values[1:] <= values[:-1] * (1 + 2e-3)), (row, seqs)


def test_headroom_comes_on_top_of_the_conservative_end() -> None:
    outcome = PLANNER.plan(serving(LoadKind.OPEN_LOOP, 30.0, headroom_percent=30))
    recommended = next(plan for plan in outcome.tiers if plan.tier is Tier.RECOMMENDED)
    assert recommended.estimate.capacity_rps.low * (1 + 1e-6) >= 30.0 * 1.3


def test_one_user_alone_is_never_too_many() -> None:
    work = make_workload(concurrent_users=1, think_time_s=0.0)
    pin = Pin(gpus_per_replica=1, replicas=1, max_num_seqs=1)
    outcome = PLANNER.plan(make_scenario(workload=work, slo=NO_TARGETS, pin=pin))
    assert outcome.chosen is not None
    assert outcome.chosen.estimate.utilization == pytest.approx(1.0, abs=0.01)
