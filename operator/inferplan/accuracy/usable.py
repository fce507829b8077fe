"""Which runs can be compared with a prediction: why one cannot, and what is told of one that can.

A prediction is for a steady load that is served whole. A ramp-up, a run whose requests mostly failed, or a cell that
says something and nobody knows what, would be compared with a load that never was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from inferplan.accuracy.runs import CONDITIONS, NEEDED, LoadType, Run

MOST_FAILED = 0.05
"""Share of requests that may have failed. Figures are those of the requests that were answered; with more than one in
twenty missing, the 95th percentile of all requests is not among them, and the load was lighter than is stated."""
MOST_CUT_OFF = 0.2
"""Share of requests that may still have been running when the client stopped. In a closed loop it is ``1 / (n + 1)``
after n requests of each user: with n below four, the common start and the end, which cuts the long answers off, weigh
as much as what lies between them."""
_FAILED = re.compile(r"(?<![\d.])(\d{1,7}) of (\d{1,7}) requests failed", re.IGNORECASE)


def why_unusable(run: Run) -> str:
    """Say why a run cannot be compared with a prediction; empty if it can."""
    unknown = next((words for column, words in _unreadable(run) if column in CONDITIONS), "")
    if unknown or run.unusable:
        return unknown or run.unusable
    silent = next((name for name in NEEDED if not getattr(run, name)), "")
    if silent:
        return f"{silent} is not stated"
    if run.load_type not in frozenset(LoadType):
        return f'load type "{run.load_type}" is not known'
    return _lost(run)


def _lost(run: Run) -> str:
    """Say that too many requests have no answer; empty if there are not too many."""
    failed, sent = _failures(run)
    if sent == 0:
        return "no request was sent"
    cut_off = run.requests_cut_off or 0.0
    ended = None if sent is None else sent - cut_off
    if ended is not None and failed > MOST_FAILED * ended:
        return f"{failed:,.0f} of {ended:,.0f} requests failed (more than {MOST_FAILED:.0%})"
    if sent is not None and cut_off > MOST_CUT_OFF * sent:
        return f"{cut_off:,.0f} of {sent:,.0f} requests were cut off at the end (more than {MOST_CUT_OFF:.0%})"
    return ""


def remarks(run: Run) -> Iterator[str]:
    """Yield what is told of a run that is compared all the same."""
    failed, sent = _failures(run)
    of = "" if sent is None else f" of {sent:,.0f}"
    if failed:
        yield f"{failed:,.0f}{of} requests failed; the others stand for all"
    if run.requests_cut_off:
        yield f"{run.requests_cut_off:,.0f}{of} requests were cut off at the end; the others stand for all"
    yield from (words for column, words in _unreadable(run) if column not in CONDITIONS)


def _failures(run: Run) -> tuple[float, float | None]:
    """Requests that failed, and requests that were sent."""
    in_words = _FAILED.search(run.notes)
    if run.requests_failed is None and in_words is not None:
        return float(in_words[1]), float(in_words[2])
    return run.requests_failed or 0.0, run.requests


def _unreadable(run: Run) -> Iterator[tuple[str, str]]:
    """Columns whose cell could not be read, each with a sentence."""
    for column, cell in run.unreadable:
        kind = "date" if column == "date" else "number"
        yield column, f'{run.row_id}: {column} "{cell}" could not be read as a {kind}'
