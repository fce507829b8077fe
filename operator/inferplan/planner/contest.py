"""Who takes part in a search: every shape with every batch limit, bounds of its replicas, and who is out at once.

Steps 1 and 2 of :mod:`inferplan.planner.search`.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import LoadKind
from inferplan.domain.units import SECONDS_PER_HOUR
from inferplan.planner.budget import limits_of_use
from inferplan.planner.field import Field
from inferplan.planner.load import Forecast, forecast, least_rate_rps, saturation_rps
from inferplan.planner.supply import UNAVAILABLE
from inferplan.planner.targets import Ask, checks_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Index = NDArray[np.intp]

UNLOADED = 1e-9
"""Load factor of a single request in an empty replica."""
ALL_BATCHES = 0
"""Stands for every batch limit of a shape among what was turned down."""


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

    def today(self, part: Index, replicas: Ints) -> Forecast:
        """Predict some candidates with that many replicas at the load of today, whatever must be served."""
        rows, seqs = self.row[part], self.max_num_seqs[part]
        return forecast(self.field, self.ask.scenario, rows, seqs, replicas, 1.0)

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
    expected_rps, bounding_rps
        Saturation of one replica, expected and as it bounds the number of replicas, shape (k,).
    unloaded
        Each shape with a single request in an empty replica, shape (n,).
    """

    field: Field
    row: Ints
    max_num_seqs: Ints
    expected_rps: Floats
    bounding_rps: Floats
    unloaded: Forecast


def make_grid(field: Field) -> Grid:
    """Lay out the grid of a field."""
    shapes = np.arange(len(field.shapes), dtype=np.int64)
    one = np.ones(len(shapes), dtype=np.int64)
    row, seqs = field.batch_limits(shapes[field.most_replicas(shapes, None) > 0])
    expected, bounding = saturation_rps(field, field.scenario, row, seqs)
    return Grid(field, row, seqs, expected, bounding, forecast(field, field.scenario, shapes, one, one, UNLOADED))


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
    capacity = grid.bounding_rps[keep]
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
    if found.is_batch:
        _turn_down_dear_runs(found)
    found.bound = found.bill(np.arange(len(found.row)), found.fewest)
    return found


def _turn_down_dear_runs(found: Contest) -> None:
    """Drop runs that cost too much on the number of replicas at which they cost least."""
    limits = limits_of_use(found.ask)
    if limits is None:
        return
    price = found.field.cost(found.row, found.fewest) / 1e6
    most = limits.most_usd_per_hour(np.maximum(found.capacity_rps * found.fewest, 1e-12))
    dear = price > most
    found.turn_down(ReasonCode.OVER_BUDGET, np.flatnonzero(dear), most[dear], price[dear])
    for name in ("row", "max_num_seqs", "least", "fewest", "most", "capacity_rps"):
        setattr(found, name, getattr(found, name)[~dear])


def _turn_down_for_capacity(found: Contest, part: Index, rate: float, capacity: Floats) -> None:
    work = found.ask.scenario.workload
    most = found.most[part]
    if work.kind is LoadKind.OFFLINE and work.time_limit_s is not None:
        items = (work.items or 0) * found.ask.load_factor
        found.turn_down(
            ReasonCode.DEADLINE_MISSED, part, np.full(len(part), work.time_limit_s), items / (capacity * most)
        )
    else:
        found.turn_down(ReasonCode.LOAD_OVER_CAPACITY, part, capacity * most, np.full(len(part), rate))


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
