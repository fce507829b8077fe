"""The shapes that survive the scenario's own filters, with what the search needs to know of each."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.scenario import Scenario
from inferplan.estimate.estimator import ReplicaTable
from inferplan.estimate.memory import kv_pool_bytes, least_pool_bytes, sequence_bytes_of
from inferplan.planner.candidates import BATCH_LIMITS, TP_SIZES, ShapeTable
from inferplan.planner.constraints import is_lossless, max_model_len, planned_tokens
from inferplan.planner.supply import UNAVAILABLE, Supply

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Field:
    """Shapes that may be chosen.

    Parameters
    ----------
    shapes, replica
        What they are, and the numbers that the formulas need; both with n rows.
    evidence
        0 measured, 1 calibrated, 2 extrapolated, shape (n,).
    score
        Quality on the scenario's metric, NaN if unknown, shape (n,).
    lossless
        Weight format and KV type keep the model's accuracy, shape (n,).
    holds
        Whether each KV pool holds a batch limit full of sequences of planned length, shape (n, len(BATCH_LIMITS)).
    """

    scenario: Scenario
    shapes: ShapeTable
    replica: ReplicaTable
    supply: Supply
    evidence: Ints
    score: NDArray[np.float64]
    lossless: NDArray[np.bool_]
    holds: NDArray[np.bool_]
    _prices: NDArray[np.int64] = dataclass_field(repr=False)
    """Cost of slots by kind of slot, shape (kinds, slots + 1)."""
    _kind: Ints = dataclass_field(repr=False)

    @property
    def gpus_per_replica(self) -> Ints:
        """GPUs of one replica, shape (n,)."""
        return self.shapes.tp * self.shapes.pp

    @property
    def pp(self) -> Ints:
        """Machines of one replica, shape (n,)."""
        return self.shapes.pp

    def batch_limits(self, rows: Ints) -> tuple[Ints, Ints]:
        """Those rows with every batch limit that their KV pools hold: (row, max_num_seqs)."""
        pin = self.scenario.pin
        if pin is not None and pin.max_num_seqs is not None:
            return rows, np.full(len(rows), pin.max_num_seqs, dtype=np.int64)
        at, column = np.nonzero(self.holds[rows])
        return rows[at], np.array(BATCH_LIMITS, dtype=np.int64)[column]

    def cost(self, row: Ints, replicas: Ints) -> Ints:
        """Cheapest cost [micro-USD/h] of that many replicas; UNAVAILABLE if they cannot be had."""
        slots = replicas * self.shapes.pp[row]
        width = self._prices.shape[1]
        costs = self._prices[self._kind[row], np.minimum(slots, width - 1)]
        return np.where(slots < width, costs, UNAVAILABLE)

    def best_filled(self, row: Ints, fewest: Ints, most: Ints) -> Ints:
        """Replicas, from the fewest on, with the lowest cost per replica: where machines are filled.

        The best ratio is that of whole machines and comes back at every multiple, so one machine's worth of
        replicas has to be tried. Ties go to fewer replicas.
        """
        best = fewest.copy()
        for stages in np.unique(self.shapes.pp[row]):
            at = np.flatnonzero(self.shapes.pp[row] == stages)
            best[at] = _filled(self._prices[:, ::stages])[self._kind[row[at]], fewest[at]]
        over = np.flatnonzero(best > most)
        best[over] = fewest[over]
        least = self.cost(row[over], best[over]) / np.maximum(best[over], 1)
        for more in range(1, max(TP_SIZES) + 1):
            replicas = np.minimum(fewest[over] + more, most[over])
            ratio = self.cost(row[over], replicas) / replicas
            better = ratio < least
            best[over[better]], least[better] = replicas[better], ratio[better]
        return best

    def free_slots(self, row: Ints) -> Ints:
        """Slots that can be had at most for each row."""
        most = (self._prices < UNAVAILABLE).sum(axis=1) - 1
        slots: Ints = most[self._kind[row]]
        return slots

    def most_replicas(self, row: Ints, budget_micro_usd: int | None) -> Ints:
        """Replicas that supply, ``maximum_gpus`` and budget allow."""
        limit = UNAVAILABLE - 1 if budget_micro_usd is None else min(UNAVAILABLE - 1, np.int64(budget_micro_usd))
        slots = ((self._prices <= limit).sum(axis=1) - 1)[self._kind[row]]
        by_gpus = self.scenario.hardware.maximum_gpus // self.gpus_per_replica[row]
        most: Ints = np.minimum(slots // self.shapes.pp[row], by_gpus)
        return most

    def preference(self, row: int) -> tuple[int, ...]:
        """Total order among equally cheap rows: evidence, quality, fewer GPUs, then catalog order."""
        score = self.score[row]
        return (
            int(self.evidence[row]),
            0 if np.isnan(score) else -int(score),
            int(self.gpus_per_replica[row]),
            int(not self.shapes.own_cache[row]),
            int(self.shapes.weight[row]),
            int(self.shapes.gpu[row]),
            int(self.shapes.engine[row]),
            int(self.shapes.pp[row]),
        )


def _filled(cost: Ints) -> Ints:
    """For each kind of slot and fewest replicas, the replicas of the lowest cost each; shape of ``cost``."""
    kinds, width = cost.shape
    replicas = np.arange(width)
    ratio = np.where(cost < UNAVAILABLE, cost / np.maximum(replicas, 1), np.inf)
    best, least = np.tile(replicas, (kinds, 1)), ratio.copy()
    for more in range(1, min(max(TP_SIZES), width - 1) + 1):
        better = ratio[:, more:] < least[:, :-more]
        least[:, :-more] = np.where(better, ratio[:, more:], least[:, :-more])
        best[:, :-more] = np.where(better, replicas[more:], best[:, :-more])
    return best.astype(np.int64)


def make_field(scenario: Scenario, shapes: ShapeTable, replica: ReplicaTable, supply: Supply) -> Field:
    """Join shapes, formulas' columns and supply for one scenario."""
    metric = scenario.quality.metric
    scores = []
    for weights in shapes.weights:
        score = weights.model.score(metric) if metric else None
        scores.append(float("nan") if score is None else float(score.value))
    lossless = np.array([is_lossless(weights) for weights in shapes.weights], dtype=np.bool_)
    prices, kind = _price_table(shapes, supply)
    return Field(
        scenario=scenario,
        shapes=shapes,
        replica=replica,
        supply=supply,
        evidence=replica.evidence_code.astype(np.int64),
        score=np.array(scores)[shapes.weight],
        lossless=lossless[shapes.weight] & ((shapes.kv == 0) | shapes.own_cache),
        holds=_batches_held(scenario, replica),
        _prices=prices,
        _kind=kind,
    )


