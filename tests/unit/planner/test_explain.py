"""The arithmetic shown is the arithmetic done."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.scenario import LoadKind, Pin, Scenario
from inferplan.planner import Planner
from inferplan.planner.arithmetic import Step
from tests.builders import make_catalog, make_model, make_scenario, make_workload

PLANNER = Planner(make_catalog())

SCENARIOS = {
    "dense": make_scenario(),
    "experts": make_scenario(context_tokens=16384),
    "open": make_scenario(workload=make_workload(kind=LoadKind.OPEN_LOOP, concurrent_users=None, request_rate_rps=3.0)),
    "drafting": make_scenario(
        pin=Pin(speculative=SpeculativeDecoding(SpeculativeMethod.DRAFT_MODEL, 3, 0.7, make_model(params_total=10**9)))
    ),
    "offloading": make_scenario(pin=Pin(cpu_offload_bytes=2**30, eager=True)),
    "cached prefix": make_scenario(workload=make_workload(shared_prefix_tokens=200)),
}


def recompute(step: Step) -> float:
    names = {"ceil": math.ceil, "floor": math.floor, "min": min, "max": max}
    return float(eval(step.substitution, {"__builtins__": {}}, names))  # noqa: S307 - our own arithmetic


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_every_step_can_be_recomputed_from_what_is_shown(scenario: Scenario) -> None:
    steps = PLANNER.explain(scenario)
    assert {step.section for step in steps} == {"Memory", "Step", "Prompt", "Serving", "Latency", "Cost"}
    for step in steps:
        assert recompute(step) == pytest.approx(step.value, rel=1e-6), step


def test_the_explained_plan_is_the_chosen_one() -> None:
    scenario = SCENARIOS["dense"]
    chosen = PLANNER.plan(scenario).chosen
    assert chosen is not None
    by_name = {step.name: step.value for step in PLANNER.explain(scenario)}
    assert by_name["Price per hour"] == float(chosen.cost.per_hour)
    assert by_name["Mean time to first token"] == chosen.estimate.ttft.mean.expected


def test_nothing_is_explained_where_nothing_fits() -> None:
    scenario = SCENARIOS["dense"]
    assert PLANNER.explain(replace(scenario, context_tokens=10**6)) == ()
