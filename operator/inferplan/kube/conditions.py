"""The conditions of a scenario, as kstatus, Flux and Argo CD read them: each a small pure function.

``Ready`` sums them up. ``Stalled`` is true where trying again changes nothing, ``Reconciling`` while something is under
way; never both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferplan.domain.operation import DeployPolicy
from inferplan.domain.plan import Infeasibility, Plan
from inferplan.domain.reasons import REASON_TEXT, ReasonCode
from inferplan.kube.choice import Choice, Stop
from inferplan.kube.client import Body
from inferplan.kube.trouble import Trouble
from inferplan.kube.view import APPROVED, PAUSED, View, timestamp
from inferplan.kube.work import Work

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"
LONGEST_MESSAGE = 2048


@dataclass(frozen=True, slots=True)
class State:
    """A condition without its time."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions are made of."""

    view: View
    choice: Choice
    work: Work

    @property
    def plan(self) -> Plan | None:
        """The plan that holds."""
        return self.choice.plan

    @property
    def infeasibility(self) -> Infeasibility | None:
        """Why there is no plan, if there is none."""
        return None if self.choice.outcome is None else self.choice.outcome.infeasibility

    @property
    def deploys(self) -> bool:
        """Whether the plan is put to work."""
        return self.choice.plan is not None and self.choice.stop is None

    @property
    def taken(self) -> str:
        """Names that are needed and belong to somebody else's objects; empty if there are none."""
        problem = self.view.problem
        unlabelled = (problem.text,) if problem is not None and problem.name_taken else ()
        return "; ".join(self.work.foreign or unlabelled)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Why the workload is not there, what somebody has to act on first; empty if it is there."""
        work, now = self.work, self.view.now
        if not self.deploys or not work.is_done or work.is_available:
            return ()
        return tuple(sorted((*work.troubles, *self.view.troubles), key=lambda one: (not one.stalls(now), one.rank)))

    @property
    def look_again_s(self) -> float | None:
        """When something may be said otherwise though nothing has changed [s]; None if never."""
        waits = [self.choice.look_again_s, self.work.contested_for_s]
        waits += [one.stalls_in_s(self.view.now) for one in self.troubles]
        return min((wait for wait in waits if wait), default=None)


Rule = Callable[[Facts], State]


def spec_valid(facts: Facts) -> State:
    """Whether the spec can be understood."""
    faults = facts.view.faults
    if faults:
        return State(FALSE, "InvalidSpec", "; ".join(faults))
    return State(TRUE, "Valid", "the spec can be planned")


def inventory_known(facts: Facts) -> State:
    """Whether the nodes and pods that were planned on are those of now."""
    view = facts.view
    if view.inventory_faults:
        return State(FALSE, "CannotWatch", "; ".join(view.inventory_faults))
    if not view.has_gpus:
        said = "; ".join(("the cluster has no GPU that can be planned on", *view.left_out))
        return State(TRUE, "NoGpus", said)
    return State(TRUE, "Watched", "nodes and pods are watched")


def prices_fresh(facts: Facts) -> State:
    """Whether every price is the machine's own, dated, and believable."""
    if facts.view.price_faults:
        return State(FALSE, "PriceBookRefused", f"the prices before stay: {'; '.join(facts.view.price_faults)}")
    if facts.plan is None:
        return State(UNKNOWN, "NoPlan", "there is no plan to price")
    places = facts.plan.cost.placements
    if facts.choice.price_unknown:
        return State(FALSE, "PriceUnknown", "; ".join(dict.fromkeys(place.source for place in places)))
    dates = sorted({place.as_of for place in places if place.as_of})
    dated = f"prices of {' and '.join(dates)}" if dates else "computed from what is stated in the spec"
    if facts.choice.prices_stale:
        return State(FALSE, "PricesStale", dated)
    return State(TRUE, "Dated", dated)


def plan_feasible(facts: Facts) -> State:
    """Whether there is a plan."""
    if facts.view.faults:
        return State(UNKNOWN, "InvalidSpec", "the spec cannot be planned")
    if facts.choice.outcome is None:
        return State(UNKNOWN, "NotPlanned", "not planned yet")
    if facts.plan is not None:
        return State(TRUE, "PlanFound", f"planned on {_where(facts.plan, has_gpus=facts.view.has_gpus)}")
    freed = None if facts.view.planned is None else facts.view.planned.if_all_were_free
    if freed is not None:
        gpu = freed.configuration.gpu.id
        holders = sorted(f"{held.gpus}x {held.gpu} by {held.by}" for held in facts.view.held if held.gpu == gpu)
        said = ", ".join(holders) or f"{gpu} by pods of no scenario"
        return State(FALSE, "GpusHeld", f"{freed.configuration.title} would do if its GPUs were free; held: {said}")
    return State(FALSE, "NoFeasiblePlan", _binding(facts))


