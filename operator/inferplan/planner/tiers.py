"""The three tiers: what each one asks of the search, beyond what the scenario asks.

Budget
    the cheapest plan that meets every requirement.
Recommended
    the cheapest plan that meets them with headroom for growth, in a lossless format, on hardware of a family
    that was measured. What cannot be had is given up in that order from the end, and said.
HighEnd
    the best-quality plan within the budget (without one: within :data:`HIGH_END_COST_FACTOR` times Recommended),
    latency targets met with margin.

Plans whose replicas span machines cannot be deployed yet. They are looked for only where nothing else meets the
scenario, as Budget and HighEnd; none of them is ever Recommended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inferplan.domain.scenario import Scenario, Tier
from inferplan.planner.budget import budget_micro_usd
from inferplan.planner.contest import Contest, Grid, contest
from inferplan.planner.field import Field
from inferplan.planner.search import Choice, cheapest
from inferplan.planner.targets import Ask

HIGH_END_COST_FACTOR = 4
HIGH_END_SLO_FACTOR = 0.8
EXTRAPOLATED = 2
"""Evidence code of what rests on datasheets alone."""


@dataclass(frozen=True, slots=True)
class TierChoice:
    """What a tier came to, and which of its wishes had to be given up."""

    tier: Tier
    choice: Choice
    given_up: tuple[str, ...]


def budget_choice(contest_: Contest) -> TierChoice | None:
    """Find the cheapest plan that meets every requirement."""
    choice = cheapest(contest_)
    return None if choice is None else TierChoice(Tier.BUDGET, choice, ())


def recommended_choice(grid: Grid, scenario: Scenario, fallback: Choice) -> TierChoice:
    """Find the cheapest plan with headroom, lossless, on measured hardware; give up what cannot be had."""
    limit = budget_micro_usd(scenario)
    for ask, given_up in _recommended_asks(grid.field, scenario, limit):
        choice = cheapest(contest(grid, ask))
        if choice is not None:
            return TierChoice(Tier.RECOMMENDED, choice, given_up)
    return TierChoice(Tier.RECOMMENDED, fallback, ("headroom", "lossless weights", "measured hardware"))


def _recommended_asks(field: Field, scenario: Scenario, limit: int | None) -> Iterator[tuple[Ask, tuple[str, ...]]]:
    measured = field.evidence < EXTRAPOLATED
    anything = np.ones(len(measured), dtype=np.bool_)
    factor = 1.0 + scenario.headroom_percent / 100.0
    yield Ask(scenario, factor, 1.0, limit, field.lossless & measured), ()
    yield Ask(scenario, factor, 1.0, limit, field.lossless & anything), ("measured hardware",)
    yield Ask(scenario, factor, 1.0, limit, anything), ("measured hardware", "lossless weights")


def high_end_choice(grid: Grid, scenario: Scenario, recommended: Choice) -> TierChoice:
    """Find the best quality that the budget allows, latency targets met with margin.

    Parameters
    ----------
    recommended
        What it is compared with and falls back on: the Recommended plan or, where there is none, the Budget plan.
    """
    limit = budget_micro_usd(scenario)
    bill_limit = HIGH_END_COST_FACTOR * recommended.bill if limit is None else None
    factor = 1.0 + scenario.headroom_percent / 100.0
    ask = Ask(scenario, factor, HIGH_END_SLO_FACTOR, limit, grid.field.lossless, bill_limit=bill_limit)
    open_ = contest(grid, ask)
    if len(open_.row) == 0:
        return TierChoice(Tier.HIGH_END, recommended, ("a better model within the budget",))
    quality = np.nan_to_num(grid.field.score, nan=-1.0)[open_.row]
    for score in np.unique(quality)[::-1]:
        choice = cheapest(open_, quality == score)
        if choice is not None:
            return TierChoice(Tier.HIGH_END, choice, ())
    return TierChoice(Tier.HIGH_END, recommended, ("a better model within the budget",))
