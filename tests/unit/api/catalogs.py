"""A small catalog with presets and levels, for tests of what reads scenarios."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from inferplan.domain.catalog import Catalog
from inferplan.domain.hardware import Terms
from inferplan.domain.model import Task
from inferplan.domain.scenario import Preset, PresetValue, QualityLevel, UseCase
from tests.builders import ELO, make_catalog, make_gpu, make_offering, make_t4

HEAD = "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\nmetadata: {name: chat}\n"

CHATBOT = Preset(
    use_case=UseCase.CHATBOT,
    task=Task.GENERATION,
    title="Chatbot",
    values=(
        PresetValue("workload.concurrentUsers", 50, "10 to 100 people"),
        PresetValue("workload.thinkTimeSeconds", 15, "they read"),
        PresetValue("workload.promptTokens.mean", 1000, "history"),
        PresetValue("workload.promptTokens.p95", 3000, "history"),
        PresetValue("workload.outputTokens.mean", 200, "an answer"),
        PresetValue("workload.outputTokens.p95", 600, "an answer"),
        PresetValue("slo.percentile", "P95", "most people"),
        PresetValue("slo.timeToFirstTokenMilliseconds", 1000, "within a second"),
        PresetValue("slo.timePerOutputTokenMilliseconds", 100, "reading pace"),
        PresetValue("contextTokens", 4096, "2K to 4K"),
        PresetValue("quality.minimum", "Good", "good"),
    ),
)

BATCH = Preset(
    use_case=UseCase.BATCH_CLASSIFICATION,
    task=Task.CLASSIFICATION,
    title="Batch classification",
    values=(
        PresetValue("workload.items", 10_000, "thousands"),
        PresetValue("workload.deadlineMinutes", 60, "minutes acceptable"),
        PresetValue("workload.promptTokens.mean", 400, "short"),
        PresetValue("workload.promptTokens.p95", 1500, "short"),
        PresetValue("contextTokens", 2048, "512 to 2048"),
    ),
)


def make_api_catalog(**overrides: Any) -> Catalog:
    """The builders' catalog with presets, two levels of quality, and prices of four instance types."""
    values: dict[str, Any] = {
        "gpus": (
            make_gpu(),
            make_t4(product_labels=("Tesla-T4", "nvidia-tesla-t4")),
            make_gpu(id="l4", name="L4", family="Ada", product_labels=("NVIDIA-L4", "nvidia-l4"), tdp_w=72),
        ),
        "offerings": (
            make_offering(),
            make_offering(instance_type="p5.48xlarge", gpu_count=8, price_usd_per_hour=Decimal("55.04")),
            make_offering(
                instance_type="p5.48xlarge", gpu_count=8, price_usd_per_hour=Decimal("16.95"), terms=Terms.SPOT
            ),
            make_offering(instance_type="g4dn.xlarge", gpu="t4", price_usd_per_hour=Decimal("0.526")),
            make_offering(
                provider="gcp",
                region="us-central1",
                instance_type="n1-standard-32+4xT4",
                gpu="t4",
                gpu_count=4,
                price_usd_per_hour=Decimal("2.92"),
            ),
        ),
        "presets": (BATCH, CHATBOT),
        "levels": (
            QualityLevel("Good", ELO, Decimal(1100), "test"),
            QualityLevel("High", ELO, Decimal(1300), "test"),
        ),
    }
    return make_catalog(**{**values, **overrides})
