"""GuideLLM's JSON reports as cells of runs: one run for each benchmark of a report.

References
----------
.. [1] Reports of GuideLLM 0.8.1 against its own mock server (``guidellm run --output kind=json``), for concurrent,
   poisson, constant and synchronous profiles; older reports keep the strategy under ``args``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inferplan.accuracy.runs import LoadType

_LATENCIES = {
    "time_to_first_token_ms": ("ttft_ms", 1.0),
    "inter_token_latency_ms": ("itl_or_tpot_ms", 1.0),
    "request_latency": ("e2e_ms", 1e3),
}
"""Metric to column and factor to ms. GuideLLM's own "time per output token" counts the first token in; its mean gap
after the first token is what is called TPOT here."""
_LENGTHS = {"prompt_token_count": "input_tokens", "output_token_count": "output_tokens"}
_RATES = {"output_tokens_per_second": "output_tok_s_total", "requests_per_second": "req_s"}
_PERCENTILES = ("p50", "p90", "p95", "p99")


def is_report(document: dict[str, Any]) -> bool:
    """Whether a JSON object is a GuideLLM report."""
    benchmarks = document.get("benchmarks")
    return isinstance(benchmarks, list) and all(isinstance(b, dict) and "metrics" in b for b in benchmarks)


def read_report(document: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Cells of each benchmark that completed requests and whose strategy is understood."""
    for benchmark in document["benchmarks"]:
        settings = _object(benchmark, "config") or _object(benchmark, "args")
        requests = _number(_at(benchmark, "scheduler_metrics", "requests_made", "successful"))
        requests = requests or _number(_at(benchmark, "metrics", "request_totals", "successful"))
        load = _load(_object(settings, "strategy"), requests)
        model = _model(document, benchmark, settings)
        if load and model:
            yield {"engine": "vllm", "model": model, **load, **_measured(_object(benchmark, "metrics"))}


def _load(strategy: dict[str, Any], requests: float | None) -> dict[str, str]:
    """Load type, value and notes; empty if the strategy is of no known kind."""
    kind = strategy.get("type_") or strategy.get("kind")
    notes = "" if requests is None else f"{requests:.0f} requests"
    if kind in {"constant", "poisson", "async"}:
        pattern = "constant arrival rate" if kind == "constant" else ""
        words = "; ".join(part for part in (notes, pattern) if part)
        return {"load_type": LoadType.OPEN_LOOP, "load_value": _cell(strategy.get("rate")), "notes": words}
    if kind in {"concurrent", "synchronous"}:
        users = _cell(strategy.get("streams")) or "1"
        return {"load_type": LoadType.CLOSED_LOOP, "load_value": users, "notes": notes}
    if kind == "throughput":
        most = _number(strategy.get("max_concurrency"))
        if most is not None and requests is not None and most < requests:
            return {"load_type": LoadType.CLOSED_LOOP, "load_value": repr(most), "notes": notes}
        return {"load_type": LoadType.OFFLINE, "load_value": _cell(requests), "notes": notes}
    return {}


def _measured(metrics: dict[str, Any]) -> dict[str, str]:
    cells = {"latency_metric": "tpot"}
    for metric, (prefix, factor) in _LATENCIES.items():
        found = _of_successful(metrics, metric)
        percentiles = _object(found, "percentiles")
        cells[f"{prefix}_mean"] = _cell(found.get("mean"), factor)
        for name in _PERCENTILES:
            cells[f"{prefix}_{name}"] = _cell(percentiles.get(name), factor)
    for metric, column in (_LENGTHS | _RATES).items():
        cells[column] = _cell(_of_successful(metrics, metric).get("mean"))
    if not cells["output_tok_s_total"]:
        cells["output_tok_s_total"] = _cell(_object(_object(metrics, "output_tokens_per_second"), "total").get("mean"))
    return cells


def _of_successful(metrics: dict[str, Any], name: str) -> dict[str, Any]:
    return _object(_object(metrics, name), "successful")


def _model(document: dict[str, Any], benchmark: dict[str, Any], settings: dict[str, Any]) -> str:
    places = (
        _at(settings, "backend", "model"),
        _at(document, "config", "spec", "backend", "model"),
        _at(benchmark, "worker", "backend_model"),
        _at(document, "args", "model"),
    )
    return next((place for place in places if isinstance(place, str) and place), "")


def _object(holder: dict[str, Any], name: str) -> dict[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def _at(holder: dict[str, Any], *path: str) -> object:
    for name in path[:-1]:
        holder = _object(holder, name)
    return holder.get(path[-1])


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0 < value < float("inf") else None


def _cell(value: object, factor: float = 1.0) -> str:
    found = _number(value)
    return "" if found is None else repr(found * factor)
