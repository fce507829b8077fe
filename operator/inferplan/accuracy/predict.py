"""Predictions for measured runs: latencies, throughput and memory of every case at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.groups import KINDS, Group, prepare, replica_load
from inferplan.accuracy.matching import Case
from inferplan.accuracy.runs import LoadType
from inferplan.domain.calibration import Calibration
from inferplan.domain.scenario import LoadKind
from inferplan.domain.units import GIB
from inferplan.estimate.at_once import AtOnce, crowd, static_batch
from inferplan.estimate.bounds import least_prompt_s, least_tpot_s
from inferplan.estimate.estimator import Prediction, predict
from inferplan.estimate.memory import kv_pool_bytes, kv_pool_tokens
from inferplan.estimate.replica_load import ReplicaLoad, batch_slots, prompt_of, running_context
from inferplan.estimate.roofline import step_model
from inferplan.estimate.throughput import pace

Floats = NDArray[np.float64]

_MS = 1e3


@dataclass(frozen=True, slots=True)
class Figure:
    """A predicted figure per case; NaN where there is none. Shape (n,) each."""

    mean: Floats
    median: Floats
    low: Floats
    high: Floats
    """Factors to the ends of the range."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What is predicted for each case, in their order; latencies in ms, memory per GPU.

    ``fits`` is false where the weights leave no KV pool: the prediction then means nothing.
    ``prompt_floor_ms`` and ``token_floor_ms`` are what physics allows at least.
    """

    ttft_ms: Figure
    tpot_ms: Figure
    e2e_ms: Figure
    output_tok_s: Figure
    kv_pool_tokens: Floats
    kv_pool_gib: Floats
    weights_gib: Floats
    evidence_code: Floats
    prompt_floor_ms: Floats
    token_floor_ms: Floats
    fits: NDArray[np.bool_]


def predict_cases(cases: Sequence[Case], calibrations: Sequence[Calibration]) -> Predictions:
    """Predict all cases; see :func:`~inferplan.accuracy.groups.prepare` and :func:`evaluate`."""
    return evaluate(prepare(cases, calibrations), len(cases))


def evaluate(groups: Sequence[Group], count: int) -> Predictions:
    """Predict prepared groups of ``count`` cases in all, in the order of the cases."""
    parts = [(group.places, predict_group(group)) for group in groups]

    def gathered(read: Callable[[Predictions], NDArray[Any]], empty: Any) -> NDArray[Any]:  # noqa: ANN401 - a number or a bool
        whole = np.full(count, empty)
        for places, part in parts:
            whole[places] = read(part)
        return whole

    def figure(name: str) -> Figure:
        return Figure(*(gathered(_reader(name, f.name), np.nan) for f in fields(Figure)))

    columns: dict[str, Any] = {
        f.name: figure(f.name)
        if f.type == "Figure"
        else gathered(lambda part, name=f.name: getattr(part, name), False if f.name == "fits" else np.nan)  # type: ignore[misc]
        for f in fields(Predictions)
    }
    return Predictions(**columns)


def _reader(name: str, statistic: str) -> Callable[[Predictions], NDArray[Any]]:
    def read(part: Predictions) -> NDArray[Any]:
        values: NDArray[Any] = getattr(getattr(part, name), statistic)
        return values

    return read


def predict_group(group: Group) -> Predictions:
    """Predict the cases of one group, in the group's order."""
    if group.load is LoadType.STARTUP:
        nothing = np.full(len(group.places), np.nan)
        return _predictions(group, {}, running=np.ones(len(group.places)), nothing=nothing)
    if group.load is LoadType.STATIC_BATCH:
        return _static(group)
    if group.load is LoadType.OFFLINE:
        return _offline(group)
    return _served(group)


def _static(group: Group) -> Predictions:
    batch = np.maximum(group.amount, 1.0)
    load = replica_load(group, LoadKind.OFFLINE, batch)
    step = step_model(group.table, running_context(load))
    slots = batch_slots(group.table, load, group.output)
    found = static_batch(group.table, step, batch=batch, slots=slots, prompt=group.prompt, output=group.output)
    return _at_once(group, found, batch, np.minimum(batch, slots))


def _at_once(group: Group, found: AtOnce, requests: Floats, running: Floats) -> Predictions:
    latencies = {
        "ttft": (found.ttft_s, found.ttft_s),
        "tpot": (found.tpot_s, found.tpot_s),
        "e2e": (found.e2e_s, found.e2e_s),
        "throughput": (requests * group.output / found.makespan_s,) * 2,
    }
    return _predictions(group, latencies, running=running, nothing=np.full(len(requests), np.nan))


def _offline(group: Group) -> Predictions:
    """Everything at once: a crowd of known size, or a queue that never ends."""
    load = replica_load(group, LoadKind.OFFLINE, group.amount)
    full = predict(group.table, load)
    known = np.where(np.isfinite(group.amount), group.amount, group.requests)
    crowd_size = np.maximum(np.nan_to_num(known, nan=1.0), 1.0)
    step = step_model(group.table, running_context(load))
    found = crowd(
        group.table,
        step,
        requests=crowd_size,
        slots=full.slots,
        tokens=np.maximum(group.prompt - group.cached, 1.0),
        prefix=group.cached,
        output=group.output,
        tpot_full_s=full.tpot.mean,
        service_full_s=full.slots / full.capacity_rps,
    )
    overhead = group.table.constant("request_overhead_s")
    endless = ~np.isfinite(known)
    nothing = np.full(len(known), np.nan)
    ttft = np.where(endless, nothing, found.ttft_s + overhead)
    tpot = np.where(endless, full.tpot.mean, found.tpot_s)
    rate = np.where(endless, full.output_tps_total, crowd_size * group.output / found.makespan_s)
    latencies = {
        "ttft": (ttft, ttft),
        "tpot": (tpot, tpot),
        "e2e": (ttft + (group.output - 1.0) * tpot,) * 2,
        "throughput": (rate, rate),
    }
    return _predictions(group, latencies, running=np.minimum(crowd_size, full.slots), nothing=nothing)


