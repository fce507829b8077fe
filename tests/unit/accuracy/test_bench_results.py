"""Results of benchmark tools as runs.

``guidellm-0.8.1.json`` is what GuideLLM 0.8.1 wrote about its own mock server (TTFT 30 ms, 5 ms between tokens), five
benchmarks cut down to what is read and its neighbours. vLLM is too large to run here, so its result is the documented
format of ``vllm bench serve --save-result`` with made-up figures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inferplan.accuracy.bench_results import is_result, read_result
from inferplan.accuracy.runs import LoadType
from inferplan.domain.errors import InputError

REPORT = Path(__file__).parent / "guidellm-0.8.1.json"
FACTS = {"gpu": "L4-24GB", "tp": "1"}
SERVED: dict[str, Any] = {
    "date": "20260401-101112",
    "endpoint_type": "openai",
    "backend": "openai",
    "label": None,
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
}


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
    assert "400 requests" in run.notes


def test_the_load_follows_from_rate_and_limit() -> None:
    (rate,) = read_result(served(request_rate=7.5, max_concurrency=None), "bench.json", FACTS)
    (both,) = read_result(served(request_rate=7.5, max_concurrency=64), "bench.json", FACTS)
    (at_once,) = read_result(served(max_concurrency=None), "bench.json", FACTS)
    assert (rate.load_type, rate.load_value) == (LoadType.OPEN_LOOP, 7.5)
    assert "at most 64 requests in flight" in both.notes
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
    assert "constant arrival rate" in runs[3].notes


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{}", "is neither a result of vllm bench serve nor a GuideLLM report"),
        (b"[]", "is neither"),
        (b'{"benchmarks": [{"metrics": {}}]}', "is neither"),
        (b'{"model_id": "m", "completed": 0}', "is neither"),
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


def test_figures_of_the_wrong_kind_are_not_known() -> None:
    (run,) = read_result(served(mean_ttft_ms="fast", p99_ttft_ms=None, output_throughput=[1]), "bench.json", FACTS)
    assert (run.ttft.mean, run.ttft.p99, run.output_tok_s_total) == (None, None, None)
    assert run.ttft.p50 == 110.0
