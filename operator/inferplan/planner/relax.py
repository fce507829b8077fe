"""When nothing fits: for each requirement the smallest change that gives a plan, tried out before it is offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from inferplan.domain.plan import Change, Plan, Relaxation
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Scenario
from inferplan.planner.knob import Knob, Setting
from inferplan.planner.knobs import knobs
from inferplan.planner.means_knobs import WHOLE_PIN
from inferplan.planner.wish_knobs import with_context_share, with_load_share

_BISECTIONS = 12
_PAIRS = 4
"""Pairs of changes offered at most."""

Share = Callable[[Scenario, float], Scenario | None]
_SHARES: dict[str, Share] = {"load": with_load_share, "context": with_context_share}


@dataclass(frozen=True, slots=True)
class Relaxed:
    """What helps, and the reasons of rejection that the loosened requirements stand for."""

    offers: tuple[Relaxation, ...]
    reasons: tuple[ReasonCode, ...]


class Best(Protocol):
    """Plans a scenario anew without explanations; None if nothing fits."""

    def __call__(self, scenario: Scenario, minimise: str = "cost", /) -> Plan | None:
        """Return the plan that minimises cost or another figure."""
        ...


def relaxations(scenario: Scenario, best: Best) -> Relaxed:
    """Offer single changes that help; where none does (dropping a whole pin aside), pairs. Cheapest plan first."""
    offers, reasons = [], []
    for knob in knobs(scenario):
        offer = _single(knob, best)
        if offer is not None:
            offers.append(offer)
            reasons.append(knob.reason)
    if all(offer.changes[0].field == WHOLE_PIN for offer in offers):
        for pair, both in islice(_pairs(scenario, best), _PAIRS):
            offers.append(pair)
            reasons.extend(both)
    offers.sort(key=lambda offer: (offer.plan.cost.per_hour, offer.text))
    return Relaxed(tuple(offers), tuple(dict.fromkeys(reason for reason in reasons if reason is not None)))


def _single(knob: Knob, best: Best) -> Relaxation | None:
    share = _SHARES.get(knob.minimise)
    setting = _smallest(knob, best) if share is None else _largest(knob, best, share)
    if setting is None:
        return None
    plan = best(setting.scenario)
    if plan is None:
        return None
    return Relaxation((Change(knob.field, knob.current, setting.to),), setting.text, plan)


def _smallest(knob: Knob, best: Best) -> Setting | None:
    plan = best(knob.dropped, knob.minimise)
    return None if plan is None else knob.fit(knob.dropped, plan)


def _largest(knob: Knob, best: Best, with_share: Share) -> Setting | None:
    """Bisect for the largest share of a load or context that works; more of either is never easier."""
    low, high = 0.0, 1.0
    found: Scenario | None = None
    share = 1e-9
    while share < 1.0:  # the order of magnitude first: wishes may be absurdly large
        scaled = with_share(knob.dropped, share)
        if scaled is not None and scaled != found:
            if best(scaled) is None:
                high = share
                break
            low, found = share, scaled
        share *= 10
    if found is None:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        scaled = with_share(knob.dropped, middle)
        if scaled is None or scaled == found:
            break
        if best(scaled) is None:
            high = middle
        else:
            low, found = middle, scaled
    plan = best(found)
    return None if plan is None else knob.fit(found, plan)


def _pairs(scenario: Scenario, best: Best) -> Iterator[tuple[Relaxation, tuple[ReasonCode | None, ...]]]:
    """Two requirements at once: what both need is found with both dropped, then each is put back."""
    for first in knobs(scenario):
        if not _pairable(first):
            continue
        for second in knobs(first.dropped):
            if second.field > first.field and _pairable(second):
                offer = _pair(first, second, best)
                if offer is not None:
                    yield offer, (first.reason, second.reason)


def _pairable(knob: Knob) -> bool:
    return knob.minimise not in _SHARES and knob.field != WHOLE_PIN


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
