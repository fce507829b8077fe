"""Tables of runs for tests: one plain row, overridden by what a test is about."""

from __future__ import annotations

import csv
import io

from inferplan.accuracy.runs import Run, make_run

PLAIN = {
    "row_id": "R1",
    "source_id": "test",
    "engine": "vllm",
    "engine_version": "0.19.0",
    "date": "2026-04-01",
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "weight_quant": "bf16",
    "gpu": "H100-80GB-SXM",
    "gpu_count": "1",
    "tp": "1",
    "pp": "1",
    "load_type": "closed_loop_concurrency",
    "load_value": "16",
    "input_tokens": "1024",
    "output_tokens": "256",
    "length_fixed": "yes",
    "prefix_caching": "no reuse (random prompts)",
    "ttft_ms_mean": "60",
    "latency_metric": "tpot",
    "itl_or_tpot_ms_mean": "8.5",
    "e2e_ms_mean": "2230",
    "output_tok_s_total": "1830",
}


def make_row(**cells: str) -> Run:
    """Llama-3.1-8B on one H100, 16 requests in flight of 1,024 and 256 tokens."""
    return make_run({**PLAIN, **cells}, "row 2")


def make_table(*rows: dict[str, str]) -> bytes:
    """A CSV table of plain rows with those cells changed."""
    text = io.StringIO()
    columns = list(dict.fromkeys([*PLAIN, *(name for row in rows for name in row)]))
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows({**PLAIN, **row} for row in rows)
    return text.getvalue().encode()
