"""Every figure of the catalog beside the one of its source, in the unit of the source: none changes unnoticed.

The tables next to this file were written from the sources that the records name, not from the records.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from inferplan.catalog import load_catalog
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import AttentionLayers, Dtype, ModelSpec

HERE = Path(__file__).parent
CATALOG = load_catalog()
ASSUMED_REPORTED_SHARE = 0.93
"""Share of the label's capacity that is taken where no driver's report is known."""


def rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


GPUS, MODELS, PRICES = rows("gpu_figures.csv"), rows("model_figures.csv"), rows("price_totals.csv")


def number(text: str) -> float | None:
    return float(text) if text else None


def test_the_tables_name_every_gpu_and_every_model() -> None:
    assert [row["gpu"] for row in GPUS] == sorted(gpu.id for gpu in CATALOG.gpus)
    assert [row["model"] for row in MODELS] == sorted(model.id for model in CATALOG.models)


def peak(gpu: GpuSpec, dtype: Dtype) -> float | None:
    found = dict(gpu.peak_flops_per_s).get(dtype)
    return None if found is None else round(found / 1e12, 3)


@pytest.mark.parametrize("row", GPUS, ids=[row["gpu"] for row in GPUS])
def test_a_gpu_has_the_figures_of_its_datasheet(row: dict[str, str]) -> None:
    gpu = CATALOG.gpu(row["gpu"])
    assert gpu is not None
    label = float(row["label_gb"])
    reported = number(row["memory_mib"])
    expected = round(label * ASSUMED_REPORTED_SHARE * 1e9) if reported is None else reported * 2**20
    link = number(row["link_gb_s"])
    assert (gpu.memory_bytes, gpu.memory_is_reported) == (expected, reported is not None)
    assert gpu.memory_marketing_gb == label
    assert gpu.hbm_bandwidth_bytes_per_s == float(row["bandwidth_gb_s"]) * 1e9
    assert [peak(gpu, dtype) for dtype in (Dtype.FLOAT16, Dtype.BFLOAT16, Dtype.FP8, Dtype.INT8, Dtype.FP4)] == [
        number(row[name]) for name in ("fp16_tflops", "bf16_tflops", "fp8_tflops", "int8_tops", "fp4_tflops")
    ]
    assert gpu.pcie_bandwidth_bytes_per_s == float(row["pcie_gb_s"]) * 1e9
    assert gpu.interconnect.bandwidth_bytes_per_s == (float(row["pcie_gb_s"]) if link is None else link) * 1e9
    assert gpu.interconnect.domain_gpus == int(row["link_gpus"])
    assert gpu.tdp_w == int(row["tdp_w"])
    assert f"{(gpu.compute_capability or 0) / 10:.1f}" == (row["capability"] or "0.0")
    assert gpu.node_sizes == tuple(int(size) for size in row["node_sizes"].split())


def told(group: AttentionLayers) -> str:
    """One group of layers in a word: kind, layers x KV heads x key + value width, window, latent, indexer, state."""
    text = f"{group.kind}:{group.layers}x{group.kv_heads}x{group.key_head_dim}+{group.value_head_dim}"
    extras = (
        ("w", group.window_tokens),
        ("l", group.latent_values_per_token),
        ("i", f"{group.indexer_layers}x{group.indexer_bytes_per_token}" if group.indexer_layers else ""),
        ("s", group.state_bytes_per_sequence),
    )
    return text + "".join(f"{letter}{value}" for letter, value in extras if value)


def experts(model: ModelSpec) -> tuple[int, ...]:
    moe = model.moe
    return (0,) * 4 if moe is None else (moe.experts, moe.experts_per_token, moe.expert_intermediate_size, moe.layers)


@pytest.mark.parametrize("row", MODELS, ids=[row["model"] for row in MODELS])
def test_a_model_has_the_figures_of_its_configuration(row: dict[str, str]) -> None:
    model = CATALOG.model(row["model"])
    assert model is not None
    assert (model.params_total, model.params_active) == (int(row["parameters"]), int(row["active"]))
    assert (model.layers, model.hidden_size) == (int(row["layers"]), int(row["hidden"]))
    assert (model.attention_heads, model.kv_heads) == (int(row["heads"]), int(row["kv_heads"]))
    assert not row["head_dim"] or model.head_dim == int(row["head_dim"])
    assert model.intermediate_size == int(row["intermediate"] or 0)
    assert (model.vocab_size, model.max_position_embeddings) == (int(row["vocabulary"]), int(row["positions"]))
    routed = tuple(
        int(row[name] or 0) for name in ("experts", "experts_per_token", "expert_intermediate", "moe_layers")
    )
    assert (experts(model) or (0, 0, 0, 0)) == routed
    arena = model.score("lmarena_text_elo_style_control")
    assert (None if arena is None else arena.value) == (Decimal(row["arena"]) if row["arena"] else None)
    assert " ".join(told(group) for group in model.attention) == row["attention"]


def test_no_price_differs_from_its_source() -> None:
    """Count and sum by provider, GPU and terms: a single price that moves by a micro-dollar shows."""
    found: dict[tuple[str, str, str], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for offering in CATALOG.offerings:
        key = (offering.provider, offering.gpu, offering.terms.value)
        count, total = found[key]
        found[key] = (count + 1, total + offering.price_usd_per_hour)
    expected = {
        (row["provider"], row["gpu"], row["terms"]): (int(row["offerings"]), Decimal(row["sum_usd_per_hour"]))
        for row in PRICES
    }
    assert found == expected
