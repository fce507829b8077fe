"""Which plan holds, and whether it is put to work.

A plan that stands stays: it gives way to a new spec, to the loss of its GPUs once that has lasted, to a saving that is
large enough, lasts long enough and pays for the move, and, where a person approves plans, to one that was approved.
Nothing else moves a running workload.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from decimal import Decimal

from inferplan.api.figures import dollars
from inferplan.api.v1alpha1.operation import Replan, ReplanPolicy
from inferplan.domain.operation import DeployPolicy
from inferplan.domain.plan import Outcome, Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Budget, Enforcement, HardwareSource
from inferplan.kube.planning import Planned
from inferplan.kube.prices import ASSUMED_STALE_AFTER_DAYS, STAND_IN
from inferplan.kube.view import APPROVED, View, moment

ASSUMED_MOVE_HOURS = Decimal("0.5")
"""Time for which a move pays for both workloads [h]: weights load, caches warm up. No source; minutes are usual."""


class Stop(enum.StrEnum):
    """Why a plan is not put to work."""

    POLICY = "PlanOnly"
    APPROVAL = "AwaitingApproval"
    NO_GPUS = "NoGpusInCluster"
    OVER_BUDGET = "OverBudget"
    PRICE_UNKNOWN = "PriceUnknown"
    UNRENDERABLE = "CannotBeDeployed"


@dataclass(frozen=True, slots=True)
class Choice:
    """The plan that holds.

    Parameters
    ----------
    outcome
        What planning found, with the plan that holds as the chosen one; None if nothing was planned.
    trigger
        What led to another plan than before; empty if it is the same.
    better
        What speaks for another plan, in words; empty if nothing does.
    room_gone
        The cluster has no place for the plan that stands and was put to work, and its pods do not run.
    look_again_s
        When a better plan will have been better for long enough [s].
    stop
        Why it is not put to work; None: it is.
    refusals
        Why it cannot be written as manifests.
    """

    outcome: Outcome | None = None
    trigger: str = ""
    saved_usd_per_hour: Decimal | None = None
    better: str = ""
    room_gone: bool = False
    look_again_s: float | None = None
    stop: Stop | None = None
    refusals: tuple[str, ...] = ()
    over_budget: bool = False
    price_unknown: bool = False
    prices_stale: bool = False

    @property
    def plan(self) -> Plan | None:
        """The plan that holds."""
        return None if self.outcome is None else self.outcome.chosen


def choose(view: View, *, fits: bool) -> Choice:
    """Decide which plan holds and whether it is put to work.

    Parameters
    ----------
    fits
        The cluster has the GPUs of a plan that was made for owned machines.
    """
    planned, resource = view.planned, view.resource
    if planned is None or resource is None:
        return Choice()
    replan = resource.spec.replan
    lost = _lost(view, planned, replan)
    offer = lost or _better(view, planned, replan)
    if resource.spec.deploy.policy is DeployPolicy.MANUAL and view.applied:
        offer = _for_approval(view, planned, offer)
    outcome = planned.fresh if planned.held is None or offer.take else planned.held
    plan = outcome.chosen
    if plan is None:
        return Choice(outcome, room_gone=lost is not None)
    budget = planned.scenario.budget
    over = any(miss.code is ReasonCode.OVER_BUDGET for miss in plan.misses)
    unknown = any(place.source.startswith(STAND_IN) for place in plan.cost.placements)
    running = view.applied and view.previous.plan.get("hash") == plan.hash
    approved = running or view.annotations.get(APPROVED, "") == plan.hash
    blocks = budget.enforcement is Enforcement.BLOCK and _limited(budget) and not running
    in_cluster = plan.source == "Cluster" or (plan.source == "Owned" and fits)
    stop = None
    if resource.spec.deploy.policy is DeployPolicy.PLAN:
        stop = Stop.POLICY
    elif over and blocks:
        stop = Stop.OVER_BUDGET
    elif unknown and blocks:
        stop = Stop.PRICE_UNKNOWN
    elif not in_cluster and not approved:
        stop = Stop.NO_GPUS
    elif resource.spec.deploy.policy is DeployPolicy.MANUAL and not approved:
        stop = Stop.APPROVAL
    changed = plan.hash != view.previous.plan.get("hash")
    return Choice(
        outcome=outcome,
        trigger=_trigger(view, offer) if changed else "",
        saved_usd_per_hour=planned.saving_usd_per_hour if changed and offer.take and lost is None else None,
        better="" if offer.take else offer.text,
        room_gone=lost is not None and not offer.take,
        look_again_s=None if offer.take else offer.look_again_s,
        stop=stop,
        over_budget=over,
        price_unknown=unknown,
        prices_stale=_stale(plan, view.now),
    )


def _limited(budget: Budget) -> bool:
    return any(
        limit is not None
        for limit in (budget.maximum_usd_per_hour, budget.maximum_usd_per_month, budget.maximum_usd_per_request)
    )


def _trigger(view: View, offer: _Offer) -> str:
    if not view.previous.plan:
        return "first plan"
    if view.is_new_spec:
        return "the spec changed"
    return offer.trigger if offer.take else "the plan before could not be had any more"


def _stale(plan: Plan, now: dt.datetime) -> bool:
    oldest = min((place.as_of for place in plan.cost.placements if place.as_of), default="")
    day = moment(oldest)
    return day is not None and now.date() - day.date() > dt.timedelta(days=ASSUMED_STALE_AFTER_DAYS)


@dataclass(frozen=True, slots=True)
class _Offer:
    """Another plan than the one that stands, and whether it takes its place now.

    Parameters
    ----------
    text
        What speaks for it; empty if there is none.
    look_again_s
        When it may take its place [s]; None if time alone changes nothing.
    """

    text: str = ""
    trigger: str = ""
    take: bool = False
    look_again_s: float | None = None


def _lost(view: View, planned: Planned, replan: Replan) -> _Offer | None:
    """Say what becomes of a plan whose GPUs are gone; None if they are not.

    Where nothing else can be had in the cluster it stays, and its pods wait for their GPUs.
    """
    if not view.applied or view.has_room or planned.held is None:
        return None
    fresh = planned.fresh.chosen
    if fresh is None or fresh.source == HardwareSource.MARKET:
        return _Offer()
    grace = dt.timedelta(minutes=replan.grace_minutes)
    rest = grace - _lasts(view, "CapacityAvailable", "False")
    text = f"{fresh.configuration.title} can be had"
    trigger = f"its GPUs were gone for {replan.grace_minutes} minutes"
    if rest <= dt.timedelta(0):
        return _Offer(text, trigger, take=True)
    return _Offer(text, trigger, look_again_s=rest.total_seconds())


def _lasts(view: View, kind: str, status: str) -> dt.timedelta:
    """Tell for how long a condition has had a status."""
    found = view.previous.condition(kind)
    since = moment(found.since) if found is not None and found.status == status else None
    return dt.timedelta(0) if since is None else view.now - since


def _for_approval(view: View, planned: Planned, offer: _Offer) -> _Offer:
    """Leave it to a person whether another plan takes the place of one that runs."""
    fresh = planned.fresh.chosen
    if fresh is None or planned.held is None:
        return offer
    if view.annotations.get(APPROVED, "") == fresh.hash:
        return _Offer(offer.text, "another plan was approved", take=True)
    if not offer.text:
        return offer
    return _Offer(f"{offer.text}; approve it with the annotation {APPROVED}={fresh.hash}")


def _better(view: View, planned: Planned, replan: Replan) -> _Offer:
    """Say what another plan would save, when to look again, and whether to move now."""
    fresh, standing = planned.fresh.chosen, view.standing
    held = None if planned.held is None else planned.held.chosen
    if fresh is None or held is None or standing is None or standing.deploys_the_same_as(fresh):
        return _Offer()
    saving = planned.saving_usd_per_hour
    before = held.cost.per_hour
    move = ASSUMED_MOVE_HOURS * (before + fresh.cost.per_hour)
    enough = before > 0 and saving * 100 >= replan.minimum_savings_percent * before
    if saving <= 0 or not enough or saving * replan.horizon_hours <= move or _stale(fresh, view.now):
        return _Offer()
    if view.applied and held.source != HardwareSource.MARKET and fresh.source == HardwareSource.MARKET:
        return _Offer()  # what runs in the cluster does not give way to what cannot
    percent = int(saving * 100 / before)
    better = f"{fresh.configuration.title} would save {dollars(saving)}/h ({percent} %)"
    if replan.policy is ReplanPolicy.NEVER:
        return _Offer(better)
    rest = dt.timedelta(minutes=replan.persistence_minutes) - _lasts(view, "PlanOutdated", "True")
    if rest <= dt.timedelta(0):
        return _Offer(better, "a lasting saving", take=True)
    return _Offer(better, look_again_s=rest.total_seconds())
