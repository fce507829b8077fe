"""The exhaustive search: every shape with every batch limit, and for each the fewest replicas that will do.

Latency never rises and capacity never falls when the same load is spread over more replicas, so "does it meet the
targets" is monotone in the number of replicas. That gives the search its steps, none of which can lose the answer:

1. *Unloaded.* A shape that misses a target with a single request in an empty replica always misses it.
2. *At least.* Saturation throughput bounds the number of replicas from below, and with it the cost.
3. *At most.* In the order of that bound: what fails on as many replicas as GPUs, supply and budget allow, fails always.
4. *Exactly.* Bisect the others for their fewest replicas; stop when the bound of the next candidates exceeds the cost
   of what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.reasons import ReasonCode
from inferplan.planner.budget import limits_of_use
from inferplan.planner.contest import Contest, Grid
from inferplan.planner.load import Forecast
from inferplan.planner.supply import UNAVAILABLE
from inferplan.planner.targets import checks_of, passes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Index = NDArray[np.intp]

CHUNK = 512
"""Candidates judged together; a matter of speed only."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the search settled on, and its :meth:`Contest.bill`."""

    row: int
    max_num_seqs: int
    replicas: int
    bill: int


def cheapest(contest_: Contest, group: Bools | None = None) -> Choice | None:
    """Steps 3 and 4: the candidate with the lowest cost; ties by the field's total order.

    Parameters
    ----------
    group
        Candidates of the contest to choose among, shape (m,); None for all.
    """
    index = np.arange(len(contest_.row)) if group is None else np.flatnonzero(group)
    order = index[np.argsort(contest_.bound[index], kind="stable")]
    field = contest_.field
    best: tuple[int, ...] | None = None
    choice: Choice | None = None
    for part in _chunks(order):
        if choice is not None:
            part = part[contest_.bound[part] <= choice.bill]  # noqa: PLW2901 - the part that counts
            if len(part) == 0:
                break
        part = judge(contest_, part)  # noqa: PLW2901 - as above
        replicas = fewest_replicas(contest_, part)
        bill = contest_.bill(part, replicas)
        bill = np.where(affordable(contest_, part, replicas, bill), bill, UNAVAILABLE)
        ties = np.flatnonzero((bill == bill.min(initial=UNAVAILABLE)) & (bill < UNAVAILABLE))
        room = _room(contest_, part[ties], replicas[ties])
        for at, off in zip(ties, room, strict=True):
            row, seqs = int(contest_.row[part[at]]), int(contest_.max_num_seqs[part[at]])
            key = (int(bill[at]), *field.preference(row), int(replicas[at]), int(off), seqs)
            if best is None or key < best:
                best = key
                choice = Choice(row, seqs, int(replicas[at]), int(bill[at]))
    return choice


def _chunks(order: Index) -> Iterator[Index]:
    for start in range(0, len(order), CHUNK):
        yield order[start : start + CHUNK]


def judge(contest_: Contest, part: Index) -> Index:
    """Step 3: keep what passes on the most replicas; note why the rest does not."""
    if len(part) == 0:
        return part
    ahead = contest_.ahead(part, contest_.most[part])
    good = np.ones(len(part), dtype=np.bool_)
    for code, check in checks_of(contest_.ask):
        limit, actual = check(contest_.ask, ahead)
        out = good & ~(actual <= limit)
        contest_.turn_down(code, part[out], limit[out], actual[out])
        good &= ~out
    return part[good]


def _room(contest_: Contest, part: Index, replicas: Ints) -> Ints:
    """How far each batch limit is from room for twice the running batch (and four sequences more), in thousandths.

    Among equally cheap batch limits this decides: a tighter one turns bursts into queues, a wider one lets a burst slow
    everybody down.
    """
    if len(part) == 0:
        return np.zeros(0, dtype=np.int64)
    wanted = 2.0 * contest_.ahead(part, replicas).running + 4.0
    return np.rint(1_000.0 * np.abs(np.log(contest_.max_num_seqs[part] / wanted))).astype(np.int64)


def fewest_replicas(contest_: Contest, part: Index) -> Ints:
    """Step 4: fewest replicas with which each candidate passes, by bisection; shape of ``part``."""
    low, high = contest_.fewest[part].copy(), contest_.most[part].copy()
    if contest_.is_batch:
        return low
    first = True
    while True:
        open_ = np.flatnonzero(low < high)
        if len(open_) == 0:
            return high
        middle = low[open_] if first else (low[open_] + high[open_]) // 2
        first = False
        good = passes(contest_.ask, contest_.ahead(part[open_], middle))
        high[open_[good]] = middle[good]
        low[open_[~good]] = middle[~good] + 1


