"""Requests one by one: when they arrive and how long they are, drawn from a generator that the caller passes."""

from __future__ import annotations

import heapq
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


class Clients:
    """Those who send the requests of a run: who sends when, and what became of each request.

    Users who wait for their answers send the next request when one is done and they have thought.

    Attributes
    ----------
    sent_s, first_s, done_s
        When each request was sent and had its first and its last token; shape (n,) [s].
    """

    def __init__(self, traffic: Traffic) -> None:
        count = len(traffic)
        self._count = count
        self._think: list[float] | None = None if traffic.think_s is None else traffic.think_s.tolist()
        self._unsent = count if traffic.users is None else min(traffic.users, count)
        self._coming = [(float(traffic.arrivals_s[i]), i) for i in range(self._unsent)]
        heapq.heapify(self._coming)
        self.sent_s = np.zeros(count)
        self.first_s = np.full(count, np.nan)
        self.done_s = np.full(count, np.nan)

    @property
    def next_s(self) -> float | None:
        """When the next request is sent; None while nobody will send one."""
        return self._coming[0][0] if self._coming else None

    def send(self) -> int:
        """Send the next request."""
        sent, request = heapq.heappop(self._coming)
        self.sent_s[request] = sent
        return request

    def first_token(self, request: int, now: float) -> None:
        """A request has its first token, unless it had it before it was put back."""
        if np.isnan(self.first_s[request]):
            self.first_s[request] = now

    def done(self, request: int, now: float) -> None:
        """A request has its last token."""
        self.done_s[request] = now
        if self._think is not None and self._unsent < self._count:
            heapq.heappush(self._coming, (now + self._think[self._unsent], self._unsent))
            self._unsent += 1


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
