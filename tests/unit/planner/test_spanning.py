"""Replicas that span machines: planned only where nothing else will do, never recommended, always said first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferplan.domain.model import AttentionLayers, Checkpoint, LayerKind, Quantization
from inferplan.domain.plan import Outcome, RemarkKind
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import HardwarePolicy, ModelPolicy, Pin, Scenario, Slo, Tier
from inferplan.planner import Planner
from tests.builders import make_catalog, make_model, make_scenario

LARGE = make_model(
    id="test/large-400b",
    family="large",
    params_total=405_853_388_800,
    params_active=405_853_388_800,
    layers=126,
    hidden_size=16_384,
    attention_heads=128,
    kv_heads=8,
    head_dim=128,
    intermediate_size=53_248,
    vocab_size=128_256,
    attention=(AttentionLayers(LayerKind.FULL, layers=126, kv_heads=8, key_head_dim=128, value_head_dim=128),),
    max_position_embeddings=131_072,
    checkpoints=(Checkpoint("test/large-400b", "fp16", Quantization.FP16),),
)
"""812 GB of weights: more than eight GPUs of 80 GB hold."""
NAMES = {"ceil": np.ceil, "floor": np.floor, "min": min, "max": max}
PLANNER = Planner(make_catalog(models=tuple(sorted((make_model(), LARGE), key=lambda model: model.id))))


def asked(**overrides: object) -> Scenario:
    base = make_scenario(
        model=ModelPolicy(allow=(LARGE.id,)),
        hardware=HardwarePolicy(maximum_gpus=64),
        slo=Slo(95, ttft_s=20.0, tpot_s=1.0),
    )
    return replace(base, **overrides)  # type: ignore[arg-type]


def first_said(outcome: Outcome) -> str:
    assert outcome.chosen is not None
    remark = outcome.chosen.remarks[0]
    assert remark.kind is RemarkKind.CAUTION
    return remark.code


def test_what_nobody_can_deploy_is_not_recommended_and_offered_as_another_tier() -> None:
    outcome = PLANNER.plan(asked())
    assert outcome.chosen is None
    assert [plan.tier for plan in outcome.tiers] == [Tier.BUDGET, Tier.HIGH_END]
    assert all(plan.configuration.pp_size > 1 for plan in outcome.tiers)
    assert all(plan.remarks[0].code == ReasonCode.NOT_DEPLOYABLE for plan in outcome.tiers)
    found = outcome.infeasibility
    assert found is not None
    assert found.binding[0] is ReasonCode.NOT_DEPLOYABLE
    assert found.evidence[0].code is ReasonCode.NOT_DEPLOYABLE
    assert found.evidence[0].actual == outcome.tiers[0].configuration.pp_size
    assert [offer.plan.configuration.is_deployable for offer in found.nearest] == [
        *([True] * (len(found.nearest) - 1)),
        False,
    ]
    assert found.nearest[-1].changes[0].field == "select.tier"
    assert len(outcome.cautions) == 2


@pytest.mark.parametrize("tier", [Tier.BUDGET, Tier.HIGH_END])
def test_another_tier_gives_the_plan_and_says_first_that_it_cannot_be_deployed(tier: Tier) -> None:
    outcome = PLANNER.plan(asked(tier=tier))
    assert outcome.chosen is not None
    assert outcome.chosen.tier is tier
    assert outcome.infeasibility is None
    assert first_said(outcome) == "NotDeployable"
    assert "cannot be deployed yet" in outcome.cautions[0]
    assert outcome.chosen.title.endswith("cannot be deployed yet")
    assert any("100 Gbit/s" in text for text in outcome.assumptions)
    assert outcome.growth[0].plan is not None
    assert PLANNER.explain(asked(), tier=Tier.RECOMMENDED) == ()


def test_a_pin_to_such_a_shape_is_obeyed() -> None:
    pin = Pin(model=LARGE.id, gpus_per_replica=16)
    outcome = PLANNER.plan(asked(pin=pin))
    assert first_said(outcome) == "NotDeployable"
    assert PLANNER.best(asked(pin=pin)) is not None


def test_what_can_be_deployed_is_chosen_though_it_costs_more() -> None:
    """Sixteen GPUs in two machines would do for the price of what fits one; nothing that spans is ever compared."""
    outcome = PLANNER.plan(make_scenario(hardware=HardwarePolicy(maximum_gpus=64)))
    assert all(plan.configuration.is_deployable for plan in outcome.tiers)
    assert all(plan.configuration.is_deployable for step in outcome.growth if (plan := step.plan) is not None)
    assert outcome.cautions == ()
    counted = {entry.code: entry for entry in outcome.rejected.by_reason}
    assert counted[ReasonCode.NOT_DEPLOYABLE].example.limit == 1.0


def test_every_step_of_a_pipeline_can_be_recomputed_from_what_is_shown() -> None:
    steps = PLANNER.explain(asked(), tier=Tier.BUDGET)
    names = {step.name for step in steps}
    assert {"Sequences of one batch of the pipeline", "Last stage of the pipeline"} <= names
    for step in steps:
        value = eval(step.substitution, {"__builtins__": {}}, NAMES)  # noqa: S307 - our own arithmetic
        assert value == pytest.approx(step.value, rel=1e-6), step
