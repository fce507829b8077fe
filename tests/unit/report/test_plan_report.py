"""An outcome in sections: everything that a person needs to decide, with its numbers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.estimate import Range
from inferplan.domain.plan import Change, Infeasibility, Miss, Outcome, Relaxation, Remark, RemarkKind
from inferplan.domain.reasons import REASON_TEXT, ReasonCode, Rejection, RejectionCount, RejectionSummary
from inferplan.domain.scenario import LoadKind, Pin, Tier
from inferplan.report.outline import Report, Section
from inferplan.report.plan import report
from tests.builders import make_scenario, make_workload
from tests.unit.api.outcomes import make_estimate, make_infeasible_outcome, make_outcome, make_plan


def section(found: Report, title: str) -> Section:
    return next(entry for entry in found.sections if entry.title.startswith(title))


def titles(found: Report) -> list[str]:
    return [entry.title for entry in found.sections]


def rows(found: Section) -> dict[str, tuple[str, ...]]:
    assert found.table is not None
    return {row[0]: row[1:] for row in found.table.rows}


def test_a_plan_has_all_its_sections_in_order() -> None:
    assert titles(report(make_outcome())) == [
        "Tiers",
        "Analysis (Recommended)",
        "Cost",
        "Recommendations",
        "Growth",
        "What if",
        "Why not the others",
        "Searched and assumed",
    ]


def test_the_headline_is_the_plan_in_one_line() -> None:
    found = report(make_outcome())
    assert found.good
    assert "$6.88/h" in found.headline
    assert "TTFT p95 420 ms" in found.headline


def test_tiers_stand_side_by_side_and_the_chosen_is_marked() -> None:
    table = section(report(make_outcome()), "Tiers").table
    assert table is not None
    assert table.header == ("", "Budget", "Recommended ←")
    assert all(len(row) == 3 for row in table.rows)


def test_every_figure_of_a_tier_has_its_unit_and_range() -> None:
    shown = rows(section(report(make_outcome()), "Tiers"))
    # (12,800.4 + 1,000.4 + 1,200.4 + 5,000.4) MiB = 20,001.6 MiB = 20.97 GB of 80,000 MiB.
    assert shown["Memory per GPU"][0] == "21.0 GB (25%)"
    assert shown["Speed per user"][0] == "120 tok/s (90–130)"
    assert shown["Throughput"][0] == "2,400 tok/s (1,800–2,600)"
    assert shown["TTFT P95"][0] == "420 ms (336–630)"
    assert shown["Request P95"][0] == "1.5 s (1.2–2.25)"
    # 6.88 / 3600 / 2.5
    assert shown["Per request"][0] == "$0.000764"
    assert shown["Per hour"][0] == "$6.88"
    assert shown["Per month"][0] == "$5,022.40 (730 h)"
    assert shown["Fits"][0] == "✅ compatible"
    assert shown["Replicas"][0] == "1"
    assert shown["Batch limit"][0] == "16"


def test_high_end_is_written_as_people_write_it() -> None:
    plan = make_plan(tier=Tier.HIGH_END)
    found = report(make_outcome(chosen=plan, tiers=(plan,)))
    assert "Analysis (High-end)" in titles(found)


@pytest.mark.parametrize(
    ("kind", "sign"), [(RemarkKind.STRENGTH, "✅"), (RemarkKind.CAUTION, "⚠️"), (RemarkKind.COST, "💰")]
)
def test_remarks_carry_their_sign(kind: RemarkKind, sign: str) -> None:
    plan = make_plan(remarks=(Remark(kind, "Code", "because 7 of 9"),))
    found = section(report(make_outcome(chosen=plan, tiers=(plan,))), "Analysis")
    assert found.points == (f"{sign} because 7 of 9",)


def test_costs_name_machine_place_terms_date_and_idle_gpus() -> None:
    plan = make_plan()
    placement = replace(plan.cost.placements[0], gpus_per_instance=8, gpus_used=3, gpus_idle=5)
    plan = replace(plan, cost=replace(plan.cost, placements=(placement,), gpus_idle=5))
    found = section(report(make_outcome(chosen=plan, tiers=(plan,))), "Cost")
    assert found.table is not None
    assert found.table.rows == (("1× p5.4xlarge", "aws us-east-1", "OnDemand", "$6.88/h", "3 of 8", "test 2026-07-20"),)
    assert "cost per request = $6.88 / 3600 / 2.5 requests/s" in found.notes


def test_a_batch_run_shows_its_run_and_no_latency() -> None:
    estimate = make_estimate(run_duration_s=Range(60.0, 120.0, 300.0))
    plan = make_plan(estimate=estimate)
    plan = replace(plan, cost=replace(plan.cost, per_run=Decimal("1.25")))
    scenario = make_scenario(workload=make_workload(kind=LoadKind.OFFLINE, items=1000, concurrent_users=None))
    shown = rows(section(report(make_outcome(scenario=scenario, chosen=plan, tiers=(plan,))), "Plan"))
    assert shown["Run"] == ("2 min (1–5)",)
    assert shown["Per run"] == ("$1.25",)
    assert "TTFT P95" not in shown


def test_what_a_pin_misses_stands_above_the_analysis() -> None:
    plan = make_plan(misses=(Miss(ReasonCode.TTFT_OVER_TARGET, 1.0, 2.25, "s"),))
    scenario = make_scenario(pin=Pin(gpu="h100-80gb-sxm"))
    found = report(make_outcome(scenario=scenario, chosen=plan, tiers=(plan,)))
    assert section(found, "What the pinned").points == ("❌ TtftOverTarget: 2.25 against 1 s",)
    assert titles(found).index("What the pinned configuration misses") < titles(found).index("Analysis (Recommended)")


def test_what_a_pin_says_about_the_start_is_shown_and_else_nothing() -> None:
    decoding = SpeculativeDecoding(SpeculativeMethod.NGRAM, 1, 0.5)
    pin = Pin(gpu_memory_utilization=0.955, max_num_batched_tokens=4096, eager=True, speculative=decoding)
    plan = make_plan()
    shown = rows(section(report(make_outcome(scenario=make_scenario(pin=pin), tiers=(plan,), chosen=plan)), "Plan"))
    start = "95.5 % of each GPU's memory, steps of up to 4,096 tokens, no CUDA graphs"
    assert shown["Started with"] == (f"{start}, 1 token drafted from repetitions, 50 % of them kept",)
    plain = report(make_outcome(scenario=make_scenario(pin=Pin(gpu="l4")), tiers=(plan,), chosen=plan))
    assert "Started with" not in rows(section(plain, "Plan"))


def test_growth_says_where_it_ends() -> None:
    table = section(report(make_outcome()), "Growth").table
    assert table is not None
    assert table.rows[0][2] == "$5,022.40"
    assert table.rows[1] == ("10×", "no plan", "")


def test_a_what_if_names_its_assumption() -> None:
    assert section(report(make_outcome()), "What if").points == ("Spot machines: -50 %. Assumed: prices as of today.",)


def test_without_explain_reasons_are_counted_with_it_they_are_shown() -> None:
    short = section(report(make_outcome()), "Why not")
    assert short.paragraphs == ("WeightsDontFit 7.",)
    assert short.table is None
    full = section(report(make_outcome(), everything=True), "Why not").table
    assert full is not None
    assert full.rows == (
        (
            "WeightsDontFit",
            "7",
            REASON_TEXT[ReasonCode.WEIGHTS_DONT_FIT],
            "Big on 1x T4: 140 against 15 GB (weights alone)",
        ),
    )


def test_assumptions_and_cautions_are_listed() -> None:
    found = section(report(make_outcome(cautions=("inventory is old",))), "Searched")
    assert found.points == ("ASSUMED_X = 1", "inventory is old")
    assert "1,000 candidates" in found.paragraphs[0]


def test_no_is_said_with_what_binds_and_the_nearest_yes() -> None:
    found = report(make_infeasible_outcome())
    assert not found.good
    assert titles(found)[:2] == ["No plan meets this scenario", "The nearest yes"]
    assert section(found, "No plan").points[0] == (
        f"❌ WeightsDontFit: {REASON_TEXT[ReasonCode.WEIGHTS_DONT_FIT]} (140 against 15 GB at the nearest)"
    )
    table = section(found, "The nearest").table
    assert table is not None
    assert table.rows[0][:3] == ("hardware.maximumGpus", "1", "4")
    assert table.rows[0][4] == "$6.88"


def test_an_offer_of_two_changes_keeps_them_together() -> None:
    offer = Relaxation((Change("a", "1", "2"), Change("b", "3", "4")), "both", make_plan())
    outcome = infeasible((offer,))
    table = section(report(outcome), "The nearest").table
    assert table is not None
    assert [row[0] for row in table.rows] == ["a", "and b"]
    assert table.rows[1][3:] == ("", "")


def test_no_offer_is_said_in_words() -> None:
    found = section(report(infeasible(())), "The nearest")
    assert found.table is None
    assert "No single change" in found.paragraphs[0]


def infeasible(offers: tuple[Relaxation, ...]) -> Outcome:
    found = Infeasibility((ReasonCode.WEIGHTS_DONT_FIT,), None, offers)
    return make_outcome(chosen=None, tiers=(), infeasibility=found, growth=(), recommendations=(), what_ifs=())


def test_a_reason_without_numbers_stays_words() -> None:
    rejection = Rejection(ReasonCode.LICENSE_DENIED, "Some on 1x T4", None, None, "", "gpl")
    summary = RejectionSummary(1, (RejectionCount(ReasonCode.LICENSE_DENIED, 1, rejection),))
    found = Infeasibility((ReasonCode.LICENSE_DENIED,), rejection, ())
    outcome = make_outcome(chosen=None, tiers=(), infeasibility=found, growth=(), rejected=summary)
    shown = section(report(outcome), "No plan").points
    assert shown == (
        f"❌ LicenseDenied: {REASON_TEXT[ReasonCode.LICENSE_DENIED]}",
        "nearest miss: Some on 1x T4 (gpl)",
    )
