"""Physics over the whole catalog: no shape beats its datasheet, and no pipeline makes one user faster."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inferplan.catalog import load_catalog
from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.bounds import least_latencies
from inferplan.estimate.estimator import predict, saturation
from inferplan.estimate.latencies import Quantiles
from inferplan.estimate.lengths import PERCENTILES, length_quantile
from inferplan.estimate.replica import ReplicaTable, build_replicas
from inferplan.estimate.replica_load import ReplicaLoad
from inferplan.estimate.roofline import ASSUMED_HOP_LATENCY_S, step_model
from inferplan.planner import Planner
from inferplan.planner.candidates import ShapeTable
from tests.builders import make_scenario

PLENTY = 1e15
"""KV pool of replicas whose memory is to play no part [bytes]."""
SLACK = 1 + 1e-9


@cache
def everything(task: Task) -> tuple[ShapeTable, ReplicaTable]:
    """Every shape of the catalog that can run."""
    static = Planner(load_catalog())._static_table(replace(make_scenario(), task=task))
    return static.shapes, static.replica


@cache
def with_stages(stages: int) -> ReplicaTable:
    """The shapes that span machines, with another number of stages and a pool that holds everything."""
    shapes, _ = everything(Task.GENERATION)
    rows = np.flatnonzero(shapes.pp == 2)
    table = build_replicas(
        weights=[(w.model, w.method) for w in shapes.weights],
        engines=shapes.engines,
        gpus=shapes.gpus,
        kv_dtypes=shapes.kv_dtypes,
        calibrations=load_catalog().calibrations,
        weight=shapes.weight[rows],
        engine=shapes.engine[rows],
        gpu=shapes.gpu[rows],
        kv=shapes.kv[rows],
        tp=shapes.tp[rows],
        pp=np.full(len(rows), stages),
    )
    return replace(table, granted_bytes=np.full(len(rows), PLENTY))


def load_of(kind: LoadKind, amount: float, task: Task = Task.GENERATION, **overrides: Any) -> ReplicaLoad:
    base = ReplicaLoad(
        kind=kind,
        task=task,
        users=amount,
        rate_rps=amount,
        items=amount,
        think_time_s=600.0 if kind is LoadKind.CLOSED_LOOP else 0.0,
        isl_mean=1000.0,
        isl_p95=1000.0,
        osl_mean=200.0 if task is Task.GENERATION else 1.0,
        osl_p95=200.0 if task is Task.GENERATION else 1.0,
        shared_prefix_tokens=0.0,
        burstiness=1.0,
        max_num_seqs=64.0,
        max_model_len=1_000_000,
    )
    return replace(base, **overrides)


def statistics(found: Quantiles) -> dict[int | None, NDArray[np.float64]]:
    return {at: found.at(at) for at in (None, *PERCENTILES)}


@pytest.mark.parametrize("task", list(Task))
def test_no_shape_of_the_catalog_is_predicted_to_beat_its_bounds(task: Task) -> None:
    _, table = everything(task)
    assert set(table.pp) == {1.0, 2.0, 4.0}
    assert len(table) > (50_000 if task is Task.GENERATION else 1_000)
    for kind, amount in ((LoadKind.CLOSED_LOOP, 1.0), (LoadKind.CLOSED_LOOP, 3_000.0), (LoadKind.OPEN_LOOP, 0.2)):
        for prompt, tail in ((30.0, 1.0), (2_000.0, 1.0), (8_000.0, 12.0), (600.0, 33.0)):
            load = load_of(kind, amount, task, isl_mean=prompt, isl_p95=prompt * tail)
            if task is Task.GENERATION:
                load = replace(load, osl_mean=200.0, osl_p95=200.0 * tail)
            predicted = predict(table, load)
            names = ("ttft", "tpot", "e2e")
            for name, bound in zip(names, least_latencies(table, load, predicted.running), strict=True):
                for at, least in statistics(bound).items():
                    actual = getattr(predicted, name).at(at)
                    short = np.flatnonzero(actual * SLACK < least)
                    assert not len(short), (name, at, kind, amount, prompt, tail, len(short), short[0])


def test_the_first_token_takes_the_arithmetic_of_its_prompt_at_the_dense_peak() -> None:
    """Two operations for each parameter of the layers that a token uses, on the GPUs of one stage at a time."""
    shapes, table = everything(Task.GENERATION)
    active = np.array([w.model.params_active for w in shapes.weights])[shapes.weight]
    ends = np.array([w.model.vocab_size * w.model.hidden_size for w in shapes.weights])[shapes.weight]
    peak = np.maximum(table.peak_flops_per_s, table.peak_expert_flops_per_s)
    for tokens in (500.0, 2_000.0, 8_000.0, 40_000.0):
        least = 2.0 * (active - 2.0 * ends) * tokens / (table.tp * peak)
        found = predict(table, load_of(LoadKind.CLOSED_LOOP, 1.0, isl_mean=tokens, isl_p95=tokens)).ttft
        for at, actual in statistics(found).items():
            assert np.all(actual >= least), (tokens, at)


@pytest.mark.parametrize("stages", [2, 4])
@pytest.mark.parametrize("prompt", [50.0, 2_000.0, 30_000.0])
def test_stages_never_make_one_user_faster(stages: int, prompt: float) -> None:
    load = load_of(LoadKind.CLOSED_LOOP, 1.0, isl_mean=prompt, isl_p95=2 * prompt, osl_mean=100.0, osl_p95=300.0)
    alone, spread = predict(with_stages(1), load), predict(with_stages(stages), load)
    for metric in ("ttft", "tpot", "e2e"):
        for at, least in statistics(getattr(alone, metric)).items():
            actual = getattr(spread, metric).at(at)
            assert np.all(actual >= least + (stages - 1) * ASSUMED_HOP_LATENCY_S), (metric, at)


@pytest.mark.parametrize("stages", [2, 4])
@pytest.mark.parametrize(("prompt", "output"), [(50.0, 500.0), (1_000.0, 200.0), (8_000.0, 20.0)])
def test_a_pipeline_serves_no_more_than_as_many_replicas(stages: int, prompt: float, output: float) -> None:
    """Each of which would have the layers of all stages, and its share of the sequences."""
    lengths: dict[str, Any] = {"isl_mean": prompt, "isl_p95": prompt, "osl_mean": output, "osl_p95": output}
    for slots in (1.0, 8.0, 64.0, 512.0):
        spread = saturation(with_stages(stages), load_of(LoadKind.OPEN_LOOP, 1.0, max_num_seqs=slots, **lengths))
        share = max(slots / stages, 1.0)
        one = saturation(with_stages(1), load_of(LoadKind.OPEN_LOOP, 1.0, max_num_seqs=share, **lengths))
        assert np.all(spread <= stages * one * SLACK), slots
        assert slots > 1 or np.all(spread <= one), "a lone sequence leaves all stages but one idle"


@pytest.mark.parametrize("stages", [2, 4])
def test_a_full_pipeline_serves_nearly_as_much_as_as_many_replicas(stages: int) -> None:
    """Throughput is what stages are for: what is lost are hops, uneven batches and the LM head of the last stage."""
    lengths: dict[str, Any] = {"isl_mean": 100.0, "isl_p95": 100.0, "osl_mean": 500.0, "osl_p95": 500.0}
    spread = saturation(with_stages(stages), load_of(LoadKind.OPEN_LOOP, 1.0, max_num_seqs=256.0, **lengths))
    one = saturation(with_stages(1), load_of(LoadKind.OPEN_LOOP, 1.0, max_num_seqs=256.0 / stages, **lengths))
    assert np.median(spread / (stages * one)) > 0.6


def test_a_lone_sequence_reads_the_experts_of_a_token_in_every_stage() -> None:
    alone, spread = with_stages(1), with_stages(4)
    sparse = np.flatnonzero(alone.routed_bytes > 0)
    assert len(sparse) > 1_000
    ones = np.ones(len(alone))
    for table in (alone, spread):
        step = step_model(table, 0.0)
        read = table.pp * step.routed * -np.expm1(step.micro_batch(ones) * step.left_log)
        per_token = step_model(alone, 0.0).routed * alone.experts_per_token / np.maximum(alone.experts, 1.0)
        assert read[sparse] == pytest.approx(per_token[sparse])


@pytest.mark.parametrize("percentile", [95, 99])
def test_a_longer_p95_never_shortens_what_is_judged(percentile: int) -> None:
    _, table = everything(Task.GENERATION)
    rows = table.take(np.arange(0, len(table), 97))
    for kind, amount in ((LoadKind.CLOSED_LOOP, 5.0), (LoadKind.OPEN_LOOP, 0.05)):
        before: dict[str, NDArray[np.float64]] = {}
        for tail in (1.0, 1.5, 3.0, 3.86, 3.87, 3.9, 6.0, 12.0, 19.9, 20.1, 33.0, 1_000.0):
            load = load_of(kind, amount, isl_mean=600.0, isl_p95=600.0 * tail, osl_mean=100.0, osl_p95=100.0 * tail)
            found = predict(rows, replace(load, max_num_seqs=2.0))
            now = {"ttft": found.ttft_at_most.at(percentile), "e2e": found.e2e_at_most.at(percentile)}
            for metric, values in now.items():
                if metric in before:
                    assert np.all(values * (1 + 2e-3) >= before[metric]), (metric, kind, tail)
            before = now


def test_the_p95_prompt_takes_what_a_prompt_of_that_length_takes() -> None:
    _, table = everything(Task.GENERATION)
    rows = table.take(np.arange(0, len(table), 97))
    for prompt in (3_000.0, 20_000.0):
        all_long = predict(rows, load_of(LoadKind.CLOSED_LOOP, 1.0, isl_mean=prompt, isl_p95=prompt, max_num_seqs=1.0))
        some_long = predict(rows, load_of(LoadKind.CLOSED_LOOP, 1.0, isl_mean=600.0, isl_p95=prompt, max_num_seqs=1.0))
        ratio = some_long.ttft.p95 / all_long.ttft.p95
        assert np.min(ratio) > 0.85
        assert np.max(ratio) < 1.15


def test_the_p95_output_takes_a_step_for_each_of_its_tokens() -> None:
    _, table = everything(Task.GENERATION)
    rows = table.take(np.arange(0, len(table), 97))
    for mean, p95 in ((200.0, 700.0), (200.0, 5_000.0), (2.0, 40.0)):
        load = load_of(LoadKind.CLOSED_LOOP, 1.0, osl_mean=mean, osl_p95=p95)
        found = predict(rows, load)
        assert np.all(found.e2e.p95 >= (length_quantile(mean, p95, 95) - 1.0) * found.tpot.mean)
