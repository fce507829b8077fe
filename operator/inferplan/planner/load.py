"""From the scenario's load and a number of replicas to what the estimator is asked, and back."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind, Scenario
from inferplan.estimate.estimator import Prediction, ReplicaLoad, predict, saturation, throughput_low
from inferplan.planner.constraints import max_model_len

if TYPE_CHECKING:
    from inferplan.planner.field import Field

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the targets are judged on: the careful end of each range at the SLO's percentile, shape (m,)."""

    utilization: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    run_duration_s: Floats
    running: Floats
    """Mean number of running sequences of one replica."""
    completed_rps: Floats
    """Requests per second that one replica completes at this load."""
    capacity_rps: Floats
    """Requests per second at which one replica saturates, expected for serving, careful for batch runs."""

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
    prediction = predict(field.replica.take(row), replica_load(scenario, replicas, max_num_seqs, load_factor))
    return careful(prediction, scenario, replicas, load_factor)


CHUNK = 16_384
"""Rows answered at once, so that what is computed on the way stays small."""


def saturation_rps(field: Field, scenario: Scenario, row: Ints, max_num_seqs: Ints) -> tuple[Floats, Floats]:
    """Requests per second at which one replica saturates: expected, and as targets are judged on it, shape (m,).

    Batch runs are judged at the careful end.
    """
    expected, careful_end = np.empty(len(row)), np.empty(len(row))
    for start in range(0, len(row), CHUNK):
        part = slice(start, start + CHUNK)
        table = field.replica.take(row[part])
        expected[part] = saturation(table, replica_load(scenario, 1, max_num_seqs[part]))
        factor = throughput_low(table, scenario.workload.kind) if scenario.workload.kind is LoadKind.OFFLINE else 1.0
        careful_end[part] = expected[part] * factor
    return expected, careful_end


def careful(prediction: Prediction, scenario: Scenario, replicas: Ints, load_factor: float) -> Forecast:
    """Take the careful end of every range at the SLO's percentile."""
    at = scenario.slo.percentile
    capacity = np.asarray(prediction.capacity_rps, dtype=np.float64)
    if scenario.workload.kind is LoadKind.OFFLINE:
        capacity = capacity * prediction.throughput_low
        items = (scenario.workload.items or 0) * load_factor
        duration = items / np.maximum(capacity * replicas, 1e-12)
        utilization = np.zeros_like(duration)
        completed = capacity
    else:
        duration = np.zeros_like(capacity)
        utilization = np.asarray(prediction.utilization, dtype=np.float64)
        completed = np.asarray(prediction.completed_rps, dtype=np.float64)
    return Forecast(
        utilization=utilization,
        ttft_s=prediction.ttft.at(at) * prediction.ttft_high,
        tpot_s=prediction.tpot.at(at) * prediction.tpot_high,
        e2e_s=prediction.e2e.at(at) * prediction.e2e_high,
        run_duration_s=duration,
        running=np.asarray(prediction.running, dtype=np.float64),
        completed_rps=completed,
        capacity_rps=capacity,
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
