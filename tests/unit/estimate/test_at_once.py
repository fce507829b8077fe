"""Requests that are all there at once: a static batch and a crowd, by hand and at their limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from inferplan.estimate.at_once import AtOnce, crowd, static_batch
from inferplan.estimate.prefill import attention_time
from inferplan.estimate.roofline import step_model
from tests.unit.estimate.test_simulation import TABLE

ONE = np.ones(1)
BUDGET = float(TABLE.max_num_batched_tokens[0])


def batch_of(size: float, prompt: float, output: float, slots: float = 1e9) -> AtOnce:
    step = step_model(TABLE, prompt + output / 2.0)
    return static_batch(TABLE, step, batch=ONE * size, slots=ONE * slots, prompt=ONE * prompt, output=ONE * output)


def test_a_batch_is_its_prompts_in_full_steps_and_a_step_for_each_further_token() -> None:
    step = step_model(TABLE, 600.0)
    found = batch_of(4, 500, 200)
    prefill = step.time(ONE * 0, ONE * 2000)[0] + 4 * attention_time(TABLE, ONE * 500, ONE * 0)[0]
    assert found.ttft_s[0] == pytest.approx(prefill)
    assert found.tpot_s[0] == pytest.approx(step.time(ONE * 4)[0])
    assert found.e2e_s[0] == pytest.approx(prefill + 199 * step.time(ONE * 4)[0])
    assert found.makespan_s[0] == found.e2e_s[0]


def test_a_batch_larger_than_the_pool_runs_in_waves() -> None:
    half, whole = batch_of(8, 500, 200, slots=8), batch_of(16, 500, 200, slots=8)
    assert whole.e2e_s[0] == pytest.approx(2 * half.e2e_s[0])
    assert whole.tpot_s[0] == half.tpot_s[0]


def test_a_batch_grows_no_faster_than_its_size() -> None:
    times = [batch_of(size, 300, 100).e2e_s[0] for size in (1, 2, 4, 8, 16, 32)]
    assert times == sorted(times)
    assert all(later < 2 * earlier for earlier, later in pairwise(times))


def crowd_of(requests: float, slots: float = 32.0, prompt: float = 500.0, output: float = 100.0) -> AtOnce:
    step = step_model(TABLE, prompt + output / 2.0)
    tpot = step.time(ONE * slots) * 1.5
    return crowd(
        TABLE,
        step,
        requests=ONE * requests,
        slots=ONE * slots,
        tokens=ONE * prompt,
        prefix=ONE * 0,
        output=ONE * output,
        tpot_full_s=tpot,
        service_full_s=tpot * output,
    )


def test_a_crowd_of_one_waits_for_nobody() -> None:
    step = step_model(TABLE, 550.0)
    found = crowd_of(1)
    assert found.ttft_s[0] == pytest.approx(
        (step.time(ONE * 0, ONE * 500) + attention_time(TABLE, ONE * 500, ONE * 0))[0], rel=0.05
    )
    assert found.tpot_s[0] == pytest.approx(step.time(ONE)[0], rel=0.05)


def test_a_crowd_is_taken_in_one_after_another() -> None:
    intake = TABLE.constant("intake_s")[0]
    step = step_model(TABLE, 501.0)
    work = 8 * (step.time(ONE * 0, ONE * 1000) / 2 + attention_time(TABLE, ONE * 500, ONE * 0))[0]
    found = crowd_of(8, output=1.0)
    assert found.makespan_s[0] > 7 * intake
    assert found.makespan_s[0] == pytest.approx(work + 7 * intake, rel=0.15)


def test_a_larger_crowd_waits_longer_and_takes_longer() -> None:
    sizes = (1, 4, 16, 32, 64, 256, 1024)
    found = [crowd_of(size) for size in sizes]
    for name in ("ttft_s", "e2e_s", "makespan_s"):
        values = [getattr(one, name)[0] for one in found]
        assert values == sorted(values)


def test_a_crowd_without_end_is_worked_off_at_the_pace_of_all_places() -> None:
    found = crowd_of(100_000)
    service = step_model(TABLE, 550.0).time(ONE * 32) * 1.5 * 100
    assert 100_000 / found.makespan_s[0] == pytest.approx(32 / service[0], rel=0.01)
    assert found.ttft_s[0] == pytest.approx(found.makespan_s[0] / 2, rel=0.02)
