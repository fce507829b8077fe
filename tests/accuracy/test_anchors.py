"""Predictions against measured runs, with a tolerance per slice.

``anchors.csv`` holds runs of InferenceMAX / InferenceX (as redistributed by NVIDIA aiconfigurator, commit 095f58a) and
of the KubeCon NA 2025 demo of kubernetes-sigs/inference-perf (commit 7de5ef2); ``ledgers.csv`` start-up logs of
llm-d-incubation/llm-d-planner. All three are Apache-2.0. ``input_tokens`` and ``output_tokens`` are real means (0.9 x
nominal where lengths were drawn from 80 to 100 %), ``generation`` is the release whose constants apply where the
release itself is not stated.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from inferplan.catalog.loader import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.model import Dtype, Task
from inferplan.domain.scenario import LoadKind
from inferplan.domain.units import GIB
from inferplan.estimate.estimator import Prediction, ReplicaLoad, ReplicaTable, build_replicas, predict
from inferplan.estimate.memory import kv_pool_bytes, kv_pool_tokens

HERE = Path(__file__).parent
CATALOG: Catalog = load_catalog()
Row = dict[str, str]


def read(name: str) -> list[Row]:
    with (HERE / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def replica(row: Row, *, gpu: str, version: str, share: float) -> ReplicaTable:
    model, method = CATALOG.model(row["architecture_of"]), CATALOG.method(row["method"])
    engine, device = CATALOG.engine("vllm"), CATALOG.gpu(gpu)
    assert model is not None
    assert method is not None
    assert engine is not None
    assert device is not None
    zero = np.zeros(1, dtype=np.int64)
    return build_replicas(
        weights=[(model, method)],
        engines=[replace(engine, version=version, memory_fraction=share)],
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


def predicted(row: Row) -> Prediction:
    table = replica(row, gpu=row["gpu"], version=row["generation"], share=0.9)
    table = replace(table, max_num_batched_tokens=np.array([float(row["max_num_batched_tokens"])]))
    amount, prompt, output = float(row["load_value"]), float(row["input_tokens"]), float(row["output_tokens"])
    load = ReplicaLoad(
        kind=LoadKind(row["load"]),
        task=Task.GENERATION,
        users=amount,
        rate_rps=amount,
        items=None,
        think_time_s=0.0,
        isl_mean=prompt,
        isl_p95=prompt,
        osl_mean=output,
        osl_p95=output,
        shared_prefix_tokens=prompt - float(row["new_input_tokens"]),
        burstiness=1.0,
        max_num_seqs=float(row["max_num_seqs"]),
        max_model_len=1_000_000,
        starts_together=True,
    )
    return predict(table, load)


ANCHORS = read("anchors.csv")
PREDICTED = {row["row_id"]: predicted(row) for row in ANCHORS}

Slice = Callable[[Row], bool]
SLICES: dict[str, tuple[Slice, float, float]] = {
    "everything": (lambda _: True, 0.07, 0.17),
    "h100": (lambda row: row["gpu"] == "h100-80gb-sxm", 0.07, 0.25),
    "h200": (lambda row: row["gpu"] == "h200-141gb-sxm", 0.06, 0.15),
    "b200": (lambda row: row["gpu"] == "b200", 0.09, 0.20),
    "dense": (lambda row: "Llama" in row["model"] or "Qwen3-32B" in row["model"], 0.06, 0.20),
    "experts": (lambda row: "MiniMax" in row["model"] or "gpt-oss" in row["model"], 0.09, 0.20),
    "open loop": (lambda row: row["load"] == "open_loop", 0.08, 0.30),
}
"""Name to: which rows, largest median error of TPOT, and of TTFT."""


@pytest.mark.parametrize("name", SLICES)
def test_median_errors_stay_within_the_tolerance_of_their_slice(name: str) -> None:
    chosen, tpot_limit, ttft_limit = SLICES[name]
    rows = [row for row in ANCHORS if chosen(row)]
    assert len(rows) >= 8
    tpot = [abs(PREDICTED[r["row_id"]].tpot.mean[0] * 1e3 / float(r["tpot_ms"]) - 1) for r in rows]
    ttft = [abs(PREDICTED[r["row_id"]].ttft.mean[0] * 1e3 / float(r["ttft_ms"]) - 1) for r in rows]
    assert median(tpot) <= tpot_limit
    assert median(ttft) <= ttft_limit


@pytest.mark.parametrize("metric", ["tpot", "ttft"])
def test_nine_of_ten_measurements_lie_in_the_stated_range(metric: str) -> None:
    inside = 0
    for row in ANCHORS:
        p = PREDICTED[row["row_id"]]
        expected, measured = getattr(p, metric).mean[0], float(row[f"{metric}_ms"]) / 1e3
        low, high = getattr(p, f"{metric}_low")[0], getattr(p, f"{metric}_high")[0]
        inside += expected * low <= measured <= expected * high
    assert 0.85 <= inside / len(ANCHORS) <= 1.0


@pytest.mark.parametrize("row", read("ledgers.csv"), ids=lambda row: row["row_id"])
def test_the_pool_is_never_more_than_was_granted_and_hardly_less(row: Row) -> None:
    table = replica(row, gpu="h100-80gb-sxm", version="0.19.0", share=float(row["gpu_memory_utilization"]))
    granted, tokens = float(row["mem_kv_pool_gib"]) * GIB, float(row["kv_pool_tokens"])
    assert 0.95 * granted <= kv_pool_bytes(table)[0] <= granted
    assert 0.95 * tokens <= kv_pool_tokens(table)[0] <= tokens
