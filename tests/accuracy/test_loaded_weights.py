"""Loaded weights against start-up logs, within the band that each checkpoint states.

``loaded_weights.csv`` holds what engines printed when they had loaded a model; each row names its source. A log by
another kernel than the row's GPU would pick says so there.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inferplan.catalog.loader import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.model import WeightPart
from inferplan.domain.units import GIB
from inferplan.estimate.expert_padding import Rounding, rounding_of
from inferplan.estimate.replica import ReplicaTable, build_replicas
from inferplan.estimate.weights import parameters

CATALOG: Catalog = load_catalog()
ZERO = np.zeros(1, dtype=np.int64)


def rows() -> list[dict[str, str]]:
    with (Path(__file__).parent / "loaded_weights.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def replica(
    model: str, repository: str, gpu: str, *, tp: int = 1, pp: int = 1, version: str = "0.33.0", text_only: bool = True
) -> ReplicaTable:
    found, device, engine = CATALOG.model(model), CATALOG.gpu(gpu), CATALOG.engine("vllm")
    assert found is not None
    assert device is not None
    assert engine is not None
    checkpoint = next(c for c in found.checkpoints if c.repository == repository)
    method = CATALOG.method(checkpoint.method)
    assert method is not None
    return build_replicas(
        weights=[(found, method.of(checkpoint))],
        engines=[replace(engine, version=version, text_only=text_only)],
        gpus=[device],
        kv_dtypes=(None,),
        calibrations=CATALOG.calibrations,
        weight=ZERO,
        engine=ZERO,
        gpu=ZERO,
        kv=ZERO,
        tp=np.array([tp]),
        pp=np.array([pp]),
    )


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['checkpoint']} tp{row['tp']} {row['gpu']}")
def test_loaded_weights_agree_with_the_log(row: dict[str, str]) -> None:
    found = CATALOG.model(row["model"])
    assert found is not None
    band = next(c.weights_band_percent for c in found.checkpoints if c.repository == row["checkpoint"])
    table = replica(
        row["model"],
        row["checkpoint"],
        row["gpu"],
        tp=int(row["tp"]),
        pp=int(row["pp"]),
        version=row["version"],
        text_only=row["text_only"] == "true",
    )
    assert table.weights_bytes[0] / GIB == pytest.approx(float(row["weights_gib"]), rel=band / 100)


def test_hopper_keeps_one_copy_of_the_scales_of_gpt_oss_now() -> None:
    now, before = (
        replica("openai/gpt-oss-120b", "openai/gpt-oss-120b", "h100-80gb-sxm", version=version).weights_bytes[0] / GIB
        for version in ("0.33.0", "0.14.1")
    )
    assert now == pytest.approx(61.1, abs=0.1)
    assert before - now == pytest.approx(3.34, abs=0.02)


def test_experts_grow_as_their_share_is_rounded_up() -> None:
    """2880 / 8 = 360 is rounded to 384 on every GPU: eight GPUs together hold more than one."""
    one, eight = (
        replica("openai/gpt-oss-120b", "openai/gpt-oss-120b", "b200", tp=tp).routed_bytes[0] * tp for tp in (1, 8)
    )
    assert eight / one == pytest.approx(8 * 384 / 2944)


def test_text_alone_leaves_the_vision_tower_out() -> None:
    model, repository = "Qwen/Qwen3.6-27B", "Qwen/Qwen3.6-27B-FP8"
    text, images = (replica(model, repository, "rtx-pro-6000", text_only=only) for only in (True, False))
    assert (images.weights_bytes - text.weights_bytes)[0] / GIB == pytest.approx(0.86, abs=0.01)
    assert (images.step_activations_bytes - text.step_activations_bytes)[0] / GIB == pytest.approx(1.84)


def test_layers_in_sixteen_bit_are_read_in_every_step() -> None:
    """Attention of GLM 5.1 is 16 bit in its NVFP4 checkpoint: a step reads more than 4.5 bits per weight."""
    found = CATALOG.model("zai-org/GLM-5.1")
    assert found is not None
    table = replica("zai-org/GLM-5.1", "nvidia/GLM-5.1-NVFP4", "b200", tp=8)
    assert table.always_bytes[0] * 8 == pytest.approx(2.0 * 17.2e9, rel=0.01)


@pytest.mark.parametrize(
    ("model", "repository", "gpu", "rounding"),
    [
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", "a100-80gb-sxm", Rounding(128, 256)),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", "h100-80gb-sxm", Rounding(64, 1, 256, 4, 1)),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", "b200", Rounding(128, 256)),
        ("openai/gpt-oss-120b", "openai/gpt-oss-120b", "rtx-pro-6000", Rounding(128, 256)),
        ("google/gemma-4-26B-A4B-it", "nvidia/Gemma-4-26B-A4B-NVFP4", "h100-80gb-sxm", Rounding(64)),
        ("google/gemma-4-26B-A4B-it", "nvidia/Gemma-4-26B-A4B-NVFP4", "b200", Rounding(64, 256)),
        ("google/gemma-4-26B-A4B-it", "nvidia/Gemma-4-26B-A4B-NVFP4", "rtx-pro-6000", Rounding()),
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B-FP8", "h100-80gb-sxm", Rounding()),
        ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B", "b200", Rounding(128)),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "b200", Rounding()),
    ],
)
def test_each_kernel_rounds_experts_in_its_own_way(model: str, repository: str, gpu: str, rounding: Rounding) -> None:
    found, device, engine = CATALOG.model(model), CATALOG.gpu(gpu), CATALOG.engine("vllm")
    assert found is not None
    assert device is not None
    assert engine is not None
    checkpoint = next(c for c in found.checkpoints if c.repository == repository)
    method = CATALOG.method(checkpoint.method)
    assert method is not None
    assert rounding_of(found, method, device, engine) == rounding


def test_parts_that_are_stored_otherwise_are_there_and_no_larger_than_the_part() -> None:
    for model in CATALOG.models:
        sizes = {part: getattr(parameters(model), part.value) for part in WeightPart}
        for checkpoint in model.checkpoints:
            for stored in checkpoint.stored_parts:
                assert sizes[stored.part] > 0, (checkpoint.repository, stored)
                assert (stored.params or 0) <= sizes[stored.part], (checkpoint.repository, stored)


def test_every_wider_band_has_its_reason() -> None:
    for model in CATALOG.models:
        for checkpoint in model.checkpoints:
            assert checkpoint.weights_band_percent >= 3.0
            assert (checkpoint.weights_band_percent > 3.0) == bool(checkpoint.weights_band_reason)
