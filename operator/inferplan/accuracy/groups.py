"""Cases as columns: all cases of one load type, arrival pattern and GPU in one table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.matching import Case
from inferplan.accuracy.runs import LoadType
from inferplan.domain.calibration import Calibration
from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.memory import logs_by_length
from inferplan.estimate.replica import ReplicaTable, build_replicas
from inferplan.estimate.replica_load import ReplicaLoad

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Thing = TypeVar("Thing")

KINDS = {
    LoadType.STATIC_BATCH: LoadKind.OFFLINE,
    LoadType.CLOSED_LOOP: LoadKind.CLOSED_LOOP,
    LoadType.OPEN_LOOP: LoadKind.OPEN_LOOP,
    LoadType.OFFLINE: LoadKind.OFFLINE,
    LoadType.STARTUP: LoadKind.OFFLINE,
}
"""Whose ranges hold for a load type."""
NO_LIMIT = 1_000_000
"""Context limit of a prediction: the run took place, so its lengths were allowed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cases of one load type and arrival pattern as a table, with columns of their load; shape (n,) each.

    ``places`` are the cases' places in the sequence that was prepared. ``amount`` is the load of one replica: batch,
    requests in flight, requests per second, or how many at once (NaN if not known).
    """

    load: LoadType
    places: Places
    table: ReplicaTable
    prompt: Floats
    output: Floats
    tail: Floats
    cached: Floats
    sequences: Floats
    length: Floats
    """Longest sequence that the engine was started for [tokens]."""
    by_length: NDArray[np.bool_]
    """Whether the engine's version logs its pool by that length."""
    amount: Floats
    requests: Floats
    most_in_flight: Floats
    replicas: Floats
    gap_medians: NDArray[np.bool_]
    """Whether the measured gap is the median over single gaps, and not over requests."""
    burstiness: float


def prepare(cases: Sequence[Case], calibrations: Sequence[Calibration]) -> tuple[Group, ...]:
    """Build the tables of all cases.

    Notes
    -----
    One table for each (load type, arrival pattern, GPU): an engine whose settings are a run's own is then resolved for
    its own GPU alone.
    """

    def key(case: Case) -> tuple[str, float, str]:
        return case.load.value, case.settings.burstiness, case.gpu.id

    places: dict[tuple[str, float, str], list[int]] = {}
    for place, case in enumerate(cases):
        places.setdefault(key(case), []).append(place)
    return tuple(_group(np.array(at), [cases[i] for i in at], calibrations) for _, at in sorted(places.items()))


def _group(places: Places, cases: list[Case], calibrations: Sequence[Calibration]) -> Group:
    def column(value: Callable[[Case], float | None]) -> Floats:
        return np.array([np.nan if (found := value(case)) is None else found for case in cases], dtype=np.float64)

    first = cases[0]
    replicas = column(lambda case: case.replicas)
    return Group(
        load=first.load,
        places=places,
        table=_table(cases, calibrations),
        prompt=np.nan_to_num(column(lambda case: case.settings.prompt_tokens), nan=1.0),
        output=np.nan_to_num(column(lambda case: case.settings.output_tokens), nan=1.0),
        tail=column(lambda case: case.settings.tail),
        cached=column(lambda case: case.settings.cached_tokens),
        sequences=column(lambda case: case.settings.max_num_seqs),
        length=column(lambda case: case.settings.max_model_len or float(case.model.max_position_embeddings)),
        by_length=np.array([logs_by_length(case.run.engine_version or case.engine.version) for case in cases]),
        amount=column(lambda case: case.run.load_value) / replicas,
        requests=column(lambda case: case.settings.requests) / replicas,
        most_in_flight=column(lambda case: case.settings.most_in_flight) / replicas,
        replicas=replicas,
        gap_medians=np.array([c.run.latency_metric == "itl" and c.run.tpot.is_median for c in cases], dtype=np.bool_),
        burstiness=first.settings.burstiness,
    )


def _table(cases: list[Case], calibrations: Sequence[Calibration]) -> ReplicaTable:
    weights, weight = _distinct([(case.model, case.method) for case in cases], lambda w: (w[0].id, w[1]))
    engines, engine = _distinct(
        [case.engine for case in cases],
        lambda e: (e.id, e.version, e.memory_fraction, e.batched_tokens, e.eager, e.serves, e.text_only),
    )
    gpus, gpu = _distinct([case.gpu for case in cases], lambda g: g.id)
    kv_dtypes, kv = _distinct([case.kv_dtype for case in cases], lambda dtype: dtype)
    return build_replicas(
        weights=weights,
        engines=engines,
        gpus=gpus,
        kv_dtypes=kv_dtypes,
        calibrations=calibrations,
        weight=weight,
        engine=engine,
        gpu=gpu,
        kv=kv,
        tp=np.array([case.tp for case in cases]),
        pp=np.array([case.pp for case in cases]),
    )


def _distinct(things: list[Thing], key: Callable[[Thing], Hashable]) -> tuple[list[Thing], Places]:
    """Distinct things in order of appearance, and the index of each one of ``things`` among them."""
    index: dict[Hashable, int] = {}
    found: list[Thing] = []
    at = np.empty(len(things), dtype=np.int64)
    for place, thing in enumerate(things):
        known = index.setdefault(key(thing), len(found))
        if known == len(found):
            found.append(thing)
        at[place] = known
    return found, at


def replica_load(group: Group, kind: LoadKind, amount: Floats) -> ReplicaLoad:
    """The group's load on one replica as the estimator takes it, ``amount`` of ``kind``."""
    return ReplicaLoad(
        kind=kind,
        task=Task.GENERATION,
        users=amount,
        rate_rps=amount,
        items=None,
        think_time_s=0.0,
        isl_mean=group.prompt,
        isl_p95=group.prompt * group.tail,
        osl_mean=group.output,
        osl_p95=group.output * group.tail,
        shared_prefix_tokens=group.cached,
        burstiness=group.burstiness,
        max_num_seqs=group.sequences,
        max_model_len=NO_LIMIT,
        starts_together=True,
    )


def siblings_of(cases: Sequence[Case]) -> Places:
    """Number the cases such that siblings share one: runs of one source and release with one model on one GPU."""
    numbers: dict[tuple[str, ...], int] = {}
    keys = [(c.run.source_id, c.gpu.id, c.model.id, c.method.id, c.run.engine_version) for c in cases]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
