"""What is known of the accuracy: errors in sample and on groups that were left out, as aggregated figures in a file.

The file is what the accuracy page is made from, so the page can be made anew without the runs; no figure of a single
run is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from inferplan.accuracy.groups import siblings_of
from inferplan.accuracy.matching import Case
from inferplan.accuracy.outcome import RANGED, Metric, measured
from inferplan.accuracy.runs import LoadType
from inferplan.accuracy.score import DIMENSIONS, NEAR, Scores

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEWEST = 5
"""Rows below which a slice is not told: one run must not be recognised in it."""
HEADLINE = "vLLM 0.8 and later, serving, H100, H200, B200, A100"
ALL = "all"
IN_SAMPLE = "in sample"
SLICED = frozenset({IN_SAMPLE, "family", "gpu"})
"""Ways to leave out that are told slice by slice."""
_HEADLINE_GPUS = ("h100", "h200", "b200", "a100")
_SERVING = frozenset({LoadType.CLOSED_LOOP, LoadType.OPEN_LOOP})


class _Stated(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Line(_Stated):
    """Errors of one metric over the rows of a slice, for one way to part fitted from predicted runs [percent].

    ``shape_error`` is the median error once the median of each set of siblings (runs of one source with one model on
    one GPU) is taken off: what is left if a level is all that was not known. ``sources`` counts who measured.
    """

    generation: str
    split: str
    by: str
    value: str
    metric: Metric = Field(strict=False)
    rows: int
    median_error: float
    mean_error: float
    bias: float
    within_25: float
    shape_error: float
    sources: int
    in_range: float | None = None


class Reason(_Stated):
    """Rows that were not predicted, by reason."""

    reason: str
    rows: int


class Noise(_Stated):
    """How far repeated measurements of one point are apart: the median over pairs [percent]."""

    metric: Metric = Field(strict=False)
    pairs: int
    median_difference: float


class Memory(_Stated):
    """The predicted KV pool over the one that the engine granted [percent]."""

    rows: int
    lowest: float
    median: float
    highest: float


class AccuracyEvidence(_Stated):
    """Everything that the accuracy page tells."""

    measured_on: str
    runs: int
    predicted: int
    repeated: int
    skipped: tuple[Reason, ...] = Field(strict=False)
    lines: tuple[Line, ...] = Field(strict=False)
    noise: tuple[Noise, ...] = Field(strict=False)
    memory: Memory | None = None


def evidence_text(evidence: AccuracyEvidence) -> str:
    """Write evidence as JSON, one line for each slice and metric, so that differences can be read."""
    head = evidence.model_dump_json(exclude={"lines"}, indent=1).rstrip().removesuffix("}").rstrip()
    lines = ",\n".join(f"  {line.model_dump_json()}" for line in evidence.lines)
    return f'{head},\n "lines": [\n{lines}\n ]\n}}\n'


def lines_of(generation: str, split: str, cases: Sequence[Case], errors: Floats, inside: Bools) -> Iterator[Line]:
    """Aggregate errors by slice.

    Parameters
    ----------
    errors
        Logarithms of predicted over measured, shape (metrics, cases), NaN where nothing was measured.
    inside
        Whether the measurement lies in the predicted range, same shape.
    """
    whole: dict[str, Callable[[Case], str]] = {ALL: lambda _: ALL, HEADLINE: _headline}
    for by, of in {**whole, **(DIMENSIONS if split in SLICED else {})}.items():
        values = [of(case) for case in cases]
        for value in sorted(set(values) - {""}):
            chosen = np.array([found == value for found in values])
            for number, metric in enumerate(RANGED):
                usable = chosen & np.isfinite(errors[number])
                if usable.sum() >= FEWEST:
                    of_slice = [cases[at] for at in np.flatnonzero(usable).tolist()]
                    signed, covered = errors[number][usable], inside[number][usable]
                    yield _line(generation, split, by, value, metric, of_slice, signed, covered)


def _headline(case: Case) -> str:
    """The slice that peers report on; an engine before 0.8 is another engine."""
    on = case.gpu.id.startswith(_HEADLINE_GPUS) and case.load in _SERVING
    return HEADLINE if on and DIMENSIONS["engine version"](case) not in _LEGACY and case.engine.id == "vllm" else ""


_LEGACY = frozenset(f"vllm 0.{minor}" for minor in range(8))


def _line(
    generation: str,
    split: str,
    by: str,
    value: str,
    metric: Metric,
    cases: Sequence[Case],
    errors: Floats,
    inside: Bools,
) -> Line:
    signed = np.expm1(errors)
    absolute = np.abs(signed)
    return Line(
        generation=generation,
        split=split,
        by=by,
        value=value,
        metric=metric,
        rows=len(errors),
        median_error=_percent(np.median(absolute)),
        mean_error=_percent(np.mean(absolute)),
        bias=_percent(np.median(signed)),
        within_25=_percent(np.mean(absolute <= NEAR)),
        shape_error=_percent(np.median(np.abs(np.expm1(errors - _levels(cases, errors))))),
        sources=len({case.run.source_id for case in cases}),
        in_range=_percent(np.mean(inside)),
    )


def _levels(cases: Sequence[Case], errors: Floats) -> Floats:
    """Median error of each case's siblings, shape (cases,)."""
    numbers = siblings_of(cases)
    medians = [float(np.median(errors[numbers == at])) for at in range(int(numbers.max(initial=-1)) + 1)]
    return np.array(medians)[numbers]


def _percent(share: float | np.floating) -> float:
    return round(100.0 * float(share), 1)


def noise_of(cases: Sequence[Case]) -> tuple[Noise, ...]:
    """What two measurements of one point differ by: the floor below which no prediction can come.

    A point is one configuration with one release, one load and one pair of lengths, measured more than once.
    """
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        run = case.run
        lengths = (run.input_tokens, run.output_tokens, run.length_fixed, run.prefix_caching, run.notes, run.kv_dtype)
        arrivals = (run.requests, run.max_in_flight, run.arrival_scv)
        layout = (case.gpu.id, case.tp, case.pp, case.replicas, run.ep)
        what = (run.source_id, case.engine.id, run.engine_version, run.model, case.method.id, case.load, run.load_value)
        groups.setdefault((*what, *layout, *lengths, *arrivals), []).append(case)
    found = []
    for metric in RANGED:
        differences = [abs(a / b - 1.0) for group in groups.values() for a, b in pairwise(_known(group, metric))]
        if len(differences) >= FEWEST:
            found.append(Noise(metric=metric, pairs=len(differences), median_difference=_percent(median(differences))))
    return tuple(found)


def _known(cases: Sequence[Case], metric: Metric) -> list[float]:
    values = [measured(case.run, metric) for case in cases]
    return [value for value in values if value is not None]


def memory_of(predicted_over_measured: Sequence[float]) -> Memory | None:
    """Summarise how the predicted pools lie to the granted ones."""
    if not predicted_over_measured:
        return None
    signed = [ratio - 1.0 for ratio in predicted_over_measured]
    return Memory(
        rows=len(signed), lowest=_percent(min(signed)), median=_percent(median(signed)), highest=_percent(max(signed))
    )


def reasons_of(scores: Scores, general: Callable[[str], str]) -> tuple[Reason, ...]:
    """Skipped rows by reason, names left out where ``general`` does so, the most frequent first."""
    counts: dict[str, int] = {}
    for reason, count in scores.skipped:
        counts[general(reason)] = counts.get(general(reason), 0) + count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Reason(reason=reason, rows=count) for reason, count in ordered)
