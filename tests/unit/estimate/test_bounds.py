"""Bounds by hand: Llama 2 7B in 16 bit on an H100."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferplan.domain.estimate import Latency, Range
from inferplan.estimate.bounds import least_prompt_s, least_tpot_s, not_below
from inferplan.estimate.latencies import Quantiles
from inferplan.estimate.replica import ReplicaTable
from inferplan.planner import Planner
from tests.builders import make_catalog, make_gpu, make_model, make_scenario


def table() -> ReplicaTable:
    catalog = make_catalog(models=(make_model(),), gpus=(make_gpu(),))
    return Planner(catalog)._static_table(make_scenario()).replica.take(np.array([0]))


def test_a_step_reads_the_weights_and_the_running_sequences_once() -> None:
    # 6.738e9 - 0.131e9 (embedding) parameters in 2 bytes, and 4 sequences of 1000 tokens x 524,288 bytes
    bytes_read = (6_738_415_616 - 32_000 * 4096) * 2 + 4 * 1000 * 524_288
    assert least_tpot_s(table(), 1000.0, np.array([4.0]))[0] == pytest.approx(bytes_read / 3.35e12, rel=1e-3)


def test_a_prompt_takes_two_operations_for_every_parameter_and_token() -> None:
    layers = 6_738_415_616 - 2 * 32_000 * 4096
    assert least_prompt_s(table(), 1000.0)[0] == pytest.approx(1000 * 2 * layers / 989e12, rel=1e-3)


def test_a_pipeline_reads_its_layers_stage_after_stage_and_the_head_once() -> None:
    one = table()
    halves = replace(
        one,
        pp=np.array([2.0]),
        always_bytes=one.always_bytes / 2,
        kv_full_bytes_per_token=one.kv_full_bytes_per_token / 2,
        layer_flop_per_token=one.layer_flop_per_token / 2,
    )
    alone = np.array([1.0])
    assert least_tpot_s(halves, 1000.0, alone)[0] == pytest.approx(least_tpot_s(one, 1000.0, alone)[0])
    assert least_prompt_s(halves, 1000.0)[0] == pytest.approx(least_prompt_s(one, 1000.0)[0])
    # of eight sequences a stage works on four at a time
    assert least_tpot_s(halves, 1000.0, 8 * alone)[0] == pytest.approx(least_tpot_s(one, 1000.0, 4 * alone)[0])


def test_no_end_of_a_range_is_left_below_the_bound() -> None:
    figure = Range(0.1, 1.0, 2.0)
    for least, raised in ((0.5, (0.5, 1.0, 2.0)), (1.5, (1.5, 1.5, 2.0)), (5.0, (5.0, 5.0, 5.0))):
        assert not_below(Latency(*[figure] * 5), Quantiles(*[np.array([least])] * 5)).p95 == Range(*raised)
