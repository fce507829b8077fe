"""Small, complete domain values for tests; override what the test is about, by keyword."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from inferplan.domain.attention import AttentionKernel
from inferplan.domain.calibration import Calibration
from inferplan.domain.catalog import Catalog
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.hardware import GpuSpec, Interconnect, LinkKind, Market, Offering, Terms
from inferplan.domain.model import (
    AttentionLayers,
    Checkpoint,
    Dtype,
    LayerKind,
    MixtureOfExperts,
    ModelSpec,
    QualityScore,
    Quantization,
    QuantizationMethod,
    Task,
)
from inferplan.domain.scenario import Lengths, LoadKind, Scenario, Slo, UseCase, Workload
from inferplan.estimate.estimator import ReplicaTable, build_replicas
from inferplan.planner.candidates import ShapeTable, build_shapes

SIXTEEN_BIT = (Dtype.FLOAT16, Dtype.BFLOAT16)
ELO = "lmarena_text_elo_style_control"


def make_model(**overrides: Any) -> ModelSpec:
    """Llama-2-7B by its public configuration (524,288 KV bytes per token in 16 bit)."""
    base = ModelSpec(
        id="meta-llama/Llama-2-7b-chat-hf",
        family="llama2",
        architecture="LlamaForCausalLM",
        params_total=6_738_415_616,
        params_active=6_738_415_616,
        layers=32,
        hidden_size=4096,
        attention_heads=32,
        kv_heads=32,
        head_dim=128,
        intermediate_size=11008,
        vocab_size=32000,
        tie_word_embeddings=False,
        max_position_embeddings=4096,
        attention=(AttentionLayers(LayerKind.FULL, layers=32, kv_heads=32, key_head_dim=128, value_head_dim=128),),
        moe=None,
        native_dtype=Dtype.FLOAT16,
        license="Llama 2 Community License",
        gated=True,
        checkpoints=(Checkpoint("meta-llama/Llama-2-7b-chat-hf", "fp16", Quantization.FP16),),
        scores=(QualityScore(ELO, Decimal(1107), "2026-07-30", "test"),),
    )
    return replace(base, **overrides)


def make_mixtral(**overrides: Any) -> ModelSpec:
    """Mixtral-8x7B: 46.70e9 parameters, 12.88e9 active, 131,072 KV bytes per token in 16 bit."""
    base = ModelSpec(
        id="mistralai/Mixtral-8x7B-Instruct-v0.1",
        family="mixtral",
        architecture="MixtralForCausalLM",
        params_total=46_702_792_704,
        params_active=12_879_925_248,
        layers=32,
        hidden_size=4096,
        attention_heads=32,
        kv_heads=8,
        head_dim=128,
        intermediate_size=14336,
        vocab_size=32000,
        tie_word_embeddings=False,
        max_position_embeddings=32768,
        attention=(AttentionLayers(LayerKind.FULL, layers=32, kv_heads=8, key_head_dim=128, value_head_dim=128),),
        moe=MixtureOfExperts(experts=8, experts_per_token=2, expert_intermediate_size=14336, layers=32),
        native_dtype=Dtype.BFLOAT16,
        license="Apache-2.0",
        gated=False,
        checkpoints=(Checkpoint("mistralai/Mixtral-8x7B-Instruct-v0.1", "bf16", Quantization.BF16),),
        scores=(QualityScore(ELO, Decimal(1190), "2026-07-30", "test"),),
    )
    return replace(base, **overrides)


def make_gpu(**overrides: Any) -> GpuSpec:
    """H100 80 GB SXM by its datasheet."""
    base = GpuSpec(
        id="h100-80gb-sxm",
        name="H100 80GB SXM",
        vendor="nvidia",
        family="Hopper",
        compute_capability=90,
        form_factor="SXM5",
        memory_bytes=81_559 * 2**20,
        memory_is_reported=True,
        memory_marketing_gb=80,
        hbm_bandwidth_bytes_per_s=3.35e12,
        peak_flops_per_s=(
            (Dtype.FLOAT16, 989e12),
            (Dtype.BFLOAT16, 989e12),
            (Dtype.FP8, 1979e12),
            (Dtype.INT8, 1979e12),
        ),
        interconnect=Interconnect(LinkKind.NVLINK, 900e9, 8),
        pcie_bandwidth_bytes_per_s=128e9,
        tdp_w=700,
        node_sizes=(1, 2, 4, 8),
        product_labels=("NVIDIA-H100-80GB-HBM3",),
        launch_year=2022,
    )
    return replace(base, **overrides)


def make_t4(**overrides: Any) -> GpuSpec:
    """T4 by its datasheet and driver (15,360 MiB)."""
    base = make_gpu(
        id="t4",
        name="Tesla T4",
        family="Turing",
        compute_capability=75,
        form_factor="PCIe",
        memory_bytes=15_360 * 2**20,
        memory_marketing_gb=16,
        hbm_bandwidth_bytes_per_s=320e9,
        peak_flops_per_s=((Dtype.FLOAT16, 65e12), (Dtype.INT8, 130e12)),
        interconnect=Interconnect(LinkKind.PCIE, 32e9, 1),
        pcie_bandwidth_bytes_per_s=32e9,
        tdp_w=70,
        product_labels=("Tesla-T4",),
        launch_year=2018,
    )
    return replace(base, **overrides)


def make_method(**overrides: Any) -> QuantizationMethod:
    """Plain float16 weights."""
    base = QuantizationMethod(
        id="fp16",
        quantization=Quantization.FP16,
        weight_bits=16.0,
        compute_dtype=Dtype.FLOAT16,
        min_compute_capability=70,
        native_min_compute_capability=70,
        engines=("vllm", "tgi"),
    )
    return replace(base, **overrides)


def make_engine(**overrides: Any) -> EngineSpec:
    """VLLM with its rules for NVIDIA GPUs."""
    base = EngineSpec(
        id="vllm",
        name="vLLM",
        version="0.33.0",
        image="vllm/vllm-openai:v0.33.0",
        min_compute_capability=75,
        vendors=("nvidia",),
        architectures=None,
        memory_fraction=0.92,
        attention_kernels=(
            AttentionKernel("FLASH_ATTN", 80, None, SIXTEEN_BIT, max_head_size=256),
            AttentionKernel("FLASHINFER", 80, None, (Dtype.FP8,), head_sizes=(64, 128, 256)),
            AttentionKernel("TRITON_ATTN", 75, None, SIXTEEN_BIT, sinks=True),
            AttentionKernel("TRITON_MLA", 80, None, SIXTEEN_BIT, latent=True),
            AttentionKernel("TRITON_MLA", 89, None, (Dtype.FP8,), latent=True),
        ),
        kv_block_tokens=16,
        supports_pipeline=True,
        supports_classification=True,
        default_batched_tokens=((0.0, 2048), (70.0, 8192), (160.0, 16384)),
        chosen_only_on_request=False,
        notes=(),
    )
    return replace(base, **overrides)


def make_offering(**overrides: Any) -> Offering:
    """One H100 for $6.88/h."""
    base = Offering(
        provider="aws",
        region="us-east-1",
        instance_type="p5.4xlarge",
        gpu="h100-80gb-sxm",
        gpu_count=1,
        terms=Terms.ON_DEMAND,
        market=Market.CLOUD,
        price_usd_per_hour=Decimal("6.88"),
        as_of="2026-07-20",
        source="test",
    )
    return replace(base, **overrides)


def make_catalog(**overrides: Any) -> Catalog:
    """Two models, two GPUs, three offerings, one engine; no calibration beyond the built-in prior."""
    calibrations: tuple[Calibration, ...] = ()
    base = Catalog(
        models=(make_model(), make_mixtral()),
        gpus=(make_gpu(), make_t4()),
        offerings=(
            make_offering(),
            make_offering(instance_type="p5.48xlarge", gpu_count=8, price_usd_per_hour=Decimal("55.04")),
            make_offering(instance_type="g4dn.xlarge", gpu="t4", gpu_count=1, price_usd_per_hour=Decimal("0.526")),
        ),
        engines=(make_engine(),),
        methods=(
            make_method(),
            make_method(id="bf16", quantization=Quantization.BF16, compute_dtype=Dtype.BFLOAT16),
        ),
        calibrations=calibrations,
        presets=(),
        levels=(),
        digest="test",
    )
    return replace(base, **overrides)


def make_workload(**overrides: Any) -> Workload:
    """Ten people in a closed loop, 512 in, 128 out."""
    base = Workload(
        kind=LoadKind.CLOSED_LOOP,
        prompt=Lengths(512, 1024),
        output=Lengths(128, 256),
        concurrent_users=10,
        think_time_s=10.0,
    )
    return replace(base, **overrides)


def make_scenario(**overrides: Any) -> Scenario:
    """A chatbot with a one-second first token at P95."""
    base = Scenario(
        name="chatbot",
        use_case=UseCase.CHATBOT,
        task=Task.GENERATION,
        workload=make_workload(),
        slo=Slo(percentile=95, ttft_s=1.0, tpot_s=0.1),
        context_tokens=2048,
    )
    return replace(base, **overrides)


def make_replicas(
    gpus: Sequence[GpuSpec], model: ModelSpec, tp: int = 1, *, calibrations: Sequence[Calibration] = (), **engine: Any
) -> ReplicaTable:
    """One replica of a 16-bit model for each GPU, as the estimator takes them; ``engine`` overrides its settings."""
    nothing = np.zeros(len(gpus), dtype=np.int64)
    return build_replicas(
        weights=[(model, make_method())],
        engines=[make_engine(**engine)],
        gpus=gpus,
        kv_dtypes=(None,),
        calibrations=calibrations or make_catalog().calibrations,
        weight=nothing,
        engine=nothing,
        gpu=np.arange(len(gpus)),
        kv=nothing,
        tp=nothing + tp,
        pp=nothing + 1,
    )


def make_shapes(
    model: ModelSpec | None = None,
    gpu: GpuSpec | None = None,
    engine: EngineSpec | None = None,
    method: QuantizationMethod | None = None,
) -> ShapeTable:
    """All shapes of one model on one GPU with one engine."""
    chosen, device, runs = model or make_model(), gpu or make_gpu(), engine or make_engine()
    methods = (method,) if method else make_catalog().methods
    catalog = make_catalog(models=(chosen,), gpus=(device,), engines=(runs,), methods=methods)
    return build_shapes(catalog, catalog.models, catalog.engines)
