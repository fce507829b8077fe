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

    ``alone`` until its own first token if nothing else waits; ``others`` is what it adds to the steps of the sequences
    that decode meanwhile if it has its steps for itself, ``packed`` what it adds to steps that hold other prompts
    already; ``steps`` is how many steps it takes.
    """

    alone: Floats
    others: Floats
    packed: Floats
    steps: Floats

    def added(self, running: Floats, output: Floats | float) -> Floats:
        """What one prompt adds while ``running`` sequences with ``output`` tokens each run [s], shape (n,).

        Notes
        -----
        Each step sees ``f = (running - 1) x steps / output`` prompts on average. Up to one, each has its steps for
        itself; beyond, a share 1 / f of them has, and the rest joins.
        """
        per_step = np.maximum(running - 1.0, 0.0) * self.steps / output
        first: Floats = 1.0 / np.maximum(per_step, 1.0)
        return first * self.others + (1.0 - first) * self.packed


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
    sequences wait for the difference to a step without it. What joins other prompts hides behind no reading of weights:
    it adds its arithmetic and traffic in full.
    """
    budget = np.maximum(table.max_num_batched_tokens - sequences, table.max_num_batched_tokens / 4.0)
    chunk = np.minimum(tokens, budget)
    chunks = tokens / chunk
    attention = attention_time(table, tokens, prefix)
    mixed = step.time(sequences, chunk)
    own = chunks * (mixed - step.time(sequences)) + attention
    joined = tokens * (step.compute_per_token + step.moved_per_token) + attention
    return PromptTime(
        alone=chunks * mixed + attention,
        others=step.prompt_share * own,
        packed=step.prompt_share * joined,
        steps=chunks,
    )


def burst_prompt_time(
    table: ReplicaTable, step: StepModel, *, tokens: Floats, prefix: Floats, sequences: Floats
) -> Floats:
    """Time that a prompt adds to a queue of many: steps filled to the token budget with prompts [s], shape (n,)."""
    budget = table.max_num_batched_tokens
    return tokens / budget * step.time(sequences, budget) + attention_time(table, tokens, prefix)
