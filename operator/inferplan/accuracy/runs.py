"""One measured operating point of one engine, and tables of them.

The columns are those of a common schema for published LLM serving measurements; only a few have to be there. Cells are
read leniently, since every source fills them in its own way; a run remembers those that could not be read.
"""

from __future__ import annotations

import csv
import enum
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from inferplan.accuracy.cells import milliseconds, number, text, whole
from inferplan.accuracy.engine_names import has_date
from inferplan.domain.errors import Fault, InputError

Number = TypeVar("Number", int, float)


class LoadType(enum.StrEnum):
    """How the load of a run was made."""

    STATIC_BATCH = "static_batch"
    """One batch processed together; the value is its size."""
    CLOSED_LOOP = "closed_loop_concurrency"
    """So many requests always in flight."""
    OPEN_LOOP = "open_loop_rate"
    """So many requests per second."""
    OFFLINE = "offline_max"
    """Everything submitted at once; the value is how many, where known."""
    STARTUP = "startup_memory_only"
    """No traffic: what the engine logs when it starts."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured latency over requests or over gaps [ms]; None where the source does not give it."""

    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None

    @property
    def typical(self) -> float | None:
        """The mean or, where only that is given, the median."""
        return self.p50 if self.mean is None else self.mean

    @property
    def is_median(self) -> bool:
        """Whether the typical value is the median."""
        return self.mean is None and self.p50 is not None


@dataclass(frozen=True, slots=True)
class Run:
    """One row. Names are as the source gives them; empty text and None are "not known".

    Parameters
    ----------
    length_fixed, prefix_caching, dataset, notes
        Free text; :mod:`inferplan.accuracy.settings` reads what it needs out of them.
    latency_metric
        ``tpot`` (per request) or ``itl`` (over single gaps): what ``tpot`` holds.
    requests, requests_failed, requests_cut_off
        Requests sent; those of them that failed, and those that still ran when the client stopped.
    max_in_flight
        The client's own limit of requests in flight under an open loop.
    arrival_scv
        Squared coefficient of variation of the gaps between arrivals: 1 = Poisson, 0 = evenly spaced.
    unusable
        Why the run cannot be compared with a prediction, in words; empty if it can.
    unreadable
        Cells that are filled in and could not be read, as (column, cell).
    mem_weights_gib, mem_kv_pool_gib, kv_pool_tokens
        Per GPU, from the engine's log [GiB, GiB, tokens].
    """

    row_id: str
    source_id: str
    engine: str
    engine_version: str
    date: str
    model: str
    weight_quant: str
    kv_dtype: str
    gpu: str
    gpu_count: int | None
    tp: int | None
    pp: int | None
    dp: int | None
    ep: int | None
    load_type: str
    load_value: float | None
    running_batch_mean: float | None
    input_tokens: float | None
    output_tokens: float | None
    length_fixed: str
    prefix_caching: str
    dataset: str
    ttft: Measured
    latency_metric: str
    tpot: Measured
    e2e: Measured
    output_tok_s_total: float | None
    req_s: float | None
    mem_weights_gib: float | None
    mem_kv_pool_gib: float | None
    kv_pool_tokens: float | None
    requests: float | None
    requests_failed: float | None
    requests_cut_off: float | None
    max_in_flight: float | None
    arrival_scv: float | None
    flag: str
    unusable: str
    notes: str
    unreadable: tuple[tuple[str, str], ...]


