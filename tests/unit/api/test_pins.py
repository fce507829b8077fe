"""How a pin starts its engine: what is read, what excludes each other, and what the catalog has to know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferplan.api.convert import ResolvedScenario, to_scenario
from inferplan.api.documents import read_scenarios
from inferplan.api.v1alpha1.status import Origin
from inferplan.catalog import load_catalog
from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.errors import InputError
from inferplan.domain.model import Dtype
from inferplan.domain.scenario import Pin
from inferplan.domain.units import GIB
from tests.unit.api.catalogs import HEAD, make_api_catalog

LOAD = "workload: {concurrentUsers: 5, promptTokens: {mean: 100, p95: 200}, outputTokens: {mean: 10, p95: 20}}"
MIXTRAL = "mistralai/Mixtral-8x7B-Instruct-v0.1"
CATALOG = make_api_catalog()
REAL = load_catalog()


def converted(pin: str, more: str = "useCase: Custom", *, real: bool = False) -> ResolvedScenario:
    text = f"{HEAD}spec:\n  {more}\n  {LOAD}\n  select: {{pin: {{{pin}}}}}\n"
    document = read_scenarios(text, "chat.yaml").scenarios[0]
    return to_scenario(document.resource, REAL if real else CATALOG, document.locate)


def pinned(pin: str, *, real: bool = False) -> Pin:
    found = converted(pin, real=real).scenario.pin
    assert found is not None
    return found


def refused(pin: str, more: str = "useCase: Custom", *, real: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        converted(pin, more, real=real)
    return "\n".join(map(str, caught.value.faults))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("kvCacheType: fp8", Pin(kv_dtype=Dtype.FP8)),
        ("kvCacheType: bfloat16", Pin(kv_dtype=Dtype.BFLOAT16)),
        ('gpuMemoryUtilization: "0.95"', Pin(gpu_memory_utilization=0.95)),
        ('gpuMemoryUtilization: "1"', Pin(gpu_memory_utilization=1.0)),
        ("maxNumBatchedTokens: 4096", Pin(max_num_batched_tokens=4096)),
        ("execution: Eager", Pin(eager=True)),
        ("execution: CudaGraphs", Pin(eager=False)),
        ("modalities: All", Pin(text_only=False)),
        ("modalities: Text", Pin(text_only=True)),
        ("cpuOffloadGib: 10", Pin(cpu_offload_bytes=10 * GIB)),
        ("kvOffloadGib: 50", Pin(kv_offload_bytes=50 * GIB)),
        (
            "speculativeDecoding: {method: Ngram, tokens: 4, acceptancePercent: 55}",
            Pin(speculative=SpeculativeDecoding(SpeculativeMethod.NGRAM, 4, 0.55)),
        ),
    ],
)
def test_each_setting_reaches_the_planner(written: str, expected: Pin) -> None:
    assert pinned(written) == expected


def test_acceptance_that_nobody_states_is_an_assumption_that_is_shown() -> None:
    found = converted("speculativeDecoding: {method: Ngram, tokens: 4}")
    assert found.scenario.pin == Pin(speculative=SpeculativeDecoding(SpeculativeMethod.NGRAM, 4, 0.7))
    row = next(row for row in found.resolved if row.field.endswith("acceptancePercent"))
    assert (row.value, row.origin) == ("70", Origin.DEFAULT)
    assert "assumption" in row.reason


@pytest.mark.parametrize("share", ["0", "0.0", "1.01", "-0.5", "95", "0.99999", ".9", "1e-1"])
def test_a_share_is_above_zero_and_at_most_one(share: str) -> None:
    assert "select.pin.gpuMemoryUtilization" in refused(f'gpuMemoryUtilization: "{share}"')


def test_a_share_is_text_as_all_decimals_of_the_resource_are() -> None:
    assert 'write it in quotes: "0.95"' in refused("gpuMemoryUtilization: 0.95")


@pytest.mark.parametrize(
    ("pin", "said"),
    [
        ("kvCacheType: FP8", "allowed: bfloat16, float16, fp8"),
        ("kvCacheType: int4", "allowed: bfloat16, float16, fp8"),
        ("execution: Fast", "allowed: CudaGraphs, Eager"),
        ("cpuOffloadGib: 0", "at least 1"),
        ("speculativeDecoding: {method: Ngram}", "speculativeDecoding.tokens"),
        ("speculativeDecoding: {method: Ngram, tokens: 3, acceptancePercent: 100}", "at most 99"),
        ("speculativeDecoding: {method: Eagle, tokens: 3}", "allowed: Ngram, Mtp, DraftModel"),
        (
            "maxNumSeqs: 512, maxNumBatchedTokens: 256",
            "each sequence needs one token per step, so 512 do not fit in 256",
        ),
        ("speculativeDecoding: {method: DraftModel, tokens: 3}", "method DraftModel needs one"),
        (f"speculativeDecoding: {{method: Ngram, tokens: 3, model: {MIXTRAL}}}", "drafts without a model"),
        ("engine: TGI, cpuOffloadGib: 4", "write spec.select.pin.engine: vLLM"),
        ("engine: TGI, kvOffloadGib: 4", "TGI keeps neither weights nor KV cache"),
        ('engine: TGI, gpuMemoryUtilization: "0.91"', "TGI takes at most 0.9 of each GPU"),
        ("maxNumBatchedTokens: 1, speculativeDecoding: {method: Mtp, tokens: 1}", "no room for 1 drafted tokens"),
        ("engine: TGI, speculativeDecoding: {method: Mtp, tokens: 1}", "TGI has no Mtp, only Ngram"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(pin: str, said: str) -> None:
    assert said in refused(pin)


def test_an_engine_that_is_merely_allowed_has_to_have_the_settings_too() -> None:
    more = "useCase: Custom\n  engine: {allow: [vLLM, TGI]}"
    assert "TGI keeps neither" in refused("cpuOffloadGib: 4", more)
    assert converted("engine: vLLM, cpuOffloadGib: 4", more).scenario.pin is not None
    assert converted("engine: TGI, speculativeDecoding: {method: Ngram, tokens: 2}", more).scenario.pin is not None


def test_a_classifier_drafts_nothing() -> None:
    spec = "{useCase: BatchClassification, select: {pin: {speculativeDecoding: {method: Ngram, tokens: 2}}}}"
    document = read_scenarios(f"{HEAD}spec: {spec}", "chat.yaml").scenarios[0]
    with pytest.raises(InputError, match="a classifier generates nothing"):
        to_scenario(document.resource, CATALOG, document.locate)


def test_a_draft_has_the_vocabulary_of_its_model_and_is_smaller() -> None:
    draft = "speculativeDecoding: {method: DraftModel, tokens: 3, model: Qwen/Qwen3-0.6B}"
    found = pinned(f"model: Qwen/Qwen3-8B, {draft}", real=True)
    assert found.speculative is not None
    assert found.speculative.draft == REAL.model("Qwen/Qwen3-0.6B")
    other = refused(f"model: meta-llama/Llama-3.1-8B-Instruct, {draft}", real=True)
    assert "has a vocabulary of 151936 tokens, and meta-llama/Llama-3.1-8B-Instruct one of 128256" in other
    assert "no smaller" in refused(f"model: Qwen/Qwen3-0.6B, {draft}", real=True)
    assert 'unknown model "nope"' in refused("speculativeDecoding: {method: DraftModel, tokens: 3, model: nope}")


def test_a_model_without_a_layer_for_it_predicts_one_token_at_a_time() -> None:
    mtp = "speculativeDecoding: {method: Mtp, tokens: 1}"
    assert "Qwen/Qwen3-8B has no multi-token-prediction layer" in refused(f"model: Qwen/Qwen3-8B, {mtp}", real=True)
    assert pinned(f"model: zai-org/GLM-4.6, {mtp}", real=True).speculative is not None
    custom = "useCase: Custom\n  model: {custom: {repository: my/model, base: Qwen/Qwen3-8B}}"
    assert "no multi-token-prediction layer" in refused(mtp, custom, real=True)


def test_the_engine_is_started_as_the_pin_says_and_else_as_it_starts_by_itself() -> None:
    engine = REAL.engine("vllm")
    assert engine is not None
    assert Pin().applied_to(engine) == engine
    pin = pinned('gpuMemoryUtilization: "0.95", execution: Eager, modalities: All, kvOffloadGib: 2')
    assert pin.applied_to(engine) == replace(
        engine, memory_fraction=0.95, eager=True, text_only=False, kv_offload_bytes=2 * GIB
    )


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-ai/DeepSeek-R1"),
        ("MiniMaxAI/MiniMax-M2.5", "MiniMaxAI/MiniMax-M2.7"),
        ("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-chat-hf"),
        ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct"),
    ],
)
def test_other_weights_of_the_same_shape_are_not_pinned_in_their_place(name: str, base: str) -> None:
    said = refused(f"model: {name}", real=True)
    assert f'"{name}" has the shape of {base}, but other weights' in said
    assert f"model.custom with base: {base}" in said


def test_an_earlier_name_of_the_very_same_weights_is_a_name_of_the_model() -> None:
    assert pinned("model: meta-llama/Meta-Llama-3.1-8B-Instruct", real=True).model == "meta-llama/Llama-3.1-8B-Instruct"


def test_ngram_needs_no_room_for_drafts_of_a_second_model() -> None:
    assert pinned("maxNumBatchedTokens: 4, speculativeDecoding: {method: Ngram, tokens: 4}").speculative is not None


GEMMA = "useCase: Chatbot\n  model: {allow: [google/gemma-4-31B-it]}"


def test_a_step_that_is_pinned_has_room_for_an_image_where_images_are_served() -> None:
    """A default is raised to that; what the user says is obeyed or refused."""
    assert refused("modalities: All, maxNumBatchedTokens: 2048", GEMMA, real=True).endswith(
        "spec.select.pin.maxNumBatchedTokens: a step of 2,048 tokens has no room for an image or video of"
        " google/gemma-4-31B-it, which takes up to 2,496 at once (write 2496 or more, or modalities: Text)"
    )
    for enough in ("modalities: All, maxNumBatchedTokens: 2496", "maxNumBatchedTokens: 2048", "modalities: All"):
        assert converted(enough, GEMMA, real=True).scenario.pin is not None
    beside = GEMMA.replace("31B-it", "31B-it, Qwen/*")
    assert converted("modalities: All, maxNumBatchedTokens: 2048", beside, real=True).scenario.pin is not None
    based = "useCase: Chatbot\n  model: {custom: {repository: me/gemma, base: google/gemma-4-31B-it}}"
    assert "2,496" in refused("modalities: All, maxNumBatchedTokens: 2048", based, real=True)
