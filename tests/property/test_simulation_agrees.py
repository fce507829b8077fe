"""Law: the simulated scheduler and the closed formulas say the same, within a stated tolerance.

The tolerance holds over a random space of models, GPUs, lengths and loads below saturation, with one to four pipeline
stages. Means of single draws may be off by a third; half of all draws agree far better. TTFT is judged more loosely: it
is short, and the closed formulas carry calibrated waits that no scheduler explains.

With several stages the simulation follows every batch from stage to stage and knows nothing of the closed formulas for
pipelines, so here it is they that are put to the test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from inferplan.catalog.loader import load_catalog
from inferplan.domain.model import ModelSpec, Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.estimator import Prediction, predict, saturation
from inferplan.estimate.memory import kv_pool_tokens
from inferplan.estimate.replica import ReplicaTable, build_replicas
from inferplan.estimate.replica_load import ReplicaLoad
from inferplan.estimate.simulation import Simulated, simulate
from inferplan.estimate.traffic import draw_traffic
from tests.builders import make_engine, make_gpu, make_method, make_mixtral, make_model

CALIBRATIONS = load_catalog().calibrations
DRAWS, REQUESTS = 30, 600
SINGLE = {"ttft": 0.70, "tpot": 0.35, "e2e": 0.35}
"""Largest |closed / simulated - 1| of a mean in a single draw."""
HALF = {"ttft": 0.15, "tpot": 0.04, "e2e": 0.04}
"""The same for the median draw."""
HALF_P95 = {"ttft": 0.25, "tpot": 0.10, "e2e": 0.06}
"""For the 95th percentile of the median draw."""


@dataclass(frozen=True)
class Draw:
    kind: LoadKind
    closed: Prediction
    simulated: Simulated
    words: str

    def error(self, metric: str, percentile: int | None = None) -> float:
        values = getattr(self.simulated, f"{metric}_s")
        values = values[len(values) // 4 :]
        quantiles = getattr(self.closed, metric)
        if percentile is None:
            return float(quantiles.mean[0] / np.nanmean(values) - 1.0)
        return float(quantiles.at(percentile)[0] / np.nanpercentile(values, percentile) - 1.0)


def table_of(model: ModelSpec, tp: int, bandwidth: float, flops: float, stages: int = 1) -> ReplicaTable:
    zero = np.zeros(1, dtype=np.int64)
    base = make_gpu()
    gpu = make_gpu(
        hbm_bandwidth_bytes_per_s=base.hbm_bandwidth_bytes_per_s * bandwidth,
        peak_flops_per_s=tuple((kind, peak * flops) for kind, peak in base.peak_flops_per_s),
    )
    return build_replicas(
        weights=[(model, make_method())],
        engines=[make_engine()],
        gpus=[gpu],
        kv_dtypes=(None,),
        calibrations=CALIBRATIONS,
        weight=zero,
        engine=zero,
        gpu=zero,
        kv=zero,
        tp=np.full(1, tp),
        pp=np.full(1, stages),
    )


def draw(kind: LoadKind, seed: int, stages: int = 1, requests: int = REQUESTS) -> Draw:
    """One random replica and load below saturation."""
    chance = np.random.default_rng([seed, int(kind is LoadKind.OPEN_LOOP)])
    model, tp = (make_model(), 1) if chance.random() < 0.5 else (make_mixtral(), 4)
    table = table_of(model, tp, chance.uniform(0.5, 2.0), chance.uniform(0.3, 2.0), stages)
    prompt = float(np.exp(chance.uniform(np.log(64), np.log(3000))))
    output = float(np.exp(chance.uniform(np.log(48), np.log(600))))
    tail = float(chance.choice([1.0, 2.0]))
    slots = int(2 ** chance.integers(5, 9))
    think_s = float(chance.choice([0.0, 4.0]))

    def load(amount: float) -> ReplicaLoad:
        return ReplicaLoad(
            kind=kind,
            task=Task.GENERATION,
            users=amount,
            rate_rps=amount,
            items=None,
            think_time_s=think_s,
            isl_mean=prompt,
            isl_p95=prompt * tail,
            osl_mean=output,
            osl_p95=output * tail,
            shared_prefix_tokens=0.0,
            burstiness=1.0,
            max_num_seqs=float(slots),
            max_model_len=1_000_000,
        )

    if kind is LoadKind.OPEN_LOOP:
        amount = float(chance.uniform(0.1, 0.65) * saturation(table, load(1.0))[0])
    else:
        held = kv_pool_tokens(table)[0] / (prompt + output)  # no more than fit: what is put back has no closed form
        amount = float(chance.integers(1, max(2, int(min(slots / 2, held / 2)))))
    closed = predict(table, load(amount))
    traffic = draw_traffic(
        np.random.default_rng(seed),
        requests,
        kind=kind,
        amount=amount,
        prompt=(prompt, prompt * tail),
        output=(output, output * tail),
        think_s=think_s,
        first_within_s=float(closed.e2e.mean[0]) + think_s,
    )
    lengths = f"{prompt:.0f}/{output:.0f} tokens, tail {tail}"
    words = f"{stages} stages, {kind} {amount:.2f} of {model.id}, {lengths}, {slots} slots"
    return Draw(kind, closed, simulate(table, traffic, max_num_seqs=slots), words)


@pytest.fixture(scope="module", params=[LoadKind.OPEN_LOOP, LoadKind.CLOSED_LOOP], ids=str)
def draws(request: pytest.FixtureRequest) -> list[Draw]:
    return [draw(request.param, seed) for seed in range(DRAWS)]


@pytest.mark.parametrize("metric", SINGLE)
def test_no_mean_is_far_from_the_simulated_one(draws: list[Draw], metric: str) -> None:
    worst = max(draws, key=lambda one: abs(one.error(metric)))
    assert abs(worst.error(metric)) <= SINGLE[metric], worst.words


@pytest.mark.parametrize("metric", HALF)
def test_half_of_all_means_are_close_to_the_simulated_ones(draws: list[Draw], metric: str) -> None:
    assert np.median([abs(one.error(metric)) for one in draws]) <= HALF[metric]


@pytest.mark.parametrize("metric", HALF_P95)
def test_half_of_all_95th_percentiles_are_close_to_the_simulated_ones(draws: list[Draw], metric: str) -> None:
    assert np.median([abs(one.error(metric, 95)) for one in draws]) <= HALF_P95[metric]


PIPELINE_DRAWS, PIPELINE_REQUESTS = 5, 240
PIPELINE_SINGLE = {"ttft": 0.60, "tpot": 0.35, "e2e": 0.35}
PIPELINE_HALF = {"ttft": 0.15, "tpot": 0.07, "e2e": 0.07}
"""As above, for replicas of several stages."""


@pytest.fixture(scope="module", params=[2, 4], ids=lambda stages: f"{stages} stages")
def spanning(request: pytest.FixtureRequest) -> list[Draw]:
    return [
        draw(kind, seed, request.param, PIPELINE_REQUESTS)
        for kind in (LoadKind.OPEN_LOOP, LoadKind.CLOSED_LOOP)
        for seed in range(20, 20 + PIPELINE_DRAWS)
    ]


@pytest.mark.parametrize("metric", PIPELINE_SINGLE)
def test_no_mean_of_a_pipeline_is_far_from_the_simulated_one(spanning: list[Draw], metric: str) -> None:
    worst = max(spanning, key=lambda one: abs(one.error(metric)))
    assert abs(worst.error(metric)) <= PIPELINE_SINGLE[metric], worst.words


@pytest.mark.parametrize("metric", PIPELINE_HALF)
def test_half_of_all_means_of_pipelines_are_close_to_the_simulated_ones(spanning: list[Draw], metric: str) -> None:
    assert np.median([abs(one.error(metric)) for one in spanning]) <= PIPELINE_HALF[metric]


@pytest.mark.parametrize("stages", [1, 2, 4])
@pytest.mark.parametrize(("prompt", "output"), [(100.0, 300.0), (1_000.0, 50.0), (4_000.0, 20.0)])
def test_saturation_is_what_the_simulated_engine_serves_when_all_slots_are_taken(
    stages: int, prompt: float, output: float
) -> None:
    """Short and long prompts, so that a round of the pipeline holds from a tenth of one to three of them."""
    table = replace(table_of(make_model(), 1, 1.0, 1.0, stages), granted_bytes=np.full(1, 1e13))
    slots = 16 * stages
    load = ReplicaLoad(
        kind=LoadKind.CLOSED_LOOP,
        task=Task.GENERATION,
        users=float(slots),
        rate_rps=None,
        items=None,
        think_time_s=0.0,
        isl_mean=prompt,
        isl_p95=prompt,
        osl_mean=output,
        osl_p95=2 * output,
        shared_prefix_tokens=0.0,
        burstiness=1.0,
        max_num_seqs=float(slots),
        max_model_len=1_000_000,
    )
    traffic = draw_traffic(
        np.random.default_rng(1),
        6 * slots,
        kind=LoadKind.CLOSED_LOOP,
        amount=slots,
        prompt=(prompt, prompt),
        output=(output, 2 * output),
        first_within_s=float(predict(table, load).e2e.mean[0]),
    )
    done_s = np.sort(simulate(table, traffic, max_num_seqs=slots).done_s)
    first, last = len(done_s) // 4, 4 * len(done_s) // 5
    served_rps = (last - first) / (done_s[last] - done_s[first])
    assert saturation(table, load)[0] == pytest.approx(served_rps, rel=0.2)
