"""From the scenario's load and a number of replicas to what the estimator is asked, and back."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind, Scenario
from inferplan.estimate.estimator import Prediction, least_throughput, predict, saturation
from inferplan.estimate.replica_load import ReplicaLoad
from inferplan.planner.constraints import max_model_len

if TYPE_CHECKING:
    from inferplan.planner.field import Field

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the targets are judged on: the conservative end of each range at the SLO's percentile, shape (m,).

    Parameters
    ----------
    offered_rps, capacity_rps
        Requests per second offered to one replica, and what it is sure to serve.
    running
        Mean number of running sequences of one replica.
    completed_rps
        Requests per second that one replica completes at this load.
    """

    offered_rps: Floats
    capacity_rps: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    run_duration_s: Floats
    running: Floats
    completed_rps: Floats

    def take(self, rows: NDArray[np.intp]) -> Forecast:
        """Keep some rows."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def replica_load(
    scenario: Scenario, replicas: Ints | int, max_num_seqs: Ints | int, load_factor: float = 1.0
) -> ReplicaLoad:
    """Share of the scenario's load that falls on one of ``replicas`` equal replicas."""
    work = scenario.workload
    share = load_factor / np.asarray(replicas, dtype=np.float64)
    users = rate = items = None
    if work.kind is LoadKind.CLOSED_LOOP:
        users = (work.concurrent_users or 0) * share
    elif work.kind is LoadKind.OPEN_LOOP:
        rate = (work.request_rate_rps or 0.0) * share
    else:
        items = (work.items or 0) * share
    return ReplicaLoad(
        kind=work.kind,
        task=scenario.task,
        users=users,
        rate_rps=rate,
        items=items,
        think_time_s=work.think_time_s,
        isl_mean=work.prompt.mean,
        isl_p95=work.prompt.p95,
        osl_mean=work.output.mean if scenario.task is Task.GENERATION else 1,
        osl_p95=work.output.p95 if scenario.task is Task.GENERATION else 1,
        shared_prefix_tokens=work.shared_prefix_tokens,
        burstiness=work.burstiness,
        max_num_seqs=np.asarray(max_num_seqs, dtype=np.float64),
        max_model_len=max_model_len(scenario),
    )


def forecast(
    field: Field, scenario: Scenario, row: Ints, max_num_seqs: Ints, replicas: Ints, load_factor: float
) -> Forecast:
    """Predict each candidate and keep what the targets are judged on."""
    load = replica_load(scenario, replicas, max_num_seqs, load_factor)
    return conservative(predict(field.replica.take(row), load), scenario, replicas, load_factor)


CHUNK = 16_384
"""Rows answered at once, so that what is computed on the way stays small."""


def saturation_rps(field: Field, scenario: Scenario, row: Ints, max_num_seqs: Ints) -> tuple[Floats, Floats]:
    """Requests per second at which one replica saturates: expected, and as a bound of replicas, shape (m,).

    A rate and a batch run must fit the conservative end. People who wait for their answers slow down with the replicas,
    and one alone is never too many, so what they need at least is bounded by the expected capacity.
    """
    expected, at_least = np.empty(len(row)), np.empty(len(row))
    kind = scenario.workload.kind
    for start in range(0, len(row), CHUNK):
        part = slice(start, start + CHUNK)
        table = field.replica.take(row[part])
        expected[part] = saturation(table, replica_load(scenario, 1, max_num_seqs[part]))
        factor = 1.0 if kind is LoadKind.CLOSED_LOOP else least_throughput(table, kind)
        at_least[part] = expected[part] * factor
    return expected, at_least


def conservative(prediction: Prediction, scenario: Scenario, replicas: Ints, load_factor: float) -> Forecast:
    """Take the conservative end of every range at the SLO's percentile."""
    at = scenario.slo.percentile
    capacity = prediction.capacity_at_least_rps
    completed, duration = prediction.completed_rps, np.zeros_like(capacity)
    if scenario.workload.kind is LoadKind.OFFLINE:
        completed = capacity
        items = (scenario.workload.items or 0) * load_factor
        duration = items / np.maximum(capacity * replicas, 1e-12)
    return Forecast(
        offered_rps=prediction.offered_rps,
        capacity_rps=capacity,
        ttft_s=prediction.ttft_at_most.at(at),
        tpot_s=prediction.tpot_at_most.at(at),
        e2e_s=prediction.e2e_at_most.at(at),
        run_duration_s=duration,
        running=prediction.running,
        completed_rps=completed,
    )


def least_rate_rps(scenario: Scenario, load_factor: float) -> float:
    """Requests per second that any deployment which meets the targets completes; 0 if nothing forces a rate.

    Notes
    -----
    Open loop: the arrival rate. Batch: items / deadline. Closed loop: ``N / (E + Z)`` by Little's law, with the
    longest mean response E that the targets leave (the latency target, or TTFT target + output x TPOT target).
    """
    work, slo = scenario.workload, scenario.slo
    if work.kind is LoadKind.OPEN_LOOP:
        return (work.request_rate_rps or 0.0) * load_factor
    if work.kind is LoadKind.OFFLINE:
        return (work.items or 0) * load_factor / work.time_limit_s if work.time_limit_s else 0.0
    longest = []
    if slo.e2e_latency_s is not None:
        longest.append(slo.e2e_latency_s)
    if slo.ttft_s is not None and slo.tpot_s is not None:
        longest.append(slo.ttft_s + work.output.mean * slo.tpot_s)
    users = (work.concurrent_users or 0) * load_factor
    return users / (min(longest) + work.think_time_s) if longest else 0.0
