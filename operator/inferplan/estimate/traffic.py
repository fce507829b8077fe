"""Requests one by one: when they arrive and how long they are, drawn from a generator that the caller passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.scenario import LoadKind
from inferplan.estimate.lengths import at_deviate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests in the order in which they are sent, shape (n,) each.

    Parameters
    ----------
    prompt_tokens, output_tokens
        Whole numbers, one at least.
    prefix_tokens
        Leading prompt tokens that the cache holds already.
    arrivals_s
        When each is sent; of a closed loop with N users only the first N times count.
    users, think_s
        A closed loop: so many people, each of whom sends the next request ``think_s`` after an answer; None for all
        other loads. Shape (n,) for ``think_s``.
    """

    prompt_tokens: Floats
    output_tokens: Floats
    prefix_tokens: Floats
    arrivals_s: Floats
    users: int | None = None
    think_s: Floats | None = None

    def __len__(self) -> int:
        """Count the requests."""
        return len(self.prompt_tokens)


def draw_traffic(  # noqa: PLR0913 - one argument per property of the load
    generator: np.random.Generator,
    requests: int,
    *,
    kind: LoadKind,
    amount: float,
    prompt: tuple[float, float],
    output: tuple[float, float],
    prefix_tokens: float = 0.0,
    think_s: float = 0.0,
    burstiness: float = 1.0,
    first_within_s: float = 0.0,
) -> Traffic:
    """Draw the requests of one replica.

    Parameters
    ----------
    kind, amount
        Closed loop: people; open loop: requests per second; offline: not used, all are sent at once.
    prompt, output
        Mean and 95th percentile of lengths [tokens].
    burstiness
        Squared coefficient of variation of the gaps between arrivals; 0 = evenly spaced.
    first_within_s
        The people of a closed loop send their first request within this time, evenly spread [s].

    Notes
    -----
    Lengths are those of :mod:`inferplan.estimate.lengths`, gaps gamma-distributed with shape ``1 / burstiness``,
    thinking times exponential.
    """
    prompts, outputs = _lengths(generator, requests, *prompt), _lengths(generator, requests, *output)
    users, thinking = None, None
    arrivals = np.zeros(requests)
    if kind is LoadKind.OPEN_LOOP:
        mean = 1.0 / amount
        gaps = np.full(requests, mean)
        if burstiness > 0:
            gaps = generator.gamma(1.0 / burstiness, mean * burstiness, requests)
        arrivals = np.cumsum(gaps)
    elif kind is LoadKind.CLOSED_LOOP:
        users = max(1, round(amount))
        thinking = generator.exponential(think_s, requests) if think_s > 0 else np.zeros(requests)
        together = min(users, requests)
        arrivals[:together] = first_within_s * (np.arange(together) + 0.5) / together
    prefix = np.minimum(prefix_tokens, prompts - 1.0)
    return Traffic(prompts, outputs, prefix, arrivals, users, thinking)


def _lengths(generator: np.random.Generator, requests: int, mean: float, p95: float) -> Floats:
    return np.maximum(np.rint(at_deviate(mean, p95, generator.standard_normal(requests))), 1.0)