def _served(group: Group) -> Predictions:
    """Steady load; what an overload adds depends on how long it lasted."""
    kind = KINDS[group.load]
    load = replica_load(group, kind, group.amount)
    found = predict(group.table, load)
    ttft_mean, ttft_median = found.ttft.mean, found.ttft.p50
    e2e_mean, e2e_median = found.e2e.mean, found.e2e.p50
    tpot_mean, tpot_median = found.tpot.mean, found.tpot.p50
    if group.load is LoadType.OPEN_LOOP:
        waits = _overload_wait(group, found)
        over = found.utilization > 1.0
        base = np.where(over, found.ttft.mean - _slot_wait(group, found), ttft_mean)
        ttft_mean = np.where(over, base + waits, ttft_mean)
        ttft_median = np.where(over, base + waits, ttft_median)
        e2e_mean = np.where(over, ttft_mean + (group.output - 1.0) * tpot_mean, e2e_mean)
        e2e_median = np.where(over, e2e_mean, e2e_median)
    if np.any(group.gap_medians):
        tpot_median = np.where(group.gap_medians, _median_gap(group, load, found), tpot_median)
    latencies = {
        "ttft": (ttft_mean, ttft_median),
        "tpot": (tpot_mean, tpot_median),
        "e2e": (e2e_mean, e2e_median),
        "throughput": (found.output_tps_total, found.output_tps_total),
    }
    return _predictions(group, latencies, running=found.running, nothing=np.full(len(ttft_mean), np.nan))


def _slot_wait(group: Group, found: Prediction) -> Floats:
    """What the estimator's own wait for a place adds where it is capped just below saturation."""
    load = replica_load(group, LoadKind.OFFLINE, group.amount)
    step = step_model(group.table, running_context(load))
    now = pace(step, prompt_of(group.table, load, step, found.slots), group.output, found.running)
    overhead = group.table.constant("request_overhead_s")
    return found.ttft.mean - overhead - now.before_s - prompt_of(group.table, load, step, found.slots).alone


def _overload_wait(group: Group, found: Prediction) -> Floats:
    """Mean wait of requests that come faster than they go.

    Notes
    -----
    The i-th of N requests waits ``i (1/X - 1/rate)`` with X completed per second, half of the last on average; a client
    that keeps at most C in flight makes it ``C / X`` less the time in a place. NaN if neither N nor C is known.
    """
    served = found.capacity_rps
    growing = group.requests / 2.0 * np.maximum(1.0 / served - 1.0 / group.amount, 0.0)
    capped = np.maximum(group.most_in_flight - found.running, 0.0) / served
    return np.where(np.isfinite(group.most_in_flight), capped, growing)


def _median_gap(group: Group, load: ReplicaLoad, found: Prediction) -> Floats:
    """Median of single gaps: a bare step where fewer than half of the steps hold a prompt.

    Notes
    -----
    A step holds a prompt with probability ``1 - exp(-f)`` for f prompts per step on average.
    """
    step = step_model(group.table, running_context(load))
    prompt = prompt_of(group.table, load, step, found.slots)
    per_step = found.running / group.output * prompt.steps
    bare = step.time(found.running)
    return np.where(-np.expm1(-per_step) < 0.5, bare, found.tpot.mean)  # noqa: PLR2004 - a half: the median


def _predictions(
    group: Group, latencies: dict[str, tuple[Floats, Floats]], *, running: Floats, nothing: Floats
) -> Predictions:
    table = group.table
    kind = KINDS[group.load].value

    def figure(metric: str, scale: Floats | float) -> Figure:
        mean, median = latencies.get(metric, (nothing, nothing))
        low, high = table.factors(metric, kind)
        return Figure(mean * scale, median * scale, low, high)

    prompt_floor = least_prompt_s(table, np.maximum(group.prompt - group.cached, 1.0))
    if group.load is LoadType.STATIC_BATCH:
        prompt_floor = prompt_floor * np.maximum(group.amount, 1.0)
    pool = kv_pool_bytes(table, group.sequences)
    return Predictions(
        ttft_ms=figure("ttft", _MS),
        tpot_ms=figure("tpot", _MS),
        e2e_ms=figure("e2e", _MS),
        output_tok_s=figure("throughput", group.replicas),
        kv_pool_tokens=kv_pool_tokens(table, group.length, group.sequences, by_length=group.by_length),
        kv_pool_gib=pool / GIB,
        weights_gib=table.weights_bytes / GIB,
        evidence_code=table.evidence_code,
        prompt_floor_ms=prompt_floor * _MS,
        token_floor_ms=least_tpot_s(table, group.prompt, running) * _MS,
        fits=pool > 0,
    )
