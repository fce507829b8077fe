"""A table of runs answered: for each row its prediction beside what was measured, or why there is none."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from inferplan.accuracy.matching import Case, Matcher
from inferplan.accuracy.predict import Figure, Predictions, predict_cases
from inferplan.accuracy.runs import Measured, Run
from inferplan.domain.calibration import Calibration
from inferplan.domain.estimate import Evidence
from inferplan.estimate.replica import EVIDENCE


class Metric(enum.StrEnum):
    """What is predicted and may have been measured."""

    TTFT = "ttft_ms"
    TPOT = "tpot_ms"
    E2E = "e2e_ms"
    THROUGHPUT = "output_tok_s"
    KV_TOKENS = "kv_pool_tokens"
    KV_POOL = "mem_kv_pool_gib"
    WEIGHTS = "mem_weights_gib"


RANGED = (Metric.TTFT, Metric.TPOT, Metric.E2E, Metric.THROUGHPUT)
"""Metrics that are predicted with a range."""


@dataclass(frozen=True, slots=True)
class Value:
    """A predicted figure in the metric's unit; without a range both ends are the figure itself."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One row's prediction. ``values`` holds a value for every metric that could be predicted."""

    run: Run
    case: Case | None
    skipped: str
    values: tuple[tuple[Metric, Value], ...] = ()
    evidence: Evidence | None = None

    def value(self, metric: Metric) -> Value | None:
        """The predicted value of a metric, or None."""
        return dict(self.values).get(metric)


_READ: dict[Metric, Callable[[Run], float | None]] = {
    Metric.TTFT: lambda run: run.ttft.typical,
    Metric.TPOT: lambda run: run.tpot.typical,
    Metric.E2E: lambda run: run.e2e.typical,
    Metric.THROUGHPUT: lambda run: run.output_tok_s_total,
    Metric.KV_TOKENS: lambda run: run.kv_pool_tokens,
    Metric.KV_POOL: lambda run: run.mem_kv_pool_gib,
    Metric.WEIGHTS: lambda run: run.mem_weights_gib,
}


def measured(run: Run, metric: Metric) -> float | None:
    """What a run measured, in the statistic that is predicted for it: the mean or, failing that, the median."""
    found = _READ[metric](run)
    return found if found is not None and found > 0 else None


def answer(runs: Sequence[Run], matcher: Matcher, calibrations: Sequence[Calibration]) -> tuple[Answer, ...]:
    """Predict every run of a table, in its order."""
    matched = matcher.match(runs)
    predictions = predict_cases(matched.cases, calibrations)
    answers: dict[int, Answer] = {at: Answer(runs[at], None, reason) for at, reason in matched.skipped}
    columns = _columns(matched.cases, predictions)
    for place, case in enumerate(matched.cases):
        answers[case.at] = _answer(case, place, predictions, columns)
    return tuple(answers[at] for at in range(len(runs)))


_Columns = dict[Metric, NDArray[np.float64]]


def _answer(case: Case, place: int, predictions: Predictions, columns: _Columns) -> Answer:
    if not predictions.fits[place]:
        gpus = case.tp * case.pp
        return Answer(case.run, None, f"weights leave no room for a KV cache on {gpus} x {case.gpu.id}")
    values = tuple(
        (metric, Value(float(row[0]), float(row[1]), float(row[2])))
        for metric, column in columns.items()
        if isfinite((row := column[:, place])[1])
    )
    if not values:
        return Answer(case.run, None, "nothing that was measured can be predicted")
    return Answer(case.run, case, "", values, EVIDENCE[int(predictions.evidence_code[place])])


def _columns(cases: Sequence[Case], predictions: Predictions) -> _Columns:
    """Low, expected and high of every metric, shape (3, n) each."""
    ttft_floor, token_floor = predictions.prompt_floor_ms, predictions.token_floor_ms
    more = np.array([max((case.settings.output_tokens or 1.0) - 1.0, 0.0) for case in cases])
    floors = {
        Metric.TTFT: ttft_floor,
        Metric.TPOT: token_floor,
        Metric.E2E: ttft_floor + more * token_floor,
        Metric.THROUGHPUT: np.zeros(len(cases)),
    }
    figures = {
        Metric.TTFT: (predictions.ttft_ms, [case.run.ttft for case in cases]),
        Metric.TPOT: (predictions.tpot_ms, [case.run.tpot for case in cases]),
        Metric.E2E: (predictions.e2e_ms, [case.run.e2e for case in cases]),
        Metric.THROUGHPUT: (predictions.output_tok_s, [Measured() for _ in cases]),
    }
    memory = {
        Metric.KV_TOKENS: predictions.kv_pool_tokens,
        Metric.KV_POOL: predictions.kv_pool_gib,
        Metric.WEIGHTS: predictions.weights_gib,
    }
    return {
        **{metric: _ranged(*figures[metric], floors[metric]) for metric in RANGED},
        **{metric: np.stack([column, column, column]) for metric, column in memory.items()},
    }


def _ranged(figure: Figure, latencies: Iterable[Measured], floor: NDArray[np.float64]) -> NDArray[np.float64]:
    """A figure in the statistic of its row; the low end never beats physics."""
    of_median = np.array([latency.is_median for latency in latencies], dtype=np.bool_)
    expected = np.where(of_median, figure.median, figure.mean)
    low = np.minimum(np.maximum(expected * figure.low, floor), expected)
    return np.stack([low, expected, expected * figure.high])