def _where(plan: Plan, *, has_gpus: bool) -> str:
    if plan.source == "Market":
        return "the market" if has_gpus else "the market, because the cluster has no GPU"
    return "owned machines" if plan.source == "Owned" else "the GPUs of the cluster"


def _binding(facts: Facts) -> str:
    found = facts.infeasibility
    if found is None:
        return "there is no plan"
    reasons = [f"{code}: {REASON_TEXT[code]}" for code in found.binding]
    nearest = [f"feasible with {item.text}: {item.plan.configuration.title}" for item in found.nearest[:1]]
    return "; ".join([*reasons, *nearest]) or "there is no plan"


def plan_approved(facts: Facts) -> State:  # noqa: PLR0911 - one return per state
    """Whether the plan may be applied."""
    plan, view = facts.plan, facts.view
    if plan is None or view.resource is None:
        return State(UNKNOWN, "NoPlan", "there is no plan to approve")
    how = f"approve it with the annotation {APPROVED}={plan.hash}"
    match facts.choice.stop:
        case Stop.POLICY:
            return State(UNKNOWN, "PlanOnly", "deploy.policy is Plan: nothing is applied")
        case Stop.APPROVAL:
            return State(FALSE, "AwaitingApproval", how)
        case Stop.NO_GPUS:
            return State(FALSE, "NoGpusInCluster", f"the cluster lacks these GPUs; to apply it nevertheless, {how}")
        case Stop.OVER_BUDGET | Stop.PRICE_UNKNOWN:
            return State(FALSE, facts.choice.stop.value, "the budget blocks it")
        case Stop.UNRENDERABLE:
            return State(UNKNOWN, facts.choice.stop.value, "it cannot be deployed as it is")
        case None:
            by_hand = view.annotations.get(APPROVED) == plan.hash
            policy = view.resource.spec.deploy.policy
            if by_hand or policy is DeployPolicy.MANUAL:
                return State(TRUE, "Approved", f"plan {plan.hash} was approved")
            return State(TRUE, "Auto", "deploy.policy is Auto: plans are applied")


def workload_available(facts: Facts) -> State:  # noqa: PLR0911 - one return per state
    """Whether what runs does what it should."""
    work, view = facts.work, facts.view
    before = view.previous.condition("WorkloadAvailable")
    if facts.deploys and work.completed:
        return State(TRUE, "RunComplete", "the run is complete")
    if facts.deploys and not work.wanted and before is not None and before.reason == "RunComplete":
        return State(TRUE, "RunComplete", "the run is complete")
    if facts.deploys and work.failed:
        return State(FALSE, "RunFailed", work.failed)
    if not facts.deploys and work.present:
        return State(UNKNOWN, "LeftAlone", f"what ran before is left as it is: {work.detail}")
    if not facts.deploys:
        return State(FALSE, "NotDeployed", "nothing is deployed")
    if facts.taken:
        return State(FALSE, "NameTaken", facts.taken)
    if view.problem is not None:
        return State(FALSE, "ApplyFailed", view.problem.text)
    if work.is_available:
        return State(TRUE, "Available", work.detail or "everything is in place")
    said = [work.detail or "being deployed", *(work.added if work.is_done else ()), *map(str, facts.troubles)]
    reason = facts.troubles[0].reason if facts.troubles else "Progressing"
    return State(FALSE, reason, "; ".join(said))


def within_budget(facts: Facts) -> State:
    """Whether the plan costs no more than it may."""
    plan, planned = facts.plan, facts.view.planned
    if plan is None or planned is None:
        if facts.infeasibility is not None and ReasonCode.OVER_BUDGET in facts.infeasibility.binding:
            return State(FALSE, "OverBudget", "every plan that meets the rest costs more than the budget")
        return State(UNKNOWN, "NoPlan", "there is no plan to price")
    budget = planned.scenario.budget
    if (budget.maximum_usd_per_hour, budget.maximum_usd_per_month, budget.maximum_usd_per_request) == (None,) * 3:
        return State(TRUE, "NoLimit", "no budget is set")
    if facts.choice.over_budget:
        misses = [miss for miss in plan.misses if miss.code is ReasonCode.OVER_BUDGET]
        said = "; ".join(f"{miss.actual:.6g} of {miss.limit:.6g} {miss.unit}" for miss in misses)
        return State(FALSE, "OverBudget", said)
    if facts.choice.price_unknown:
        return State(UNKNOWN, "PriceUnknown", "no price is known for the machines; another stands in")
    return State(TRUE, "Within", "the plan keeps the budget")


