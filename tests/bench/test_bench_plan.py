"""How long planning takes and how much memory it needs, measured; printed, and held to generous bounds."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenario_file
from inferplan.catalog import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.scenario import Scenario
from inferplan.planner import Planner

pytestmark = pytest.mark.bench

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("chatbot", "summarization", "batch-classification")
REPEATS = 15
PER_MIB = 2**20 if sys.platform == "darwin" else 2**10
MOST_PROCESS_S = 5.0
MOST_PROCESS_MIB = 400.0


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def scenario(name: str, catalog: Catalog) -> Scenario:
    document = read_scenario_file(EXAMPLES / f"{name}-scenario.yaml").scenarios[0]
    return to_scenario(document.resource, catalog, document.locate).scenario


def times_s(work: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return found


def spread(found: list[float]) -> str:
    low, middle, high = min(found), statistics.median(found), max(found)
    return f"median {middle * 1e3:7.1f} ms, min {low * 1e3:7.1f}, max {high * 1e3:7.1f} ({len(found)} runs)"


def reference_loop() -> float:
    """Work of a fixed amount, part interpreter and part NumPy, so that machines can be compared."""
    total = 0.0
    for index in range(300_000):
        total += (index % 7) * 0.5
    values = np.arange(1_000_000, dtype=np.float64)
    for _ in range(10):
        values = np.sqrt(values * 1.0001 + 1.0)
    return total + float(values.sum())


def machine() -> str:
    load = os.getloadavg()[0]
    return f"Python {sys.version.split()[0]}, NumPy {np.__version__}, {os.cpu_count()} CPUs, load {load:.1f}"


@pytest.mark.parametrize("name", NAMES)
def test_planning_in_a_warm_process(catalog: Catalog, name: str) -> None:
    wanted, planner = scenario(name, catalog), Planner(catalog)
    begun = time.perf_counter()
    outcome = planner.plan(wanted)
    first_s = time.perf_counter() - begun
    best, full, yardstick = [], [], []
    for _ in range(REPEATS):
        best += times_s(lambda: planner.best(wanted), 1)
        full += times_s(lambda: planner.plan(wanted), 1)
        yardstick += times_s(reference_loop, 1)
    ratio = statistics.median(best) / statistics.median(yardstick)
    print(f"\n{name}: {outcome.search.candidates:,} candidates, {outcome.search.shapes:,} shapes; {machine()}")
    print(f"  first plan of the process        {first_s * 1e3:7.1f} ms")
    print(f"  search of the whole catalog      {spread(best)}")
    print(f"  plan: tiers, growth, what-ifs    {spread(full)}")
    print(f"  reference loop                   {spread(yardstick)}")
    print(f"  search / reference loop          {ratio:7.2f}")
    assert outcome.chosen is not None
    assert outcome.search.candidates > 0


def test_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "inferplan", "plan", str(EXAMPLES / "chatbot-scenario.yaml"), "-o", "json"]
    walls, peaks = [], []
    for _ in range(REPEATS):
        wall_s, peak_mib, out = measured(command)
        assert json.loads(out)["plan"]
        walls.append(wall_s)
        peaks.append(peak_mib)
    starts = times_s(lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True), 5)
    print(f"\ninferplan plan as a new process: {spread(walls)}; {machine()}")
    print(f"  of which Python and NumPy        {spread(starts)}")
    print(f"  peak memory                      {max(peaks):.0f} MiB")
    assert statistics.median(walls) < MOST_PROCESS_S
    assert max(peaks) < MOST_PROCESS_MIB


LAUNCHER = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=True)
wall = time.perf_counter() - begun
print(json.dumps([wall, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.stdout]))
"""
"""A small parent: a child's peak memory counts from what its parent had when it was forked."""


def measured(command: list[str]) -> tuple[float, float, str]:
    """Run a command: seconds, peak memory in MiB, what it printed."""
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True, check=True)
    wall_s, peak, out = json.loads(done.stdout)
    return wall_s, peak / PER_MIB, out


def test_many_scenarios_at_once(catalog: Catalog) -> None:
    """Scenarios that differ in their load, as a busy operator sees them."""
    wanted, planner = scenario("chatbot", catalog), Planner(catalog)
    planner.best(wanted)
    loads = range(10, 210, 10)
    begun = time.perf_counter()
    for users in loads:
        planner.best(replace(wanted, workload=replace(wanted.workload, concurrent_users=users)))
    each_s = (time.perf_counter() - begun) / len(loads)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / PER_MIB
    print(f"\n{len(loads)} scenarios of different load: {each_s * 1e3:.1f} ms each, peak {peak_mib:.0f} MiB")