def affordable(contest_: Contest, part: Index, replicas: Ints, bill: Ints) -> Bools:
    """Whether each candidate keeps to limits of the bill, per request and, for scheduled runs, per month.

    What costs too much is noted, with its price of an hour and the price at which it would do.
    """
    limit_of_bill = contest_.ask.bill_limit
    good = np.ones(len(part), dtype=np.bool_) if limit_of_bill is None else bill <= limit_of_bill
    limits = limits_of_use(contest_.ask)
    if limits is None or not len(part):
        return good
    if contest_.is_batch:
        rate_rps = contest_.capacity_rps[part] * replicas
    else:
        rate_rps = contest_.today(part, replicas).completed_rps * replicas
    price = contest_.field.cost(contest_.row[part], replicas) / 1e6
    most = limits.most_usd_per_hour(np.maximum(rate_rps, 1e-12))
    dear = good & (price > most)
    contest_.turn_down(ReasonCode.OVER_BUDGET, part[dear], most[dear], price[dear])
    return good & ~dear


def extreme(contest_: Contest, grid: Grid, minimise: str) -> Choice | None:
    """The candidate with the smallest latency, duration, GPU count, price or loss of quality, at any cost.

    Candidates are judged in the order of a lower bound of the figure, and no further than that bound allows.

    Parameters
    ----------
    minimise
        ``ttft``, ``tpot``, ``e2e``, ``duration`` (all smallest on the most replicas), ``gpus``, ``price`` (of an hour)
        or ``quality`` (the loss of it).
    """
    if minimise == "quality":
        return _best_quality(contest_)
    bound = _bound(contest_, grid, minimise)
    best: tuple[float, ...] | None = None
    choice: Choice | None = None
    for part in _chunks(np.argsort(bound, kind="stable")):
        if best is not None:
            part = part[bound[part] <= best[0]]  # noqa: PLW2901 - the part that counts
            if len(part) == 0:
                break
        part = judge(contest_, part)  # noqa: PLW2901 - as above
        value, replicas = _figure(contest_, part, minimise)
        bill = contest_.bill(part, replicas)
        value = np.where(affordable(contest_, part, replicas, bill), value, np.inf)
        for at in np.flatnonzero((value <= value.min(initial=np.inf)) & np.isfinite(value)):
            row, seqs = int(contest_.row[part[at]]), int(contest_.max_num_seqs[part[at]])
            key = (float(value[at]), int(bill[at]), *contest_.field.preference(row), seqs)
            if best is None or key < best:
                best, choice = key, Choice(row, seqs, int(replicas[at]), int(bill[at]))
    return choice


_LATENCY_OF: dict[str, Callable[[Forecast], Floats]] = {
    "ttft": lambda forecast_: forecast_.ttft_s,
    "tpot": lambda forecast_: forecast_.tpot_s,
    "e2e": lambda forecast_: forecast_.e2e_s,
}


def _bound(contest_: Contest, grid: Grid, minimise: str) -> Floats:
    """Lower bound of the figure for every candidate."""
    if minimise in _LATENCY_OF:
        return _LATENCY_OF[minimise](grid.unloaded)[contest_.row]
    if minimise == "duration":
        return 1.0 / np.maximum(contest_.capacity_rps * contest_.most, 1e-12)
    if minimise == "gpus":
        return (contest_.least * contest_.field.gpus_per_replica[contest_.row]).astype(np.float64)
    return contest_.field.cost(contest_.row, contest_.least).astype(np.float64)


def _figure(contest_: Contest, part: Index, minimise: str) -> tuple[Floats, Ints]:
    """The figure itself, and the replicas that it takes; shape of ``part``."""
    if minimise in _LATENCY_OF:
        replicas = contest_.most[part]
        return _LATENCY_OF[minimise](contest_.ahead(part, replicas)), replicas
    if minimise == "duration":
        replicas = contest_.most[part]
        return 1.0 / np.maximum(contest_.capacity_rps[part] * replicas, 1e-12), replicas
    replicas = contest_.least[part] if contest_.is_batch else fewest_replicas(contest_, part)
    if minimise == "gpus":
        return (replicas * contest_.field.gpus_per_replica[contest_.row[part]]).astype(np.float64), replicas
    return contest_.field.cost(contest_.row[part], replicas).astype(np.float64), replicas


def _best_quality(contest_: Contest) -> Choice | None:
    score = np.nan_to_num(contest_.field.score[contest_.row], nan=-np.inf)
    for value in np.unique(score)[::-1]:
        choice = cheapest(contest_, score == value)
        if choice is not None:
            return choice
    return None