def capacity_available(facts: Facts) -> State:
    """Whether the GPUs of what was put to work are there: its pods run, or could be placed."""
    if facts.plan is None or not facts.deploys:
        return State(UNKNOWN, "NotDeployed", "nothing is deployed")
    if facts.choice.room_gone:
        chosen = facts.plan.configuration
        lasting = " and takes its place if this lasts" if facts.choice.look_again_s is not None else ""
        then = f"{facts.choice.better}{lasting}" if facts.choice.better else "the plan waits for them"
        return State(FALSE, "Gone", f"the cluster has no room for {chosen.gpus}x {chosen.gpu.name}; {then}")
    return State(TRUE, "Present", "its pods run, or can be placed")


def plan_outdated(facts: Facts) -> State:
    """Whether another plan would now be chosen, but the one that stands is kept for the time being."""
    if facts.plan is None:
        return State(FALSE, "NoPlan", "there is no plan")
    if facts.choice.better and not facts.choice.room_gone:
        return State(TRUE, "CheaperPlan", facts.choice.better)
    return State(FALSE, "UpToDate", "no other plan is worth a move")


def stalled(facts: Facts) -> State:
    """Whether trying again changes nothing until somebody changes something."""
    found = _stall(facts)
    if found is not None:
        return State(TRUE, *found)
    return State(FALSE, "Progressing", "nothing stands in the way")


def _stall(facts: Facts) -> tuple[str, str] | None:  # noqa: C901, PLR0911 - one return per cause
    view, work = facts.view, facts.work
    if view.faults:
        return "InvalidSpec", "; ".join(view.faults)
    if view.planned is None:
        return None
    if facts.plan is None:
        state = plan_feasible(facts)
        over = within_budget(facts)
        if over.status == FALSE:
            return over.reason, f"{over.message}; {state.message}"
        return state.reason, state.message
    if facts.choice.stop is Stop.UNRENDERABLE:
        return facts.choice.stop.value, "; ".join(facts.choice.refusals)
    if facts.choice.stop in {Stop.NO_GPUS, Stop.OVER_BUDGET, Stop.PRICE_UNKNOWN}:
        state = within_budget(facts) if facts.choice.stop is not Stop.NO_GPUS else plan_approved(facts)
        return facts.choice.stop.value, state.message
    if facts.deploys and facts.taken:
        return "NameTaken", facts.taken
    if facts.deploys and work.failed:
        return "RunFailed", work.failed
    if facts.deploys and work.contested:
        return "Contested", "; ".join(work.contested)
    if view.problem is None and facts.troubles and facts.troubles[0].stalls(view.now):
        return facts.troubles[0].reason, workload_available(facts).message
    return None


def reconciling(facts: Facts) -> State:
    """Whether something is under way."""
    view = facts.view
    if view.paused:
        return State(FALSE, "Paused", f"paused by the annotation {PAUSED}")
    if _stall(facts) is not None:
        return State(FALSE, "Stalled", "see Stalled")
    if not facts.deploys:
        reason = facts.choice.stop.value if facts.choice.stop is not None else "Idle"
        return State(FALSE, reason, "nothing is under way")
    available = workload_available(facts)
    if available.status == TRUE:
        return State(FALSE, "Idle", "nothing is under way")
    return State(TRUE, available.reason, available.message)


def ready(facts: Facts) -> State:
    """Sum up: what was asked for is so."""
    stall = _stall(facts)
    if stall is not None:
        return State(FALSE, *stall)
    if facts.plan is None:
        return State(UNKNOWN, "NotPlanned", "not planned yet")
    if facts.choice.stop is Stop.POLICY:
        return State(TRUE, "Planned", "the plan is in the status, and nothing else was asked for")
    if facts.choice.stop is not None:
        return State(FALSE, facts.choice.stop.value, "the plan waits for approval")
    available = workload_available(facts)
    return State(available.status, available.reason, available.message)


RULES: tuple[tuple[str, Rule], ...] = (
    ("Ready", ready),
    ("Reconciling", reconciling),
    ("Stalled", stalled),
    ("SpecValid", spec_valid),
    ("InventoryKnown", inventory_known),
    ("PricesFresh", prices_fresh),
    ("PlanFeasible", plan_feasible),
    ("PlanApproved", plan_approved),
    ("WorkloadAvailable", workload_available),
    ("WithinBudget", within_budget),
    ("CapacityAvailable", capacity_available),
    ("PlanOutdated", plan_outdated),
)
"""Every condition, in the order in which they are written."""


def conditions(facts: Facts) -> list[Body]:
    """Write all conditions."""
    return [written(facts.view, kind, rule(facts)) for kind, rule in RULES]


def written(view: View, kind: str, state: State) -> Body:
    """Write a condition; its time moves only with its status."""
    before = view.previous.condition(kind)
    since = before.since if before is not None and before.status == state.status else ""
    return {
        "type": kind,
        "status": state.status,
        "reason": state.reason,
        "message": state.message[:LONGEST_MESSAGE],
        "observedGeneration": view.generation,
        "lastTransitionTime": since or timestamp(view.now),
    }
