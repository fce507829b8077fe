"""Aggregated evidence, and the page that is made from it."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from inferplan.accuracy.evidence import (
    ALL,
    HEADLINE,
    IN_SAMPLE,
    AccuracyEvidence,
    Line,
    Memory,
    Reason,
    evidence_text,
    lines_of,
    memory_of,
    noise_of,
)
from inferplan.accuracy.matching import Case, Matcher
from inferplan.accuracy.outcome import RANGED, Metric
from inferplan.catalog import load_catalog
from inferplan.report.accuracy_page import accuracy_page
from tests.unit.accuracy.tables import make_row

MATCHER = Matcher(load_catalog())
TPOT = RANGED.index(Metric.TPOT)


def cases(count: int, **cells: str) -> list[Case]:
    found = [MATCHER.case(make_row(row_id=str(at), **cells)) for at in range(count)]
    assert all(isinstance(case, Case) for case in found)
    return [case for case in found if isinstance(case, Case)]


def tpot_errors(*errors: float) -> np.ndarray:
    """Logarithms of predicted over measured for TPOT alone."""
    whole = np.full((len(RANGED), len(errors)), np.nan)
    whole[TPOT] = np.log1p(errors)
    return whole


def test_errors_of_a_slice_are_aggregated_as_by_hand() -> None:
    errors = tpot_errors(0.10, -0.20, 0.40, 0.0, 0.02)
    inside = np.zeros(errors.shape, dtype=np.bool_)
    inside[TPOT, :4] = True
    lines = list(lines_of("vllm", "gpu", cases(5), errors, inside))
    whole = next(line for line in lines if line.by == ALL)
    assert whole == Line(
        generation="vllm",
        split="gpu",
        by=ALL,
        value=ALL,
        metric=Metric.TPOT,
        rows=5,
        median_error=10.0,
        mean_error=14.4,
        bias=2.0,
        within_25=80.0,
        shape_error=7.8,
        sources=1,
        in_range=80.0,
    )
    assert {(line.by, line.value) for line in lines} >= {
        ("GPU", "h100-80gb-sxm"),
        ("engine version", "vllm 0.19"),
        ("load type", "closed_loop_concurrency"),
        (HEADLINE, HEADLINE),
    }
    assert {line.metric for line in lines} == {Metric.TPOT}


def test_what_siblings_have_in_common_is_a_level_and_no_shape() -> None:
    two = [*cases(5, source_id="a"), *cases(5, source_id="b")]
    errors = tpot_errors(*[0.30] * 5, *[-0.20] * 5)
    found = next(iter(lines_of("vllm", "gpu", two, errors, np.ones(errors.shape, dtype=np.bool_))))
    assert (found.median_error, found.shape_error, found.sources) == (25.0, 0.0, 2)


def test_ways_to_leave_out_that_are_not_sliced_are_told_as_a_whole() -> None:
    errors = tpot_errors(*[0.1] * 5)
    lines = lines_of("vllm", "source", cases(5), errors, np.ones(errors.shape, dtype=np.bool_))
    assert {line.by for line in lines} == {ALL, HEADLINE}


def test_slices_in_which_a_run_could_be_recognised_are_not_told() -> None:
    errors = tpot_errors(0.1, 0.1, 0.1, 0.1)
    assert list(lines_of("vllm", "gpu", cases(4), errors, np.ones(errors.shape, dtype=np.bool_))) == []


@pytest.mark.parametrize(
    "cells",
    [{"gpu": "L4-24GB"}, {"load_type": "static_batch"}, {"engine_version": "0.5.4"}, {"engine": "tgi"}],
)
def test_the_headline_is_serving_on_current_engines_and_the_four_gpus(cells: dict[str, str]) -> None:
    errors = tpot_errors(*[0.1] * 5)
    lines = list(lines_of("vllm", IN_SAMPLE, cases(5, **cells), errors, np.ones(errors.shape, dtype=np.bool_)))
    assert lines
    assert not any(line.by == HEADLINE for line in lines)


def test_noise_is_what_repeats_of_one_point_differ_by() -> None:
    repeats = [cases(1, itl_or_tpot_ms_mean=str(value))[0] for value in (10.0, 11.0, 10.0, 11.0, 10.0, 11.0)]
    other_load = cases(1, load_value="99", itl_or_tpot_ms_mean="50")
    found = {entry.metric: entry for entry in noise_of([*repeats, *other_load])}
    assert found[Metric.TPOT].pairs == 5
    assert found[Metric.TPOT].median_difference == pytest.approx(9.1)
    assert noise_of(other_load) == ()


def test_memory_tells_the_worst_both_ways() -> None:
    assert memory_of([0.97, 0.99, 1.01]) == Memory(rows=3, lowest=-3.0, median=-1.0, highest=1.0)
    assert memory_of([]) is None


def line(**changes: object) -> Line:
    base: dict[str, object] = {
        "generation": "vllm",
        "split": "gpu",
        "by": "GPU",
        "value": "t4",
        "metric": "tpot_ms",
        "rows": 20,
        "median_error": 42.0,
        "mean_error": 50.0,
        "bias": -40.0,
        "within_25": 20.0,
        "shape_error": 12.0,
        "sources": 2,
        "in_range": 88.0,
    }
    return Line.model_validate({**base, **changes})


def evidence(*lines: Line) -> AccuracyEvidence:
    return AccuracyEvidence(
        measured_on="2026-11-25",
        runs=100,
        predicted=80,
        repeated=1,
        skipped=(Reason(reason="engine … is not in the catalog", rows=20),),
        lines=lines,
        noise=(),
        memory=Memory(rows=40, lowest=-4.0, median=-1.0, highest=-0.1),
    )


def test_the_page_names_bad_spots_before_anything_by_slice() -> None:
    good = line(value="h100-80gb-sxm", median_error=5.0)
    page = accuracy_page(evidence(line(), good, line(by=HEADLINE, value=HEADLINE, split="gpu", median_error=6.5)))
    assert page.index("## Bad spots") < page.index("## Beside the peers") < page.index("## By GPU")
    bad = page[page.index("## Bad spots") : page.index("## Beside the peers")]
    assert "GPU t4" in bad
    assert "h100" not in bad
    assert "6.5" in page[page.index("## Beside the peers") : page.index("## By GPU")]
    assert "80 of 100 measured runs" in page
    assert "-4 %" in page


def test_a_page_without_bad_spots_says_so() -> None:
    page = accuracy_page(evidence(line(median_error=5.0)))
    assert "No slice of 5 rows or more" in page


def test_evidence_survives_its_file_and_foreign_files_are_refused() -> None:
    whole = evidence(line(), line(in_range=None))
    text = evidence_text(whole)
    assert AccuracyEvidence.model_validate_json(text) == whole
    assert sum(line.startswith('  {"generation"') for line in text.splitlines()) == 2
    with pytest.raises(ValidationError):
        AccuracyEvidence.model_validate_json('{"runs": 1}')
