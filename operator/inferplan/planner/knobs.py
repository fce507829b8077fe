"""All requirements of a scenario that can be loosened."""

from __future__ import annotations

from inferplan.domain.scenario import Scenario
from inferplan.planner.knob import Knob
from inferplan.planner.means_knobs import engine_knobs, hardware_knobs, model_knobs
from inferplan.planner.pin_knobs import pin_knobs
from inferplan.planner.wish_knobs import budget_knobs, context_knobs, latency_knobs, load_knobs, quality_knobs


def knobs(scenario: Scenario) -> tuple[Knob, ...]:
    """All requirements of the scenario that can be loosened, in the order of the spec.

    A full pin is obeyed whatever its latency, load and quality: what else can stand in its way is where its GPUs come
    from, how many there may be, and the budget.
    """
    pin = scenario.pin
    means = (*hardware_knobs(scenario), *budget_knobs(scenario))
    if pin is not None and pin.is_full:
        return (*pin_knobs(scenario, pin), *context_knobs(scenario), *means)
    return (
        *(() if pin is None else pin_knobs(scenario, pin)),
        *latency_knobs(scenario),
        *load_knobs(scenario),
        *context_knobs(scenario),
        *quality_knobs(scenario),
        *model_knobs(scenario),
        *engine_knobs(scenario),
        *means,
    )


def pairable_knobs(scenario: Scenario) -> tuple[Knob, ...]:
    """Requirements that are tried two at a time: of a pin its own fields, and the targets of latency."""
    return knobs(scenario) if scenario.pin is None else (*pin_knobs(scenario, scenario.pin), *latency_knobs(scenario))
