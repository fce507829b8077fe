"""GuideLLM's JSON reports as cells of runs: one run for each benchmark of a report.

References
----------
.. [1] Reports of GuideLLM 0.8.1 against its own mock server (``guidellm run --output kind=json``), for concurrent,
   poisson, constant and synchronous profiles; older reports keep the strategy under ``args``, and times and counts
   under ``run_stats`` (0.3.0, ``guidellm/benchmark/benchmark.py``).
.. [2] GuideLLM 0.8.1, ``guidellm/scheduler/strategies.py`` and ``guidellm/benchmark/schemas/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import isfinite, isnan
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
_ARRIVALS = frozenset({"constant", "poisson", "async"})
_STRATEGIES = _ARRIVALS | {"concurrent", "synchronous", "throughput"}
"""Strategies of a steady load; a replayed trace is none."""
MOST_RISING = 0.05
"""Share of the measured time in which the load may still have been rising (``rampup_duration``): a mean over the whole
then moves by no more than a twentieth of what the rise makes of it."""
_LATEST_S = 4e9
"""Unix time (the year 2096) after which a figure is none [s]."""
_PERCENTILES = ("p50", "p90", "p95", "p99")


def is_report(document: dict[str, Any]) -> bool:
    """Whether a JSON object is a GuideLLM report."""
    benchmarks = document.get("benchmarks")
    return isinstance(benchmarks, list) and all(isinstance(b, dict) and "metrics" in b for b in benchmarks)


def read_report(document: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Cells of each benchmark that says how its requests were scheduled."""
    for benchmark in document["benchmarks"]:
        settings = _object(benchmark, "config") or _object(benchmark, "args")
        strategy = _object(settings, "strategy")
        kind = strategy.get("type_") or strategy.get("kind")
        if not isinstance(kind, str):
            continue
        requests = _requests(benchmark)
        yield {
            "engine": "vllm",
            "model": _model(document, benchmark, settings),
            "date": _date(benchmark),
            "unusable": "" if kind in _STRATEGIES else f"no steady load: GuideLLM strategy {kind}",
            **requests,
            **_load(kind, strategy, _number(float(requests.get("requests", 0.0)))),
            **_measured(_object(benchmark, "metrics")),
            **_ramp(strategy, benchmark),
        }


def _requests(benchmark: dict[str, Any]) -> dict[str, str]:
    """Requests sent, failed and cut off at the end."""
    places = (("scheduler_metrics", "requests_made"), ("run_stats", "requests_made"), ("metrics", "request_totals"))
    for place in places:
        counts = _at(benchmark, *place)
        if isinstance(counts, dict):
            found = {name: _number(counts.get(name)) or 0.0 for name in ("successful", "errored", "incomplete")}
            return {
                "requests": repr(sum(found.values())),
                "requests_failed": repr(found["errored"]),
                "requests_cut_off": repr(found["incomplete"]),
            }
    return {}


def _load(kind: str, strategy: dict[str, Any], requests: float | None) -> dict[str, str]:
    """Load type and value, and how evenly requests arrive."""
    if kind in _ARRIVALS:
        scv = {"constant": "0", "poisson": "1"}.get(kind, "")
        return {"load_type": LoadType.OPEN_LOOP, "load_value": figure(strategy.get("rate")), "arrival_scv": scv}
    if kind == "throughput":
        most = _number(strategy.get("max_concurrency"))
        if most is None or requests is None or most >= requests:
            return {"load_type": LoadType.OFFLINE, "load_value": figure(requests)}
        return {"load_type": LoadType.CLOSED_LOOP, "load_value": repr(most)}
    if kind in {"concurrent", "synchronous"}:
        return {"load_type": LoadType.CLOSED_LOOP, "load_value": figure(strategy.get("streams")) or "1"}
    return {}


def _ramp(strategy: dict[str, Any], benchmark: dict[str, Any]) -> dict[str, str]:
    """Why the load was not steady while it was measured, if it rose first for longer than the warm-up took."""
    ramp_s = _number(strategy.get("rampup_duration")) or 0.0
    measured_s = _number(benchmark.get("duration")) or 0.0
    rising_s = ramp_s - (_number(benchmark.get("warmup_duration")) or 0.0)
    if rising_s <= MOST_RISING * measured_s:
        return {}
    before = f", {ramp_s - rising_s:.0f} s of them before the measurement" if rising_s < ramp_s else ""
    return {"unusable": f"no steady load: it rose for {ramp_s:.0f} s{before} of {measured_s:.0f} s"}


def _measured(metrics: dict[str, Any]) -> dict[str, str]:
    cells = {"latency_metric": "tpot"}
    for metric, (prefix, factor) in _LATENCIES.items():
        found = _of_successful(metrics, metric)
        percentiles = _object(found, "percentiles")
        cells[f"{prefix}_mean"] = figure(found.get("mean"), factor)
        for name in _PERCENTILES:
            cells[f"{prefix}_{name}"] = figure(percentiles.get(name), factor)
    for metric, column in (_LENGTHS | _RATES).items():
        cells[column] = figure(_of_successful(metrics, metric).get("mean"))
    if not cells["output_tok_s_total"]:
        cells["output_tok_s_total"] = figure(_object(_object(metrics, "output_tokens_per_second"), "total").get("mean"))
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


def _date(benchmark: dict[str, Any]) -> str:
    """Day of the run (UTC), from its Unix time; empty if the report has none."""
    places = (("scheduler_metrics", "start_time"), ("run_stats", "start_time"), ("start_time",))
    started_s = next((found for place in places if (found := _number(_at(benchmark, *place)))), None)
    if started_s is None or started_s > _LATEST_S:
        return ""
    return datetime.fromtimestamp(started_s, UTC).date().isoformat()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0 < value < float("inf") else None


def figure(value: object, factor: float = 1.0) -> str:
    """Return a figure of a report as a cell; zero, infinity and null are none, what is not a number stays as it is."""
    if isinstance(value, float) and isnan(value):
        return "NaN (not a number)"  # "nan" alone is an empty cell
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value * factor) if value != 0 and isfinite(value) else ""
    return "" if value is None else str(value)
