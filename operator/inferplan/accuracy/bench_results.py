"""Results of benchmark tools as runs: ``vllm bench serve --save-result`` and GuideLLM's JSON report.

Neither tool knows the hardware, so GPU, parallel sizes and engine release are facts that the caller adds. vLLM's
``--metadata KEY=VALUE`` pairs stand beside the figures in its file and are taken wherever a key is a column of ours.

References
----------
.. [1] vLLM, ``vllm/benchmarks/serve.py`` (``result_json``); the format as written there, read on 2026-11-25.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from inferplan.accuracy.guidellm_report import is_report, read_report
from inferplan.accuracy.runs import COLUMNS, LoadType, Run, make_run
from inferplan.domain.errors import Fault, InputError

_LATENCIES = {"ttft": "ttft_ms", "tpot": "itl_or_tpot_ms", "e2el": "e2e_ms"}
_STATISTICS = {"mean": "mean", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}


def is_result(data: bytes) -> bool:
    """Whether a file is JSON, and so a result of a tool rather than a table."""
    return data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}


def read_result(data: bytes, origin: str, facts: Mapping[str, str]) -> tuple[Run, ...]:
    """Read one result, or several written one after the other (``--append-result``).

    Parameters
    ----------
    origin
        Name of the file; it becomes the source of the runs.
    facts
        Cells by column that the file does not state; they win over what it says.

    Raises
    ------
    InputError
        If it is no JSON, or of neither tool, or holds nothing that was measured.
    """
    runs: list[Run] = []
    for document in _documents(data, origin):
        cells = read_report(document) if is_report(document) else _served(document)
        for found in cells:
            number = len(runs) + 1
            runs.append(make_run({"source_id": origin, **found, **facts}, f"{origin} {number}"))
    if not runs:
        hint = "write one with vllm bench serve --save-result or guidellm benchmark --output-path"
        raise InputError([Fault(origin, "is neither a result of vllm bench serve nor a GuideLLM report", hint)])
    return tuple(runs)


def _documents(data: bytes, origin: str) -> Iterator[dict[str, Any]]:
    """JSON objects one after the other, or in a list."""
    try:
        rest = data.decode("utf-8-sig").strip()
        decoder = json.JSONDecoder()
        while rest:
            found, end = decoder.raw_decode(rest)
            yield from (entry for entry in (found if isinstance(found, list) else [found]) if isinstance(entry, dict))
            rest = rest[end:].lstrip()
    except UnicodeDecodeError as error:
        raise InputError([Fault(origin, f"is not UTF-8 text (byte {error.start})")]) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError([Fault(origin, f"is not JSON: {error}")]) from error


def _served(result: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Cells of one ``vllm bench serve`` result; nothing if it is none."""
    completed = _number(result.get("completed"))
    if "model_id" not in result or not completed:
        return
    cells = {name: str(result[name]) for name in COLUMNS if isinstance(result.get(name), (str, int, float))}
    cells |= {"engine": cells.get("engine", "vllm"), "model": str(result["model_id"])}
    cells["date"] = _date(str(result.get("date", "")))
    cells |= _load(result)
    for total, column in (("total_input_tokens", "input_tokens"), ("total_output_tokens", "output_tokens")):
        amount = _number(result.get(total))
        if amount is not None:
            cells[column] = repr(amount / completed)
    for key, column in (("output_throughput", "output_tok_s_total"), ("request_throughput", "req_s")):
        cells[column] = _cell(result.get(key))
    for short, prefix in _LATENCIES.items():
        for statistic, ours in _STATISTICS.items():
            cells[f"{prefix}_{ours}"] = _cell(result.get(f"{statistic}_{short}_ms"))
    yield {**cells, "latency_metric": "tpot"}


def _load(result: dict[str, Any]) -> dict[str, str]:
    """Rate, requests in flight, or everything at once; how many requests there were goes into the notes."""
    requests = _number(result.get("num_prompts")) or _number(result.get("completed")) or 0.0
    rate, most = _number(result.get("request_rate")), _number(result.get("max_concurrency"))
    notes = f"{requests:.0f} requests"
    if rate is not None:
        notes += f"; at most {most:.0f} requests in flight" if most is not None else ""
        return {"load_type": LoadType.OPEN_LOOP, "load_value": repr(rate), "notes": notes}
    if most is not None:
        return {"load_type": LoadType.CLOSED_LOOP, "load_value": repr(most), "notes": notes}
    return {"load_type": LoadType.OFFLINE, "load_value": repr(requests), "notes": notes}


def _number(value: object) -> float | None:
    """A finite, positive number; "inf" and what is no number are none."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) else 0.0
    except ValueError:
        return None
    return found if 0.0 < found < float("inf") else None


def _cell(value: object) -> str:
    found = _number(value)
    return "" if found is None else repr(found)


def _date(stamp: str) -> str:
    """``20261125-...`` as a date."""
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}" if stamp[:8].isdigit() else stamp