def _batches_held(scenario: Scenario, replica: ReplicaTable) -> NDArray[np.bool_]:
    """Which batch limits each pool can fill, shape (n, len(BATCH_LIMITS)).

    Notes
    -----
    A larger limit leaves a smaller pool, since the engine reserves memory for every sequence. It must still hold one
    sequence of full context, or the engine does not start; and a step must have a token for every sequence.
    """
    context, planned = max_model_len(scenario), planned_tokens(scenario)
    longest, usual = least_pool_bytes(replica, context), sequence_bytes_of(replica, planned)
    holds = np.empty((len(replica), len(BATCH_LIMITS)), dtype=np.bool_)
    for column, limit in enumerate(BATCH_LIMITS):
        pool = kv_pool_bytes(replica, float(limit))
        filled = (pool >= limit * usual) if limit > 1 else True
        holds[:, column] = filled & (pool >= longest) & (limit <= replica.max_num_batched_tokens)
    return holds


def _price_table(shapes: ShapeTable, supply: Supply) -> tuple[Ints, Ints]:
    """Cost tables of every (GPU, slot size) in the field, padded to one width."""
    pairs = shapes.gpu * 1_000 + shapes.tp
    unique, kind = np.unique(pairs, return_inverse=True)
    tables = [supply.costs(shapes.gpus[pair // 1_000].id, int(pair % 1_000)) for pair in unique]
    width = max((len(table) for table in tables), default=1)
    prices = np.full((max(1, len(tables)), width), UNAVAILABLE)
    for at, table in enumerate(tables):
        prices[at, : len(table)] = table
    return prices, kind.astype(np.int64).ravel()
