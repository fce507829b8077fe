"""Predictions against measured runs, with a tolerance per slice.

``anchors.csv`` holds runs of clearly licensed sources, in the schema that ``inferplan accuracy`` reads: InferenceMAX /
InferenceX as redistributed by NVIDIA aiconfigurator (commit 095f58a), the KubeCon NA 2025 demo of
kubernetes-sigs/inference-perf (7de5ef2), Apache-2.0; LLM-Inference-Bench of Argonne (4211f5d),
BSD-3-Clause; LLM-Pilot of IBM Research (3c66483), CDLA-Permissive-2.0; Splitwise (8f99e7d) and LLMServingSim (5daddb2),
MIT. ``ledgers.csv`` holds start-up logs of llm-d-incubation/llm-d-planner, Apache-2.0.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inferplan.accuracy.matching import Matcher
from inferplan.accuracy.outcome import Answer, Metric, answer
from inferplan.accuracy.runs import read_table
from inferplan.accuracy.score import score_metric
from inferplan.catalog import load_yardsticks
from inferplan.catalog.loader import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.model import Dtype
from inferplan.domain.units import GIB
from inferplan.estimate.estimator import ReplicaTable, build_replicas
from inferplan.estimate.memory import kv_pool_bytes, kv_pool_tokens, logs_by_length

HERE = Path(__file__).parent
CATALOG: Catalog = load_catalog()
ANSWERS = answer(
    read_table((HERE / "anchors.csv").read_bytes(), "anchors.csv"),
    Matcher(CATALOG, load_yardsticks()),
    CATALOG.calibrations,
)

Slice = Callable[[Answer], bool]


def of_source(*names: str) -> Slice:
    return lambda found: found.run.source_id in names


def served_on(gpu: str) -> Slice:
    serving = of_source("inferencex_aic", "inference_perf_demo")
    return lambda found: serving(found) and found.case is not None and found.case.gpu.id == gpu


def measured_by_tgi_on(gpu: str) -> Slice:
    return lambda found: found.run.engine == "tgi" and found.case is not None and found.case.gpu.id == gpu


LIMITS: dict[str, tuple[Slice, dict[Metric, float]]] = {
    "vllm on h100": (served_on("h100-80gb-sxm"), {Metric.TPOT: 0.06, Metric.TTFT: 0.15}),
    "vllm on h200": (served_on("h200-141gb-sxm"), {Metric.TPOT: 0.06, Metric.TTFT: 0.10}),
    "vllm on b200": (served_on("b200"), {Metric.TPOT: 0.07, Metric.TTFT: 0.14}),
    "open loop": (of_source("inference_perf_demo"), {Metric.TPOT: 0.06, Metric.E2E: 0.07, Metric.THROUGHPUT: 0.03}),
    "static batches": (of_source("argonne_bench"), {Metric.E2E: 0.08}),
    "static batches of 2023": (of_source("splitwise"), {Metric.TPOT: 0.17, Metric.E2E: 0.17}),
    "tgi on t4": (measured_by_tgi_on("t4"), {Metric.TPOT: 0.10, Metric.E2E: 0.07, Metric.TTFT: 0.15}),
    "tgi on a10": (measured_by_tgi_on("a10"), {Metric.TPOT: 0.13, Metric.E2E: 0.12, Metric.TTFT: 0.08}),
    "tgi on a100": (measured_by_tgi_on("a100-40gb-pcie"), {Metric.TPOT: 0.16, Metric.E2E: 0.17, Metric.TTFT: 0.19}),
}
"""Name to: which runs, and the largest median error of each metric."""


@pytest.mark.parametrize("name", LIMITS)
def test_median_errors_stay_within_the_tolerance_of_their_slice(name: str) -> None:
    chosen, limits = LIMITS[name]
    answers = [found for found in ANSWERS if chosen(found)]
    for metric, limit in limits.items():
        found = score_metric(answers, metric)
        assert found is not None
        assert found.rows >= 4
        assert found.median_error <= limit, (metric, found)


def test_every_anchor_is_predicted() -> None:
    assert [found.skipped for found in ANSWERS if found.skipped] == []


@pytest.mark.parametrize("metric", [Metric.TTFT, Metric.TPOT, Metric.E2E, Metric.THROUGHPUT])
def test_nine_of_ten_measurements_lie_in_the_stated_range(metric: Metric) -> None:
    found = score_metric(ANSWERS, metric)
    assert found is not None
    assert found.covered is not None
    assert found.covered >= 0.85


DEFAULT_SEQUENCES = 1024.0
"""``max_num_seqs`` of vLLM on an H100, where nothing else was said."""


def ledgers() -> list[dict[str, str]]:
    with (HERE / "ledgers.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def replica(row: dict[str, str]) -> ReplicaTable:
    model, method = CATALOG.model(row["architecture_of"]), CATALOG.method(row["method"])
    engine, device = CATALOG.engine("vllm"), CATALOG.gpu("h100-80gb-sxm")
    assert model is not None
    assert method is not None
    assert engine is not None
    assert device is not None
    zero = np.zeros(1, dtype=np.int64)
    return build_replicas(
        weights=[(model, method)],
        engines=[
            replace(engine, version="0.19.0", memory_fraction=float(row["gpu_memory_utilization"]), text_only=False)
        ],
        gpus=[device],
        kv_dtypes=(None, Dtype.FP8),
        calibrations=CATALOG.calibrations,
        weight=zero,
        engine=zero,
        gpu=zero,
        kv=np.array([int(row["kv_dtype"].startswith("fp8"))]),
        tp=np.array([int(row["tp"])]),
        pp=np.array([int(row.get("pp", "1"))]),
    )


@pytest.mark.parametrize("row", ledgers(), ids=lambda row: row["row_id"])
def test_the_pool_is_never_more_than_was_granted_and_hardly_less(row: dict[str, str]) -> None:
    table = replica(row)
    granted, tokens = float(row["mem_kv_pool_gib"]) * GIB, float(row["kv_pool_tokens"])
    assert 0.95 * granted <= kv_pool_bytes(table, DEFAULT_SEQUENCES)[0] <= granted
    logged = kv_pool_tokens(table, 8192, DEFAULT_SEQUENCES, by_length=logs_by_length("0.19.0"))[0]
    assert 0.95 * tokens <= logged <= tokens
