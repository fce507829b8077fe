"""How fast measured runs are predicted and scored, measured; printed, and held to generous bounds."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from inferplan.accuracy.matching import Matcher
from inferplan.accuracy.outcome import answer
from inferplan.accuracy.runs import read_table
from inferplan.accuracy.score import score
from inferplan.catalog import load_catalog, load_yardsticks
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.simulation import simulate
from inferplan.estimate.traffic import draw_traffic
from tests.unit.estimate.test_simulation import TABLE

pytestmark = pytest.mark.bench

RUNS = Path(__file__).parents[1] / "golden" / "accuracy" / "runs.csv"
COPIES, REPEATS = 120, 3
FEWEST_ROWS_PER_S = 300.0
"""On 2 shared cores: some 4,000 rows in one to two seconds (2026-11-25)."""
MOST_SIMULATION_S = 10.0
"""On 2 shared cores: 3,000 requests in about one second (2026-11-25)."""


def test_rows_per_second() -> None:
    header, *lines = RUNS.read_bytes().splitlines()
    data = b"\n".join([header, *lines * COPIES])
    catalog, yardsticks = load_catalog(), load_yardsticks()
    found = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        runs = read_table(data, "runs.csv")
        answers = answer(runs, Matcher(catalog, yardsticks), catalog.calibrations)
        score(answers)
        found.append(len(runs) / (time.perf_counter() - begun))
    print(f"\naccuracy: {len(lines) * COPIES:,} rows, median {statistics.median(found):,.0f} rows/s read to score")
    assert statistics.median(found) > FEWEST_ROWS_PER_S


def test_simulated_requests_per_second() -> None:
    traffic = draw_traffic(
        np.random.default_rng(1),
        3_000,
        kind=LoadKind.OPEN_LOOP,
        amount=8.0,
        prompt=(800.0, 2000.0),
        output=(250.0, 600.0),
    )
    begun = time.perf_counter()
    steps = simulate(TABLE, traffic, max_num_seqs=256).steps
    took = time.perf_counter() - begun
    print(f"\nsimulation: 3,000 requests, {steps:,} steps in {took:.2f} s")
    assert took < MOST_SIMULATION_S
