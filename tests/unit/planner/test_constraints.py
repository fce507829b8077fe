"""One case for every check that turns a candidate down before load."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from inferplan.catalog.loader import load_catalog
from inferplan.domain.model import (
    Checkpoint,
    ModelSpec,
    Quantization,
    QuantizationMethod,
    StoredPart,
    Task,
    WeightPart,
)
from inferplan.domain.reasons import REASON_TEXT, ReasonCode
from inferplan.domain.scenario import HardwarePolicy, Lossy, ModelPolicy, Pin, QualityPolicy, Scenario
from inferplan.planner import constraints
from inferplan.planner.candidates import Weights, build_shapes
from inferplan.planner.constraints import Finding
from inferplan.planner.supply import MarketSupply, NoSupply
from tests.builders import (
    ELO,
    make_gpu,
    make_method,
    make_mixtral,
    make_model,
    make_offering,
    make_scenario,
    make_shapes,
)


def weights(model: ModelSpec | None = None, method: QuantizationMethod | None = None) -> Weights:
    chosen, how = model or make_model(), method or make_method()
    return Weights(chosen, chosen.checkpoints[0], how)


def test_every_reason_is_documented() -> None:
    assert set(REASON_TEXT) == set(ReasonCode)


def test_every_check_stands_in_one_list_and_lists_share_no_reason() -> None:
    lists = (constraints.WEIGHT_CHECKS, constraints.GPU_CHECKS, constraints.SHAPE_CHECKS)
    checks = [check for each in lists for _, check in each]
    assert len(set(checks)) == len(checks)
    reasons = [code for each in lists for code in {code for code, _ in each}]
    assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize(
    ("change", "check", "expected"),
    [
        ({"model": ModelPolicy(allow=("Qwen/*",))}, constraints.model_allowed, Finding(detail="not in model.allow")),
        ({"model": ModelPolicy(deny=("meta-llama/*",))}, constraints.model_allowed, Finding(detail="in model.deny")),
        (
            {"task": Task.CLASSIFICATION},
            constraints.model_allowed,
            Finding(detail="a Generation model; the task is Classification"),
        ),
        (
            {"model": ModelPolicy(licenses=("Apache-2.0",))},
            constraints.license_allowed,
            Finding(detail="licence is Llama 2 Community License"),
        ),
        (
            {"quality": QualityPolicy(metric="other", minimum=Decimal(1))},
            constraints.quality_known,
            Finding(detail="other"),
        ),
        (
            {"quality": QualityPolicy(metric=ELO, minimum=Decimal(1300))},
            constraints.quality_sufficient,
            Finding(1300.0, 1107.0, ELO),
        ),
        (
            {"quality": QualityPolicy(quantizations=(Quantization.INT8,))},
            constraints.quantization_allowed,
            Finding(detail="FP16 is not allowed"),
        ),
        ({"context_tokens": 8192}, constraints.context_within_model, Finding(4096, 8192, "tokens")),
    ],
)
def test_weights_are_turned_down(change: dict[str, object], check: constraints.WeightCheck, expected: Finding) -> None:
    assert check(weights(), make_scenario()) is None
    assert check(weights(), make_scenario(**change)) == expected


def test_a_pin_turns_down_everything_else() -> None:
    pin = Pin(model="Qwen/Qwen3-8B", quantization=Quantization.INT4, gpu="l4")
    assert constraints.pinned_model(weights(), pin) == Finding(detail="pinned model is Qwen/Qwen3-8B")
    assert constraints.pinned_format(weights(), pin) == Finding(detail="pinned quantization is INT4")
    assert constraints.pinned_gpu(make_gpu(), pin) == Finding(detail="pinned GPU is l4")
    ours = Pin(model=weights().model.id, quantization=Quantization.FP16, gpu=make_gpu().id)
    assert constraints.pinned_model(weights(), ours) is None
    assert constraints.pinned_format(weights(), ours) is None
    assert constraints.pinned_gpu(make_gpu(), ours) is None


def test_a_pinned_format_that_nobody_publishes_is_said_with_what_there_is() -> None:
    pin = Pin(model=weights().model.id, quantization=Quantization.INT8)
    detail = "there is FP16; make INT8 weights (llm-compressor) and name them in model.custom"
    assert constraints.pinned_checkpoint([weights()], pin) == [Finding(detail=detail)]
    assert constraints.pinned_checkpoint([weights()], Pin(model=pin.model, quantization=Quantization.BF16)) == [None]
    assert constraints.pinned_checkpoint([weights()], Pin(quantization=Quantization.INT8)) == [None]


def test_a_lossy_format_is_turned_down_where_loss_is_to_be_avoided() -> None:
    awq = make_method(
        id="awq", quantization=Quantization.INT4, recovery_percent=((0.0, 90.4), (6.0, 97.73), (60.0, 98.9))
    )
    lossy = replace(weights(method=awq), checkpoint=Checkpoint("someone/awq", "awq", Quantization.INT4))
    avoid = make_scenario(quality=QualityPolicy(lossy=Lossy.AVOID))
    assert constraints.quantization_lossless(lossy, make_scenario()) is None
    assert constraints.quantization_lossless(lossy, avoid) == Finding(99.0, 97.73, "% of accuracy kept")
    assert constraints.quantization_lossless(weights(), avoid) is None


def test_recovery_is_that_of_the_size_class_below() -> None:
    awq = make_method(quantization=Quantization.INT4, recovery_percent=((0.0, 90.4), (6.0, 97.73), (60.0, 98.9)))
    sizes = (500_000_000, 6_000_000_000, 59_000_000_000, 70_000_000_000)
    assert [constraints.recovery_percent(awq, size) for size in sizes] == [90.4, 97.73, 97.73, 98.9]


def test_both_sixteen_bit_formats_count_as_one() -> None:
    assert constraints.same_format(Quantization.FP16, Quantization.BF16)
    assert not constraints.same_format(Quantization.FP16, Quantization.FP8)


def test_a_pin_of_the_model_overrides_what_the_model_is_chosen_by() -> None:
    pinned = make_scenario(pin=Pin(model="m"))
    assert constraints.overridden(ReasonCode.QUALITY_BELOW_MINIMUM, pinned)
    assert not constraints.overridden(ReasonCode.QUANTIZATION_LOSSY, pinned)
    assert not constraints.overridden(ReasonCode.CONTEXT_OVER_MODEL_LIMIT, pinned)


def gpu_findings(scenario: Scenario, supply: object) -> list[Finding | None]:
    return [check(make_gpu(), scenario, supply) for _, check in constraints.GPU_CHECKS]  # type: ignore[arg-type]


def test_gpus_are_turned_down() -> None:
    market = MarketSupply([make_offering()], HardwarePolicy())
    assert gpu_findings(make_scenario(), market) == [None] * 3
    assert gpu_findings(make_scenario(hardware=HardwarePolicy(allow=("t4",))), market)[0] is not None
    assert gpu_findings(make_scenario(hardware=HardwarePolicy(deny=("h100-80gb-sxm",))), market)[0] is not None
    assert gpu_findings(make_scenario(), MarketSupply([], HardwarePolicy()))[1] is not None
    assert gpu_findings(make_scenario(), NoSupply("Cluster"))[2] is not None


def test_tensor_parallelism_divides_heads() -> None:
    odd = make_model(attention_heads=40, kv_heads=40)  # 40 heads do not split into 16
    table = make_shapes(odd)
    verdict = constraints.tp_divides(table)
    assert set(np.unique(table.tp[verdict.fails])) == {16}
    assert verdict.limit is not None
    assert verdict.actual is not None
    assert (verdict.limit[verdict.fails][0], verdict.actual[verdict.fails][0]) == (40, 16)


def test_tensor_parallelism_keeps_quantization_groups_whole_and_tells_their_size() -> None:
    # Qwen2.5-72B: 29568 = 231 x 128, which no split of groups of 128 survives
    wide = make_model(attention_heads=64, kv_heads=8, intermediate_size=29568)
    table = make_shapes(wide, method=make_method(group_size=128))
    verdict = constraints.tp_keeps_groups(table)
    assert set(np.unique(table.tp[verdict.fails])) == {2, 4, 8, 16}
    assert verdict.limit is not None
    assert verdict.actual is not None
    first = int(np.flatnonzero(verdict.fails & (table.tp == 4))[0])
    assert (verdict.limit[first], verdict.actual[first]) == (128, 29568 / 4)
    assert "quantization groups" in verdict.unit


def test_tensor_parallelism_keeps_the_groups_of_attention_and_shared_experts_too() -> None:
    narrow = make_model(attention_heads=16, kv_heads=16, head_dim=64, intermediate_size=16384)  # 64 rows on 16 GPUs
    table = make_shapes(narrow, method=make_method(group_size=128))
    assert set(np.unique(table.tp[constraints.tp_keeps_groups(table).fails])) == {16}
    mixtral = make_mixtral()
    assert mixtral.moe is not None
    shared = replace(mixtral, moe=replace(mixtral.moe, shared_experts=1, shared_intermediate_size=512))
    table = make_shapes(shared, method=make_method(id=shared.checkpoints[0].method, group_size=128))
    assert set(np.unique(table.tp[constraints.tp_keeps_groups(table).fails])) == {8, 16}


def test_layers_left_in_sixteen_bit_have_no_groups() -> None:
    wide = make_model(attention_heads=64, kv_heads=8, intermediate_size=29568)
    kept = replace(wide.checkpoints[0], stored_parts=(StoredPart(WeightPart.DENSE, 16.0),))
    table = make_shapes(replace(wide, checkpoints=(kept,)), method=make_method(group_size=128))
    assert not constraints.tp_keeps_groups(table).fails.any()


@pytest.mark.parametrize(
    ("model", "repository", "refused"),
    [
        ("zai-org/GLM-4.5-Air", "zai-org/GLM-4.5-Air-FP8", set()),
        ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B-FP8", {8, 16}),
        ("Qwen/Qwen3.5-35B-A3B", "Qwen/Qwen3.5-35B-A3B-FP8", {8, 16}),
        ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3", set()),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", set()),
    ],
)
def test_published_checkpoints_split_as_their_engine_splits_them(
    model: str, repository: str, refused: set[int]
) -> None:
    catalog = load_catalog()
    found = catalog.model(model)
    engine = catalog.engine("vllm")
    assert found is not None
    assert engine is not None
    table = build_shapes(catalog, [found], [engine])
    ours = np.array([w.checkpoint.repository == repository for w in table.weights])[table.weight]
    assert set(np.unique(table.tp[constraints.tp_keeps_groups(table).fails & ours & (table.pp == 1)])) == refused


def test_tensor_parallelism_stays_in_the_machine() -> None:
    table = make_shapes(gpu=make_gpu(node_sizes=(1, 2, 4)))
    assert set(np.unique(table.tp[constraints.tp_in_machine(table).fails])) == {8, 16}
