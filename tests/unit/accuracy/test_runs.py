"""Tables as people fill them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferplan.accuracy.cells import MILLISECONDS, number, stated, text, whole
from inferplan.accuracy.runs import COLUMNS, LoadType, Measured, make_run, read_table
from inferplan.accuracy.usable import remarks, why_unusable
from inferplan.domain.errors import InputError
from tests.unit.accuracy.tables import PLAIN, make_row, make_table


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("512", 512.0),
        (" 512.5 ", 512.5),
        ("1,024", 1024.0),
        ("1,234,567.5", 1234567.5),
        ("1e3", 1000.0),
        ("~512", 512.0),
        ("≈ 512 tokens", 512.0),
        ("100-200", 150.0),
        ("100 – 200", 150.0),
        ("100 to 200 tokens", 150.0),
        ("8k", 8000.0),
        ("128 (nominal)", 128.0),
        ("<= 64", 64.0),
        ("", None),
        ("~", None),
        ("n/a", None),
        ("NaN", None),
        ("inf", None),
        ("yes", None),
        ("1,5", None),
        ("12.5.3", None),
        ("3/4", None),
        ("2025-10-29", None),
        ("yes (512 in, 128 out)", None),
        (None, None),
    ],
)
def test_a_number_is_read_in_the_ways_people_write_it(cell: str | None, value: float | None) -> None:
    assert number(cell) == value


def test_a_latency_in_another_unit_becomes_milliseconds() -> None:
    assert number("1.2 s", MILLISECONDS) == 1200.0
    assert number("850us", MILLISECONDS) == 0.85
    assert number("12 ms", MILLISECONDS) == 12.0
    assert number("1-3 s", MILLISECONDS) == 2000.0


def test_a_count_is_whole_and_at_least_one() -> None:
    assert [whole(cell) for cell in ("8", "8.0", "0", "-1", "2.5", "", "x")] == [8, 8, None, None, None, None, None]


def test_settings_are_found_in_free_text() -> None:
    notes = "GuideLLM; max_num_seqs 128, max-num-batched-tokens=2048; gpu_memory_utilization: 0.95"
    assert stated("max_num_seqs", notes) == 128.0
    assert stated("max_num_batched_tokens", notes) == 2048.0
    assert stated("gpu_memory_utilization", notes) == 0.95
    assert stated("max_model_len", notes) is None


def test_marks_for_not_known_are_empty_text() -> None:
    assert [text(cell) for cell in ("  a  b ", "n/a", "NONE", "–", None)] == ["a b", "", "", "", ""]


def test_a_row_becomes_a_typed_run() -> None:
    run = make_row(ttft_ms_mean="", ttft_ms_p50="0.05 s", tp="2.0", gpu_count="x")
    assert run.ttft == Measured(mean=None, p50=50.0)
    assert run.ttft.is_median
    assert run.ttft.typical == 50.0
    assert (run.tp, run.gpu_count, run.load_value) == (2, None, 16.0)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("tp", "two"),
        ("tp", "0"),
        ("tp", "2.5"),
        ("gpu_count", "-1"),
        ("input_tokens", "abc"),
        ("output_tokens", "-5"),
        ("load_value", "many"),
        ("arrival_scv", "bursty"),
        ("requests_failed", "some"),
    ],
)
def test_a_condition_that_cannot_be_read_is_told_and_not_taken_for_silence(column: str, cell: str) -> None:
    (run,) = read_table(make_table({"row_id": "", column: cell}), "runs.csv")
    assert run.unreadable == ((column, cell),)
    assert why_unusable(run) == f'row 2: {column} "{cell}" could not be read as a number'


@pytest.mark.parametrize("column", ["ttft_ms_mean", "e2e_ms_p99", "req_s", "kv_pool_tokens"])
def test_a_result_that_cannot_be_read_is_told_and_the_others_are_used(column: str) -> None:
    run = make_row(**{column: "fast"})
    assert why_unusable(run) == ""
    assert list(remarks(run)) == [f'R1: {column} "fast" could not be read as a number']


@pytest.mark.parametrize(
    "cells",
    [
        {"load_type": "open_loop_rate", "load_value": "inf"},
        {"ep": "0"},
        {"dp": "off"},
        {"tp": "n/a"},
        {"input_tokens": "~512 tokens"},
        {"running_batch_mean": "–"},
    ],
)
def test_words_that_are_understood_and_cells_that_are_silent_are_no_fault(cells: dict[str, str]) -> None:
    assert make_row(**cells).unreadable == ()


@pytest.mark.parametrize("column", ["engine", "model", "gpu", "load_type"])
def test_what_a_row_leaves_out_is_named(column: str) -> None:
    assert why_unusable(make_row(**{column: "n/a"})) == f"{column} is not stated"


def test_failures_that_a_table_tells_in_a_column_or_in_words_are_weighed() -> None:
    assert why_unusable(make_row(requests="400", requests_failed="200")).startswith("200 of 400 requests failed")
    assert why_unusable(make_row(notes="GuideLLM; 200 of 400 requests failed")).startswith("200 of 400 requests")
    few = make_row(notes="12 of 400 requests failed")
    assert why_unusable(few) == ""
    assert list(remarks(few)) == ["12 of 400 requests failed; the others stand for all"]
    assert list(remarks(make_row(requests_failed="3"))) == ["3 requests failed; the others stand for all"]


def test_an_endless_arrival_rate_is_everything_at_once() -> None:
    run = make_row(load_type="open_loop_rate", load_value="inf")
    assert run.load_type == LoadType.OFFLINE
    assert run.load_value is None


def test_rows_without_an_id_are_named_by_their_line() -> None:
    runs = read_table(make_table({"row_id": ""}, {"row_id": "X"}), "runs.csv")
    assert [run.row_id for run in runs] == ["row 2", "X"]


def test_short_rows_and_columns_of_others_do_no_harm() -> None:
    table = b"\xef\xbb\xbfEngine,model,GPU,load_type,colour\r\nvllm,m\r\n\r\nvllm,m,t4,offline_max,red,extra\r\n"
    runs = read_table(table, "runs.csv")
    assert [(run.engine, run.gpu, run.load_type) for run in runs] == [("vllm", "", ""), ("vllm", "t4", "offline_max")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", 'has no column "engine"'),
        (b"a,b\n1,2\n", 'has no column "model"'),
        (b"engine,modell,gpu,load_type\nvllm,m,t4,x\n", 'did you mean "modell"?'),
        (b"engine,model,gpu,load_type\n", "has no rows"),
        (b"engine,model,gpu,load_type,tp,tp\nvllm,m,t4,x,1,2\n", 'has the column "tp" twice'),
        (b"engine\xff", "is not UTF-8 text (byte 6)"),
        (b"engine,model\0", "holds zero bytes"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_its_fault(data: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_table(data, "runs.csv")
    assert words in str(caught.value)
    assert "runs.csv" in str(caught.value)


@given(st.dictionaries(st.sampled_from(COLUMNS), st.text(max_size=30)))
def test_any_cells_make_a_run(cells: dict[str, str]) -> None:
    assert make_run({**PLAIN, **cells}, "row 2").row_id
