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
from dataclasses import field as dataclass_field

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import LoadKind, Scenario
from inferplan.domain.units import SECONDS_PER_HOUR
from inferplan.planner.field import Field
from inferplan.planner.load import Forecast, forecast, least_rate_rps, saturation_rps
from inferplan.planner.schedule import runs_per_month
from inferplan.planner.supply import UNAVAILABLE
from inferplan.planner.targets import Ask, checks_of, passes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Index = NDArray[np.intp]

CHUNK = 2_048
"""Candidates judged together; a matter of speed only."""
UNLOADED = 1e-9
"""Load factor of a single request in an empty replica."""
ALL_BATCHES = 0
"""Stands for every batch limit of a shape among what was turned down."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the search settled on, and its :meth:`Contest.bill`."""

    row: int
    max_num_seqs: int
    replicas: int
    bill: int


@dataclass(frozen=True, slots=True)
class Turned:
    """Candidates turned down for one reason; arrays of shape (m,).

    ``max_num_seqs`` is :data:`ALL_BATCHES` where a shape fell with all its batch limits.
    """

    code: ReasonCode
    row: Ints
    max_num_seqs: Ints
    limit: Floats
    actual: Floats


@dataclass(slots=True)
class Contest:
    """Candidates left after steps 1 and 2; arrays of shape (m,). ``turned`` grows as the search judges.

    Parameters
    ----------
    least, fewest, most
        Bounds of the number of replicas. ``fewest`` is above ``least`` where a batch run fills its machines.
    capacity_rps
        Expected saturation of one replica.
    bound
        Lower bound of the bill.
    """

    field: Field
    ask: Ask
    row: Ints
    max_num_seqs: Ints
    least: Ints
    fewest: Ints
    most: Ints
    capacity_rps: Floats
    bound: Ints
    turned: list[Turned] = dataclass_field(default_factory=list)

    @property
    def is_batch(self) -> bool:
        """Whether the work is a run and not a service."""
        return self.ask.scenario.workload.kind is LoadKind.OFFLINE

    def ahead(self, part: Index, replicas: Ints) -> Forecast:
        """Predict some candidates with that many replicas."""
        rows, seqs = self.row[part], self.max_num_seqs[part]
        return forecast(self.field, self.ask.scenario, rows, seqs, replicas, self.ask.load_factor)

    def bill(self, part: Index, replicas: Ints) -> Ints:
        """What the search minimises: cost of an hour [micro-USD], or of the whole run if it is a batch."""
        cost = self.field.cost(self.row[part], replicas)
        work = self.ask.scenario.workload
        if not self.is_batch:
            return cost
        hours = (work.items or 0) * self.ask.load_factor / (self.capacity_rps[part] * replicas) / SECONDS_PER_HOUR
        return np.where(cost < UNAVAILABLE, np.rint(cost * hours), UNAVAILABLE).astype(np.int64)

    def turn_down(self, code: ReasonCode, part: Index, limit: Floats, actual: Floats) -> None:
        """Note why some candidates are out."""
        if len(part):
            self.turned.append(Turned(code, self.row[part], self.max_num_seqs[part], limit, actual))


@dataclass(frozen=True, slots=True)
class Grid:
    """Every shape of a field with every batch limit, and what does not depend on the question asked.

    Parameters
    ----------
    row, max_num_seqs
        Shape (k,): the grid itself.
    expected_rps, careful_rps
        Saturation of one replica, expected and as targets are judged on it, shape (k,).
    unloaded
        Each shape with a single request in an empty replica, shape (n,).
    """

    field: Field
    row: Ints
    max_num_seqs: Ints
    expected_rps: Floats
    careful_rps: Floats
    unloaded: Forecast


def make_grid(field: Field) -> Grid:
    """Lay out the grid of a field."""
    shapes = np.arange(len(field.shapes), dtype=np.int64)
    one = np.ones(len(shapes), dtype=np.int64)
    row, seqs = field.batch_limits(shapes[field.most_replicas(shapes, None) > 0])
    expected, careful = saturation_rps(field, field.scenario, row, seqs)
    return Grid(field, row, seqs, expected, careful, forecast(field, field.scenario, shapes, one, one, UNLOADED))


