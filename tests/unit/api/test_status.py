"""From the outcome to the status: units in the names, figures that can be recomputed, nothing lost."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from inferplan.api.resolve import Resolved
from inferplan.api.status import outcome_to_status, status_document, summary
from inferplan.api.v1alpha1 import InferenceScenarioStatus
from inferplan.api.v1alpha1.status import Origin
from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.estimate import Range
from inferplan.domain.model import Task
from inferplan.domain.plan import Miss
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import LoadKind, Scenario
from tests.builders import make_engine, make_model, make_scenario, make_workload
from tests.unit.api.outcomes import make_estimate, make_infeasible_outcome, make_outcome, make_plan


def test_the_outcome_is_told_in_one_line() -> None:
    assert summary(make_outcome()) == (
        "Llama-2-7b-chat-hf FP16 on 1x H100 80GB SXM, 1 replica, $6.88/h, TTFT p95 420 ms"
    )


@pytest.mark.parametrize(
    "scenario",
    [
        make_scenario(task=Task.CLASSIFICATION),
        make_scenario(workload=make_workload(kind=LoadKind.OFFLINE, concurrent_users=None, items=9, deadline_s=60.0)),
    ],
)
def test_a_classifier_or_a_batch_run_is_told_by_its_items(scenario: Scenario) -> None:
    assert summary(make_outcome(scenario=scenario)).endswith("$6.88/h, 2.5 items/s")


def test_a_pin_that_misses_says_so() -> None:
    plan = make_plan(misses=(Miss(ReasonCode.TTFT_OVER_TARGET, 1.0, 1.4, "s"),))
    status = outcome_to_status(make_outcome(chosen=plan))
    assert status.summary.endswith("misses TtftOverTarget")
    assert status.plan is not None
    assert status.plan.misses[0].model_dump(by_alias=True, mode="json") == {
        "code": "TtftOverTarget",
        "limit": "1",
        "actual": "1.4",
        "unit": "s",
    }


def test_a_start_that_is_not_the_engines_own_stands_in_the_plan_and_nothing_else_does() -> None:
    decoding = SpeculativeDecoding(SpeculativeMethod.DRAFT_MODEL, 3, 0.65, make_model(id="small/one"))
    engine = make_engine(
        eager=True, text_only=False, cpu_offload_bytes=2**30, kv_offload_bytes=2**31, speculative=decoding
    )
    plan = make_plan()
    plan = replace(plan, configuration=replace(plan.configuration, engine=engine))
    told = status_document(outcome_to_status(make_outcome(chosen=plan)))["plan"]
    names = ("execution", "modalities", "cpuOffloadGib", "kvOffloadGib", "speculativeDecoding")
    assert [told[name] for name in names] == [
        "Eager",
        "All",
        1,
        2,
        {"method": "DraftModel", "tokens": 3, "acceptancePercent": 65, "model": "small/one"},
    ]
    plain = status_document(outcome_to_status(make_outcome()))["plan"]
    assert set(names).isdisjoint(plain)
    assert (plain["memory"]["longestContextTokens"], plain["memory"]["fullLengthSequences"]) == (4096, "55.5")


def test_no_plan_is_told_with_the_reason_and_what_would_help() -> None:
    status = outcome_to_status(make_infeasible_outcome())
    assert status.plan is None
    assert status.summary.startswith("no feasible plan: WeightsDontFit; feasible with 4 GPUs: Llama-2-7b")
    assert [(condition.type, condition.status, condition.reason) for condition in status.conditions] == [
        ("PlanFeasible", "False", "NoFeasiblePlan"),
        ("Ready", "False", "NoFeasiblePlan"),
    ]
    assert status_document(status)["infeasibility"]["nearest"] == [
        {
            "changes": [{"field": "hardware.maximumGpus", "current": "1", "to": "4"}],
            "text": "4 GPUs",
            "plan": "Llama-2-7b-chat-hf FP16 on 1x H100 80GB SXM, 1 replica",
            "usdPerHour": "6.88",
        }
    ]


def test_the_parts_of_memory_add_up_to_the_total_as_shown() -> None:
    plan = outcome_to_status(make_outcome()).plan
    assert plan is not None
    memory = plan.memory
    assert memory.total_mebibytes == (
        memory.weights_mebibytes + memory.kv_cache_mebibytes + memory.activations_mebibytes + memory.overhead_mebibytes
    )
    assert (memory.total_mebibytes, memory.capacity_mebibytes, memory.percent) == (20_000, 80_000, 25)


def test_the_cost_per_request_can_be_recomputed_from_the_status() -> None:
    plan = outcome_to_status(make_outcome()).plan
    assert plan is not None
    cost = plan.cost
    assert cost.usd_per_request is not None
    again = Decimal(cost.usd_per_hour) / 3600 / Decimal(cost.requests_per_second)
    assert abs(Decimal(cost.usd_per_request) / again - 1) < Decimal("1e-10")
    assert Decimal(cost.usd_per_month) == Decimal(cost.usd_per_hour) * Decimal(cost.hours_per_month)
    assert (cost.priced_at, cost.region, cost.terms, cost.price_source) == (
        "2026-07-20",
        "us-east-1",
        "OnDemand",
        "test",
    )


def test_latencies_are_in_milliseconds_and_fine_enough_for_single_tokens() -> None:
    plan = outcome_to_status(make_outcome()).plan
    assert plan is not None
    tpot = plan.predicted.time_per_output_token_milliseconds
    assert (tpot.p95, tpot.low, tpot.high) == ("8.33333", "6.66667", "12.5")
    assert plan.predicted.time_to_first_token_milliseconds.p95 == "420"


def test_what_has_no_finite_value_is_unbounded_and_still_json() -> None:
    endless = Range(1.0, float("inf"), float("inf"))
    estimate = make_estimate(capacity_rps=endless, kv_occupancy=float("nan"))
    status = outcome_to_status(make_outcome(chosen=make_plan(estimate=estimate)))
    written = json.loads(json.dumps(status_document(status), allow_nan=False))
    assert written["plan"]["predicted"]["capacityRequestsPerSecond"]["high"] == "unbounded"


def test_the_status_has_no_floats() -> None:
    def walk(value: object) -> None:
        assert not isinstance(value, float)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    walk(status_document(outcome_to_status(make_outcome())))
    walk(status_document(outcome_to_status(make_infeasible_outcome())))


def test_a_status_can_be_read_again() -> None:
    rows = [Resolved("slo.percentile", "P95", Origin.PRESET, "most people")]
    for outcome in (make_outcome(), make_infeasible_outcome()):
        status = outcome_to_status(outcome, rows, generation=3)
        assert InferenceScenarioStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status
        assert InferenceScenarioStatus.model_validate_json(json.dumps(status_document(status))) == status


def test_equal_outcomes_give_equal_statuses() -> None:
    assert outcome_to_status(make_outcome()) == outcome_to_status(make_outcome())


def test_a_file_that_was_never_in_a_cluster_has_no_generation() -> None:
    assert outcome_to_status(make_outcome()).observed_generation == -1
    observed = outcome_to_status(make_outcome(), generation=4)
    assert observed.observed_generation == 4
    assert {condition.observed_generation for condition in observed.conditions} == {4}


def test_growth_without_a_plan_says_only_the_factor() -> None:
    written = status_document(outcome_to_status(make_outcome()))
    assert written["growth"][1] == {"factor": 10}
    assert written["growth"][0]["usdPerMonth"] == "5022.4"


def test_texts_that_are_far_too_long_are_cut() -> None:
    outcome = replace(make_outcome(), assumptions=("x" * 10_000,) * 100)
    status = outcome_to_status(outcome)
    assert len(status.assumptions) == 64
    assert len(status.assumptions[0]) == 4096
