"""Names of models, GPUs, engines and weight formats, matched by rule."""

from __future__ import annotations

import pytest

from inferplan.accuracy.engine_names import NamedEngine, find_engine
from inferplan.accuracy.gpu_names import GpuNames
from inferplan.accuracy.model_names import ModelNames
from inferplan.accuracy.weight_formats import method_of
from inferplan.catalog import load_catalog, load_yardsticks
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import ModelSpec, QuantizationMethod

CATALOG = load_catalog()
MODELS = ModelNames((*CATALOG.models, *load_yardsticks()))
GPUS = GpuNames(CATALOG.gpus)


def found_model(name: str) -> str:
    model = MODELS.find(name)
    return model.id if isinstance(model, ModelSpec) else model


def found_gpu(name: str) -> str:
    gpu = GPUS.find(name)
    return gpu.id if isinstance(gpu, GpuSpec) else gpu


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-llama/Meta-Llama-3-8B", "meta-llama/Llama-3.1-8B-Instruct"),
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"),
        ("Llama3.1-8B-Chat", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta/llama-3-1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "meta-llama/Llama-3.1-8B-Instruct"),
        ("neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "meta-llama/Llama-3.1-8B-Instruct"),
        ("nvidia/Llama-3.1-8B-Instruct-NVFP4", "meta-llama/Llama-3.1-8B-Instruct"),
        ("casperhansen/llama-3-70b-instruct-awq", "meta-llama/Llama-3.1-70B-Instruct"),
        ("NousResearch/Hermes-3-Llama-3.1-405B-FP8", "meta-llama/Llama-3.1-405B-Instruct"),
        ("cognitivecomputations/dolphin-2.9-llama3-8b", "meta-llama/Llama-3.1-8B-Instruct"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"),
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "Qwen/Qwen3-8B"),
        ("deepseek-ai/DeepSeek-V3-0324", "deepseek-ai/DeepSeek-V3"),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", "deepseek-ai/DeepSeek-V2-Lite-Chat"),
        ("Qwen/Qwen2-7B", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507-FP8", "Qwen/Qwen3-30B-A3B"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "Qwen/Qwen3-30B-A3B"),
        ("Qwen/Qwen3-Next-80B-A3B-Thinking", "Qwen/Qwen3-Next-80B-A3B-Instruct"),
        ("mistralai/Mistral-7B-Instruct-v0.1", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("TheBloke/Mixtral-8x7B-v0.1-GPTQ", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
        ("NousResearch/Nous-Hermes-2-Mixtral-8x7B-DPO", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
        ("codellama/CodeLlama-70b-Instruct-hf", "meta-llama/Llama-2-70b-chat-hf"),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b"),
        ("unsloth/gpt-oss-20b-BF16", "openai/gpt-oss-20b"),
        ("zhipuai/GLM-5", "zai-org/GLM-5.1"),
        ("zai-org/GLM-4.5-Air-FP8", "zai-org/GLM-4.5-Air"),
        ("google/gemma-3-27b-it", "google/gemma-3-27b-it"),
        ("ibm/mpt-7b-instruct2", "mosaicml/mpt-7b-instruct"),
        ("tiiuae/falcon-40b", "tiiuae/falcon-40b-instruct"),
    ],
)
def test_a_checkpoint_is_found_by_the_words_of_its_name(name: str, model: str) -> None:
    wanted, found = MODELS.find(model), MODELS.find(name)
    assert isinstance(wanted, ModelSpec)
    assert isinstance(found, ModelSpec)
    assert (found.layers, found.hidden_size, found.attention, found.moe) == (
        wanted.layers,
        wanted.hidden_size,
        wanted.attention,
        wanted.moe,
    ), found.id


@pytest.mark.parametrize(
    "name",
    [
        "no/such-model",
        "",
        "google/flan-t5-xl",
        "meta-llama/Llama-3.2-11B-Vision-Instruct",
        "nvidia/Llama-3_3-Nemotron-Super-49B-v1",
        "nvidia/Llama-3.1-Minitron-4B-Width-Base",
        "yuhuili/EAGLE-LLaMA3.1-Instruct-8B",
        "yuhuili/EAGLE3-LLaMA-3.1-8B",
        "deepseek-ai/DeepSeek-V3.5-Mini",
        "microsoft/Phi-4-multimodal-instruct",
        "Qwen/Qwen3-Embedding-8B",
        "Qwen/Qwen3-Omni-30B-A3B",
        "llama",
        "8b",
    ],
)
def test_what_is_not_known_for_sure_is_not_guessed(name: str) -> None:
    assert "is not in the catalog" in found_model(name)


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("H100-80GB-SXM", "h100-80gb-sxm"),
        ("NVIDIA H100 80GB HBM3", "h100-80gb-sxm"),
        ("h100_sxm", "h100-80gb-sxm"),
        ("H100", "h100-80gb-sxm"),
        ("8x H100-SXM5-80GB", "h100-80gb-sxm"),
        ("H100-80GB-PCIe", "h100-80gb-pcie"),
        ("NVIDIA H100 PCIe", "h100-80gb-pcie"),
        ("H100-NVL-94GB", "h100-94gb-nvl"),
        ("H200-141GB-SXM", "h200-141gb-sxm"),
        ("NVIDIA H200", "h200-141gb-sxm"),
        ("H200-141GB-NVL", "h200-141gb-nvl"),
        ("B200-180GB-SXM", "b200"),
        ("B200-192GB", "b200"),
        ("GB200-186GB", "gb200"),
        ("B300-288GB-SXM", "b300"),
        ("A100-40GB-PCIe", "a100-40gb-pcie"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb-sxm"),
        ("A100-80GB-PCIe", "a100-80gb-pcie"),
        ("A10", "a10"),
        ("A10G-24GB", "a10g"),
        ("L4-24GB", "l4"),
        ("L40S-48GB", "l40s"),
        ("T4-16GB", "t4"),
        ("Tesla T4", "t4"),
        ("V100-32GB-SXM", "v100-32gb"),
        ("RTX-A6000-48GB", "rtx-a6000"),
        ("RTX 6000 Ada", "rtx-6000-ada"),
        ("RTX4090-24GB", "rtx-4090"),
        ("NVIDIA GeForce RTX 3090", "rtx-3090"),
        ("RTX-5090-32GB", "rtx-5090"),
        ("RTX-PRO-6000-BW-96GB", "rtx-pro-6000"),
        ("MI300X-192GB", "mi300x"),
        ("AMD Instinct MI325X", "mi325x"),
        ("MI355X-288GB", "mi355x"),
        ("GH200-96GB", "gh200-96gb"),
        ("GB300-288GB", "gb300"),
        ("NVIDIA H20", "h20-96gb"),
        ("A6000", "rtx-a6000"),
        ("4090", "rtx-4090"),
    ],
)
def test_a_gpu_is_found_by_chip_memory_and_form(name: str, gpu: str) -> None:
    assert found_gpu(name) == gpu


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is not in the catalog"),
        ("TPU v5e", "is not in the catalog"),
        ("H100-40GB-SXM", "is not in the catalog"),
        ("Arc-Pro-B60-24GB", "is not in the catalog"),
        ("A100", "may be any of a100-40gb-sxm, a100-80gb-sxm"),
        ("V100", "may be any of v100-16gb, v100-32gb"),
    ],
)
def test_a_gpu_that_is_unknown_or_left_open_is_not_guessed(name: str, words: str) -> None:
    assert words in found_gpu(name)


