"""The catalog that ships: free of faults, every record with its sources, figures as the datasheets have them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferplan.catalog import check_catalog, load_catalog
from inferplan.domain.hardware import Terms
from inferplan.domain.model import Dtype, LayerKind, ModelSpec
from inferplan.domain.scenario import UseCase
from inferplan.estimate.kv_cache import kv_layout

CATALOG = load_catalog()


def model(name: str) -> ModelSpec:
    found = CATALOG.model(name)
    assert found is not None
    return found


def test_the_catalog_that_ships_has_no_faults() -> None:
    assert check_catalog() == ()


def test_every_record_names_its_sources() -> None:
    sources = [
        *((model.id, model.sources) for model in CATALOG.models),
        *((gpu.id, gpu.sources) for gpu in CATALOG.gpus),
        *((engine.id, engine.sources) for engine in CATALOG.engines),
        *((method.id, method.sources) for method in CATALOG.methods),
        *((record.id, record.sources) for record in CATALOG.calibrations),
    ]
    for name, found in sources:
        assert found, name
        assert all(source.title and source.retrieved for source in found)
    assert all(offering.source and offering.as_of for offering in CATALOG.offerings)
    assert all(value.reason for preset in CATALOG.presets for value in preset.values)


def test_every_use_case_has_a_preset_and_levels_rise() -> None:
    assert {preset.use_case for preset in CATALOG.presets} == set(UseCase)
    levels = [(level.name, level.metric, int(level.minimum)) for level in CATALOG.levels]
    arena = "lmarena_text_elo_style_control"
    assert levels == [("Basic", arena, 1200), ("Good", arena, 1300), ("High", arena, 1375), ("Top", arena, 1435)]


@pytest.mark.parametrize(
    ("use_case", "values"),
    [
        (
            UseCase.BATCH_CLASSIFICATION,
            {
                "workload.items": 100000,
                "workload.deadlineMinutes": 60,
                "workload.promptTokens.mean": 512,
                "workload.promptTokens.p95": 1500,
                "contextTokens": 2048,
                "quality.quantization.lossy": "Allow",
                "quality.minimum": "Basic",
            },
        ),
        (
            UseCase.CHATBOT,
            {
                "workload.concurrentUsers": 50,
                "workload.thinkTimeSeconds": 30,
                "workload.promptTokens.mean": 600,
                "workload.promptTokens.p95": 1800,
                "workload.outputTokens.mean": 200,
                "workload.outputTokens.p95": 500,
                "slo.percentile": "P95",
                "slo.timeToFirstTokenMilliseconds": 1000,
                "slo.timePerOutputTokenMilliseconds": 80,
                "contextTokens": 4096,
                "quality.minimum": "Good",
                "quality.quantization.lossy": "Allow",
            },
        ),
        (
            UseCase.CUSTOM,
            {
                "slo.percentile": "P95",
                "quality.quantization.lossy": "Allow",
            },
        ),
        (
            UseCase.SUMMARIZATION,
            {
                "workload.requestsPerSecond": "0.5",
                "workload.promptTokens.mean": 6000,
                "workload.promptTokens.p95": 14000,
                "workload.outputTokens.mean": 250,
                "workload.outputTokens.p95": 500,
                "slo.percentile": "P95",
                "slo.requestLatencyMilliseconds": 10000,
                "contextTokens": 16384,
                "quality.minimum": "High",
                "quality.quantization.lossy": "Avoid",
            },
        ),
    ],
)
def test_presets_are_the_seeds_requirements(use_case: UseCase, values: dict[str, str | int]) -> None:
    (preset,) = (entry for entry in CATALOG.presets if entry.use_case is use_case)
    assert {entry.field: entry.value for entry in preset.values} == values


@pytest.mark.parametrize(
    ("gpu", "memory_mib", "bandwidth", "dense", "capability"),
    [
        ("t4", 15_360, 320e9, 65e12, 75),
        ("l4", 23_034, 300e9, 121e12, 89),
        ("a10g", 23_028, 600e9, 70e12, 86),
        ("l40s", 46_068, 864e9, 362e12, 89),
        ("a100-40gb-sxm", 40_960, 1_555e9, 312e12, 80),
        ("a100-80gb-sxm", 81_920, 2_039e9, 312e12, 80),
        ("h100-80gb-sxm", 81_559, 3_350e9, 989e12, 90),
        ("h200-141gb-sxm", 143_771, 4_800e9, 989e12, 90),
        ("b200", 183_359, 8_000e9, 2_250e12, 100),
    ],
)
def test_gpu_figures_are_those_of_the_datasheet(
    gpu: str, memory_mib: int, bandwidth: float, dense: float, capability: int
) -> None:
    found = CATALOG.gpu(gpu)
    assert found is not None
    assert (found.memory_bytes, found.hbm_bandwidth_bytes_per_s) == (memory_mib * 2**20, bandwidth)
    assert (found.peak(Dtype.FLOAT16), found.compute_capability) == (dense, capability)


def test_fp8_runs_natively_from_ada_on() -> None:
    native = {gpu.id for gpu in CATALOG.gpus if gpu.vendor == "nvidia" and gpu.peak(Dtype.FP8) is not None}
    assert {"l4", "l40s", "h100-80gb-sxm", "b200"} <= native
    assert not {"t4", "v100-16gb", "a10g", "a100-80gb-sxm"} & native


@pytest.mark.parametrize(
    ("name", "total", "active", "kv_bytes_per_token"),
    [
        ("meta-llama/Llama-2-7b-chat-hf", 6.738e9, 6.738e9, 524_288),
        ("meta-llama/Llama-2-13b-chat-hf", 13.016e9, 13.016e9, 819_200),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.70e9, 12.88e9, 131_072),
        ("meta-llama/Llama-3.1-8B-Instruct", 8.030e9, 8.030e9, 131_072),
        ("meta-llama/Llama-3.3-70B-Instruct", 70.55e9, 70.55e9, 327_680),
        ("deepseek-ai/DeepSeek-R1", 671.0e9, 37.0e9, 61 * 576 * 2),
    ],
)
def test_models_have_their_parameters_and_kv_cache(
    name: str, total: float, active: float, kv_bytes_per_token: int
) -> None:
    found = model(name)
    assert found.params_total == pytest.approx(total, rel=1e-3)
    assert found.params_active == pytest.approx(active, rel=2e-2)
    layout = kv_layout(found)
    assert 2 * (layout.full_values_per_token + layout.latent_values_per_token) == kv_bytes_per_token


def test_windows_and_states_are_kept_apart_from_full_attention() -> None:
    gemma = {group.kind: group for group in model("google/gemma-3-27b-it").attention}
    assert (gemma[LayerKind.SLIDING].layers, gemma[LayerKind.SLIDING].window_tokens) == (52, 1024)
    assert gemma[LayerKind.FULL].layers == 10
    qwen = {group.kind: group for group in model("Qwen/Qwen3-Next-80B-A3B-Instruct").attention}
    # 32 value heads x 128 x 128 in float32, and three steps of convolution over 8192 channels in 16 bit
    assert qwen[LayerKind.LINEAR].state_bytes_per_sequence == 32 * 128 * 128 * 4 + (2 * 16 * 128 + 32 * 128) * 3 * 2


PLAIN = [
    found
    for found in CATALOG.models
    if found.attention and not any(group.kind in {LayerKind.MLA, LayerKind.LINEAR} for group in found.attention)
]
"""Models of plain attention; latent and linear attention have projections of their own."""


@pytest.mark.parametrize("found", PLAIN, ids=[found.id for found in PLAIN])
def test_parameters_agree_with_the_architecture(found: ModelSpec) -> None:
    """Layers, experts, embedding and head add up to what is published; 2 % are left for norms and biases."""
    attention = sum(
        group.layers
        * found.hidden_size
        * (
            2 * found.attention_heads * group.key_head_dim
            + group.kv_heads * (group.key_head_dim + group.value_head_dim)
        )
        for group in found.attention
    )
    experts = found.moe.layers if found.moe else 0
    dense = found.layers if found.moe and found.moe.dense_beside_experts else found.layers - experts
    mlp = 3 * dense * found.hidden_size * found.intermediate_size
    if found.moe:
        routed = found.moe.experts * found.moe.expert_intermediate_size
        shared = found.moe.shared_intermediate_size * max(1, found.moe.shared_experts)
        mlp += found.moe.matrices_per_expert * experts * found.hidden_size * (routed + shared)
    outer = found.vocab_size * found.hidden_size * (1 if found.tie_word_embeddings else 2)
    assert attention + mlp + outer == pytest.approx(found.text_params, rel=0.02)


@pytest.mark.parametrize(
    ("instance", "region", "terms", "usd"),
    [
        ("g4dn.xlarge", "us-east-1", Terms.ON_DEMAND, "0.526"),
        ("p4d.24xlarge", "eu-north-1", Terms.ON_DEMAND, "23.71569"),
        ("a2-highgpu-1g", "us-central1", Terms.SPOT, None),
    ],
)
def test_prices_are_those_of_their_sources(instance: str, region: str, terms: Terms, usd: str | None) -> None:
    found = [o for o in CATALOG.offerings if (o.instance_type, o.region, o.terms) == (instance, region, terms)]
    assert len(found) == 1
    assert usd is None or found[0].price_usd_per_hour == Decimal(usd)


@pytest.mark.parametrize(
    ("method", "bits", "lowest", "native"),
    [
        ("awq", 4.16, 75, None),
        ("fp8", 8.02, 75, 89),
        ("int8_w8a8", 8.02, 75, 75),
        ("nvfp4", 4.5, 75, 100),
        ("mxfp4", 4.25, 80, 100),
        ("bf16", 16.0, 60, 60),
    ],
)
def test_weight_formats_have_their_bits_and_kernels(method: str, bits: float, lowest: int, native: int | None) -> None:
    found = CATALOG.method(method)
    assert found is not None
    assert (found.weight_bits, found.min_compute_capability, found.native_min_compute_capability) == (
        bits,
        lowest,
        native,
    )


def test_engines_keep_their_rules() -> None:
    vllm, tgi = CATALOG.engine("vllm"), CATALOG.engine("tgi")
    assert vllm is not None
    assert tgi is not None
    assert (vllm.memory_fraction, vllm.min_compute_capability, vllm.kv_block_tokens) == (0.92, 75, 16)
    assert vllm.default_batched_tokens == ((0.0, 2048), (70.0, 8192), (160.0, 16384))
    assert (tgi.memory_fraction, tgi.chosen_only_on_request) == (0.90, True)
    assert "archived on 2026-03-21" in tgi.notes[0]


def test_every_pinned_commit_has_its_source() -> None:
    pinned = 0
    for model in CATALOG.models:
        urls = {source.url for source in model.sources if "checkpoints.revision" in source.fields}
        for checkpoint in model.checkpoints:
            if checkpoint.revision is not None:
                pinned += 1
                assert f"https://huggingface.co/{checkpoint.repository}/tree/{checkpoint.revision}" in urls
                urls.discard(f"https://huggingface.co/{checkpoint.repository}/tree/{checkpoint.revision}")
        assert not urls, f"{model.id}: sources without their commit"
    assert pinned >= 67


def test_tgi_runs_neither_on_blackwell_nor_on_arm() -> None:
    tgi, vllm = CATALOG.engine("tgi"), CATALOG.engine("vllm")
    assert tgi is not None
    assert vllm is not None
    ours = [gpu for gpu in CATALOG.gpus if gpu.vendor == "nvidia"]
    runs = {gpu.id for gpu in ours if not tgi.why_not_on(gpu)}
    assert {"a10g", "a100-80gb-sxm", "l4", "l40s", "h100-80gb-sxm", "h200-141gb-sxm"} <= runs
    assert not {"t4", "b200", "b300", "rtx-5090", "rtx-pro-6000", "gh200-96gb", "gb200", "gb300"} & runs
    arm = {gpu.id for gpu in ours if gpu.host_architecture == "arm64"}
    assert arm == {"gh200-96gb", "gb200", "gb300"}
    assert all(not vllm.why_not_on(gpu) for gpu in ours if (gpu.compute_capability or 0) >= 75)
