"""What more load would take: the scenario planned again at multiples of today's."""

from __future__ import annotations

from inferplan.domain.plan import GrowthStep
from inferplan.domain.scenario import Scenario, Tier
from inferplan.planner.assemble import assemble
from inferplan.planner.contest import Grid, contest
from inferplan.planner.search import cheapest
from inferplan.planner.targets import Ask
from inferplan.planner.tiers import TierChoice


def growth(grid: Grid, scenario: Scenario) -> tuple[GrowthStep, ...]:
    """Cheapest plan for each growth factor, under the same requirements; None where there is none.

    The budget is lifted: the question is what growth costs.
    """
    steps = []
    for factor in scenario.growth_factors:
        ask = Ask(scenario, load_factor=float(factor), lift_budget=True)
        choice = cheapest(contest(grid, ask))
        plan = None
        if choice is not None:
            plan = assemble(grid.field, scenario, TierChoice(Tier.BUDGET, choice, ()), load_factor=float(factor))
        steps.append(GrowthStep(factor, plan))
    return tuple(steps)
