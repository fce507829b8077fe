"""The simulated scheduler: small cases by hand, and what it must keep whatever the traffic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferplan.catalog.loader import load_catalog
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.estimator import ReplicaTable, build_replicas
from inferplan.estimate.memory import kv_pool_tokens
from inferplan.estimate.roofline import step_model
from inferplan.estimate.simulation import Simulated, simulate
from inferplan.estimate.traffic import Traffic, draw_traffic
from tests.builders import make_engine, make_gpu, make_method, make_model

ZERO = np.zeros(1, dtype=np.int64)
TABLE = build_replicas(
    weights=[(make_model(), make_method())],
    engines=[make_engine()],
    gpus=[make_gpu()],
    kv_dtypes=(None,),
    calibrations=load_catalog().calibrations,
    weight=ZERO,
    engine=ZERO,
    gpu=ZERO,
    kv=ZERO,
    tp=np.ones(1, dtype=np.int64),
    pp=np.ones(1, dtype=np.int64),
)


def sent(prompts: list[float], outputs: list[float], at: list[float] | None = None, prefix: float = 0.0) -> Traffic:
    count = len(prompts)
    return Traffic(
        prompt_tokens=np.array(prompts),
        output_tokens=np.array(outputs),
        prefix_tokens=np.full(count, prefix),
        arrivals_s=np.zeros(count) if at is None else np.array(at),
    )


def smaller_pool(tokens: float) -> ReplicaTable:
    """The same replica with a KV pool of so many tokens."""
    table = replace(TABLE, sampler_bytes_per_sequence=np.zeros(1), counts_graphs=np.zeros(1))
    spare = kv_pool_tokens(table, 4096, 1.0) - tokens
    return replace(table, step_activations_bytes=TABLE.step_activations_bytes + spare * TABLE.kv_full_bytes_per_token)


def overhead_s(prompt: float) -> float:
    each = TABLE.constant("request_token_overhead_s")[0]
    return float(TABLE.constant("request_overhead_s")[0] + each * prompt)


def test_one_request_takes_its_prompt_steps_and_one_step_for_each_further_token() -> None:
    found = simulate(TABLE, sent([100.0], [11.0]), max_num_seqs=8)
    step = step_model(TABLE, 105.0)
    assert found.steps == 11
    assert found.tpot_s[0] == pytest.approx(step.time(np.ones(1))[0], rel=1e-3)
    prompt = step_model(TABLE, 0.0).time(np.zeros(1), 100.0)[0]
    assert found.ttft_s[0] == pytest.approx(overhead_s(100.0) + prompt, rel=0.02)
    assert found.e2e_s[0] == pytest.approx(found.ttft_s[0] + 10 * found.tpot_s[0])


def test_a_long_prompt_is_cut_to_the_token_budget() -> None:
    budget = float(TABLE.max_num_batched_tokens[0])
    assert simulate(TABLE, sent([budget], [1.0]), max_num_seqs=8).steps == 1
    assert simulate(TABLE, sent([3 * budget], [1.0]), max_num_seqs=8).steps == 3
    assert simulate(TABLE, sent([3 * budget], [1.0], prefix=2 * budget), max_num_seqs=8).steps == 1


def test_short_prompts_share_a_step_and_decode_together() -> None:
    found = simulate(TABLE, sent([10.0] * 8, [5.0] * 8), max_num_seqs=8)
    assert found.steps == 1 + 4
    assert np.ptp(found.ttft_s) == 0.0
    assert np.ptp(found.e2e_s) == 0.0


def test_the_batch_limit_makes_waves() -> None:
    found = simulate(TABLE, sent([10.0] * 8, [5.0] * 8), max_num_seqs=4)
    assert found.steps == 2 * (1 + 4)
    first, second = found.ttft_s[:4], found.ttft_s[4:]
    assert second.min() > found.e2e_s[:4].max() - 1e-12
    assert np.ptp(first) == np.ptp(second) == 0.0


def test_a_request_with_one_token_has_no_time_between_tokens() -> None:
    found = simulate(TABLE, sent([10.0], [1.0]), max_num_seqs=8)
    assert np.isnan(found.tpot_s[0])
    assert found.e2e_s[0] == found.ttft_s[0]


def test_late_requests_find_an_idle_engine() -> None:
    found = simulate(TABLE, sent([50.0, 50.0], [5.0, 5.0], at=[0.0, 100.0]), max_num_seqs=8)
    assert found.ttft_s[0] == pytest.approx(found.ttft_s[1])
    assert found.done_s[1] > 100.0
    assert found.busy_s < 1.0


def test_a_full_pool_puts_the_newest_sequence_back_and_loses_no_token() -> None:
    table = smaller_pool(2_000.0)
    found = simulate(table, sent([600.0] * 3, [400.0] * 3), max_num_seqs=8)
    assert found.preemptions >= 1
    assert np.isfinite(found.e2e_s).all()
    assert found.done_s[0] == found.done_s.min()
    roomy = simulate(TABLE, sent([600.0] * 3, [400.0] * 3), max_num_seqs=8)
    assert roomy.preemptions == 0
    assert found.done_s.max() > roomy.done_s.max()


def test_an_engine_that_reserves_never_puts_back() -> None:
    table = smaller_pool(2_000.0)
    found = simulate(table, sent([600.0] * 3, [400.0] * 3), max_num_seqs=8, reserves_output=True)
    assert found.preemptions == 0
    assert found.ttft_s[2] > found.e2e_s[0] - 1e-9


def test_a_request_that_can_never_fit_still_ends() -> None:
    found = simulate(smaller_pool(100.0), sent([600.0, 50.0], [40.0, 5.0]), max_num_seqs=8)
    assert np.isfinite(found.done_s).all()


def drawn(kind: LoadKind, amount: float, seed: int = 3, requests: int = 400, **overrides: float) -> Traffic:
    return draw_traffic(
        np.random.default_rng(seed),
        requests,
        kind=kind,
        amount=amount,
        prompt=(300.0, 700.0),
        output=(60.0, 120.0),
        **overrides,
    )


def in_flight(found: Simulated) -> int:
    events = sorted([(t, 1) for t in found.sent_s] + [(t, -1) for t in found.done_s], key=lambda e: (e[0], e[1]))
    return int(np.cumsum([step for _, step in events]).max())


def test_a_closed_loop_never_has_more_in_flight_than_people() -> None:
    found = simulate(TABLE, drawn(LoadKind.CLOSED_LOOP, 12.0), max_num_seqs=64)
    assert in_flight(found) == 12
    thinking = simulate(TABLE, drawn(LoadKind.CLOSED_LOOP, 12.0, think_s=1.0), max_num_seqs=64)
    assert in_flight(thinking) <= 12
    assert thinking.done_s.max() > found.done_s.max()


def test_first_come_first_served() -> None:
    found = simulate(TABLE, drawn(LoadKind.OPEN_LOOP, 30.0), max_num_seqs=16)
    first_token = found.sent_s + found.ttft_s
    order = np.argsort(found.sent_s, kind="stable")
    late = np.maximum.accumulate(first_token[order]) - first_token[order]
    assert late.max() < 1.0  # chunks of a long prompt may let a short one behind it finish first


def test_more_load_waits_longer() -> None:
    means = [simulate(TABLE, drawn(LoadKind.OPEN_LOOP, rate), max_num_seqs=32).e2e_s.mean() for rate in (2, 8, 20)]
    assert means == sorted(means)


def test_the_same_traffic_gives_the_same_run() -> None:
    one = simulate(TABLE, drawn(LoadKind.OPEN_LOOP, 8.0), max_num_seqs=32)
    two = simulate(TABLE, drawn(LoadKind.OPEN_LOOP, 8.0), max_num_seqs=32)
    assert np.array_equal(one.e2e_s, two.e2e_s)
    assert (one.steps, one.busy_s) == (two.steps, two.busy_s)


def test_drawn_traffic_has_the_moments_that_were_asked_for() -> None:
    traffic = drawn(LoadKind.OPEN_LOOP, 8.0, requests=40_000, burstiness=4.0)
    gaps = np.diff(traffic.arrivals_s)
    assert traffic.prompt_tokens.mean() == pytest.approx(300.0, rel=0.03)
    assert np.percentile(traffic.prompt_tokens, 95) == pytest.approx(700.0, rel=0.04)
    assert gaps.mean() == pytest.approx(1 / 8.0, rel=0.05)
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(4.0, rel=0.15)
    even = drawn(LoadKind.OPEN_LOOP, 8.0, burstiness=0.0)
    assert np.ptp(np.diff(even.arrivals_s)) == pytest.approx(0.0, abs=1e-9)
    fixed = draw_traffic(
        np.random.default_rng(1), 10, kind=LoadKind.OFFLINE, amount=10, prompt=(7.0, 7.0), output=(3.0, 3.0)
    )
    assert set(fixed.prompt_tokens) == {7.0}
    assert set(fixed.output_tokens) == {3.0}
    assert set(fixed.arrivals_s) == {0.0}
