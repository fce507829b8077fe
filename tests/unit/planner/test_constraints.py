"""One case for every check that turns a candidate down before load."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from inferplan.domain.model import Checkpoint, ModelSpec, Quantization, QuantizationMethod, Task
from inferplan.domain.reasons import REASON_TEXT, ReasonCode
from inferplan.domain.scenario import HardwarePolicy, Lossy, ModelPolicy, Pin, QualityPolicy, Scenario
from inferplan.planner import constraints
from inferplan.planner.candidates import Weights
from inferplan.planner.constraints import Finding
from inferplan.planner.supply import MarketSupply, NoSupply
from tests.builders import (
    ELO,
    make_gpu,
    make_method,
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


def test_every_check_stands_in_one_list_under_its_own_reason() -> None:
    codes = [code for code, _ in (*constraints.WEIGHT_CHECKS, *constraints.GPU_CHECKS, *constraints.SHAPE_CHECKS)]
    assert len(set(codes)) == len(codes)


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


def test_tensor_parallelism_divides_heads_and_quantization_groups() -> None:
    odd = make_model(attention_heads=40, kv_heads=40)  # 40 heads do not split into 16
    table = make_shapes(odd)
    assert set(np.unique(table.tp[constraints.tp_divides(table).fails])) == {16}
    # Qwen2.5-72B: 29568 = 231 x 128, which no split of groups of 128 survives
    wide = make_model(attention_heads=64, kv_heads=8, intermediate_size=29568)
    groups = make_method(group_size=128)
    table = make_shapes(wide, method=groups)
    assert set(np.unique(table.tp[constraints.tp_divides(table).fails])) == {2, 4, 8, 16}


def test_tensor_parallelism_stays_in_the_machine() -> None:
    table = make_shapes(gpu=make_gpu(node_sizes=(1, 2, 4)))
    assert set(np.unique(table.tp[constraints.tp_in_machine(table).fails])) == {8, 16}