@pytest.mark.parametrize(
    ("name", "version", "date", "release"),
    [
        ("vllm", "0.11.1", "", "0.11.1"),
        ("vLLM", "v0.6.3.post2.dev", "", "0.6.3"),
        ("vllm", "0.9.0.2.dev108+g71faa1880.d20250717.rocm641", "", "0.9.0"),
        ("vLLM 0.8.5", "", "", "0.8.5"),
        ("vllm", "nan", "2025-10-29", "0.11.0"),
        ("vllm", "nightly-5b8c30d62b754b57", "2026-04-03", "0.19.0"),
        ("vllm", "nightly-dev-20260216", "", "0.15.0"),
        ("vllm", "", "2024", "0.5.0"),
        ("text-generation-inference", "2.0.1", "", "2.0.1"),
    ],
)
def test_a_release_is_stated_or_was_current_on_the_date(name: str, version: str, date: str, release: str) -> None:
    named = find_engine(CATALOG, name, version, date)
    assert isinstance(named, NamedEngine)
    assert named.engine.version == release


def test_a_release_that_was_inferred_is_named_as_assumed() -> None:
    inferred = find_engine(CATALOG, "vllm", "", "2025-10-29")
    stated = find_engine(CATALOG, "vllm", "0.11.0", "2025-10-29")
    assert isinstance(inferred, NamedEngine)
    assert isinstance(stated, NamedEngine)
    assert inferred.assumed == ("vLLM 0.11 by its date",)
    assert stated.assumed == ()