_TEXT = (
    "source_id",
    "engine",
    "engine_version",
    "date",
    "model",
    "weight_quant",
    "kv_dtype",
    "gpu",
    "load_type",
    "length_fixed",
    "prefix_caching",
    "dataset",
    "latency_metric",
    "flag",
    "unusable",
    "notes",
)
_WHOLE = ("gpu_count", "tp", "pp", "dp", "ep")
_LOAD = (
    "load_value",
    "running_batch_mean",
    "input_tokens",
    "output_tokens",
    "requests",
    "requests_failed",
    "requests_cut_off",
    "max_in_flight",
    "arrival_scv",
)
_RESULTS = (
    "output_tok_s_total",
    "req_s",
    "mem_weights_gib",
    "mem_kv_pool_gib",
    "kv_pool_tokens",
)
_LATENCIES = {"ttft": "ttft_ms", "tpot": "itl_or_tpot_ms", "e2e": "e2e_ms"}
_STATISTICS = ("mean", "p50", "p90", "p95", "p99")
_ENDLESS = frozenset({"inf", "infinity", "infinite"})
"""Arrival rates that mean everything at once."""
_UNUSED = frozenset({"0", "no", "off", "false"})
"""What stands in ``dp`` and ``ep`` for a kind of parallelism that is not used."""
NEEDED = ("engine", "model", "gpu", "load_type")
"""Columns without which nothing can be predicted."""
COLUMNS = (
    "row_id",
    *_TEXT,
    *_WHOLE,
    *_LOAD,
    *_RESULTS,
    *(f"{prefix}_{statistic}" for prefix in _LATENCIES.values() for statistic in _STATISTICS),
)
"""Columns that are read; others are passed over."""
CONDITIONS = frozenset({*_WHOLE, *_LOAD})
"""Columns of numbers that say under which conditions a run took place, and not what came out."""


def make_run(cells: Mapping[str, str | None], default_id: str) -> Run:
    """Make a run from cells by column; columns may be missing."""
    unreadable: list[tuple[str, str]] = []

    def read(column: str, reader: Callable[[str | None], Number | None]) -> Number | None:
        cell = cells.get(column)
        value = reader(cell)
        if value is not None and value >= 0:
            return value
        stated = text(cell)
        if stated and not _is_word(column, stated.casefold()):
            unreadable.append((column, stated))
        return None

    values: dict[str, Any] = {name: text(cells.get(name)) for name in _TEXT}
    if values["date"] and not has_date(values["date"]):
        unreadable.append(("date", values["date"]))
    values |= {name: read(name, whole) for name in _WHOLE}
    values |= {name: read(name, number) for name in (*_LOAD, *_RESULTS)}
    values |= {
        field: Measured(*(read(f"{prefix}_{statistic}", milliseconds) for statistic in _STATISTICS))
        for field, prefix in _LATENCIES.items()
    }
    if values["load_type"] == LoadType.OPEN_LOOP and text(cells.get("load_value")).casefold() in _ENDLESS:
        values["load_type"] = LoadType.OFFLINE.value
    return Run(row_id=text(cells.get("row_id")) or default_id, **values, unreadable=tuple(unreadable))


def _is_word(column: str, stated: str) -> bool:
    """Whether a cell that holds no number is understood all the same."""
    return stated in (_ENDLESS if column == "load_value" else _UNUSED if column in {"dp", "ep"} else ())


def read_table(data: bytes, origin: str) -> tuple[Run, ...]:
    """Read a CSV table of runs.

    Parameters
    ----------
    origin
        Name of the file, for faults.

    Raises
    ------
    InputError
        If it is no UTF-8 text, no CSV, has no rows, or lacks a column that is needed.
    """
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError([Fault(origin, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8")]) from error
    if "\0" in content:
        raise InputError([Fault(origin, "holds zero bytes, so it is not a table")])
    reader = csv.reader(io.StringIO(content))
    try:
        lines = list(reader)
    except csv.Error as error:
        raise InputError([Fault(f"{origin}:{reader.line_num}", f"is not CSV: {error}")]) from error
    header = [name.strip().casefold() for name in lines[0]] if lines else []
    faults = [
        Fault(origin, f'has no column "{name}"', _near(name, header)) for name in NEEDED if name not in header
    ] + [Fault(origin, f'has the column "{name}" twice') for name in COLUMNS if header.count(name) > 1]
    if faults:
        raise InputError(faults)
    rows = [(index, cells) for index, cells in enumerate(lines[1:], start=2) if any(cell.strip() for cell in cells)]
    if not rows:
        raise InputError([Fault(origin, "has no rows")])
    return tuple(make_run(dict(zip(header, cells, strict=False)), f"row {index}") for index, cells in rows)


def _near(name: str, header: list[str]) -> str:
    close = get_close_matches(name, header, 1)
    return f'did you mean "{close[0]}"?' if close else f"needed: {', '.join(NEEDED)}"
