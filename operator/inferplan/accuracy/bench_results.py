"""Results of benchmark tools as runs: ``vllm bench serve --save-result`` and GuideLLM's JSON report.

Neither tool knows the hardware, so GPU, parallel sizes and engine release are facts that the caller adds. vLLM's
``--metadata KEY=VALUE`` pairs stand beside the figures in its file and are taken wherever a key is a column of ours.

References
----------
.. [1] vLLM, ``vllm/benchmarks/serve.py`` (``result_json``); the format as written there, of release 0.33.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from math import isinf
from typing import Any

from inferplan.accuracy.guidellm_report import figure, is_report, read_report
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
        If it is not valid JSON, or of neither tool, or holds nothing that was measured.
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
    if not isinstance(result.get("model_id"), str) or "completed" not in result:
        return
    completed = _number(result["completed"]) or 0.0
    cells = {name: str(result[name]) for name in COLUMNS if isinstance(result.get(name), (str, int, float))}
    cells |= {"engine": cells.get("engine", "vllm"), "model": result["model_id"], "latency_metric": "tpot"}
    cells["date"] = _date(str(result.get("date") or ""))
    cells |= _requests(result, completed)
    cells |= _load(result, cells["requests"])
    cells["unusable"] = _unusable(result)
    for total, column in (("total_input_tokens", "input_tokens"), ("total_output_tokens", "output_tokens")):
        amount = _number(result.get(total))
        if amount is not None and completed:
            cells[column] = repr(amount / completed)
    for key, column in (("output_throughput", "output_tok_s_total"), ("request_throughput", "req_s")):
        cells[column] = figure(result.get(key))
    for short, prefix in _LATENCIES.items():
        for statistic, ours in _STATISTICS.items():
            cells[f"{prefix}_{ours}"] = figure(result.get(f"{statistic}_{short}_ms"))
    yield cells


def _unusable(result: dict[str, Any]) -> str:
    """Why a result cannot be compared with a prediction, as far as only its own keys tell."""
    strategy = result.get("ramp_up_strategy")
    if strategy:
        ends = f"from {result.get('ramp_up_start_rps')} to {result.get('ramp_up_end_rps')} requests/s"
        return f"no steady load: {strategy} ramp-up {ends}"
    if "spec_decode_acceptance_rate" in result:
        return "speculative decoding is not predicted for measured runs"
    for key in ("request_rate", "max_concurrency"):
        if _misread(result.get(key)):
            return f"{key} {result[key]} is not a number above 0"
    shape = result.get("burstiness", 1.0)
    if _number(result.get("request_rate")) is not None and _shape(shape) is None:
        return f"burstiness {shape} is not a number above 0"
    return ""


def _requests(result: dict[str, Any], completed: float) -> dict[str, str]:
    """Requests sent and failed. Results before ``failed`` was written tell the latter by the difference."""
    failed = _number(result.get("failed")) or 0.0
    if "failed" not in result:
        failed = max((_number(result.get("num_prompts")) or completed) - completed, 0.0)
    return {"requests": repr(completed + failed), "requests_failed": repr(failed)}


def _load(result: dict[str, Any], requests: str) -> dict[str, str]:
    """Rate, requests in flight, or everything at once."""
    rate, most = _number(result.get("request_rate")), _number(result.get("max_concurrency"))
    if rate is not None:
        # Gaps follow a gamma distribution of that shape; they are equal if it is infinite (get_request in serve.py).
        shape = _shape(result.get("burstiness", 1.0))
        scv = "" if shape is None else repr(1.0 / shape)
        load = {"load_type": LoadType.OPEN_LOOP, "load_value": repr(rate), "arrival_scv": scv}
        return load if most is None else {**load, "max_in_flight": repr(most)}
    if most is not None:
        return {"load_type": LoadType.CLOSED_LOOP, "load_value": repr(most)}
    return {"load_type": LoadType.OFFLINE, "load_value": requests}


def _shape(value: object) -> float | None:
    """A positive number, which may be infinite; None for anything else."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return found if found > 0.0 else None


def _number(value: object) -> float | None:
    """A finite, positive number; None for "inf" and what is not a number."""
    found = _shape(value)
    return None if found is None or isinf(found) else found


def _misread(value: object) -> bool:
    """Whether a limit is stated and neither a positive number nor infinite."""
    return value is not None and _shape(value) is None


def _date(stamp: str) -> str:
    """``20261125-101112`` as a date; another text as it is."""
    try:
        return date.fromisoformat(stamp.partition("-")[0]).isoformat()
    except ValueError:
        return stamp
