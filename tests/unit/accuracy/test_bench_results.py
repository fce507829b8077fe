"""Results of benchmark tools as runs.

``guidellm-0.8.1.json`` is what GuideLLM 0.8.1 wrote about its own mock server (TTFT 30 ms, 5 ms between tokens), five
benchmarks cut down to what is read and its neighbours. vLLM is too large to run here, so its result has the keys that
``vllm bench serve --save-result`` of 0.33.0 writes (``result_json`` in ``vllm/benchmarks/serve.py``), with made-up
figures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inferplan.accuracy.bench_results import is_result, read_result
from inferplan.accuracy.runs import LoadType
from inferplan.accuracy.usable import remarks, why_unusable
from inferplan.domain.errors import InputError

REPORT = Path(__file__).parent / "guidellm-0.8.1.json"
FACTS = {"gpu": "L4-24GB", "tp": "1"}
SERVED: dict[str, Any] = {
    "date": "20260401-101112",
    "endpoint_type": "openai",
    "backend": "openai",
    "label": "openai",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "tokenizer_id": "meta-llama/Llama-3.1-8B-Instruct",
    "num_prompts": 400,
    "request_rate": "inf",
    "burstiness": 1.0,
    "max_concurrency": 32,
    "duration": 100.0,
    "completed": 400,
    "failed": 0,
    "total_input_tokens": 409600,
    "total_output_tokens": 102400,
    "request_throughput": 4.0,
    "request_goodput": None,
    "output_throughput": 1024.0,
    "total_token_throughput": 5120.0,
    "latencies": [7.8, 7.9],
    "queue_times": [0.0, 0.1],
    "max_output_tokens_per_s": 1100.0,
    "max_concurrent_requests": 34,
    "rtfx": 0.0,
    "mean_ttft_ms": 120.0,
    "median_ttft_ms": 110.0,
    "std_ttft_ms": 5.0,
    "p99_ttft_ms": 180.0,
    "mean_tpot_ms": 30.0,
    "median_tpot_ms": 29.0,
    "std_tpot_ms": 1.0,
    "p99_tpot_ms": 35.0,
    "mean_itl_ms": 29.5,
    "median_itl_ms": 28.0,
    "std_itl_ms": 9.0,
    "p99_itl_ms": 90.0,
    "mean_client_queue_time_ms": 40.0,
    "median_client_queue_time_ms": 41.0,
    "std_client_queue_time_ms": 2.0,
    "p99_client_queue_time_ms": 60.0,
}
RAMPED: dict[str, Any] = {
    "max_concurrency": None,
    "ramp_up_strategy": "linear",
    "ramp_up_start_rps": 1,
    "ramp_up_end_rps": 5,
    "rps_change_events": [{"rps": 1, "timestamp": "2026-04-01T10:11:12"}],
}
"""What a ramp-up adds; its request rate stays "inf"."""


def served(**changes: object) -> bytes:
    return json.dumps({**SERVED, **changes}).encode()


def test_a_result_of_vllm_bench_serve_becomes_a_run() -> None:
    (run,) = read_result(served(), "bench.json", FACTS)
    assert (run.engine, run.model, run.gpu, run.tp) == ("vllm", "meta-llama/Llama-3.1-8B-Instruct", "L4-24GB", 1)
    assert (run.load_type, run.load_value, run.date) == (LoadType.CLOSED_LOOP, 32.0, "2026-04-01")
    assert (run.input_tokens, run.output_tokens) == (1024.0, 256.0)
    assert (run.ttft.mean, run.ttft.p50, run.ttft.p99) == (120.0, 110.0, 180.0)
    assert (run.tpot.mean, run.latency_metric) == (30.0, "tpot")
    assert run.e2e.mean is None
    assert (run.output_tok_s_total, run.req_s) == (1024.0, 4.0)
    assert (run.requests, run.requests_failed, run.unusable, run.unreadable) == (400.0, 0.0, "", ())


def test_the_load_follows_from_rate_and_limit() -> None:
    (rate,) = read_result(served(request_rate=7.5, max_concurrency=None), "bench.json", FACTS)
    (both,) = read_result(served(request_rate=7.5, max_concurrency=64), "bench.json", FACTS)
    (at_once,) = read_result(served(max_concurrency=None), "bench.json", FACTS)
    assert (rate.load_type, rate.load_value) == (LoadType.OPEN_LOOP, 7.5)
    assert (both.load_type, both.max_in_flight) == (LoadType.OPEN_LOOP, 64.0)
    assert (at_once.load_type, at_once.load_value) == (LoadType.OFFLINE, 400.0)


def test_metadata_pairs_that_are_columns_of_ours_are_taken_and_facts_win() -> None:
    data = served(gpu="T4", engine_version="0.19.0", weight_quant="fp8")
    (run,) = read_result(data, "bench.json", {"gpu": "L4-24GB"})
    assert (run.gpu, run.engine_version, run.weight_quant) == ("L4-24GB", "0.19.0", "fp8")


def test_results_appended_to_one_file_are_all_read() -> None:
    data = served(max_concurrency=8) + b"\n" + served(max_concurrency=16)
    runs = read_result(data, "bench.json", FACTS)
    assert [(run.row_id, run.load_value) for run in runs] == [("bench.json 1", 8.0), ("bench.json 2", 16.0)]


def test_a_guidellm_report_becomes_a_run_for_each_of_its_benchmarks() -> None:
    runs = read_result(REPORT.read_bytes(), "report.json", {**FACTS, "model": "Qwen/Qwen2.5-0.5B-Instruct"})
    assert [(run.load_type, run.load_value) for run in runs] == [
        (LoadType.CLOSED_LOOP, 1.0),
        (LoadType.CLOSED_LOOP, 8.0),
        (LoadType.OPEN_LOOP, 20.0),
        (LoadType.OPEN_LOOP, 10.0),
        (LoadType.CLOSED_LOOP, 1.0),
    ]
    for run in runs:
        assert (run.model, run.gpu) == ("Qwen/Qwen2.5-0.5B-Instruct", "L4-24GB")
        assert (run.input_tokens, run.output_tokens) == (240.0, 16.0)
        assert run.ttft.mean is not None
        assert run.tpot.mean is not None
        assert run.e2e.mean is not None
        assert 30.0 <= run.ttft.mean <= 120.0
        assert 5.0 <= run.tpot.mean <= 12.0
        assert run.e2e.mean == pytest.approx(run.ttft.mean + 15 * run.tpot.mean, rel=0.01)
        assert run.output_tok_s_total is not None
        assert (run.date, run.unusable) == ("2026-11-25", "")
        assert (run.requests, run.requests_failed, run.requests_cut_off) == (20.0, 0.0, 0.0)
    assert [run.arrival_scv for run in runs] == [None, None, 1.0, 0.0, None]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{}", "is neither a result of vllm bench serve nor a GuideLLM report"),
        (b"[]", "is neither"),
        (b'{"benchmarks": [{"metrics": {}}]}', "is neither"),
        (b'{"model_id"', "is not JSON"),
        (b'{"a": "\xff"}', "is not UTF-8 text"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_of_neither_tool_is_refused(data: bytes, words: str) -> None:
    assert is_result(data)
    with pytest.raises(InputError) as caught:
        read_result(data, "bench.json", {})
    assert words in str(caught.value)


def test_figures_of_the_wrong_kind_are_not_known_and_told() -> None:
    (run,) = read_result(served(mean_ttft_ms="fast", p99_ttft_ms=None, output_throughput=[1]), "bench.json", FACTS)
    assert (run.ttft.mean, run.ttft.p99, run.output_tok_s_total) == (None, None, None)
    assert run.ttft.p50 == 110.0
    assert run.unreadable == (("output_tok_s_total", "[1]"), ("ttft_ms_mean", "fast"))


@pytest.mark.parametrize(("figure", "told"), [(float("nan"), "NaN (not a number)"), (True, "True")])
def test_a_figure_that_is_not_a_number_is_not_known_and_told(figure: object, told: str) -> None:
    (run,) = read_result(served(mean_ttft_ms=figure), "bench.json", FACTS)
    assert run.ttft.mean is None
    assert run.unreadable == (("ttft_ms_mean", told),)


def test_a_date_that_is_none_is_told() -> None:
    (run,) = read_result(served(date="yesterday"), "bench.json", FACTS)
    assert run.unreadable == (("date", "yesterday"),)
    (undated,) = read_result(served(date=None), "bench.json", FACTS)
    assert undated.unreadable == ()


@pytest.mark.parametrize("key", ["request_rate", "max_concurrency"])
@pytest.mark.parametrize("stated", ["fast", "", 0, -1, True, [7.5], float("nan")])
def test_a_load_that_is_none_makes_a_run_unusable(key: str, stated: object) -> None:
    (run,) = read_result(served(**{key: stated}), "bench.json", FACTS)
    assert why_unusable(run) == " ".join(f"{key} {stated} is not a number above 0".split())


# ── arrivals ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("shape", "scv"), [(1.0, 1.0), (0.25, 4.0), (4, 0.25), ("0.5", 2.0), (float("inf"), 0.0)])
def test_the_gamma_shape_of_vllm_becomes_the_squared_coefficient_of_variation(shape: object, scv: float) -> None:
    (run,) = read_result(served(request_rate=7.5, burstiness=shape, max_concurrency=None), "bench.json", FACTS)
    assert (run.load_type, run.arrival_scv) == (LoadType.OPEN_LOOP, scv)


def test_without_a_rate_burstiness_takes_no_effect() -> None:
    (run,) = read_result(served(burstiness=0.25), "bench.json", FACTS)
    assert (run.load_type, run.arrival_scv) == (LoadType.CLOSED_LOOP, None)


@pytest.mark.parametrize("shape", [0, -1, "bursty"])
def test_a_burstiness_that_is_none_makes_a_run_unusable(shape: object) -> None:
    (run,) = read_result(served(request_rate=7.5, burstiness=shape), "bench.json", FACTS)
    assert why_unusable(run) == f"burstiness {shape} is not a number above 0"


# ── runs that are passed over ────────────────────────────────────────────────────────────────────────────


def test_a_ramp_up_is_no_steady_load() -> None:
    (run,) = read_result(served(**RAMPED), "bench.json", FACTS)
    assert why_unusable(run) == "no steady load: linear ramp-up from 1 to 5 requests/s"


def test_a_run_with_speculative_decoding_is_not_compared_with_one_without() -> None:
    (run,) = read_result(served(spec_decode_acceptance_rate=71.0), "bench.json", FACTS)
    assert "speculative decoding" in why_unusable(run)


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({"completed": 20, "failed": 480}, "480 of 500 requests failed (more than 5%)"),
        ({"completed": 0, "failed": 500, "total_input_tokens": 0}, "500 of 500 requests failed (more than 5%)"),
        ({"completed": 379, "failed": 21}, "21 of 400 requests failed (more than 5%)"),
        ({"completed": 380, "failed": 20}, ""),
        ({"completed": 400, "failed": 0}, ""),
    ],
)
def test_a_run_of_which_more_than_one_request_in_twenty_failed_is_passed_over(counts: dict[str, int], why: str) -> None:
    (run,) = read_result(served(num_prompts=sum(counts.values()), **counts), "bench.json", FACTS)
    assert why_unusable(run) == why


def test_a_few_failures_are_told_and_the_means_are_those_of_the_answered_requests() -> None:
    (run,) = read_result(served(completed=395, failed=5), "bench.json", FACTS)
    assert list(remarks(run)) == ["5 of 400 requests failed; the others stand for all"]
    assert run.input_tokens == 409600 / 395


def test_a_result_of_before_failures_were_counted_tells_them_by_the_difference() -> None:
    older = {key: value for key, value in SERVED.items() if key != "failed"}
    (run,) = read_result(json.dumps({**older, "completed": 100}).encode(), "bench.json", FACTS)
    assert why_unusable(run) == "300 of 400 requests failed (more than 5%)"


def guidellm(index: int = 1, **changes: dict[str, object]) -> bytes:
    """One benchmark of the report, with parts of it (``strategy`` or those of the benchmark itself) changed."""
    report = json.loads(REPORT.read_bytes())
    benchmark = report["benchmarks"][index]
    for name, values in changes.items():
        part = benchmark["config"]["strategy"] if name == "strategy" else benchmark
        for key, value in values.items():
            part[key] = {**part[key], **value} if isinstance(value, dict) else value
    return json.dumps({**report, "benchmarks": [benchmark]}).encode()


def made(successful: int, errored: int, incomplete: int) -> dict[str, object]:
    total = successful + errored + incomplete
    counts = {"successful": successful, "errored": errored, "incomplete": incomplete, "total": total}
    return {"scheduler_metrics": {"requests_made": counts}}


@pytest.mark.parametrize(
    ("counts", "why", "told"),
    [
        ((20, 480, 0), "480 of 500 requests failed (more than 5%)", 1),
        ((94, 6, 0), "6 of 100 requests failed (more than 5%)", 1),
        ((95, 5, 0), "", 1),
        ((20, 0, 480), "480 of 500 requests were cut off at the end (more than 20%)", 1),
        ((768, 0, 64), "", 1),
        ((760, 8, 64), "", 2),
        ((100, 0, 0), "", 0),
    ],
)
def test_errored_and_incomplete_requests_of_guidellm_are_weighed(
    counts: tuple[int, int, int], why: str, told: int
) -> None:
    (run,) = read_result(guidellm(benchmark=made(*counts)), "report.json", FACTS)
    assert why_unusable(run) == why
    assert len(list(remarks(run))) == told


@pytest.mark.parametrize(
    ("strategy", "times", "why"),
    [
        ({"rampup_duration": 30.0}, {}, "it rose for 30 s of "),
        ({"rampup_duration": 30.0}, {"duration": 300.0}, "it rose for 30 s of 300 s"),
        ({"rampup_duration": 10.0}, {"duration": 300.0}, ""),
        (
            {"rampup_duration": 30.0},
            {"duration": 60.0, "warmup_duration": 6.0},
            "it rose for 30 s, 6 s of them before the measurement of 60 s",
        ),
        ({"rampup_duration": 30.0}, {"duration": 300.0, "warmup_duration": 30.0}, ""),
        ({"type_": "constant", "rate": 5.0, "rampup_duration": 30.0}, {"duration": 60.0}, "it rose for 30 s of 60 s"),
        ({"type_": "trace", "time_scale": 1.0}, {}, "GuideLLM strategy trace"),
    ],
)
def test_a_load_that_rises_while_it_is_measured_is_not_steady(
    strategy: dict[str, object], times: dict[str, object], why: str
) -> None:
    (run,) = read_result(guidellm(strategy=strategy, benchmark=times), "report.json", FACTS)
    found = why_unusable(run)
    assert found.startswith(f"no steady load: {why}") if why else not found


def test_a_throughput_run_is_a_closed_loop_unless_all_requests_were_there_at_once() -> None:
    strategy = {"type_": "throughput", "max_concurrency": 64}
    (flood,) = read_result(guidellm(strategy=strategy, benchmark=made(640, 0, 0)), "report.json", FACTS)
    (crowd,) = read_result(guidellm(strategy=strategy, benchmark=made(60, 0, 4)), "report.json", FACTS)
    assert (flood.load_type, flood.load_value) == (LoadType.CLOSED_LOOP, 64.0)
    assert (crowd.load_type, crowd.load_value) == (LoadType.OFFLINE, 64.0)


# ── dates ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stamp", "day"),
    [("20260301-121314", "2026-03-01"), ("2026-03-01", "2026-03-01"), ("20261399-121314", "20261399-121314")],
)
def test_the_date_of_vllm_is_read(stamp: str, day: str) -> None:
    (run,) = read_result(served(date=stamp), "bench.json", FACTS)
    assert run.date == day


def test_the_date_of_guidellm_is_read_from_whichever_time_a_release_writes() -> None:
    benchmark = json.loads(guidellm())["benchmarks"][0]
    benchmark["args"] = benchmark.pop("config")
    del benchmark["start_time"]
    for place in ("scheduler_metrics", "run_stats"):
        older = {**benchmark, place: {"start_time": 1756771200.0, "requests_made": {"successful": 20}}}
        (run,) = read_result(json.dumps({"benchmarks": [older]}).encode(), "report.json", FACTS)
        assert (run.date, run.requests) == ("2025-09-02", 20.0)
    (undated,) = read_result(json.dumps({"benchmarks": [benchmark]}).encode(), "report.json", FACTS)
    assert undated.date == ""