def contest(grid: Grid, ask: Ask) -> Contest:
    """Steps 1 and 2: who may do it at all, and with how many replicas at least."""
    field = grid.field
    shapes = np.arange(len(field.shapes), dtype=np.int64)
    turned: list[Turned] = []
    most = _most_replicas(field, ask, shapes)
    if ask.accept is not None:
        most = np.where(ask.accept, most, -1)
    for code, fails, limit, actual in (*_supply_findings(field, ask, shapes, most), *_unloaded(grid, ask)):
        hit = fails & (most > -1)
        if hit.any():
            at = np.flatnonzero(hit)
            turned.append(Turned(code, shapes[at], np.full(len(at), ALL_BATCHES), limit[at], actual[at]))
            most = np.where(hit, -1, most)
    keep = np.flatnonzero(most[grid.row] > 0)
    row, seqs = grid.row[keep], grid.max_num_seqs[keep]
    rate = least_rate_rps(ask.scenario, ask.load_factor)
    capacity = grid.careful_rps[keep]
    fewest = np.ceil(rate / np.maximum(capacity, 1e-12) - 1e-9)
    found = Contest(field, ask, row, seqs, fewest, fewest, most[row], grid.expected_rps[keep], fewest, turned)
    short = (fewest > found.most) & (len(checks_of(ask)) > 0)
    _turn_down_for_capacity(found, np.flatnonzero(short), rate, capacity[short])
    found.row, found.max_num_seqs, found.most = row[~short], seqs[~short], found.most[~short]
    found.capacity_rps = found.capacity_rps[~short]
    found.least = found.fewest = np.clip(fewest[~short], 1, found.most).astype(np.int64)
    if _pinned_replicas(ask) is not None:
        found.least = found.fewest = found.most
    elif found.is_batch:
        found.fewest = field.best_filled(found.row, found.fewest, found.most)
    found.bound = found.bill(np.arange(len(found.row)), found.fewest)
    return found


def _turn_down_for_capacity(found: Contest, part: Index, rate: float, capacity: Floats) -> None:
    work = found.ask.scenario.workload
    most = found.most[part]
    if work.kind is LoadKind.OFFLINE and work.deadline_s is not None:
        items = (work.items or 0) * found.ask.load_factor
        found.turn_down(
            ReasonCode.DEADLINE_MISSED, part, np.full(len(part), work.deadline_s), items / (capacity * most)
        )
    else:
        found.turn_down(ReasonCode.LOAD_OVER_CAPACITY, part, np.ones(len(part)), rate / (capacity * most))


def _pinned_replicas(ask: Ask) -> int | None:
    return ask.scenario.pin.replicas if ask.scenario.pin else None


def _most_replicas(field: Field, ask: Ask, row: Ints) -> Ints:
    pinned = _pinned_replicas(ask)
    most = field.most_replicas(row, ask.budget_micro_usd)
    return most if pinned is None else np.where(most >= pinned, pinned, 0)


Finding = tuple[ReasonCode, Bools, Floats, Floats]


def _supply_findings(field: Field, ask: Ask, row: Ints, most: Ints) -> list[Finding]:
    """Why not a single replica (or not the pinned number) can be had."""
    wanted = np.full(len(row), _pinned_replicas(ask) or 1, dtype=np.int64)
    gpus = field.gpus_per_replica[row] * wanted
    maximum = np.full(len(row), float(ask.scenario.hardware.maximum_gpus))
    none = most < wanted
    cost = field.cost(row, wanted)
    missing = none & (cost >= UNAVAILABLE)
    price = np.where(cost >= UNAVAILABLE, np.nan, cost / 1e6)
    budget = np.full(len(row), np.nan if ask.budget_micro_usd is None else ask.budget_micro_usd / 1e6)
    slots = field.free_slots(row)
    short = ReasonCode.NO_OFFERING if field.supply.source == "Market" else ReasonCode.NO_INVENTORY
    return [
        (ReasonCode.GPUS_OVER_MAXIMUM, none & (gpus > maximum), maximum, gpus.astype(np.float64)),
        (short, missing, slots.astype(np.float64), wanted * field.pp[row].astype(np.float64)),
        (ReasonCode.OVER_BUDGET, none & ~missing, budget, price),
    ]


_LATENCIES = (ReasonCode.TTFT_OVER_TARGET, ReasonCode.TPOT_OVER_TARGET, ReasonCode.LATENCY_OVER_TARGET)


def _unloaded(grid: Grid, ask: Ask) -> list[Finding]:
    """Latency targets that a shape misses with one request in an empty replica."""
    findings = []
    for code, check in checks_of(ask):
        if code in _LATENCIES:
            limit, actual = check(ask, grid.unloaded)
            findings.append((code, actual > limit, limit, actual))
    return findings


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
    """Whether each candidate keeps to limits per request, of the bill and, for scheduled runs, per month."""
    limit_of_bill = contest_.ask.bill_limit
    good = np.ones(len(part), dtype=np.bool_) if limit_of_bill is None else bill <= limit_of_bill
    scenario = contest_.ask.scenario
    per_request, per_month = scenario.budget.maximum_usd_per_request, monthly_limit_of_runs(scenario)
    if (per_request is None and per_month is None) or contest_.ask.lift_budget or not checks_of(contest_.ask):
        return good
    ahead = contest_.ahead(part, replicas)
    cost = contest_.field.cost(contest_.row[part], replicas)
    usd_per_request = cost / 1e6 / 3_600 / np.maximum(ahead.completed_rps * replicas, 1e-12)
    if per_request is not None:
        good &= usd_per_request <= float(per_request)
    if per_month is not None:
        items, limit = per_month
        good &= usd_per_request * items <= limit
    return good


def monthly_limit_of_runs(scenario: Scenario) -> tuple[float, float] | None:
    """Items per month and the monthly limit [USD] of a scheduled batch, None for anything else."""
    work, limit = scenario.workload, scenario.budget.maximum_usd_per_month
    if limit is None or work.schedule is None or work.items is None:
        return None
    return work.items * float(runs_per_month(work.schedule.cron)), float(limit)


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
