"""What the planner says, as a person asks it."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferplan.domain.hardware import OwnedPool, Terms
from inferplan.domain.model import Quantization, Task
from inferplan.domain.plan import Compatibility, RemarkKind
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import (
    Budget,
    CustomModel,
    Enforcement,
    EnginePolicy,
    HardwarePolicy,
    HardwareSource,
    Lengths,
    LoadKind,
    ModelPolicy,
    Pin,
    QualityPolicy,
    Scenario,
    Schedule,
    Slo,
    Tier,
)
from inferplan.planner import Planner
from inferplan.planner import planner as planner_module
from inferplan.planner.budget import budget_micro_usd
from inferplan.planner.what_ifs import speculative_speedup
from tests.builders import ELO, make_catalog, make_model, make_offering, make_scenario, make_workload

PLANNER = Planner(make_catalog())


def test_three_tiers_are_answered_in_their_order() -> None:
    outcome = PLANNER.plan(make_scenario())
    assert [plan.tier for plan in outcome.tiers] == list(Tier)
    assert outcome.chosen is not None
    assert outcome.chosen.tier is Tier.RECOMMENDED
    assert outcome.tiers[0].cost.per_hour <= outcome.tiers[1].cost.per_hour


def test_the_high_end_has_the_best_model_that_the_budget_allows() -> None:
    quality = QualityPolicy(metric=ELO, minimum=Decimal(1000))
    scenario = make_scenario(quality=quality, tier=Tier.HIGH_END, budget=Budget(maximum_usd_per_hour=Decimal(60)))
    chosen = PLANNER.plan(scenario).chosen
    assert chosen is not None
    assert chosen.configuration.model.id == "mistralai/Mixtral-8x7B-Instruct-v0.1"
    poor = replace(scenario, budget=Budget(maximum_usd_per_hour=Decimal(7)))
    chosen = PLANNER.plan(poor).chosen
    assert chosen is not None
    assert chosen.configuration.model.id == "meta-llama/Llama-2-7b-chat-hf"


def test_tables_for_engines_of_ones_own_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner_module, "_SHAPES_KEPT", 1)
    planner = Planner(make_catalog())
    first = planner.plan(make_scenario())
    for number in range(3):
        planner.plan(make_scenario(engine=EnginePolicy(image=f"example.org/engine:{number}")))
    assert [key[1][0].image.split(":")[-1] for key in planner._static] == ["2"]
    assert planner.plan(make_scenario()) == first


def test_every_remark_names_a_number() -> None:
    for plan in PLANNER.plan(make_scenario()).tiers:
        assert {remark.kind for remark in plan.remarks} >= {RemarkKind.STRENGTH, RemarkKind.COST}
        for remark in plan.remarks:
            if remark.code != "GivenUp":
                assert any(character.isdigit() for character in remark.text), remark


def test_a_full_pin_is_obeyed_and_its_misses_are_stated() -> None:
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 4, 2048)
    scenario = make_scenario(
        pin=pin, slo=Slo(95, ttft_s=0.001), quality=QualityPolicy(metric=ELO, minimum=Decimal(1300))
    )
    chosen = PLANNER.plan(scenario).chosen
    assert chosen is not None
    assert [miss.code for miss in chosen.misses] == [ReasonCode.TTFT_OVER_TARGET, ReasonCode.QUALITY_BELOW_MINIMUM]
    assert (chosen.configuration.max_num_seqs, chosen.configuration.replicas) == (4, 1)


def test_a_pin_that_cannot_run_says_everything_that_stops_it() -> None:
    # 131,072 tokens: beyond the 4096 trained positions, and 69 GB of KV cache beside 13 GB of weights
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 32, 131_072)
    work = make_workload(prompt=Lengths(7680, 7680), output=Lengths(512, 512))
    found = PLANNER.plan(make_scenario(pin=pin, workload=work, context_tokens=131_072)).infeasibility
    assert found is not None
    assert found.binding == (ReasonCode.CONTEXT_OVER_MODEL_LIMIT, ReasonCode.KV_CACHE_TOO_SMALL)
    context, cache = found.evidence
    assert (context.limit, context.actual) == (4096, 131_072)
    assert (cache.limit, cache.actual) == (1, 0)


def test_mixtral_in_sixteen_bit_does_not_fit_one_h100() -> None:
    pin = Pin("mistralai/Mixtral-8x7B-Instruct-v0.1", Quantization.FP16, "h100-80gb-sxm", 1, 1, 24, 2048)
    outcome = PLANNER.plan(make_scenario(pin=pin))
    assert outcome.infeasibility is not None
    assert outcome.infeasibility.binding == (ReasonCode.WEIGHTS_DONT_FIT,)
    nearest = outcome.infeasibility.nearest_miss
    assert nearest is not None
    assert nearest.actual is not None
    assert nearest.actual > 93.4  # the weights alone
    values = {change.field: change.to for offer in outcome.infeasibility.nearest for change in offer.changes}
    assert values["select.pin.gpusPerReplica"] == "2"


def test_the_smallest_change_of_a_full_pin_is_the_one_with_which_it_runs_at_all() -> None:
    pin = Pin("mistralai/Mixtral-8x7B-Instruct-v0.1", Quantization.FP16, "h100-80gb-sxm", 1, 1, 24, 2048)
    found = PLANNER.plan(make_scenario(pin=pin, slo=Slo(95, ttft_s=0.001))).infeasibility
    assert found is not None
    offer = next(o for o in found.nearest if o.changes[0].field == "select.pin.gpusPerReplica")
    assert offer.changes[0].to == "2"
    assert offer.plan.title.endswith("misses TtftOverTarget")


def test_the_nearest_miss_of_a_pin_is_the_pinned_configuration() -> None:
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 4, 8192)
    outcome = PLANNER.plan(make_scenario(pin=pin, context_tokens=8192))
    assert outcome.infeasibility is not None
    miss = outcome.infeasibility.nearest_miss
    assert miss is not None
    assert (miss.code, miss.limit, miss.actual) == (ReasonCode.CONTEXT_OVER_MODEL_LIMIT, 4096, 8192)
    assert "H100" in miss.candidate
    offer = next(o for o in outcome.infeasibility.nearest if o.changes[0].field == "select.pin.maxModelLen")
    assert {change.field: change.to for change in offer.changes} == {
        "select.pin.maxModelLen": "4096",
        "contextTokens": "4096",
    }


def test_the_largest_batch_limit_that_fits_is_offered() -> None:
    # memory is reserved for the sampler of each of 200,000 sequences: 13.9 bytes x 32,000 entries
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 200_000, 2048)
    outcome = PLANNER.plan(make_scenario(pin=pin))
    assert outcome.infeasibility is not None
    assert outcome.infeasibility.binding == (ReasonCode.KV_CACHE_TOO_SMALL,)
    offer = next(o for o in outcome.infeasibility.nearest if o.changes[0].field == "select.pin.maxNumSeqs")
    largest = int(offer.changes[0].to)
    assert PLANNER.plan(make_scenario(pin=replace(pin, max_num_seqs=largest))).chosen is not None
    assert PLANNER.plan(make_scenario(pin=replace(pin, max_num_seqs=int(1.01 * largest)))).chosen is None


@pytest.mark.parametrize(("memory_gib", "told"), [(None, True), (200.0, False)])
def test_offloading_to_machines_of_unknown_memory_is_cautioned_against(
    memory_gib: float | None,
    told: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    planner = Planner(make_catalog(offerings=(make_offering(memory_gib=memory_gib),)))
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 8, 2048)
    for offloading in (replace(pin, kv_offload_bytes=100 * 2**30), replace(pin, cpu_offload_bytes=2**30)):
        chosen = planner.plan(make_scenario(pin=offloading)).chosen
        assert chosen is not None
        texts = [remark.text for remark in chosen.remarks if remark.code == "MachineMemoryUnknown"]
        assert len(texts) == told
        assert all("nobody says whether" in text and "GiB of the machine's memory" in text for text in texts)
    plain = planner.plan(make_scenario(pin=pin)).chosen
    assert plain is not None
    assert "MachineMemoryUnknown" not in {remark.code for remark in plain.remarks}


def test_a_batch_limit_that_is_never_filled_is_obeyed_with_a_caution() -> None:
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 1024, 2048)
    chosen = PLANNER.plan(make_scenario(pin=pin)).chosen
    assert chosen is not None
    held = chosen.estimate.memory.sequences_held
    assert 1 < held < 1024
    caution = next(remark for remark in chosen.remarks if remark.code == "BatchLimitNotFilled")
    assert f" {held} sequences" in caution.text
    fits = PLANNER.plan(make_scenario(pin=replace(pin, max_num_seqs=held))).chosen
    assert fits is not None
    assert "BatchLimitNotFilled" not in {remark.code for remark in fits.remarks}


@pytest.mark.parametrize("sequences", [1, 256])
def test_a_pin_is_refused_where_one_sequence_of_its_context_does_not_fit(sequences: int) -> None:
    model = make_model(max_position_embeddings=1_000_000)
    planner = Planner(replace(make_catalog(), models=(model,)))
    pin = Pin(model.id, Quantization.FP16, "h100-80gb-sxm", 1, 1, sequences, 131_072)
    found = planner.plan(make_scenario(pin=pin)).infeasibility
    assert found is not None
    assert found.binding == (ReasonCode.KV_CACHE_TOO_SMALL,)
    (evidence,) = found.evidence
    assert (evidence.limit, evidence.actual, evidence.unit) == (1, 0, "sequences of 131072 tokens")


def test_a_batch_limit_beyond_the_step_raises_the_step() -> None:
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 10_000, 2048)
    chosen = PLANNER.plan(make_scenario(pin=pin)).chosen
    assert chosen is not None
    assert chosen.configuration.max_num_batched_tokens == 16_384


def test_growth_under_a_full_pin_says_what_it_misses() -> None:
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 4, 2048)
    outcome = PLANNER.plan(make_scenario(pin=pin, growth_factors=(1000,)))
    (step,) = outcome.growth
    assert step.plan is not None
    assert "misses TtftOverTarget" in step.plan.title


RUNS = {"kind": LoadKind.OFFLINE, "concurrent_users": None, "think_time_s": 0.0, "items": 1_000_000}


def run_scenario(budget: Budget | None = None, *, window: int | None = None, deadline_s: float = 86_400.0) -> Scenario:
    work = make_workload(**RUNS, deadline_s=deadline_s, schedule=Schedule("0 2 * * *", "UTC", window))
    return make_scenario(workload=work, slo=Slo(), budget=budget or Budget())


def test_a_run_ends_within_the_window_of_its_schedule() -> None:
    free, narrow = PLANNER.best(run_scenario()), PLANNER.best(run_scenario(window=60))
    assert free is not None
    assert narrow is not None
    for plan, limit_s in ((free, 86_400.0), (narrow, 3_600.0)):
        assert plan.estimate.run_duration_s is not None
        assert plan.estimate.run_duration_s.high <= limit_s
    assert narrow.configuration.gpus > free.configuration.gpus


def test_a_window_that_is_too_short_is_what_has_to_be_changed() -> None:
    scenario = run_scenario(window=1, deadline_s=120.0)
    found = PLANNER.plan(replace(scenario, hardware=HardwarePolicy(maximum_gpus=8))).infeasibility
    assert found is not None
    offer = next(o for o in found.nearest if o.changes[0].field == "workload.schedule.windowMinutes")
    assert [change.field for change in offer.changes] == ["workload.schedule.windowMinutes", "workload.deadlineMinutes"]
    assert len({change.to for change in offer.changes}) == 1


@pytest.mark.parametrize("figure", ["per_month", "per_request"])
def test_a_run_may_cost_what_is_told_and_no_less(figure: str) -> None:
    plan = PLANNER.best(run_scenario())
    assert plan is not None
    told = getattr(plan.cost, figure)
    limit = f"maximum_usd_{figure}"
    assert PLANNER.best(run_scenario(Budget(**{limit: told * Decimal("1.0001")}))) is not None
    dear = PLANNER.plan(run_scenario(Budget(**{limit: told * Decimal("0.9")})))
    assert dear.infeasibility is not None
    assert dear.infeasibility.binding == (ReasonCode.OVER_BUDGET,)


@pytest.mark.parametrize("limit", ["maximum_usd_per_hour", "maximum_usd_per_month", "maximum_usd_per_request"])
def test_no_limit_that_only_warns_is_enforced(limit: str) -> None:
    budget = Budget(**{limit: Decimal("0.0000001")}, enforcement=Enforcement.WARN)
    for scenario in (make_scenario(budget=budget), run_scenario(budget)):
        chosen = PLANNER.plan(scenario).chosen
        assert chosen is not None
        assert ReasonCode.OVER_BUDGET in {miss.code for miss in chosen.misses}


def test_headroom_does_not_stretch_a_limit_per_request() -> None:
    for dollars in ("0.0005", "0.001", "0.002", "0.004"):
        limit = Decimal(dollars)
        scenario = make_scenario(budget=Budget(maximum_usd_per_request=limit), headroom_percent=900)
        for plan in PLANNER.plan(scenario).tiers:
            assert plan.cost.per_request is not None
            assert plan.cost.per_request <= limit


def test_speculative_decoding_is_not_promised_where_prompts_fill_the_steps() -> None:
    def codes(output: Lengths) -> set[str]:
        work = make_workload(**RUNS, deadline_s=86_400.0, prompt=Lengths(1000, 1000), output=output)
        chosen = PLANNER.plan(make_scenario(workload=work, slo=Slo())).chosen
        assert chosen is not None
        return {entry.code for entry in PLANNER.plan(make_scenario(workload=work, slo=Slo())).what_ifs}

    assert "SpeculativeDecoding" not in codes(Lengths(4, 8))
    assert "SpeculativeDecoding" in {entry.code for entry in PLANNER.plan(make_scenario()).what_ifs}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"budget": Budget(maximum_usd_per_hour=Decimal(1))}, ReasonCode.OVER_BUDGET, "budget.maximumUsdPerHour"),
        ({"budget": Budget(maximum_usd_per_hour=Decimal(0))}, ReasonCode.OVER_BUDGET, "budget.maximumUsdPerHour"),
        ({"budget": Budget(maximum_usd_per_month=Decimal(1))}, ReasonCode.OVER_BUDGET, "budget.maximumUsdPerMonth"),
        ({"slo": Slo(95, ttft_s=0.001)}, ReasonCode.TTFT_OVER_TARGET, "slo.timeToFirstTokenMilliseconds"),
        ({"slo": Slo(95, tpot_s=0.0001)}, ReasonCode.TPOT_OVER_TARGET, "slo.timePerOutputTokenMilliseconds"),
        ({"slo": Slo(95, e2e_latency_s=0.05)}, ReasonCode.LATENCY_OVER_TARGET, "slo.requestLatencyMilliseconds"),
        ({"context_tokens": 100_000}, ReasonCode.CONTEXT_OVER_MODEL_LIMIT, "contextTokens"),
        (
            {"quality": QualityPolicy(metric=ELO, minimum=Decimal(1400))},
            ReasonCode.QUALITY_BELOW_MINIMUM,
            "quality.minimum",
        ),
        ({"model": ModelPolicy(licenses=("MIT",))}, ReasonCode.LICENSE_DENIED, "model.licenses"),
        ({"hardware": HardwarePolicy(allow=("t4",))}, ReasonCode.WEIGHTS_DONT_FIT, "hardware.allow"),
        ({"hardware": HardwarePolicy(regions=("mars",))}, ReasonCode.NO_OFFERING, "hardware.regions"),
        ({"hardware": HardwarePolicy(source=HardwareSource.CLUSTER)}, ReasonCode.NO_INVENTORY, "hardware.source"),
        (
            {"workload": make_workload(concurrent_users=10**9)},
            ReasonCode.LOAD_OVER_CAPACITY,
            "workload.concurrentUsers",
        ),
    ],
)
def test_no_comes_with_its_reason_and_the_nearest_yes(change: dict[str, object], code: ReasonCode, field: str) -> None:
    outcome = PLANNER.plan(make_scenario(**change))
    assert outcome.chosen is None
    assert outcome.infeasibility is not None
    assert code in {entry.code for entry in outcome.rejected.by_reason}
    assert field in {change.field for offer in outcome.infeasibility.nearest for change in offer.changes}


def test_the_smallest_budget_that_works_is_the_cheapest_price() -> None:
    outcome = PLANNER.plan(make_scenario(budget=Budget(maximum_usd_per_hour=Decimal(1))))
    assert outcome.infeasibility is not None
    offer = next(o for o in outcome.infeasibility.nearest if o.changes[0].field == "budget.maximumUsdPerHour")
    assert offer.plan.cost.per_hour == Decimal("6.880000")
    assert offer.changes[0].to == "6.88"


@pytest.mark.parametrize(
    ("scenario", "limit", "field", "step"),
    [
        (make_scenario(), "maximum_usd_per_hour", "budget.maximumUsdPerHour", "0.000001"),
        (make_scenario(), "maximum_usd_per_month", "budget.maximumUsdPerMonth", "0.01"),
        (run_scenario(), "maximum_usd_per_month", "budget.maximumUsdPerMonth", "0.01"),
    ],
)
def test_an_offered_budget_works_and_a_step_less_does_not(
    scenario: Scenario, limit: str, field: str, step: str
) -> None:
    def within(amount: Decimal) -> Scenario:
        return replace(scenario, budget=Budget(**{limit: amount}, enforcement=Enforcement.BLOCK))

    outcome = PLANNER.plan(within(Decimal("0.0001")))
    assert outcome.infeasibility is not None
    offer = next(o for o in outcome.infeasibility.nearest if o.changes[0].field == field)
    least = Decimal(offer.changes[0].to)
    assert PLANNER.best(within(least)) is not None
    assert PLANNER.best(within(least - Decimal(step))) is None


@given(micro_usd=st.integers(1, 10**9))
def test_a_month_keeps_to_a_limit_if_the_bill_that_is_told_does(micro_usd: int) -> None:
    hour = Decimal(micro_usd) / 1_000_000
    told = (hour * 730).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)
    limits = [told, told - Decimal("0.01"), told + Decimal("0.004"), told - Decimal("0.001")]
    for limit in (amount for amount in limits if amount >= 0):
        most = budget_micro_usd(make_scenario(budget=Budget(maximum_usd_per_month=limit)))
        assert most is not None
        assert (micro_usd <= most) == (told <= limit)


def test_a_budget_that_only_warns_is_stated_and_not_enforced() -> None:
    budget = Budget(maximum_usd_per_hour=Decimal(1), enforcement=Enforcement.WARN)
    chosen = PLANNER.plan(make_scenario(budget=budget)).chosen
    assert chosen is not None
    assert [miss.code for miss in chosen.misses] == [ReasonCode.OVER_BUDGET]


def test_a_batch_fills_the_machine_that_it_has_to_rent() -> None:
    whole = make_catalog(offerings=(make_offering(gpu_count=8, price_usd_per_hour=Decimal("55.04")),))
    work = make_workload(
        kind=LoadKind.OFFLINE, concurrent_users=None, think_time_s=0.0, items=100_000, deadline_s=86_400.0
    )
    plan = Planner(whole).best(make_scenario(workload=work, slo=Slo()))
    assert plan is not None
    assert plan.configuration.gpus == 8
    assert plan.cost.gpus_idle == 0
    assert plan.cost.per_run is not None
    duration = plan.estimate.run_duration_s
    assert duration is not None
    expected = plan.cost.per_hour * Decimal(repr(duration.expected)) / 3600
    assert plan.cost.per_run == expected.quantize(Decimal("0.0001"))


def test_a_scheduled_batch_costs_the_hours_of_its_runs() -> None:
    work = make_workload(
        kind=LoadKind.OFFLINE,
        concurrent_users=None,
        think_time_s=0.0,
        items=100_000,
        deadline_s=86_400.0,
        schedule=Schedule("0 2 * * *", "UTC", None),
    )
    plan = PLANNER.best(make_scenario(workload=work, slo=Slo()))
    assert plan is not None
    assert plan.estimate.run_duration_s is not None
    hours = plan.estimate.run_duration_s.expected / 3600 * 730 / 24
    assert float(plan.cost.hours_per_month) == pytest.approx(hours, abs=0.01)


def test_a_classifier_is_bound_by_arithmetic() -> None:
    custom = CustomModel("me/classifier", None, "meta-llama/Llama-2-7b-chat-hf", None, Task.CLASSIFICATION, None)
    work = make_workload(
        kind=LoadKind.OFFLINE,
        concurrent_users=None,
        think_time_s=0.0,
        items=10_000,
        deadline_s=3_600.0,
        prompt=Lengths(512, 512),
        output=Lengths(1, 1),
    )
    scenario = make_scenario(
        task=Task.CLASSIFICATION, workload=work, slo=Slo(), context_tokens=512, model=ModelPolicy(custom=custom)
    )
    plan = PLANNER.best(scenario)
    assert plan is not None
    flops = plan.estimate.capacity_rps.high * 512 * 2 * 6.5e9
    assert flops < plan.configuration.gpus * 989e12
    assert plan.estimate.output_tps_total.expected == 0


def test_owned_machines_are_planned_on_at_what_they_cost() -> None:
    pool = OwnedPool(
        "dgx",
        "h100-80gb-sxm",
        8,
        1,
        Decimal(300_000),
        Decimal(5),
        7_650,
        Decimal("1.25"),
        Decimal("0.0826"),
        Decimal(5),
        Decimal(0),
        Decimal(0),
    )
    hardware = HardwarePolicy(source=HardwareSource.OWNED, owned=(pool,))
    outcome = PLANNER.plan(make_scenario(hardware=hardware))
    assert outcome.chosen is not None
    assert outcome.chosen.source == "Owned"
    assert outcome.chosen.cost.per_hour == Decimal("1.168938") * outcome.chosen.configuration.gpus
    assert {entry.code for entry in outcome.what_ifs} >= {"RentInstead", "SpeculativeDecoding"}


def test_spot_is_offered_as_what_if_and_never_taken_unasked() -> None:
    spot = make_offering(terms=Terms.SPOT, price_usd_per_hour=Decimal(2))
    catalog = make_catalog()
    outcome = Planner(replace(catalog, offerings=(*catalog.offerings, spot))).plan(make_scenario())
    assert outcome.chosen is not None
    assert {place.terms for place in outcome.chosen.cost.placements} == {Terms.ON_DEMAND}
    assert "Spot" in {entry.code for entry in outcome.what_ifs}


@pytest.mark.parametrize(
    ("spot", "words"),
    [
        ("0.69", "10% of the $6.88 on demand, which is unusually low"),
        ("1.04", ""),
        ("2.50", ""),
        ("6.80", "99% of the $6.88 on demand and saves next to nothing"),
        ("6.88", "100% of the $6.88 on demand and saves next to nothing"),
    ],
)
def test_a_spot_price_far_from_what_spot_machines_cost_is_flagged(spot: str, words: str) -> None:
    regular = make_offering()
    offer = make_offering(
        terms=Terms.SPOT, price_usd_per_hour=Decimal(spot), on_demand_usd_per_hour=regular.price_usd_per_hour
    )
    planner = Planner(make_catalog(offerings=(regular, offer)))
    plan = planner.best(make_scenario(hardware=HardwarePolicy(terms=(Terms.SPOT,))))
    assert plan is not None
    told = [remark.text for remark in plan.remarks if remark.code == "SpotPriceUnusual"]
    assert len(told) == bool(words)
    assert all(words in text for text in told)
    outcome = planner.plan(make_scenario())
    (assumption,) = [entry.assumption for entry in outcome.what_ifs if entry.code == "Spot"] or [""]
    assert ("unusually low" in assumption) == ("unusually low" in words)


def test_growth_is_answered_for_every_factor() -> None:
    outcome = PLANNER.plan(make_scenario(growth_factors=(2, 1000)))
    assert [step.factor for step in outcome.growth] == [2, 1000]
    two, thousand = (step.plan for step in outcome.growth)
    assert two is not None
    assert thousand is None or thousand.cost.per_hour > two.cost.per_hour


def test_equal_inputs_give_equal_outcomes() -> None:
    assert Planner(make_catalog()).plan(make_scenario()) == PLANNER.plan(make_scenario())


def test_the_hash_names_what_is_deployed() -> None:
    first, second = PLANNER.best(make_scenario()), PLANNER.best(make_scenario(context_tokens=3000))
    assert first is not None
    assert second is not None
    assert first.hash != second.hash
    assert first.compatibility in set(Compatibility)


def test_speculative_decoding_with_nothing_accepted_only_costs() -> None:
    assert speculative_speedup(0.0, 3, 0.1) == pytest.approx(1 / 1.3)


@pytest.mark.parametrize(("share", "starts"), [(0.99, True), (0.999, False), (1.0, False)])
def test_a_share_of_memory_that_is_not_free_at_the_start_is_refused(share: float, *, starts: bool) -> None:
    # 0.46 of 79.19 GiB are taken by the context of the process before it asks for its share
    pin = Pin("meta-llama/Llama-2-7b-chat-hf", Quantization.FP16, "h100-80gb-sxm", 1, 1, 4, 2048)
    outcome = PLANNER.plan(make_scenario(pin=replace(pin, gpu_memory_utilization=share)))
    assert (outcome.chosen is not None) == starts
    if outcome.infeasibility is not None:
        (evidence,) = outcome.infeasibility.evidence
        assert evidence.code is ReasonCode.WEIGHTS_DONT_FIT
        assert "gpuMemoryUtilization" in evidence.detail
