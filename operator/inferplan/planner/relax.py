"""When nothing fits: for each requirement the smallest change that gives a plan, tried out before it is offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Protocol

from inferplan.domain.plan import Change, Plan, Relaxation
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Scenario
from inferplan.planner.knob import Knob, Setting
from inferplan.planner.knobs import knobs, pairable_knobs
from inferplan.planner.pin_knobs import WHOLE_PIN, with_batch_share, with_length_share, with_replicas_share
from inferplan.planner.wish_knobs import with_context_share, with_load_share

_BISECTIONS = 12
_PAIRS = 4
"""Pairs of changes offered at most."""

_LATE = frozenset(
    {
        ReasonCode.TTFT_OVER_TARGET,
        ReasonCode.TPOT_OVER_TARGET,
        ReasonCode.LATENCY_OVER_TARGET,
        ReasonCode.DEADLINE_MISSED,
        ReasonCode.LOAD_OVER_CAPACITY,
    }
)

Share = Callable[[Scenario, float], Scenario | None]
_SHARES: dict[str, Share] = {
    "load": with_load_share,
    "context": with_context_share,
    "replicas": with_replicas_share,
    "batch": with_batch_share,
    "length": with_length_share,
}


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
    """Offer single changes that help; where none does (dropping a whole pin aside), pairs.

    What meets everything comes before what a pin merely could run, and the cheapest plan first.
    """
    offers, reasons = [], []
    for knob in knobs(scenario):
        singles = _singles(knob, best)
        offers.extend(singles)
        if singles:
            reasons.append(knob.reason)
    if all(offer.changes[0].field == WHOLE_PIN or _late(offer.plan) for offer in offers):
        for pair, both in islice(_pairs(scenario, best), _PAIRS):
            offers.append(pair)
            reasons.extend(both)
    offers.sort(key=lambda offer: (bool(offer.plan.misses), offer.plan.cost.per_hour, offer.text))
    return Relaxed(tuple(offers), tuple(dict.fromkeys(reason for reason in reasons if reason is not None)))


def _late(plan: Plan) -> bool:
    """Whether a plan, obeyed because it is pinned, misses a target of latency, load or time."""
    return not _LATE.isdisjoint(miss.code for miss in plan.misses)


def _singles(knob: Knob, best: Best) -> list[Relaxation]:
    """What one change gives: the smallest with which all is met and, of a pin, the smallest that can run at all."""
    share = _SHARES.get(knob.minimise)
    settings = [_smallest(knob, best) if share is None else _largest(knob, best, share), _smallest_to_run(knob, best)]
    found: dict[str, Relaxation] = {}
    for setting in settings:
        if setting is None or setting.to in found:
            continue
        plan = best(setting.scenario)
        if plan is not None:
            changes = (Change(knob.field, knob.current, setting.to), *setting.also)
            found[setting.to] = Relaxation(changes, setting.text, plan)
    return list(found.values())


def _smallest(knob: Knob, best: Best) -> Setting | None:
    plan = best(knob.dropped, knob.minimise)
    return None if plan is None else knob.fit(knob.dropped, plan)


def _smallest_to_run(knob: Knob, best: Best) -> Setting | None:
    """Put back what lets a full pin run, if latency does not count."""
    plan = None if knob.unasked is None else best(knob.unasked, knob.minimise)
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
    """Two requirements at once: what both need is found with both dropped, then each is put back.

    The one put back first gets its smallest value and the other pays for it, so both orders are worth offering.
    """
    open_ = [knob for knob in pairable_knobs(scenario) if _pairable(knob, scenario)]
    for first, second in combinations(open_, 2):
        forth = _pair(first, second.field, best)
        if forth is None:
            continue
        yield forth, (first.reason, second.reason)
        back = _pair(second, first.field, best)
        if back is not None and set(back.changes) != set(forth.changes):
            yield back, (first.reason, second.reason)


def _pairable(knob: Knob, scenario: Scenario) -> bool:
    latency = knob.field.startswith("slo.") and scenario.pin is not None and scenario.pin.is_full
    return knob.minimise not in _SHARES and knob.field != WHOLE_PIN and not latency


def _pair(first: Knob, field: str, best: Best) -> Relaxation | None:
    second = next((knob for knob in pairable_knobs(first.dropped) if knob.field == field), None)
    if second is None:
        return None
    plan = best(second.dropped, second.minimise)
    if plan is None:
        return None
    inner = second.fit(second.dropped, plan)
    plan = best(inner.scenario, first.minimise)
    if plan is None:
        return None
    outer = first.fit(inner.scenario, plan)
    plan = best(outer.scenario)
    if plan is None or _late(plan):
        return None
    changes = (
        Change(first.field, first.current, outer.to),
        *outer.also,
        Change(second.field, second.current, inner.to),
        *inner.also,
    )
    return Relaxation(changes, f"{outer.text} and {inner.text}", plan)
