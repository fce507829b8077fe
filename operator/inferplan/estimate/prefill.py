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
    already, both in all stages; ``steps`` is how many steps it takes; ``stages`` are those of the pipeline.
    """

    alone: Floats
    others: Floats
    packed: Floats
    steps: Floats
    stages: Floats

    def added(self, running: Floats, output: Floats | float) -> Floats:
        """What one prompt adds while ``running`` sequences with ``output`` tokens each run [s], shape (n,).

        Notes
        -----
        Each step sees ``f = (running - 1) x steps / output`` prompts on average. Up to one, each has its steps for
        itself; beyond, a share 1 / f of them has, and the rest joins.

        In a pipeline the f prompts of a round are spread over ``pp`` batches by chance, ``q = f / pp`` each on average.
        Every batch waits for the slowest as it passes the stages, so a round holds as many prompts as the fullest
        batch, at most ``q + sqrt(q) (pp - 1) / sqrt(2 pp - 1)`` on average (the largest of pp numbers with a variance
        of q [1]_).

        References
        ----------
        .. [1] E. J. Gumbel, "The maxima of the mean largest value and of the range", Ann. Math. Stat. 25, 1954.
        """
        per_step = np.maximum(np.maximum(running - 1.0, 0.0) * self.steps / output, 1.0)
        first = 1.0 / per_step
        above = (self.stages - 1.0) / np.sqrt((2.0 * self.stages - 1.0) * per_step * self.stages)
        fullest = np.clip(1.0 / self.stages + above, first, 1.0)
        found: Floats = first * self.others + (fullest - first) * self.packed
        return found


def attention_time(table: ReplicaTable, prompt: Floats, prefix: Floats, variation: Floats | float = 0.0) -> Floats:
    """Attention arithmetic of a prompt of ``prompt`` new tokens after ``prefix`` cached ones, in all stages [s].

    Parameters
    ----------
    variation
        Squared coefficient of variation of the prompts, where ``prompt`` is the mean of many.

    Notes
    -----
    ``prompt x (F x context + F_window x min(context, window)) / (peak x attention MFU)`` with F FLOP per token pair
    and the mean context ``prompt / 2 x (1 + variation) + prefix``: a token of a long prompt has more before it.
    """
    context = prompt / 2.0 * (1.0 + variation) + prefix
    flop = prompt * (
        table.attention_flop * context + table.window_attention_flop * np.minimum(context, table.kv_window_tokens)
    )
    return table.pp * flop / (table.peak_attention_flops_per_s * table.constant("attention_mfu"))


def time_alone(table: ReplicaTable, step: StepModel, *, tokens: Floats, prefix: Floats, sequences: Floats) -> Floats:
    """Time of a prompt of exactly that length until its first token [s]; see :func:`prompt_time`."""
    chunk = chunk_of(table, tokens, sequences)
    return tokens / chunk * step.through(sequences, chunk) + attention_time(table, tokens, prefix)


def chunk_of(table: ReplicaTable, tokens: Floats, sequences: Floats) -> Floats:
    """Tokens of a prompt that go into one step beside ``sequences`` decoding ones, shape (n,)."""
    budget = np.maximum(table.max_num_batched_tokens - sequences, table.max_num_batched_tokens / 4.0)
    return np.minimum(tokens, budget)


def prompt_time(
    table: ReplicaTable,
    step: StepModel,
    *,
    tokens: Floats,
    prefix: Floats,
    sequences: Floats,
    variation: Floats | float = 0.0,
) -> PromptTime:
    """Time of one prompt beside ``sequences`` decoding ones.

    Parameters
    ----------
    variation
        Squared coefficient of variation of the prompts' lengths.

    Notes
    -----
    The prompt runs in ``tokens / chunk`` steps of ``chunk = min(tokens, budget - sequences)`` tokens; other
    sequences wait for the difference to a step without it. What joins other prompts hides behind no reading of weights:
    it adds its arithmetic and traffic in full.

    In a pipeline a chunk passes the stages one after another and the chunks of one prompt follow each other. vLLM may
    start a chunk in the first stage while the one before is in a later stage; no credit is taken for that, so a lone
    prompt is never predicted to be faster than without the pipeline.
    """
    chunk = chunk_of(table, tokens, sequences)
    chunks = tokens / chunk
    attention = attention_time(table, tokens, prefix, variation)
    mixed = step.through(sequences, chunk)
    own = chunks * (mixed - step.through(sequences)) + attention
    joined = table.pp * tokens * (step.compute_per_token + step.moved_per_token) + attention
    return PromptTime(
        alone=chunks * mixed + attention,
        others=step.prompt_share * own,
        packed=step.prompt_share * joined,
        steps=chunks,
        stages=table.pp,
    )


def burst_prompt_time(
    table: ReplicaTable, step: StepModel, *, tokens: Floats, prefix: Floats, sequences: Floats
) -> Floats:
    """Time that a prompt adds to a queue of many: steps filled to the token budget with prompts [s], shape (n,).

    The stages of a pipeline work on different prompts of the queue.
    """
    budget = table.max_num_batched_tokens
    lone = tokens / budget * step.through(sequences, budget) + attention_time(table, tokens, prefix)
    return lone / table.pp