@pytest.mark.parametrize("name", ["sglang", "tensorrt-llm", "llmboost-vllm", "", "vllm-ascend"])
def test_engines_that_are_not_ours_are_not_taken_for_ours(name: str) -> None:
    assert find_engine(CATALOG, name, "1.0", "2025") == f'engine "{name}" is not in the catalog'


@pytest.mark.parametrize(
    ("name", "column", "method"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "fp8", "fp8"),
        ("meta-llama/Llama-3.1-8B-Instruct", "BF16", "bf16"),
        ("meta-llama/Llama-3.1-8B-Instruct", "", "bf16"),
        ("nvidia/Llama-3.1-8B-Instruct-FP8", "", "fp8"),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "int4", "awq"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "int4", "w4a16"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8", "int8", "int8_w8a8"),
        ("TheBloke/Llama-2-7B-Chat-GPTQ", "", "gptq_int4"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "", "gptq_int8"),
        ("Qwen/Qwen3-32B", "fp8", "fp8_block"),
        ("Qwen/Qwen3-32B-FP8", "fp8", "fp8_block"),
        ("RedHatAI/Qwen3-32B-FP8-dynamic", "fp8", "fp8"),
        ("nvidia/Qwen3-32B-NVFP4", "nvfp4", "nvfp4"),
        ("openai/gpt-oss-120b", "mxfp4", "mxfp4"),
        ("openai/gpt-oss-120b", "", "mxfp4"),
        ("deepseek-ai/DeepSeek-R1", "", "fp8_block"),
        ("01-ai/Yi-6B-Chat", "int8-eetq", "eetq_int8"),
    ],
)
def test_a_weight_format_follows_from_column_name_and_model(name: str, column: str, method: str) -> None:
    model = MODELS.find(name)
    assert isinstance(model, ModelSpec)
    found = method_of(CATALOG, model, name, column)
    assert isinstance(found, QuantizationMethod)
    assert found.id == method


def test_an_unknown_weight_format_is_not_guessed() -> None:
    model = CATALOG.model("meta-llama/Llama-3.1-8B-Instruct")
    assert model is not None
    assert method_of(CATALOG, model, model.id, "fp32") == 'weight format "fp32" is not known'


@pytest.mark.parametrize("model", load_yardsticks(), ids=lambda model: model.id)
def test_a_yardstick_has_the_parameters_that_its_shape_implies(model: ModelSpec) -> None:
    from inferplan.estimate.kv_cache import kv_layout
    from inferplan.estimate.weights import parameters

    count = parameters(model)
    assert abs(count.total / model.params_total - 1.0) < 1e-9
    assert 0 < model.params_active <= model.params_total
    assert kv_layout(model).kv_heads >= 1
