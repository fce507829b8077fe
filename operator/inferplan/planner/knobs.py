"""All requirements of a scenario that can be loosened."""

from __future__ import annotations

from inferplan.domain.scenario import Scenario
from inferplan.planner.knob import Knob
from inferplan.planner.means_knobs import hardware_knobs, model_knobs, pin_knobs
from inferplan.planner.wish_knobs import budget_knobs, context_knobs, latency_knobs, load_knobs, quality_knobs


def knobs(scenario: Scenario) -> tuple[Knob, ...]:
    """All requirements of the scenario that can be loosened, in the order of the spec."""
    if scenario.pin is not None:
        return (*pin_knobs(scenario, scenario.pin), *latency_knobs(scenario))
    return (
        *latency_knobs(scenario),
        *load_knobs(scenario),
        *context_knobs(scenario),
        *quality_knobs(scenario),
        *model_knobs(scenario),
        *hardware_knobs(scenario),
        *budget_knobs(scenario),
    )
