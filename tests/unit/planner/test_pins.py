"""Pins: the longest context that fits, an FP8 cache by wish, and what names a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inferplan.catalog import load_catalog
from inferplan.domain.deployment import EngineSpec, SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.model import Dtype, Quantization
from inferplan.domain.plan import Plan, Relaxation
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Lengths, Pin, Scenario
from inferplan.domain.units import GIB
from inferplan.planner import Planner
from inferplan.planner.assemble import plan_hash
from tests.builders import make_engine, make_model, make_scenario, make_workload
from tests.unit.api.outcomes import make_plan

PLANNER = Planner(load_catalog())
LLAMA_8B, LLAMA_70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
ONE_USER = make_workload(concurrent_users=1, prompt=Lengths(500, 1000), output=Lengths(200, 400))
PINS = {
    "8B on an L4": Pin(LLAMA_8B, Quantization.BF16, "l4", 1, 1, 1, engine="vllm"),
    "8B on an L4, 256 at once": Pin(LLAMA_8B, Quantization.BF16, "l4", 1, 1, 256, engine="vllm"),
    "70B on two H100": Pin(LLAMA_70B, Quantization.BF16, "h100-80gb-sxm", 2, 1, 1, engine="vllm"),
    "3B on a T4": Pin("meta-llama/Llama-3.2-3B-Instruct", Quantization.BF16, "t4", 1, 1, 1, engine="vllm"),
    "windows": Pin("google/gemma-3-12b-it", Quantization.BF16, "a100-40gb-sxm", 1, 1, 4, engine="vllm"),
    "states": Pin("Qwen/Qwen3.5-27B", Quantization.FP8, "l40s", 1, 1, 4, engine="vllm"),
    "MLA": Pin("deepseek-ai/DeepSeek-V3", Quantization.FP8, "h200-141gb-sxm", 8, 1, 4, engine="vllm"),
}


def asked(pin: Pin, length: int, **changes: Any) -> Scenario:
    return make_scenario(
        pin=replace(pin, max_model_len=length, **changes), workload=ONE_USER, context_tokens=length, growth_factors=()
    )


def planned(pin: Pin, length: int, **changes: Any) -> Plan | None:
    return PLANNER.best(asked(pin, length, **changes))


@pytest.mark.parametrize("pin", PINS.values(), ids=PINS)
def test_the_longest_context_that_is_told_fits_and_one_block_more_does_not(pin: Pin) -> None:
    short = planned(pin, 1400)
    assert short is not None
    longest = short.estimate.memory.longest_context_tokens
    whole = planned(pin, longest)
    assert whole is not None
    assert whole.estimate.memory.longest_context_tokens == longest
    assert whole.estimate.memory.full_length_sequences >= 1
    positions = short.configuration.model.max_position_embeddings
    assert longest <= positions
    if longest < positions:
        assert planned(pin, longest + 1) is None


def offers(scenario: Scenario, field: str) -> list[Relaxation]:
    found = PLANNER.plan(scenario).infeasibility
    assert found is not None
    return [offer for offer in found.nearest if offer.changes[0].field == field]


@pytest.mark.parametrize("name", ["8B on an L4", "8B on an L4, 256 at once", "70B on two H100"])
def test_a_context_that_does_not_fit_is_answered_with_the_longest_that_does(name: str) -> None:
    pin = PINS[name]
    (offer,) = offers(asked(pin, 131_072), "select.pin.maxModelLen")
    longest = int(offer.changes[0].to)
    assert offer.plan.configuration.max_model_len == longest
    assert offer.changes[1].field == "contextTokens"
    assert offer.changes[1].to == str(longest)
    assert planned(pin, longest) is not None
    assert planned(pin, longest + 1) is None


def test_a_context_beyond_the_model_is_answered_with_the_models_own() -> None:
    pin = replace(PINS["8B on an L4"], gpu="h100-80gb-sxm")
    (offer,) = offers(asked(pin, 200_000), "select.pin.maxModelLen")
    assert offer.changes[0].to == "131072"


def test_a_context_that_the_pin_leaves_to_the_scenario_is_answered_too() -> None:
    scenario = replace(asked(PINS["8B on an L4"], 131_072), pin=PINS["8B on an L4"])
    (offer,) = offers(scenario, "contextTokens")
    assert planned(PINS["8B on an L4"], int(offer.changes[0].to) + 1) is None
    assert offer.plan.configuration.max_model_len == int(offer.changes[0].to)


def test_a_partial_pin_gets_the_longest_context_of_whatever_is_left_open() -> None:
    pin = Pin(LLAMA_8B, Quantization.BF16, "l4", gpus_per_replica=1)
    (offer,) = offers(asked(pin, 131_072), "select.pin.maxModelLen")
    chosen = offer.plan.configuration
    assert chosen.max_model_len == offer.plan.estimate.memory.longest_context_tokens


def test_a_cache_of_8_bits_is_offered_where_it_would_do() -> None:
    pin = PINS["8B on an L4"]
    short = planned(pin, 1400)
    assert short is not None
    beyond = short.estimate.memory.longest_context_tokens + 1024
    (offer,) = offers(asked(pin, beyond), "select.pin.kvCacheType")
    assert (offer.changes[0].to, offer.plan.configuration.kv_dtype) == ("fp8", Dtype.FP8)
    assert offers(asked(replace(pin, gpu="t4"), 2048), "select.pin.kvCacheType") == []  # no such cache on a T4
    assert offers(asked(pin, 131_072), "select.pin.kvCacheType") == []  # would not do either


@pytest.mark.parametrize(
    ("wished", "got"),
    [(None, Dtype.BFLOAT16), (Dtype.BFLOAT16, Dtype.BFLOAT16), (Dtype.FLOAT16, Dtype.BFLOAT16), (Dtype.FP8, Dtype.FP8)],
)
def test_a_pinned_type_of_the_cache_is_obeyed(wished: Dtype | None, got: Dtype) -> None:
    found = planned(PINS["8B on an L4"], 4096, kv_dtype=wished)
    assert found is not None
    assert found.configuration.kv_dtype is got
    partial = PLANNER.best(asked(Pin(gpu="l4"), 4096, kv_dtype=wished))
    assert partial is not None
    if wished is not None:
        assert (partial.configuration.kv_dtype is Dtype.FP8) is (wished is Dtype.FP8)


def test_a_cache_that_the_gpu_does_not_have_is_refused_by_name() -> None:
    found = PLANNER.plan(asked(PINS["3B on a T4"], 4096, kv_dtype=Dtype.FP8)).infeasibility
    assert found is not None
    assert found.binding == (ReasonCode.KV_DTYPE_UNSUPPORTED,)


def test_a_pinned_plan_says_how_long_its_context_could_be() -> None:
    plan = PLANNER.plan(asked(PINS["8B on an L4"], 4096)).chosen
    assert plan is not None
    (remark,) = [remark for remark in plan.remarks if remark.code == "LongestContext"]
    assert f"longest context that fits: {plan.estimate.memory.longest_context_tokens:,} tokens" in remark.text


DRAFT = SpeculativeDecoding(SpeculativeMethod.DRAFT_MODEL, 3, 0.7, make_model(id="small/one"))
STARTS = {
    "as it starts": make_engine(),
    "eager": make_engine(eager=True),
    "all modalities": make_engine(text_only=False),
    "weights offloaded": make_engine(cpu_offload_bytes=GIB),
    "more weights offloaded": make_engine(cpu_offload_bytes=2 * GIB),
    "cache offloaded": make_engine(kv_offload_bytes=GIB),
    "drafting": make_engine(speculative=DRAFT),
    "drafting more": make_engine(speculative=replace(DRAFT, tokens=4)),
    "drafting with another": make_engine(speculative=replace(DRAFT, draft=make_model(id="small/other"))),
    "drafting from repetitions": make_engine(speculative=SpeculativeDecoding(SpeculativeMethod.NGRAM, 3, 0.7)),
}


def named(engine: EngineSpec) -> str:
    return plan_hash(replace(make_plan().configuration, engine=engine), ())


def test_whatever_changes_the_start_changes_the_name_of_the_plan() -> None:
    names = [named(engine) for engine in STARTS.values()]
    assert len(set(names)) == len(names)
    assert [named(replace(engine)) for engine in STARTS.values()] == names


def test_an_assumption_about_the_texts_is_no_other_deployment() -> None:
    other = make_engine(speculative=replace(DRAFT, acceptance=0.5))
    assert named(other) == named(STARTS["drafting"])


def test_a_pin_made_of_a_configuration_comes_to_that_configuration() -> None:
    wished = {"eager": True, "gpu_memory_utilization": 0.9, "kv_dtype": Dtype.FP8, "max_num_batched_tokens": 1024}
    first = planned(PINS["8B on an L4"], 4096, **wished)
    assert first is not None
    scenario = replace(asked(PINS["8B on an L4"], 4096), pin=Pin.of(first.configuration))
    again = PLANNER.best(scenario)
    assert again is not None
    assert again.configuration == first.configuration


def test_room_for_adapters_comes_out_of_the_kv_pool_and_is_told() -> None:
    scenario = asked(PINS["8B on an L4"], 4096)
    plain = PLANNER.best(scenario)
    words = ("--enable-lora", "--max-loras=4", "--max-lora-rank", "16")
    adapted = PLANNER.best(replace(scenario, engine=replace(scenario.engine, extra_args=words)))
    assert plain is not None
    assert adapted is not None
    fewer = plain.estimate.memory.kv_pool_bytes - adapted.estimate.memory.kv_pool_bytes
    layers = 32 * (2 * 4096 + 2 * (4096 + 1024) + 2 * 4096 + 3 * (4096 + 14336))
    assert fewer == pytest.approx(2 * 4 * 16 * (layers + 2 * (128256 + 4096)), abs=2**22)
    said = {remark.code: remark.text for remark in adapted.remarks}
    assert said["LoraAdapters"].startswith("room for 4 LoRA adapters of rank 16 takes 0.4 GB of each GPU")
    assert "LoraAdapters" not in {remark.code for remark in plain.remarks}


def test_adapters_that_leave_no_room_for_the_weights_are_refused() -> None:
    scenario = asked(PINS["8B on an L4"], 4096)
    words = ("--enable-lora", "--max-loras=32", "--max-lora-rank=512")
    outcome = PLANNER.plan(replace(scenario, engine=replace(scenario.engine, extra_args=words)))
    assert outcome.infeasibility is not None
    assert ReasonCode.WEIGHTS_DONT_FIT in outcome.infeasibility.binding


def test_an_image_of_another_version_is_told_with_the_plan() -> None:
    scenario = asked(PINS["8B on an L4"], 4096)
    engine = replace(scenario.engine, image="vllm/vllm-openai:v0.30.0")
    plan = PLANNER.best(replace(scenario, engine=engine))
    assert plan is not None
    said = {remark.code: remark.text for remark in plan.remarks}
    assert said["ImageOfAnotherVersion"].startswith("the tag of vllm/vllm-openai:v0.30.0 names 0.30.0, and flags")
