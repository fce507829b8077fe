"""When nothing fits: for each requirement the smallest change that gives a plan, tried out before it is offered."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from inferplan.domain.plan import Change, Plan, Relaxation
from inferplan.domain.scenario import Scenario
from inferplan.planner.knobs import WHOLE_PIN, Knob, Setting, knobs, with_load_share

_BISECTIONS = 24
_PAIRS = 4
"""Pairs of changes offered at most."""


class Best(Protocol):
    """Plans a scenario anew without explanations; None if nothing fits."""

    def __call__(self, scenario: Scenario, minimise: str = "cost", /) -> Plan | None:
        """Return the plan that minimises cost or another figure."""
        ...


def relaxations(scenario: Scenario, best: Best) -> tuple[Relaxation, ...]:
    """Offer single changes that help; where none does (dropping a whole pin aside), pairs. Cheapest plan first."""
    offers = [offer for knob in knobs(scenario) if (offer := _single(knob, best)) is not None]
    if all(offer.changes[0].field == WHOLE_PIN for offer in offers):
        offers.extend(islice(_pairs(scenario, best), _PAIRS))
    return tuple(sorted(offers, key=lambda offer: (offer.plan.cost.per_hour, offer.text)))


def _single(knob: Knob, best: Best) -> Relaxation | None:
    setting = _largest_load(knob, best) if knob.minimise == "load" else _smallest(knob, best)
    if setting is None:
        return None
    plan = best(setting.scenario)
    if plan is None:
        return None
    return Relaxation((Change(knob.field, knob.current, setting.to),), setting.text, plan)


def _smallest(knob: Knob, best: Best) -> Setting | None:
    plan = best(knob.dropped, knob.minimise)
    return None if plan is None else knob.fit(knob.dropped, plan)


def _largest_load(knob: Knob, best: Best) -> Setting | None:
    """Bisect for the largest share of the load that works (feasibility is monotone in load)."""
    low, high = 0.0, 1.0
    found: Scenario | None = None
    share = 1e-9
    while share < 1.0:  # the order of magnitude first: loads may be absurdly large
        scaled = with_load_share(knob.dropped, share)
        if scaled is not None:
            if best(scaled) is None:
                high = share
                break
            low, found = share, scaled
        share *= 10
    if found is None:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        scaled = with_load_share(knob.dropped, middle)
        if scaled is None or scaled.workload == found.workload:
            break
        if best(scaled) is None:
            high = middle
        else:
            low, found = middle, scaled
    plan = best(found)
    return None if plan is None else knob.fit(found, plan)


def _pairs(scenario: Scenario, best: Best) -> Iterator[Relaxation]:
    """Two requirements at once: what both need is found with both dropped, then each is put back."""
    singles = [knob for knob in knobs(scenario) if knob.minimise != "load" and knob.field != WHOLE_PIN]
    for first in singles:
        for second in knobs(first.dropped):
            if second.field <= first.field or second.minimise == "load" or second.field == WHOLE_PIN:
                continue
            offer = _pair(first, second, best)
            if offer is not None:
                yield offer


def _pair(first: Knob, second: Knob, best: Best) -> Relaxation | None:
    plan = best(second.dropped, second.minimise)
    if plan is None:
        return None
    inner = second.fit(second.dropped, plan)
    plan = best(inner.scenario, first.minimise)
    if plan is None:
        return None
    outer = first.fit(inner.scenario, plan)
    plan = best(outer.scenario)
    if plan is None:
        return None
    changes = (Change(first.field, first.current, outer.to), Change(second.field, second.current, inner.to))
    return Relaxation(changes, f"{outer.text} and {inner.text}", plan)
