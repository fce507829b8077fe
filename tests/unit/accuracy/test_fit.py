"""The fit: what it recovers, what it leaves alone, what it leaves out, and what it writes down."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from inferplan.accuracy.fit_engine import Checked, Generation, calibrate, generation_of, recipe_for, unfit
from inferplan.accuracy.fit_held_out import LARGE_GROUP, LeftOut, folds, median_percent, ranges
from inferplan.accuracy.fit_parameters import CEILINGS, Level, Recipe, design, everything, place_of
from inferplan.accuracy.fit_points import OWN_SIGMAS, SHARED_SIGMAS, gather, with_room
from inferplan.accuracy.fit_records import own_records, records_of
from inferplan.accuracy.fit_solve import _Problem
from inferplan.accuracy.fit_text import calibration_text
from inferplan.accuracy.matching import Case, Matcher
from inferplan.accuracy.outcome import RANGED, Metric, answer
from inferplan.accuracy.runs import Run
from inferplan.catalog import load_catalog, load_yardsticks
from inferplan.catalog.measurements import load_measurements
from inferplan.catalog.schema import CalibrationRecord
from inferplan.domain.calibration import Calibration, ErrorRange
from inferplan.domain.estimate import Evidence
from inferplan.estimate.constants import NAMES, resolve
from tests.unit.accuracy.tables import make_row

pytest.importorskip("scipy")

CATALOG = load_catalog()
MATCHER = Matcher(CATALOG, load_yardsticks())
SLOWER = 1.3
LOADS = ("1", "4", "16", "32", "64")
TPOT_ALONE = {"ttft_ms_mean": "", "e2e_ms_mean": "", "output_tok_s_total": ""}


def slowed(factor: float = SLOWER, **cells: str) -> list[Run]:
    """Runs whose every token took ``factor`` times as long as is predicted."""
    rows = [make_row(**{**TPOT_ALONE, "row_id": load, "load_value": load, **cells}) for load in LOADS]
    found = []
    for row, told in zip(rows, answer(rows, MATCHER, CATALOG.calibrations), strict=True):
        value = told.value(Metric.TPOT)
        assert value is not None
        found.append(replace(row, tpot=replace(row.tpot, mean=factor * value.expected)))
    return found


def cases_of(rows: list[Run]) -> list[Case]:
    return list(MATCHER.match(rows).cases)


def own(rows: list[Run]) -> tuple[Checked, tuple[Calibration, ...]]:
    checked = calibrate(cases_of(rows), Generation.VLLM, recipe_for(Generation.VLLM, CATALOG), check=False)
    assert checked is not None
    return checked, own_records(checked, CATALOG, load_measurements(), "2026-01-31")


def over(records: tuple[Calibration, ...]) -> tuple[Calibration, ...]:
    """Our records with others laid over them."""
    ours = {record.id: record for record in CATALOG.calibrations}
    return tuple({**ours, **{record.id: record for record in records}}.values())


def mean_error(rows: list[Run], calibrations: tuple[Calibration, ...]) -> float:
    errors = []
    for row, told in zip(rows, answer(rows, MATCHER, calibrations), strict=True):
        value = told.value(Metric.TPOT)
        assert value is not None
        assert row.tpot.mean is not None
        errors.append(value.expected / row.tpot.mean - 1.0)
    return float(np.mean(errors))


def test_slower_runs_make_slower_constants_for_their_gpu_and_no_other() -> None:
    rows = slowed()
    _, records = own(rows)
    assert [record.id for record in records] == [f"vllm-{cases_of(rows)[0].gpu.id}"]
    assert mean_error(rows, CATALOG.calibrations) == pytest.approx(1 / SLOWER - 1, abs=1e-6)
    assert abs(mean_error(rows, over(records))) < 0.06
    elsewhere = [make_row(gpu="A100-80GB-SXM")]
    there = [answer(elsewhere, MATCHER, c)[0].value(Metric.TPOT) for c in (CATALOG.calibrations, over(records))]
    assert there[0] == there[1]


def test_runs_as_predicted_change_nothing() -> None:
    checked, records = own(slowed(1.0))
    assert np.abs(checked.fitted.values).max() < 1e-3
    gpu = CATALOG.gpu(str(records[0].gpu))
    assert gpu is not None
    before, after = (resolve(c, "vllm", gpu).constants for c in (CATALOG.calibrations, over(records)))
    for name in NAMES:
        assert getattr(after, name) == pytest.approx(getattr(before, name), rel=2e-3), name


def test_a_run_that_is_far_off_is_not_heeded() -> None:
    rows = slowed(1.0)
    rows[2] = replace(rows[2], tpot=replace(rows[2].tpot, mean=5.0 * (rows[2].tpot.mean or 0.0)))
    checked, records = own(rows)
    assert checked.fitted.set_aside == 1
    assert abs(mean_error(rows[:2], over(records))) < 0.02


def test_the_evidence_of_a_users_own_gpu_names_his_runs() -> None:
    _, records = own(slowed(gpu="L40S-48GB", model="meta-llama/Llama-3.1-8B-Instruct"))
    gpu = CATALOG.gpu("l40s")
    assert gpu is not None
    assert resolve(CATALOG.calibrations, "vllm", gpu).evidence is not Evidence.MEASURED
    found = resolve(over(records), "vllm", gpu)
    assert found.evidence is Evidence.MEASURED
    assert f"({len(LOADS)} runs)" in found.detail


def test_a_level_that_siblings_share_is_seen_once_and_their_shape_as_often_as_they_are() -> None:
    rows = [make_row(row_id=str(n), load_value=str(n)) for n in range(1, 41)]
    batch = gather(cases_of(rows)).batches[0]
    tpot, own, shared = RANGED.index(Metric.TPOT), OWN_SIGMAS[Metric.TPOT], SHARED_SIGMAS[Metric.TPOT]
    level = batch.residuals(np.full((len(RANGED), 40), 0.1))[tpot]
    assert np.sum(level**2) == pytest.approx(40 * 0.1**2 / (own**2 + 40 * shared**2))
    shape = batch.residuals(np.tile([0.1, -0.1], (len(RANGED), 20)))[tpot]
    assert np.sum(shape**2) == pytest.approx(40 * 0.1**2 / own**2)
    strangers = [replace(row, source_id=row.row_id) for row in rows]
    apart = gather(cases_of(strangers)).batches[0].residuals(np.full((len(RANGED), 40), 0.1))[tpot]
    assert np.sum(apart**2) == pytest.approx(40 * 0.1**2 / (own**2 + shared**2))


def test_each_of_ones_own_runs_tells_the_level() -> None:
    rows = [make_row(row_id=str(n), load_value=str(n)) for n in range(1, 41)]
    checked, _ = own(rows)
    known = calibrate(cases_of(rows), Generation.VLLM, recipe_for(Generation.VLLM, None), check=False)
    assert known is not None
    siblings = [len(set(one.points.batches[0].siblings.tolist())) for one in (checked, known)]
    assert siblings == [40, 1]


def test_slopes_are_how_residuals_change_with_each_parameter() -> None:
    points = gather(cases_of(slowed(1.1)))
    layout = Recipe("vllm").design(points.places)
    problem = _Problem(points, layout)
    values = np.array([parameter.start for parameter in layout.parameters]) + 0.01
    slopes = problem.slopes(values)
    for at in range(len(values)):
        moved = values + np.where(np.arange(len(values)) == at, 1e-4, 0.0)
        by_hand = (problem.residuals(moved) - problem.residuals(values)) / 1e-4
        assert slopes[:, at] == pytest.approx(by_hand, rel=0.02, abs=2e-3), layout.parameters[at]


def test_a_run_whose_weights_leave_no_room_is_not_fitted() -> None:
    cases = cases_of([make_row(), make_row(model="meta-llama/Llama-3.1-70B-Instruct")])
    assert with_room(cases) == cases[:1]


def test_no_share_of_a_peak_exceeds_its_ceiling() -> None:
    places = [place_of(case) for case in cases_of(slowed())]
    layout = Recipe("vllm").design(places)
    constants = layout.constants(np.array([parameter.start + 3.0 for parameter in layout.parameters]))
    assert np.all(constants <= CEILINGS)


def test_a_constant_is_the_sum_of_its_terms() -> None:
    place = place_of(cases_of(slowed())[0])
    layout = design(everything([place], "vllm"), [place], np.zeros((1, len(NAMES))))
    values = np.array([p.start + (0.1 if p.name == "mfu" else 0.0) for p in layout.parameters])
    terms = sum(p.name == "mfu" for p in layout.parameters)
    assert {p.level for p in layout.parameters if p.name == "mfu"} == {Level.EVERYWHERE, Level.FAMILY, Level.GPU}
    moved, before = (layout.constants(v)[0, NAMES.index("mfu")] for v in (values, values - 0.1 * (values != 0)))
    start = np.array([p.start for p in layout.parameters])
    before = layout.constants(start)[0, NAMES.index("mfu")]
    assert moved == pytest.approx(before * np.exp(0.1 * terms))


def test_flagged_runs_and_those_without_a_layout_are_not_fitted() -> None:
    silent = dict.fromkeys((*TPOT_ALONE, "itl_or_tpot_ms_mean"), "")
    rows = [make_row(), make_row(flag="overload"), make_row(tp="", gpu_count="1"), make_row(**silent)]
    assert [unfit(case) for case in cases_of(rows)] == [
        "",
        "is flagged overload",
        "states no tp",
        "has no measured latency or throughput",
    ]


def test_engines_before_the_second_scheduler_are_calibrated_apart() -> None:
    old, new, tgi = cases_of([make_row(engine_version="0.6.3"), make_row(), make_row(engine="tgi", engine_version="")])
    assert [generation_of(case) for case in (old, new, tgi)] == [
        Generation.VLLM_LEGACY,
        Generation.VLLM,
        Generation.TGI,
    ]


@pytest.mark.parametrize("of", list(LeftOut))
def test_groups_are_left_out_whole_and_every_run_once(of: LeftOut) -> None:
    gpus = ("H100-80GB-SXM", "A100-80GB-SXM", "H200-141GB-SXM")
    cases = cases_of([make_row(gpu=gpus[i % 3], source_id=f"s{i % 7}") for i in range(2 * LARGE_GROUP)])
    found = folds(cases, of)
    assert sorted(at for fold in found for at in fold) == list(range(len(cases)))
    key = {LeftOut.GPU: lambda c: c.gpu.id, LeftOut.SOURCE: lambda c: c.run.source_id}.get(of)
    if key is not None:
        for fold in found:
            inside = {key(cases[at]) for at in fold}
            outside = {key(case) for at, case in enumerate(cases) if at not in fold}
            assert not inside & outside


def test_records_are_read_back_as_they_were_written() -> None:
    _, records = own(slowed())
    whole = calibrate(cases_of(slowed()), Generation.VLLM, recipe_for(Generation.VLLM, None), check=False)
    assert whole is not None
    records = (*records_of(whole, load_measurements(), "2026-01-31"), *records)
    tables = tomllib.loads(calibration_text(records))["records"]
    read = [CalibrationRecord.model_validate(table).to_domain() for table in tables]
    assert read == [
        replace(
            record,
            constants=tuple(sorted(record.constants)),
            error_in_sample_percent=tuple(sorted(record.error_in_sample_percent)),
            error_out_of_sample_percent=tuple(sorted(record.error_out_of_sample_percent)),
        )
        for record in records
    ]


def test_a_fit_that_stands_by_itself_explains_its_runs() -> None:
    rows = slowed(1.1)
    checked = calibrate(cases_of(rows), Generation.VLLM, recipe_for(Generation.VLLM, None), check=False)
    assert checked is not None
    records = records_of(checked, load_measurements(), "2026-01-31")
    assert [(record.id, record.runs) for record in records] == [
        ("vllm", len(rows)),
        ("vllm-hopper", len(rows)),
        ("vllm-h100-80gb-sxm", len(rows)),
    ]
    assert median_percent(checked.in_sample, np.ones(len(rows), dtype=np.bool_))["tpot"] < 8.0
    points = gather(cases_of(rows))
    assert np.nanmax(np.abs(points.errors(checked.fitted.constants))) < 0.3


def range_cases(version: str, count: int = 60) -> list[Case]:
    return cases_of([make_row(engine_version=version, source_id=f"s{n}") for n in range(count)])


def by_load(found: tuple[ErrorRange, ...], metric: str = "tpot") -> dict[tuple[str, str], tuple[float, float]]:
    return {(entry.load, entry.before): (entry.low, entry.high) for entry in found if entry.metric == metric}


def test_ranges_hold_nine_of_ten_measurements_and_a_little_more() -> None:
    cases = range_cases("0.19.0", 200)
    errors = np.tile(np.linspace(-0.4, 0.4, 200), (len(RANGED), 1))
    found = ranges(cases, {Evidence.MEASURED: [(errors, np.ones(200, dtype=np.bool_))]})
    low, high = by_load(found)["closed_loop", ""]
    ratios = np.exp(-errors[0])
    assert 0.90 <= np.mean((ratios >= low) & (ratios <= high)) <= 0.97


def test_earlier_releases_have_ranges_of_their_own_and_never_narrower_ones() -> None:
    later, earlier = range_cases("0.19.0"), range_cases("0.11.0")
    spread = np.concatenate([np.linspace(-0.3, 0.1, 60), np.linspace(-0.1, 0.8, 60)])
    stands = [(np.tile(spread, (len(RANGED), 1)), np.ones(120, dtype=np.bool_))]
    found = by_load(ranges([*later, *earlier], {Evidence.MEASURED: stands}))
    (low, high), (earlier_low, earlier_high) = found["closed_loop", ""], found["closed_loop", "0.14"]
    assert low == pytest.approx(np.exp(-0.1), rel=0.02)
    assert high == pytest.approx(np.exp(0.3), rel=0.02)
    assert earlier_low < 0.5
    assert earlier_high == high
    assert {
        before for _, before in by_load(ranges(earlier, {Evidence.MEASURED: [(s[:, :60], m[:60]) for s, m in stands]}))
    } == {""}


def test_weaker_evidence_never_has_a_narrower_range() -> None:
    cases = range_cases("0.19.0")
    errors = np.tile(np.linspace(-0.4, 0.4, 60), (len(RANGED), 1))
    everyone = np.ones(60, dtype=np.bool_)
    found = ranges(cases, {Evidence.MEASURED: [(errors, everyone)], Evidence.CALIBRATED: [(errors / 4, everyone)]})
    of = {(e.metric, e.load, e.evidence): (e.low, e.high) for e in found}
    for (metric, load, evidence), entry in of.items():
        if evidence is Evidence.CALIBRATED:
            assert entry == of[metric, load, Evidence.MEASURED]


def test_ranges_that_rest_on_few_groups_are_wider() -> None:
    errors = np.tile(np.linspace(-0.4, 0.4, 60), (len(RANGED), 1))
    everyone = np.ones(60, dtype=np.bool_)
    many = range_cases("0.19.0")
    few = [replace(case, run=replace(case.run, source_id=f"s{at % 2}")) for at, case in enumerate(many)]
    low, high = by_load(ranges(many, {Evidence.MEASURED: [(errors, everyone)]}))["*", ""]
    lower, higher = by_load(ranges(few, {Evidence.MEASURED: [(errors, everyone)]}))["*", ""]
    assert np.log(higher) / np.log(high) == pytest.approx(1.5 / (1 + 1 / 60))
    assert np.log(lower) / np.log(low) == pytest.approx(1.5 / (1 + 1 / 60))
