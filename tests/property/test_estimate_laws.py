"""Physics and queueing that every prediction must keep, whatever the numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inferplan.catalog.loader import load_catalog
from inferplan.domain.hardware import GpuSpec
from inferplan.domain.model import ModelSpec, Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.estimator import Prediction, ReplicaLoad, ReplicaTable, predict, saturation
from inferplan.estimate.memory import kv_pool_bytes
from inferplan.estimate.roofline import touched_share
from tests.builders import make_gpu, make_mixtral, make_model, make_replicas

CALIBRATIONS = load_catalog().calibrations
SLACK = 1 + 2e-3
"""The running batch is found by bisection to a part in 2^14 of the limit."""


def table_of(gpus: list[GpuSpec], model: ModelSpec, tp: int = 1) -> ReplicaTable:
    return make_replicas(gpus, model, tp, calibrations=CALIBRATIONS)


def load_of(kind: LoadKind, amount: Any, **overrides: Any) -> ReplicaLoad:
    base = ReplicaLoad(
        kind=kind,
        task=Task.GENERATION,
        users=amount,
        rate_rps=amount,
        items=amount,
        think_time_s=2.0,
        isl_mean=512.0,
        isl_p95=1024.0,
        osl_mean=128.0,
        osl_p95=256.0,
        shared_prefix_tokens=0.0,
        burstiness=1.0,
        max_num_seqs=64.0,
        max_model_len=4096,
    )
    return replace(base, **overrides)


def columns(prediction: Prediction) -> dict[str, NDArray[np.float64]]:
    found = {}
    for metric in ("ttft", "tpot", "e2e"):
        for part in ("mean", "p50", "p90", "p95", "p99"):
            found[f"{metric} {part}"] = getattr(getattr(prediction, metric), part)
    return found


def never_falls(values: NDArray[np.float64]) -> bool:
    return bool(np.all(values[1:] * SLACK >= values[:-1]))


MODELS = st.sampled_from([(make_model(), 1), (make_mixtral(), 2)])
SERVING = st.sampled_from([LoadKind.CLOSED_LOOP, LoadKind.OPEN_LOOP])
LENGTHS = st.tuples(st.integers(16, 3000), st.integers(2, 1000), st.floats(1.0, 2.0))


def lengths(draw: tuple[int, int, float]) -> dict[str, float]:
    prompt, output, tail = draw
    return {"isl_mean": prompt, "isl_p95": prompt * tail, "osl_mean": output, "osl_p95": output * tail}


@given(MODELS, SERVING, LENGTHS, st.floats(0.05, 30.0))
def test_more_load_never_shortens_any_percentile(
    of: tuple[ModelSpec, int], kind: LoadKind, drawn: tuple[int, int, float], amount: float
) -> None:
    model, tp = of
    table = table_of([make_gpu()], model, tp).take(np.zeros(12, dtype=np.int64))
    amounts = amount * np.geomspace(1.0, 30.0, 12)
    for name, values in columns(predict(table, load_of(kind, amounts, **lengths(drawn)))).items():
        assert never_falls(values), (name, values)


@given(MODELS, SERVING, LENGTHS, st.floats(0.05, 5.0))
def test_longer_prompts_never_shorten_the_first_token(
    of: tuple[ModelSpec, int], kind: LoadKind, drawn: tuple[int, int, float], amount: float
) -> None:
    model, tp = of
    table = table_of([make_gpu()], model, tp).take(np.zeros(8, dtype=np.int64))
    prompts = drawn[0] * np.linspace(1.0, 4.0, 8)
    load = load_of(kind, amount, **{**lengths(drawn), "isl_mean": prompts, "isl_p95": prompts * drawn[2]})
    assert never_falls(predict(table, load).ttft.mean)


@given(MODELS, SERVING, LENGTHS, st.floats(0.05, 5.0), st.sampled_from(["bandwidth", "flops"]))
def test_a_faster_gpu_never_slows_anything(
    of: tuple[ModelSpec, int], kind: LoadKind, drawn: tuple[int, int, float], amount: float, what: str
) -> None:
    model, tp = of
    base = make_gpu()
    gpus = [
        replace(base, hbm_bandwidth_bytes_per_s=base.hbm_bandwidth_bytes_per_s * factor)
        if what == "bandwidth"
        else replace(base, peak_flops_per_s=tuple((kind_, peak * factor) for kind_, peak in base.peak_flops_per_s))
        for factor in (3.0, 2.0, 1.5, 1.0, 0.5)
    ]
    table = table_of(gpus, model, tp)
    prediction = predict(table, load_of(kind, amount, **lengths(drawn)))
    for metric in (prediction.ttft, prediction.tpot, prediction.e2e):
        assert never_falls(metric.mean)
    assert never_falls(1.0 / saturation(table, load_of(kind, amount, **lengths(drawn))))


@given(MODELS, SERVING, LENGTHS, st.floats(0.05, 200.0), st.floats(1.0, 4.0))
def test_percentiles_are_ordered(
    of: tuple[ModelSpec, int], kind: LoadKind, drawn: tuple[int, int, float], amount: float, burstiness: float
) -> None:
    model, tp = of
    load = load_of(kind, amount, burstiness=burstiness, **lengths(drawn))
    found = columns(predict(table_of([make_gpu()], model, tp), load))
    for metric in ("ttft", "tpot", "e2e"):
        at = [found[f"{metric} {part}"][0] for part in ("p50", "p90", "p95", "p99")]
        assert at == sorted(at)


@given(MODELS, st.sampled_from(list(LoadKind)), LENGTHS, st.floats(0.05, 500.0))
def test_no_step_beats_bandwidth_or_arithmetic(
    of: tuple[ModelSpec, int], kind: LoadKind, drawn: tuple[int, int, float], amount: float
) -> None:
    model, tp = of
    table = table_of([make_gpu()], model, tp)
    prediction = predict(table, load_of(kind, amount, **lengths(drawn)))
    touched = touched_share(prediction.running, table.experts, table.experts_per_token)
    reading = (table.always_bytes + table.head_bytes + touched * table.routed_bytes) / table.bandwidth_bytes_per_s
    flop = table.layer_flop_per_token + table.expert_flop_per_token
    arithmetic = prediction.running * flop / table.peak_flops_per_s
    assert prediction.tpot.mean[0] >= max(reading[0], arithmetic[0])
    new = max(drawn[0], 1.0)
    assert prediction.ttft.mean[0] >= new * flop[0] / table.peak_flops_per_s[0]


@given(MODELS, st.sampled_from([1, 2, 4, 8]))
def test_the_pool_never_exceeds_what_the_grant_leaves(of: tuple[ModelSpec, int], tp: int) -> None:
    table = table_of([make_gpu()], of[0], tp)
    least = table.granted_bytes - table.weights_bytes - table.step_activations_bytes - table.context_bytes
    assert kv_pool_bytes(table, 1.0)[0] <= max(least[0], 0.0)


@given(MODELS, st.integers(1, 2048), st.integers(1, 2048))
def test_a_larger_batch_limit_never_leaves_a_larger_pool(of: tuple[ModelSpec, int], one: int, other: int) -> None:
    table = table_of([make_gpu()], of[0], of[1])
    assert kv_pool_bytes(table, float(max(one, other)))[0] <= kv_pool_bytes(table, float(min(one, other)))[0]


@given(MODELS, LENGTHS, st.floats(0.1, 300.0))
def test_a_closed_loop_keeps_littles_law(
    of: tuple[ModelSpec, int], drawn: tuple[int, int, float], users: float
) -> None:
    model, tp = of
    load = load_of(LoadKind.CLOSED_LOOP, users, **lengths(drawn))
    p = predict(table_of([make_gpu()], model, tp), load)
    assert p.completed_rps[0] <= p.capacity_rps[0] * SLACK
    assert p.running[0] <= users * SLACK
    assert p.utilization[0] <= 1.0


@pytest.mark.parametrize("kind", list(LoadKind))
def test_numbers_and_arrays_of_them_give_the_same(kind: LoadKind) -> None:
    table = table_of([make_gpu()], make_model()).take(np.zeros(3, dtype=np.int64))
    one = predict(table, load_of(kind, 8.0))
    many = predict(
        table,
        load_of(
            kind,
            np.full(3, 8.0),
            isl_mean=np.full(3, 512.0),
            isl_p95=np.full(3, 1024.0),
            osl_mean=np.full(3, 128.0),
            osl_p95=np.full(3, 256.0),
        ),
    )
    for name, values in columns(one).items():
        assert values == pytest.approx(columns(many)[name]), name
