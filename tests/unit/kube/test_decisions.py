"""Which plan holds, whether it is put to work, and what the status says about it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from inferplan.domain.deployment import Placement
from inferplan.domain.hardware import Terms
from inferplan.domain.plan import Miss, Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Budget
from inferplan.kube.choice import Stop, choose
from inferplan.kube.claims import Held
from inferplan.kube.client import Body
from inferplan.kube.conditions import RULES, conditions
from inferplan.kube.events import happenings
from inferplan.kube.prices import STAND_IN
from inferplan.kube.status import changes, defect_status, paused_status
from inferplan.kube.view import APPROVED, Problem, View, timestamp, view
from inferplan.kube.work import Work
from tests.unit.api.outcomes import make_cost, make_infeasible_outcome, make_outcome, make_plan
from tests.unit.kube.test_work import NAME, child
from tests.unit.kube.views import NOW, conditions_of, make_body, make_facts, make_view, priced, status_after

PLAN = priced("4.00")
CHEAPER = priced("3.00", hash="def456", configuration=replace(PLAN.configuration, max_num_seqs=8))
DONE = Work(wanted=(NAME,), present=(child(),))


def standing(plan: Plan = PLAN, *, work: Work = DONE, **spec: Any) -> Body:
    """A scenario whose plan stands and runs."""
    first = status_after(make_view(make_body(**spec), plan), work)
    return make_body(first, **spec)


# ── which plan holds ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_plan_is_taken_and_put_to_work() -> None:
    found = choose(make_view(make_body(), PLAN), fits=False)
    assert (found.plan, found.stop, found.trigger) == (PLAN, None, "first plan")


def test_a_plan_that_stands_stays_although_another_would_be_chosen_now() -> None:
    dearer = priced("4.10", hash="zzz", configuration=replace(PLAN.configuration, max_num_seqs=8))
    found = choose(make_view(standing(), dearer, PLAN), fits=False)
    assert (found.plan, found.trigger, found.better) == (PLAN, "", "")


def test_a_plan_that_cannot_be_had_any_more_gives_way() -> None:
    found = choose(make_view(standing(), CHEAPER, None), fits=False)
    assert (found.plan, found.trigger) == (CHEAPER, "the plan before could not be had any more")


def test_a_new_spec_gets_the_best_plan() -> None:
    body = standing()
    body["metadata"]["generation"] = 2
    found = choose(make_view(body, CHEAPER, PLAN), fits=False)
    assert found.plan == PLAN or found.trigger == "the spec changed"


def test_a_saving_moves_a_plan_only_once_it_has_lasted() -> None:
    body = standing(replan={"persistenceMinutes": 60})
    first = choose(make_view(body, CHEAPER, PLAN), fits=False)
    assert first.plan == PLAN
    assert first.better.endswith("would save $1.00/h (25 %)")
    assert first.look_again_s == 3600.0

    body["status"] = status_after(make_view(body, CHEAPER, PLAN), DONE)
    assert conditions_of(body["status"])["PlanOutdated"] == ("True", "CheaperPlan")
    later = NOW + dt.timedelta(minutes=59)
    assert choose(make_view(body, CHEAPER, PLAN, now=later), fits=False).plan == PLAN
    last = choose(make_view(body, CHEAPER, PLAN, now=NOW + dt.timedelta(minutes=60)), fits=False)
    assert (last.plan, last.trigger, last.saved_usd_per_hour) == (CHEAPER, "a lasting saving", Decimal("1.00"))


def test_a_saving_that_comes_and_goes_begins_anew() -> None:
    body = standing()
    body["status"] = status_after(make_view(body, CHEAPER, PLAN), DONE)
    body["status"] = status_after(make_view(body, PLAN, now=NOW + dt.timedelta(minutes=30)), DONE)
    assert choose(make_view(body, CHEAPER, PLAN, now=NOW + dt.timedelta(minutes=61)), fits=False).plan == PLAN


@pytest.mark.parametrize(
    "replan",
    [{"policy": "Never"}, {"minimumSavingsPercent": 26}, {"horizonHours": 1}],
    ids=["never", "too small", "does not pay for the move"],
)
def test_a_saving_that_is_not_worth_it_moves_nothing(replan: Body) -> None:
    body = standing(replan=replan | {"persistenceMinutes": 0})
    assert choose(make_view(body, CHEAPER, PLAN), fits=False).plan == PLAN


def test_a_stale_price_moves_nothing() -> None:
    later = NOW + dt.timedelta(days=365)
    body = standing(replan={"persistenceMinutes": 0})
    assert choose(make_view(body, CHEAPER, PLAN, now=later), fits=False).plan == PLAN


# ── GPUs that are gone ───────────────────────────────────────────────────────────────────────────────────────


def lost(body: Body, fresh: Plan | None = CHEAPER, minutes: float = 0) -> View:
    return make_view(body, fresh, PLAN, now=NOW + dt.timedelta(minutes=minutes), has_room=False)


def test_a_plan_gives_way_only_once_its_gpus_have_been_gone_for_longer_than_an_upgrade_takes() -> None:
    body = standing()
    first = choose(lost(body), fits=False)
    assert (first.plan, first.room_gone, first.look_again_s) == (PLAN, True, 600.0)
    body["status"] = status_after(lost(body), DONE)
    assert conditions_of(body["status"])["CapacityAvailable"] == ("False", "Gone")
    assert conditions_of(body["status"])["PlanOutdated"] == ("False", "UpToDate")
    assert body["status"]["plan"]["hash"] == PLAN.hash
    assert choose(lost(body, minutes=9.9), fits=False).plan == PLAN
    last = choose(lost(body, minutes=10), fits=False)
    assert (last.plan, last.trigger, last.saved_usd_per_hour) == (CHEAPER, "its GPUs were gone for 10 minutes", None)


def test_gpus_that_come_back_begin_the_time_anew() -> None:
    body = standing()
    body["status"] = status_after(lost(body), DONE)
    body["status"] = status_after(make_view(body, PLAN, now=NOW + dt.timedelta(minutes=5)), DONE)
    assert conditions_of(body["status"])["CapacityAvailable"] == ("True", "Present")
    assert choose(lost(body, minutes=11), fits=False).plan == PLAN


@pytest.mark.parametrize("fresh", [None, replace(CHEAPER, source="Market")], ids=["nothing", "the market"])
def test_a_plan_whose_gpus_are_gone_waits_for_them_where_the_cluster_has_no_others(fresh: Plan | None) -> None:
    body = standing()
    outcome = None if fresh is not None else make_infeasible_outcome()
    before = make_view(body, fresh, PLAN, has_room=False, outcome=outcome)
    body["status"] = status_after(before, DONE)
    after = make_view(body, fresh, PLAN, has_room=False, outcome=outcome, now=NOW + dt.timedelta(days=1))
    found = choose(after, fits=False)
    assert (found.plan, found.trigger, found.stop) == (PLAN, "", None)
    assert "waits for them" in next(
        one["message"] for one in status_after(after, DONE)["conditions"] if one["type"] == "CapacityAvailable"
    )


def test_where_a_person_approves_plans_none_takes_the_place_of_another_by_itself() -> None:
    approved: dict[str, Any] = {"annotations": {APPROVED: PLAN.hash}, "deploy": {"policy": "Manual"}}
    body = standing(replan={"persistenceMinutes": 0}, **approved)
    body["status"] = status_after(lost(body), DONE)
    for seen in (lost(body, minutes=100), make_view(body, CHEAPER, PLAN)):
        found = choose(seen, fits=False)
        assert (found.plan, found.stop) == (PLAN, None)
        assert f"{APPROVED}={CHEAPER.hash}" in found.better
    body["metadata"]["annotations"] = {APPROVED: CHEAPER.hash}
    found = choose(make_view(body, CHEAPER, PLAN), fits=False)
    assert (found.plan, found.stop, found.trigger) == (CHEAPER, None, "another plan was approved")


# ── whether it is put to work ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("plan", "spec", "stop"),
    [
        (PLAN, {"deploy": {"policy": "Plan"}}, Stop.POLICY),
        (PLAN, {"deploy": {"policy": "Manual"}}, Stop.APPROVAL),
        (replace(PLAN, source="Market"), {}, Stop.NO_GPUS),
        (replace(PLAN, source="Owned"), {}, Stop.NO_GPUS),
        (PLAN, {}, None),
    ],
)
def test_a_plan_waits_for_what_it_has_to_wait_for(plan: Plan, spec: Body, stop: Stop | None) -> None:
    assert choose(make_view(make_body(**spec), plan), fits=False).stop is stop
    if stop in {Stop.APPROVAL, Stop.NO_GPUS}:
        approved = make_body(annotations={"inferplan.dev/approved-plan": plan.hash}, **spec)
        assert choose(make_view(approved, plan), fits=False).stop is None
        other = make_body(annotations={"inferplan.dev/approved-plan": "another"}, **spec)
        assert choose(make_view(other, plan), fits=False).stop is stop


def test_owned_machines_that_are_in_the_cluster_are_used() -> None:
    assert choose(make_view(make_body(), replace(PLAN, source="Owned")), fits=True).stop is None


def test_what_was_approved_stays_approved_when_the_annotation_goes() -> None:
    spec: dict[str, Any] = {"deploy": {"policy": "Manual"}}
    body = make_body(annotations={"inferplan.dev/approved-plan": PLAN.hash}, **spec)
    body["status"] = status_after(make_view(body, PLAN), DONE)
    body["metadata"]["annotations"] = {}
    assert choose(make_view(body, PLAN), fits=False).stop is None
    body["metadata"]["generation"] = 2
    assert choose(make_view(body, PLAN), fits=False).stop is Stop.APPROVAL


def with_budget(plan: Plan, seen: Body, **limits: Any) -> Stop | None:
    outcome = make_outcome(chosen=plan)
    scenario = replace(outcome.scenario, budget=Budget(**limits))
    found = make_view(seen, plan, outcome=replace(outcome, scenario=scenario))
    return choose(found, fits=False).stop


def test_a_budget_that_blocks_fails_closed() -> None:
    over = replace(PLAN, misses=(Miss(ReasonCode.OVER_BUDGET, 1.0, 4.0, "USD/h"),))
    assert with_budget(over, make_body(), maximum_usd_per_hour=Decimal(1)) is Stop.OVER_BUDGET
    place: Placement = replace(make_cost().placements[0], source=f"{STAND_IN}something", terms=Terms.ON_DEMAND)
    unknown = replace(PLAN, cost=make_cost(placements=(place,)))
    assert with_budget(unknown, make_body(), maximum_usd_per_hour=Decimal(9)) is Stop.PRICE_UNKNOWN
    assert with_budget(unknown, make_body()) is None


def test_a_plan_that_runs_is_not_stopped_by_a_price_that_rose() -> None:
    over = replace(PLAN, misses=(Miss(ReasonCode.OVER_BUDGET, 1.0, 4.0, "USD/h"),))
    assert with_budget(over, standing(), maximum_usd_per_hour=Decimal(1)) is None


# ── what the status says ─────────────────────────────────────────────────────────────────────────────────────


def test_equal_facts_make_an_equal_status_and_no_write() -> None:
    body = standing()
    again = status_after(make_view(body, PLAN, now=NOW + dt.timedelta(hours=1)), DONE)
    assert changes(body["status"], again) == {}


def test_every_condition_is_always_there_in_one_order() -> None:
    kinds = [kind for kind, _ in RULES]
    for seen in (make_view(make_body(), PLAN), view(make_body(), NOW), make_view(make_body(), None)):
        assert [one["type"] for one in conditions(make_facts(seen))] == kinds


def test_a_time_moves_only_with_its_status() -> None:
    body = standing(work=Work())
    later = NOW + dt.timedelta(minutes=1)
    after = {one["type"]: one for one in status_after(make_view(body, PLAN, now=later), DONE)["conditions"]}
    assert after["Ready"]["lastTransitionTime"] == timestamp(later)
    assert after["SpecValid"]["lastTransitionTime"] == timestamp(NOW)


@pytest.mark.parametrize(
    ("work", "ready", "reconciling"),
    [
        (Work(), ("False", "Progressing"), ("True", "Progressing")),
        (DONE, ("True", "Available"), ("False", "Idle")),
        (Work(wanted=(NAME,), present=(child(ready=False),)), ("False", "Progressing"), ("True", "Progressing")),
        (Work(foreign=("Service chat belongs to x",)), ("False", "NameTaken"), ("False", "Stalled")),
    ],
    ids=["nothing yet", "done", "rolling out", "name taken"],
)
def test_ready_follows_the_workload(work: Work, ready: tuple[str, str], reconciling: tuple[str, str]) -> None:
    found = conditions_of(status_after(make_view(make_body(), PLAN), work))
    assert (found["Ready"], found["Reconciling"]) == (ready, reconciling)


@pytest.mark.parametrize(
    ("problem", "ready", "stalled"),
    [
        (Problem("Service chat belongs to x", name_taken=True), ("False", "NameTaken"), ("True", "NameTaken")),
        (Problem("patch deployments: forbidden"), ("False", "ApplyFailed"), ("False", "Progressing")),
    ],
    ids=["name taken", "refused"],
)
def test_what_stands_in_the_way_stalls_only_where_somebody_has_to_act(
    problem: Problem, ready: tuple[str, str], stalled: tuple[str, str]
) -> None:
    found = conditions_of(status_after(make_view(make_body(), PLAN, problem=problem)))
    assert (found["Ready"], found["Stalled"]) == (ready, stalled)


def test_nothing_is_ever_stalled_and_under_way_at_once() -> None:
    views = [
        make_view(make_body(), PLAN),
        make_view(make_body(deploy={"policy": "Manual"}), PLAN),
        make_view(make_body(), replace(PLAN, source="Market")),
        make_view(make_body(), None, outcome=make_infeasible_outcome()),
        replace(view(make_body(), NOW), faults=("spec.slo: wrong",)),
    ]
    for seen in views:
        for work in (Work(), DONE, Work(foreign=("x",))):
            found = conditions_of(status_after(seen, work))
            assert not (found["Stalled"][0] == "True" and found["Reconciling"][0] == "True")
            assert not (found["Stalled"][0] == "True" and found["Ready"][0] == "True")


def test_a_spec_that_cannot_be_planned_shows_every_fault_and_no_plan() -> None:
    body = standing()
    body["metadata"]["generation"] = 2
    seen = replace(view(body, NOW), faults=("spec.slo.percentile: wrong", "spec.model.allow[0]: unknown"))
    status = status_after(seen, DONE)
    assert conditions_of(status)["Stalled"] == ("True", "InvalidSpec")
    assert conditions_of(status)["WorkloadAvailable"] == ("Unknown", "LeftAlone")
    assert "plan" not in status
    assert status["observedGeneration"] == 2
    message = next(one["message"] for one in status["conditions"] if one["type"] == "SpecValid")
    assert message == "spec.slo.percentile: wrong; spec.model.allow[0]: unknown"


def test_the_loser_says_who_holds_the_gpus_that_would_do() -> None:
    seen = make_view(make_body(), None, outcome=make_infeasible_outcome())
    assert seen.planned is not None
    holders = (Held(PLAN.configuration.gpu.id, 8, "ns/a"),)
    seen = replace(seen, planned=replace(seen.planned, if_all_were_free=PLAN), held=holders)
    status = status_after(seen)
    assert conditions_of(status)["Stalled"] == ("True", "GpusHeld")
    message = next(one["message"] for one in status["conditions"] if one["type"] == "PlanFeasible")
    assert message.endswith("held: 8x h100-80gb-sxm by ns/a")


def test_the_history_keeps_five_changes_and_tells_each_once() -> None:
    body = make_body()
    for number in range(7):
        body["metadata"]["generation"] = number + 1
        body["status"] = status_after(make_view(body, replace(PLAN, hash=f"plan-{number}")))
    assert [one["toPlan"] for one in body["status"]["history"]] == [f"plan-{number}" for number in (6, 5, 4, 3, 2)]
    assert body["status"]["history"][0]["trigger"] == "the spec changed"


def test_a_pause_changes_one_condition_and_nothing_else() -> None:
    body = standing()
    body["metadata"]["annotations"] = {"inferplan.dev/paused": "true"}
    seen = view(body, NOW)
    assert seen.paused
    status = paused_status(make_facts(seen))
    before, after = conditions_of(body["status"]), conditions_of(status)
    assert after.pop("Reconciling") == ("False", "Paused")
    assert before.pop("Reconciling") == ("False", "Idle")
    assert after == before
    assert status["plan"] == body["status"]["plan"]


def test_a_defect_of_ours_is_said_to_be_one() -> None:
    body = standing()
    status = defect_status(view(body, NOW), ValueError("oops"))
    assert conditions_of(status)["Stalled"] == ("True", "Defect")
    assert status["plan"] == body["status"]["plan"]


def test_a_status_written_by_another_version_is_no_obstacle() -> None:
    for odd in (
        {"plan": "text"},
        {"conditions": "none"},
        {"history": {}, "observedGeneration": "1"},
        {"plan": {"hash": 1}},
    ):
        assert conditions_of(status_after(make_view(make_body(odd), PLAN)))["PlanFeasible"][0] == "True"


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────


def told(body: Body, fresh: Plan | None, held: Plan | None = None, **more: Any) -> list[str]:
    facts = make_facts(make_view(body, fresh, held, **more), DONE)
    return [one.reason for one in happenings(facts, status_after(facts.view, DONE))]


def test_events_tell_changes_and_only_changes() -> None:
    assert told(make_body(), PLAN) == ["PlanComputed"]
    assert told(standing(), PLAN) == []
    assert told(standing(), CHEAPER) == ["PlanChanged"]
    assert told(standing(), None, outcome=make_infeasible_outcome()) == ["PlanRejected"]
    assert told(standing(), PLAN, price_faults=("absurd",)) == ["PriceStale"]
    assert told(standing(), PLAN, inventory_faults=("nodes: forbidden",)) == ["InventoryLost"]


def test_a_plan_without_a_market_is_stopped_and_says_why() -> None:
    status = status_after(
        make_view(make_body(), make_plan(source="Market"), has_gpus=False, left_out=("n1: cordoned",))
    )
    assert conditions_of(status)["Stalled"] == ("True", "NoGpusInCluster")
    said = {one["type"]: one["message"] for one in status["conditions"]}
    assert said["PlanFeasible"] == "planned on the market, because the cluster has no GPU"
    assert said["InventoryKnown"] == "the cluster has no GPU that can be planned on; n1: cordoned"
    assert f"inferplan.dev/approved-plan={make_plan().hash}" in said["PlanApproved"]
