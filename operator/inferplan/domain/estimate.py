"""Predicted numbers: always a range, always with the evidence that it stands on."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Evidence(enum.StrEnum):
    """What a prediction stands on."""

    MEASURED = "Measured"
    """A calibration set exists for this GPU and engine."""
    CALIBRATED = "Calibrated"
    """The GPU's family was measured."""
    EXTRAPOLATED = "Extrapolated"
    """Datasheet only; the range is wider."""


@dataclass(frozen=True, slots=True)
class Range:
    """A figure with its nominal 90 % range."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Distribution of one latency over requests [s]."""

    mean: Range
    p50: Range
    p90: Range
    p95: Range
    p99: Range

    def at(self, percentile: int) -> Range:
        """Return the range at P50, P90, P95 or P99."""
        return {50: self.p50, 90: self.p90, 95: self.p95, 99: self.p99}[percentile]


@dataclass(frozen=True, slots=True)
class MemoryLedger:
    """How the engine divides one GPU's memory [bytes].

    ``granted_bytes`` = share of ``capacity_bytes`` that the engine takes; what is left of it after weights,
    activations and overhead becomes the KV pool, rounded down to whole blocks.
    """

    capacity_bytes: float
    granted_bytes: float
    weights_bytes: float
    activations_bytes: float
    overhead_bytes: float
    kv_pool_bytes: float
    kv_needed_bytes: float
    """KV cache that the planned batch limit fills when all its sequences are at full length."""
    kv_bytes_per_token: float
    kv_pool_tokens: float
    """Tokens that one replica's pool holds."""
    sequences_held: int
    """Sequences at full length that the pool holds at once, whatever the batch limit."""
    longest_context_tokens: int
    """Largest ``max_model_len`` that starts: one such sequence fits the pool, and the model's positions."""
    full_length_sequences: float
    """Sequences of ``max_model_len`` that the pool holds at once."""

    @property
    def needed_bytes(self) -> float:
        """Weights, activations, overhead and the KV cache that is really used."""
        return self.weights_bytes + self.activations_bytes + self.overhead_bytes + self.kv_needed_bytes


@dataclass(frozen=True, slots=True)
class Estimate:
    """Everything predicted for one deployment under the scenario's load.

    Notes
    -----
    ``utilization`` is the offered load (of people who wait for answers, the requests completed) over the load at which
    the replica is expected to saturate; whether it is too much is judged at the low end of that. For classification
    ``ttft`` equals ``e2e`` and the output rates are zero; ``items_per_s`` counts instead.
    """

    memory: MemoryLedger
    ttft: Latency
    tpot: Latency
    e2e: Latency
    output_tps_per_user: Range
    output_tps_total: Range
    requests_per_s: float
    """Requests completed per second by the whole deployment at the modelled load."""
    offered_rps: float
    """Requests per second that must not exceed the low end of the capacity; 0 where nobody waits for others."""
    capacity_rps: Range
    """Requests per second at which the whole deployment saturates."""
    running_batch: float
    kv_occupancy: float
    utilization: float
    run_duration_s: Range | None
    """Batch scenarios: time for the whole run."""
    evidence: Evidence
    evidence_detail: str
