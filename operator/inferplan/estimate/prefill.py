"""Time to work off a prompt, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.roofline import StepModel

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PromptTime:
    """What one prompt costs [s], shape (n,).

    ``alone`` until its own first token if nothing else waits; ``others`` is what it adds to the steps of the
    sequences that decode meanwhile.
    """

    alone: Floats
    others: Floats


def attention_time(table: ReplicaTable, prompt: Floats, prefix: Floats) -> Floats:
    """Attention arithmetic of a prompt of ``prompt`` new tokens after ``prefix`` cached ones [s].

    Notes
    -----
    ``F x (prompt^2 / 2 + prompt x prefix) / (peak x attention MFU)`` with F FLOP per token pair.
    """
    pairs = prompt * prompt / 2.0 + prompt * prefix
    rate = table.peak_attention_flops_per_s * table.constant("attention_mfu")
    return table.pp * table.attention_flop * pairs / rate


def prompt_time(
    table: ReplicaTable, step: StepModel, *, tokens: Floats, prefix: Floats, sequences: Floats
) -> PromptTime:
    """Time of one prompt beside ``sequences`` decoding ones.

    Notes
    -----
    The prompt runs in ``tokens / chunk`` steps of ``chunk = min(tokens, budget - sequences)`` tokens; other
    sequences wait for the difference to a step without it.
    """
    budget = np.maximum(table.max_num_batched_tokens - sequences, table.max_num_batched_tokens / 4.0)
    chunk = np.minimum(tokens, budget)
    chunks = tokens / chunk
    attention = attention_time(table, tokens, prefix)
    mixed = step.time(sequences, chunk)
    return PromptTime(
        alone=chunks * mixed + attention,
        others=chunks * (mixed - step.time(sequences)) + attention,
    )
