"""Batches on their way through the stages of a pipeline: small cases by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferplan.domain.scenario import LoadKind
from inferplan.estimate.memory import kv_pool_tokens
from inferplan.estimate.prefill import attention_time
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.roofline import step_model
from inferplan.estimate.simulation import simulate
from tests.builders import make_model
from tests.property.test_simulation_agrees import table_of
from tests.unit.estimate.test_simulation import drawn, in_flight, overhead_s, sent

ONE, NONE = np.ones(1), np.zeros(1)
FOUR = table_of(make_model(), 1, 1.0, 1.0, stages=4)
BUDGET = float(FOUR.max_num_batched_tokens[0])


def stage_s(table: ReplicaTable, sequences: float, context: float, prompt: float = 0.0) -> float:
    """Mean time of a stage."""
    step = step_model(table, context)
    last = step.stage(ONE * sequences, prompt)[0]
    other = step.stage(ONE * sequences, prompt, is_last=False)[0]
    return float((last + 3 * other + attention_time(table, ONE * prompt, NONE)[0]) / 4)


def hops_s(tokens: float) -> float:
    step = step_model(FOUR, 0.0)
    return float(3 * (step.hop_latency[0] + tokens * step.hop_per_token[0]) + step.hop_latency[0])


def test_a_lone_request_passes_stage_after_stage_for_its_prompt_and_every_token() -> None:
    found = simulate(FOUR, sent([1_000.0], [11.0]), max_num_seqs=8)
    assert found.ttft_s[0] == pytest.approx(overhead_s(1_000.0) + 4 * stage_s(FOUR, 0, 0, 1_000.0) + hops_s(1_000.0))
    assert found.tpot_s[0] == pytest.approx(4 * stage_s(FOUR, 1, 1_005.0) + hops_s(1.0), rel=1e-3)
    assert found.steps == 11


def test_chunks_of_a_long_prompt_follow_each_other_through_the_stages() -> None:
    found = simulate(FOUR, sent([3 * BUDGET], [1.0]), max_num_seqs=8)
    assert found.steps == 3
    each = stage_s(FOUR, 0, 0, BUDGET) - float(attention_time(FOUR, ONE * BUDGET, NONE)[0]) / 4
    attention = float(attention_time(FOUR, ONE * 3 * BUDGET, NONE)[0]) / 4
    assert found.ttft_s[0] > overhead_s(3 * BUDGET) + 6 * each + attention
    assert found.ttft_s[0] < overhead_s(3 * BUDGET) + 6 * each + 4 * attention + 2 * hops_s(BUDGET)


def test_requests_of_different_batches_overlap() -> None:
    """Two prompts that fill a step each: the second is done one stage after the first, and they decode side by side."""
    found = simulate(FOUR, sent([BUDGET, BUDGET], [100.0, 100.0]), max_num_seqs=8)
    alone = simulate(FOUR, sent([BUDGET], [100.0]), max_num_seqs=8)
    assert found.ttft_s[0] == pytest.approx(alone.ttft_s[0])
    assert found.ttft_s[1] - found.ttft_s[0] == pytest.approx(stage_s(FOUR, 0, 0, BUDGET), rel=0.05)
    assert found.tpot_s[0] == pytest.approx(alone.tpot_s[0], rel=0.1)  # it waits for the other's prompt once


def test_the_batch_limit_counts_all_batches() -> None:
    found = simulate(FOUR, drawn(LoadKind.OPEN_LOOP, 30.0, requests=120), max_num_seqs=3)
    first_s = found.sent_s + found.ttft_s
    running = sorted([(s, 1) for s in first_s] + [(s, -1) for s in found.done_s])
    assert np.cumsum([step for _, step in running]).max() <= 3


def test_a_closed_loop_never_has_more_in_flight_than_people() -> None:
    found = simulate(FOUR, drawn(LoadKind.CLOSED_LOOP, 12.0, requests=120), max_num_seqs=64)
    assert in_flight(found) == 12


def test_a_full_pool_puts_sequences_back_and_loses_no_token() -> None:
    spare = kv_pool_tokens(FOUR, 4096, 8.0) - 2_000.0
    table = replace(FOUR, step_activations_bytes=FOUR.step_activations_bytes + spare * FOUR.kv_full_bytes_per_token)
    traffic = sent([600.0] * 3, [600.0] * 3)
    found, roomy = simulate(table, traffic, max_num_seqs=8), simulate(FOUR, traffic, max_num_seqs=8)
    assert found.preemptions >= 1
    assert roomy.preemptions == 0
    assert np.isfinite(found.done_s).all()
    assert found.done_s.max() > roomy.done_s.max()


def test_the_same_traffic_gives_the_same_run() -> None:
    one, two = (simulate(FOUR, drawn(LoadKind.OPEN_LOOP, 8.0, requests=100), max_num_seqs=32) for _ in range(2))
    assert np.array_equal(one.e2e_s, two.e2e_s)
    assert (one.steps, one.busy_s) == (two.steps, two.busy_s)
