"""How far predictions are from measurements: per metric, and per slice of the runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from inferplan.accuracy.engine_names import parts_of
from inferplan.accuracy.matching import Case
from inferplan.accuracy.outcome import RANGED, Answer, Metric, measured
from inferplan.accuracy.runs import Run
from inferplan.accuracy.usable import remarks

NEAR = 0.25
"""Absolute percentage error up to which a prediction counts as near."""
_SAME = 0.002
"""Two rows with the same configuration whose figures differ by no more than this are one run told twice."""


@dataclass(frozen=True, slots=True)
class Score:
    """Errors of one metric over some rows, as shares (0.05 = 5 %).

    Parameters
    ----------
    median_error, mean_error
        Of the absolute percentage errors ``|predicted / measured - 1|``.
    bias
        Median of the signed errors; positive = predicted too high.
    near
        Share of rows within 25 %.
    covered
        Share of rows whose measurement lies in the predicted range; None for metrics without one.
    """

    rows: int
    median_error: float
    mean_error: float
    bias: float
    near: float
    covered: float | None


@dataclass(frozen=True, slots=True)
class Slice:
    """The scores of the rows that share a value of a dimension, for the metrics that were measured on them."""

    dimension: str
    value: str
    rows: int
    scores: tuple[tuple[Metric, Score], ...]

    def score(self, metric: Metric) -> Score | None:
        """The score of a metric, or None."""
        return dict(self.scores).get(metric)


@dataclass(frozen=True, slots=True)
class Scores:
    """All that is said about a table of runs."""

    runs: int
    predicted: int
    repeated: int
    """Rows that tell a run already counted."""
    skipped: tuple[tuple[str, int], ...]
    noted: tuple[tuple[str, int], ...]
    """What is told of rows that were predicted, and of how many."""
    overall: Slice
    slices: tuple[Slice, ...]


def _release(case: Case) -> str:
    parts = parts_of(case.engine.version)
    return case.engine.id if parts is None else f"{case.engine.id} {parts[0]}.{parts[1]}"


DIMENSIONS: dict[str, Callable[[Case], str]] = {
    "engine": lambda case: case.engine.id,
    "engine version": _release,
    "GPU": lambda case: case.gpu.id,
    "model family": lambda case: case.model.family,
    "load type": lambda case: case.load.value,
    "source": lambda case: case.run.source_id or "not stated",
}


def score(answers: Sequence[Answer]) -> Scores:
    """Score the answers to a table of runs; a run that stands twice counts once."""
    once = _once([found for found in answers if found.case is not None])
    parts = [
        _slice(dimension, value, group)
        for dimension, of in DIMENSIONS.items()
        for value, group in sorted(_grouped(once, of).items(), key=lambda item: _in_order(item[0]))
    ]
    predicted = sum(found.case is not None for found in answers)
    return Scores(
        runs=len(answers),
        predicted=predicted,
        repeated=predicted - len(once),
        skipped=_counted(found.skipped for found in answers if found.skipped),
        noted=_counted(words for found in answers if found.case is not None for words in remarks(found.run)),
        overall=_slice("all", "all", once),
        slices=tuple(part for part in parts if part.scores),
    )


def _counted(sentences: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """How often each sentence is said, the most frequent first."""
    return tuple(sorted(Counter(sentences).items(), key=lambda item: (-item[1], item[0])))


def score_metric(answers: Iterable[Answer], metric: Metric) -> Score | None:
    """Score one metric over the rows that have it; None if none has."""
    errors: list[float] = []
    covered = 0
    for found in answers:
        value, actual = found.value(metric), measured(found.run, metric)
        if value is None or actual is None:
            continue
        errors.append(value.expected / actual - 1.0)
        covered += value.low <= actual <= value.high
    if not errors:
        return None
    absolute = [abs(error) for error in errors]
    return Score(
        rows=len(errors),
        median_error=median(absolute),
        mean_error=fmean(absolute),
        bias=median(errors),
        near=sum(error <= NEAR for error in absolute) / len(errors),
        covered=covered / len(errors) if metric in RANGED else None,
    )


def _slice(dimension: str, value: str, answers: Sequence[Answer]) -> Slice:
    scores = ((metric, score_metric(answers, metric)) for metric in Metric)
    return Slice(dimension, value, len(answers), tuple((metric, s) for metric, s in scores if s is not None))


def _in_order(value: str) -> tuple[tuple[int, str], ...]:
    """Sort numbers inside of names as numbers (vllm 0.9 before vllm 0.11)."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", value.casefold()))


def _grouped(answers: Iterable[Answer], of: Callable[[Case], str]) -> dict[str, list[Answer]]:
    groups: dict[str, list[Answer]] = {}
    for found in answers:
        if found.case is not None:
            groups.setdefault(of(found.case), []).append(found)
    return groups


def _once(answers: Sequence[Answer]) -> list[Answer]:
    cases = [found.case for found in answers if found.case is not None]
    copies = repeated_places(cases)
    return [found for place, found in enumerate(answers) if place not in copies]


def repeated_places(cases: Sequence[Case]) -> frozenset[int]:
    """Places of cases that tell a run once more: same configuration and load, and the same figures."""
    seen: dict[tuple[object, ...], list[Case]] = {}
    copies: list[int] = []
    for place, case in enumerate(cases):
        load = (case.load, case.run.load_value, case.settings.burstiness, case.run.output_tokens)
        layout = (case.gpu.id, case.tp, case.pp, case.replicas)
        alike = seen.setdefault((case.engine.id, case.model.id, case.method.id, *layout, *load), [])
        if any(_repeats(case.run, other.run) for other in alike):
            copies.append(place)
        alike.append(case)
    return frozenset(copies)


def _repeats(found: Run, other: Run) -> bool:
    if found.source_id == other.source_id:
        return False  # a source does not tell a run twice: equal figures there are repeats of the measurement
    shared = [
        (ours, theirs)
        for metric in Metric
        if (ours := measured(found, metric)) is not None and (theirs := measured(other, metric)) is not None
    ]
    return bool(shared) and all(abs(ours / theirs - 1.0) <= _SAME for ours, theirs in shared)
