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
    ``prompt x (F x context + F_window x min(context, window)) / (peak x attention MFU)`` with F FLOP per token pair
    and the mean context ``prompt / 2 + prefix``.
    """
    context = prompt / 2.0 + prefix
    flop = prompt * (
        table.attention_flop * context + table.window_attention_flop * np.minimum(context, table.kv_window_tokens)
    )
    return table.pp * flop / (table.peak_attention_flops_per_s * table.constant("attention_mfu"))


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
        others=step.prompt_share * (chunks * (mixed - step.time(sequences)) + attention),
    )


def burst_prompt_time(
    table: ReplicaTable, step: StepModel, *, tokens: Floats, prefix: Floats, sequences: Floats
) -> Floats:
    """Time that a prompt adds to a queue of many: steps filled to the token budget with prompts [s], shape (n,)."""
    budget = table.max_num_batched_tokens
    return tokens / budget * step.time(sequences, budget) + attention_time(table, tokens, prefix)
