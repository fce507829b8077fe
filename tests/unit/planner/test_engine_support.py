"""What an engine starts on which GPU, by the kernels that the catalog says it has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferplan.catalog import load_catalog
from inferplan.domain.architectures import Architectures
from inferplan.domain.attention import attention_needs, find_kernel
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import AttentionLayers, Checkpoint, Dtype, LayerKind, ModelSpec, Quantization, Task
from inferplan.domain.scenario import CustomModel, HardwarePolicy
from inferplan.planner import engine_support, filters
from inferplan.planner.candidates import custom_model
from inferplan.planner.engine_support import Flags
from inferplan.planner.field import make_field
from inferplan.planner.filters import StaticTable, build_static
from inferplan.planner.supply import MarketSupply
from tests.builders import (
    make_catalog,
    make_engine,
    make_gpu,
    make_method,
    make_mixtral,
    make_model,
    make_offering,
    make_scenario,
    make_shapes,
    make_t4,
)

CATALOG = load_catalog(None)
MIXTRAL = frozenset({"MixtralForCausalLM"})
BF16, FP16, FP8 = Dtype.BFLOAT16, Dtype.FLOAT16, Dtype.FP8


def known(model_id: str) -> ModelSpec:
    found = CATALOG.model(model_id)
    assert found is not None
    return found


def vllm(*, text_only: bool = True) -> EngineSpec:
    found = CATALOG.engine("vllm")
    assert found is not None
    return replace(found, text_only=text_only)


def kernels(model: ModelSpec, capability: int, cache: Dtype, *, text_only: bool = True) -> list[str | None]:
    engine = vllm(text_only=text_only)
    needs = attention_needs(model, text_only=text_only)
    found = [find_kernel(engine.attention_kernels, need, capability, cache) for need in needs]
    return [None if kernel is None else kernel.name for kernel in found]


@pytest.mark.parametrize(
    ("model", "capability", "cache", "expected"),
    [
        pytest.param("Qwen/Qwen3-8B", 80, BF16, ["FLASH_ATTN"], id="sixteen bit on Ampere"),
        pytest.param("Qwen/Qwen3-8B", 80, FP8, ["FLASHINFER"], id="FP8 below 8.9 is FlashInfer's"),
        pytest.param("Qwen/Qwen3-8B", 75, FP16, ["TRITON_ATTN"], id="Turing has Triton alone"),
        pytest.param("Qwen/Qwen3-8B", 75, FP8, [None], id="Triton reads no FP8 on Turing"),
        pytest.param("microsoft/Phi-3.5-mini-instruct", 86, FP8, [None], id="FlashInfer has no heads of 96"),
        pytest.param("microsoft/Phi-3.5-mini-instruct", 89, FP8, ["TRITON_ATTN"], id="Triton has heads of 96 from 8.9"),
        pytest.param("openai/gpt-oss-20b", 86, FP8, [None], id="sinks with FP8 below 8.9"),
        pytest.param("openai/gpt-oss-20b", 86, BF16, ["TRITON_ATTN"], id="sinks below 9.0"),
        pytest.param("openai/gpt-oss-20b", 90, FP8, ["FLASH_ATTN"], id="sinks on Hopper"),
        pytest.param("google/gemma-3-27b-it", 80, FP8, ["FLASHINFER"], id="gemma 3 as text"),
        pytest.param("google/gemma-4-31B-it", 80, FP8, [None, None], id="two head sizes without FA4 and FP8"),
        pytest.param("google/gemma-4-31B-it", 80, BF16, ["TRITON_ATTN"] * 2, id="two head sizes without FA4"),
        pytest.param("google/gemma-4-31B-it", 75, FP16, [None, "TRITON_ATTN"], id="heads of 512 on Turing"),
        pytest.param("google/gemma-4-31B-it", 90, FP8, ["FLASH_ATTN"] * 2, id="two head sizes on Hopper"),
        pytest.param("deepseek-ai/DeepSeek-V3", 80, BF16, ["TRITON_MLA"], id="latent attention on Ampere"),
        pytest.param("deepseek-ai/DeepSeek-V3", 80, FP8, [None], id="latent attention in FP8 on Ampere"),
        pytest.param("deepseek-ai/DeepSeek-V3", 75, FP16, [None], id="latent attention on Turing"),
        pytest.param("deepseek-ai/DeepSeek-V3.2", 89, FP8, [None], id="sparse attention before Hopper"),
        pytest.param("zai-org/GLM-5.1", 90, BF16, ["FLASH_ATTN_MLA_SPARSE"], id="sparse attention on Hopper"),
        pytest.param("zai-org/GLM-5.1", 120, BF16, [None], id="sparse attention on 12.0 reads FP8 alone"),
        pytest.param("zai-org/GLM-5.1", 120, FP8, ["FLASHINFER_MLA_SPARSE_SM120"], id="sparse attention on 12.0"),
    ],
)
def test_an_attention_kernel_is_found_as_the_engine_finds_it(
    model: str, capability: int, cache: Dtype, expected: list[str | None]
) -> None:
    assert kernels(known(model), capability, cache) == expected


def test_a_model_that_takes_images_needs_kernels_that_a_text_only_engine_does_not_need() -> None:
    gemma = known("google/gemma-3-27b-it")
    assert kernels(gemma, 80, FP8, text_only=False) == [None]
    assert kernels(gemma, 80, FP8, text_only=True) == ["FLASHINFER"]


def test_layers_without_keys_need_no_kernel() -> None:
    (only,) = attention_needs(known("Qwen/Qwen3.5-27B"), text_only=True)
    assert only.head_size == 256


def gpus() -> dict[str, GpuSpec]:
    return {gpu.id: gpu for gpu in CATALOG.gpus}


def test_a_model_without_any_kernel_on_a_gpu_is_refused_and_says_what_is_missing() -> None:
    sparse = replace(known("deepseek-ai/DeepSeek-V3.2"), checkpoints=make_model().checkpoints)
    verdict = engine_support.engine_runs_it(make_shapes(sparse, gpus()["a100-80gb-sxm"], vllm()))
    assert verdict.fails.all()
    assert verdict.detail is not None
    assert verdict.detail[0] == (
        "no attention kernel of vLLM 0.33.0 on compute capability 8.0 for latent attention (MLA), sparse attention "
        "with a KV cache in bfloat16"
    )


def test_a_cache_type_without_a_kernel_is_refused_and_the_other_stays() -> None:
    sinks = replace(known("openai/gpt-oss-20b"), checkpoints=make_model().checkpoints)
    table = make_shapes(sinks, gpus()["a10g"], vllm())
    assert not engine_support.engine_runs_it(table).fails.any()
    verdict = engine_support.kv_dtype_runs(table)
    assert (verdict.fails == (table.kv > 0)).all()
    assert verdict.detail is not None
    assert "attention sinks with a KV cache in fp8" in verdict.detail[np.argmax(verdict.fails)]


def test_where_only_an_fp8_cache_has_a_kernel_the_model_runs_with_that() -> None:
    sparse = replace(known("zai-org/GLM-5.1"), checkpoints=make_model().checkpoints)
    table = make_shapes(sparse, gpus()["rtx-pro-6000"], vllm())
    assert not engine_support.engine_runs_it(table).fails.any()
    assert (engine_support.kv_dtype_runs(table).fails == (table.kv == 0)).all()


def test_a_models_own_weights_are_held_to_the_same_rules() -> None:
    described = make_model(architecture="GptOssForCausalLM", native_dtype=BF16)
    for base, architecture in (("openai/gpt-oss-20b", None), (None, described)):
        model = custom_model(CustomModel("my-org/my-model", None, base, architecture, Task.GENERATION, None), CATALOG)
        assert model is not None
        assert kernels(model, 80, FP8) == [None]


def test_a_format_has_an_upper_end_where_newer_gpus_lost_its_kernel() -> None:
    ended = make_method(id="fp16", max_compute_capability=99)
    assert engine_support.quantization_runs(make_shapes(gpu=gpus()["b200"], method=ended)).fails.all()
    assert not engine_support.quantization_runs(make_shapes(method=ended)).fails.any()


def test_a_checkpoint_can_need_a_newer_gpu_than_its_format() -> None:
    late = make_model(checkpoints=(replace(make_model().checkpoints[0], min_compute_capability=80),))
    verdict = engine_support.quantization_runs(make_shapes(late, make_t4()))
    assert verdict.fails.all()
    assert verdict.limit is not None
    assert verdict.limit[0] == 8.0


def test_a_format_that_computes_in_bfloat16_alone_is_refused_where_there_is_none() -> None:
    strict = make_method(id="fp16", refuses_float16=True)
    assert engine_support.engine_runs_it(make_shapes(make_model(), method=strict)).fails.all()
    assert not engine_support.engine_runs_it(make_shapes(make_model(native_dtype=BF16), method=strict)).fails.any()


def test_layers_that_differ_in_head_size_count_as_mixed_whatever_their_kind() -> None:
    full = AttentionLayers(LayerKind.FULL, 4, 8, 128, 128)
    wide = AttentionLayers(LayerKind.SLIDING, 4, 8, 256, 256, window_tokens=512)
    assert all(need.mixed_head_sizes for need in attention_needs(make_model(attention=(full, wide)), text_only=True))
    assert not attention_needs(make_model(attention=(full,)), text_only=True)[0].mixed_head_sizes


def test_volta_runs_no_vllm_and_bfloat16_models_that_refuse_float16_run_on_no_t4() -> None:
    volta = make_gpu(id="v100-16gb", compute_capability=70)
    assert engine_support.engine_runs_it(make_shapes(gpu=volta)).fails.all()
    wide = make_engine(architectures=Architectures(MIXTRAL, refuse_float16=MIXTRAL))
    refused = engine_support.engine_runs_it(make_shapes(make_mixtral(), make_t4(), wide))
    assert refused.fails.all()
    assert refused.detail is not None
    assert refused.detail[0].endswith("does not run MixtralForCausalLM in float16")
    assert not engine_support.engine_runs_it(make_shapes(make_mixtral(), engine=wide)).fails.any()
    assert not engine_support.engine_runs_it(make_shapes(make_mixtral(), make_t4())).fails.all()


def test_the_engine_runs_every_architecture_of_the_catalog() -> None:
    known = vllm().architectures
    assert known is not None
    assert [m.id for m in CATALOG.models if not known.runs(m.architecture, m.task)] == []


def test_what_the_catalog_says_of_an_architecture_is_about_one_that_the_engine_runs() -> None:
    for engine in CATALOG.engines:
        known = engine.architectures
        assert known is not None
        named = {*known.refuse_float16, *(name for name, _ in known.layers)}
        assert named <= known.names(Task.CLASSIFICATION)
        assert len(dict(known.layers)) == len(known.layers)


def test_models_whose_layers_a_shape_cannot_state_are_listed_as_such() -> None:
    """A model of the catalog with latent or linear layers, or heads of several sizes, is of a listed architecture."""
    known = vllm().architectures
    assert known is not None
    for model in CATALOG.models:
        kinds = {group.kind for group in model.attention}
        heads = {(g.kv_heads, g.key_head_dim) for g in model.attention} if LayerKind.LINEAR not in kinds else {0, 1}
        if LayerKind.MLA in kinds or len(heads) > 1:
            assert known.layers_of_its_own(model.architecture), model.id


def test_a_classification_head_goes_by_the_decoder_under_it() -> None:
    known = vllm().architectures
    assert known is not None
    assert known.runs("LlamaForSequenceClassification", Task.CLASSIFICATION)
    assert known.runs("BertForSequenceClassification", Task.CLASSIFICATION)
    assert not known.runs("LlamaForSequenceClassification", Task.GENERATION)
    assert not known.runs("FooForSequenceClassification", Task.CLASSIFICATION)
    assert known.refuses_float16("Gemma2ForSequenceClassification")
    assert "MLA" in known.layers_of_its_own("DeepseekV3ForSequenceClassification")


def test_a_step_that_was_asked_for_must_have_room_for_an_image() -> None:
    seeing = make_model(multimodal_item_tokens=2496)
    engine = make_engine(batched_tokens=2495, text_only=False)
    verdict = engine_support.engine_runs_it(make_shapes(seeing, engine=engine))
    assert verdict.fails.all()
    assert verdict.detail is not None
    assert "raise maxNumBatchedTokens to 2496" in verdict.detail[0]
    for free in ({"text_only": True}, {"batched_tokens": None}, {"batched_tokens": 2496}):
        engine = make_engine(**{"batched_tokens": 2495, "text_only": False, **free})
        assert not engine_support.engine_runs_it(make_shapes(seeing, engine=engine)).fails.any()


@pytest.mark.parametrize(
    ("gpu", "why"),
    [
        (make_gpu(), ""),
        (make_gpu(compute_capability=89), ""),
        (make_gpu(compute_capability=75), "its image has code for compute capability 8.0 to 9.0; the X has 7.5"),
        (make_gpu(compute_capability=100), "its image has code for compute capability 8.0 to 9.0; the X has 10.0"),
        (make_gpu(host_architecture="arm64"), "its image is built for amd64; machines with the X are arm64"),
        (make_gpu(vendor="amd", compute_capability=None), "its image has no code for GPUs of amd"),
    ],
)
def test_an_engine_runs_where_its_image_does(gpu: GpuSpec, why: str) -> None:
    engine = make_engine(
        min_compute_capability=80, max_compute_capability=90, image_architectures=("amd64",), supports_pipeline=True
    )
    gpu = replace(gpu, name="X")
    assert engine.why_not_on(gpu) == why
    assert engine_support.engine_runs_it(make_shapes(gpu=gpu, engine=engine)).fails.all() == bool(why)


def test_an_engine_runs_only_its_architectures_and_tasks() -> None:
    assert engine_support.engine_runs_it(
        make_shapes(engine=make_engine(architectures=Architectures(frozenset({"Other"}))))
    ).fails.all()
    classifier = make_model(task=Task.CLASSIFICATION)
    assert engine_support.engine_runs_it(
        make_shapes(classifier, engine=make_engine(supports_classification=False))
    ).fails.all()
    table = make_shapes(engine=make_engine(supports_pipeline=False))
    assert (engine_support.engine_runs_it(table).fails == (table.pp > 1)).all()


def test_a_format_without_a_kernel_on_the_gpu_is_refused() -> None:
    mxfp4 = make_method(id="fp16", min_compute_capability=80)
    verdict = engine_support.quantization_runs(make_shapes(gpu=make_t4(), method=mxfp4))
    assert verdict.fails.all()
    assert verdict.limit is not None
    assert verdict.actual is not None
    assert (verdict.limit[0], verdict.actual[0]) == (8.0, 7.5)


def test_fp8_kv_cache_is_not_to_be_had_on_a_t4() -> None:
    table = make_shapes(gpu=make_t4())
    assert (engine_support.kv_dtype_runs(table).fails == (table.kv > 0)).all()
    assert not engine_support.kv_dtype_runs(make_shapes()).fails.any()


def test_a_verdict_tells_numbers_only_where_they_are_the_reason() -> None:
    tgi_only = make_method(id="eetq", engines=("tgi",), min_compute_capability=75)
    elsewhere = engine_support.quantization_runs(
        make_shapes(model=make_model(checkpoints=(Checkpoint("a/b", "eetq", Quantization.INT8),)), method=tgi_only)
    )
    assert elsewhere.fails.all()
    assert elsewhere.actual is not None
    assert np.isnan(elsewhere.actual).all()


# ── the KV-cache type that a checkpoint asks for ─────────────────────────────────────────────────────────────


def asking(capability: int, engine: EngineSpec) -> tuple[StaticTable, Flags]:
    """Shapes of a checkpoint that asks for an FP8 cache, and which of them a full pin may take."""
    model = make_model(checkpoints=(replace(make_model().checkpoints[0], kv_cache_dtype=FP8),))
    gpu = make_gpu(compute_capability=capability, node_sizes=(1,))
    catalog = make_catalog(models=(model,), gpus=(gpu,), engines=(engine,))
    static = build_static(catalog, catalog.models, catalog.engines)
    return static, filters._cache_by_default(static)


def test_a_checkpoint_that_asks_for_an_fp8_cache_has_that_one_as_its_own() -> None:
    static, chosen = asking(80, make_engine())
    assert (static.everything.own_cache == (static.everything.kv == 1)).all()
    assert (chosen == static.everything.own_cache).all()


def test_where_the_engine_cannot_read_the_cache_that_is_asked_for_a_full_pin_takes_the_other() -> None:
    static, chosen = asking(75, make_engine())
    runnable = static.code == -1
    assert chosen[runnable].all()
    assert (static.everything.kv[runnable] == 0).all()


def test_a_cache_that_the_checkpoint_asks_for_is_no_loss_and_neither_is_sixteen_bit() -> None:
    static, _ = asking(80, make_engine())
    field = make_field(
        make_scenario(), static.shapes, static.replica, MarketSupply([make_offering()], HardwarePolicy())
    )
    assert field.lossless.all()
    plain = build_static(make_catalog(), (make_model(),), (make_engine(),))
    field = make_field(make_scenario(), plain.shapes, plain.replica, MarketSupply([make_offering()], HardwarePolicy()))
    assert (field.lossless == (plain.shapes.kv == 0)).all()
