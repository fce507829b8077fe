"""A simulated plan beside what the closed formulas say of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.plan import Plan
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.estimator import Prediction, predict
from inferplan.estimate.latencies import Quantiles
from inferplan.estimate.lengths import PERCENTILES
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.replica_load import ReplicaLoad
from inferplan.estimate.simulation import Simulated
from inferplan.report.numbers import number
from inferplan.report.outline import Report, Section, Table

Floats = NDArray[np.float64]

WARM_UP_SHARE = 0.2
"""Share of the requests at the start that is left out of a steady load's distribution."""


@dataclass(frozen=True, slots=True)
class SimulatedPlan:
    """A plan, what the estimator was asked about one of its replicas, and what became of the drawn requests."""

    scenario: str
    plan: Plan
    table: ReplicaTable
    load: ReplicaLoad
    found: Simulated
    seed: int


@dataclass(frozen=True, slots=True)
class Compared:
    """One statistic of one latency [ms]."""

    metric: str
    statistic: str
    simulated: float
    closed_form: float

    @property
    def difference(self) -> float:
        """Closed form over simulation, less one."""
        return self.closed_form / self.simulated - 1.0 if self.simulated else 0.0


def compare(run: SimulatedPlan) -> tuple[Compared, ...]:
    """Compare mean and percentiles of all three latencies.

    A run of items that are all there at once has no steady state, so its closed form speaks of TPOT alone.
    """
    prediction = predict(run.table, run.load)
    steady = run.load.kind is not LoadKind.OFFLINE
    start = int(len(run.found.ttft_s) * WARM_UP_SHARE) if steady else 0
    return tuple(
        row
        for metric, values, closed in _metrics(run.found, prediction)
        if steady or metric == "TPOT"
        for row in _rows(metric, values[start:], closed)
    )


def _metrics(found: Simulated, prediction: Prediction) -> Iterator[tuple[str, Floats, Quantiles]]:
    yield "TTFT", found.ttft_s, prediction.ttft
    yield "TPOT", found.tpot_s, prediction.tpot
    yield "E2E", found.e2e_s, prediction.e2e


def _rows(metric: str, values: Floats, closed: Quantiles) -> Iterator[Compared]:
    known = values[np.isfinite(values)]
    if not len(known):
        return
    yield Compared(metric, "mean", 1e3 * float(known.mean()), 1e3 * float(closed.mean[0]))
    for percentile in PERCENTILES:
        simulated = 1e3 * float(np.percentile(known, percentile))
        yield Compared(metric, f"P{percentile}", simulated, 1e3 * float(closed.at(percentile)[0]))


def simulation_report(run: SimulatedPlan) -> Report:
    """Tell what became of the simulated requests, and where the closed formulas differ."""
    rows = tuple(
        (row.metric, row.statistic, number(row.simulated), number(row.closed_form), f"{100 * row.difference:+.0f} %")
        for row in compare(run)
    )
    table = Table(("Latency", "Statistic", "Simulated ms", "Closed form ms", "Difference"), rows, frozenset({2, 3, 4}))
    found = run.found
    elapsed = float(np.max(found.done_s) - np.min(found.sent_s))
    requests = len(found.ttft_s)
    points = [
        f"{requests:,} requests of one of {run.plan.configuration.replicas} replicas, seed {run.seed}",
        f"{found.steps:,} steps in {number(elapsed)} s, the engine busy for {100 * found.busy_s / elapsed:.0f} % of it",
        f"{number(requests / elapsed)} requests/s",
        f"{found.preemptions:,} sequences put back because the KV pool was full",
    ]
    if run.load.kind is LoadKind.OPEN_LOOP and float(predict(run.table, run.load).utilization[0]) > 1.0:
        points.append("⚠️ the offered load cannot be served: waits grow for as long as it lasts")
    sections = (Section("Run", points=tuple(points)), Section("Latencies", table=table))
    return Report(run.scenario, run.plan.configuration.title, good=True, sections=sections)
