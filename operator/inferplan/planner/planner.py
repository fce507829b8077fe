"""The planner: one scenario in, one outcome out. Pure: the same inputs give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.deployment import EngineSpec
from inferplan.domain.model import Task
from inferplan.domain.plan import Change, Infeasibility, Outcome, Plan, Relaxation, SearchSpace
from inferplan.domain.reasons import ReasonCode, Rejection
from inferplan.domain.scenario import HardwarePolicy, HardwareSource, Pin, Scenario, Tier
from inferplan.domain.taints import repelling
from inferplan.planner.advice import assumptions, cautions, recommendations
from inferplan.planner.arithmetic import Step, Subject
from inferplan.planner.assemble import assemble
from inferplan.planner.budget import budget_micro_usd
from inferplan.planner.candidates import BATCH_LIMITS, custom_model
from inferplan.planner.constraints import max_model_len
from inferplan.planner.contest import Contest, Grid, contest, make_grid
from inferplan.planner.explain import explain
from inferplan.planner.field import Field
from inferplan.planner.filters import Filtered, StaticTable, build_static, filter_shapes
from inferplan.planner.growth import growth
from inferplan.planner.load import replica_load
from inferplan.planner.rejections import summarise, turned_rejections
from inferplan.planner.relax import relaxations
from inferplan.planner.search import Choice, cheapest, extreme
from inferplan.planner.supply import MarketSupply, NodeSupply, NoSupply, Supply
from inferplan.planner.targets import Ask
from inferplan.planner.tiers import TierChoice, budget_choice, high_end_choice, recommended_choice
from inferplan.planner.what_ifs import what_ifs

_SHAPES_KEPT = 300_000
"""Shapes of tables kept, 0.15 to 0.25 kB each, the oldest dropped: every image that a scenario names has its own."""
_SUPPLIES_KEPT = 32
"""Price tables kept for scenarios with the same hardware policy and inventory."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One pass over the candidates of a scenario; ``spanning`` with replicas that span machines."""

    filtered: Filtered
    grid: Grid
    contest: Contest
    spanning: bool

    @property
    def field(self) -> Field:
        """Shapes that may be chosen."""
        return self.grid.field


class Planner:
    """Plans scenarios on one catalog; what depends on the catalog alone is computed once.

    Parameters
    ----------
    catalog
        Models, GPUs, offerings, engines, calibration.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._static: dict[tuple[Task, tuple[EngineSpec, ...]], StaticTable] = {}
        self._supplies: dict[object, Supply] = {}

    def plan(self, scenario: Scenario, inventory: Inventory | None = None) -> Outcome:
        """Find the three tiers, or say no with evidence.

        Parameters
        ----------
        scenario
            What is wanted.
        inventory
            The cluster's GPU nodes; None when planning offline for the market.

        Returns
        -------
        Outcome
            Plans, or an infeasibility with checked relaxations; never an exception for a hard wish.
        """
        attempt, choices = self._found(scenario, inventory)
        tiers = tuple(assemble(attempt.field, scenario, found) for found in choices)
        chosen = next((plan for plan in tiers if plan.tier is scenario.tier), None)
        infeasibility = None
        steps = growth(attempt.grid, scenario) if chosen is not None else ()
        if chosen is None:
            attempt = self._attempt(scenario, inventory) if attempt.spanning else attempt
            infeasibility = self._infeasibility(attempt, scenario, inventory, tiers)
        return Outcome(
            scenario=scenario,
            chosen=chosen,
            tiers=tiers,
            infeasibility=infeasibility,
            rejected=summarise(attempt.filtered, attempt.contest),
            growth=steps,
            what_ifs=what_ifs(scenario, chosen, lambda s: self.best(s, inventory)) if chosen else (),
            recommendations=recommendations(tiers, scenario),
            assumptions=assumptions(self._catalog, scenario, chosen),
            search=SearchSpace(
                candidates=attempt.filtered.total * len(BATCH_LIMITS),
                shapes=attempt.filtered.total,
                catalog_digest=self._catalog.digest,
                prices_as_of=attempt.field.supply.prices_as_of,
                source=attempt.field.supply.source,
            ),
            cautions=cautions(attempt.field.supply.source, tiers, chosen, inventory, scenario.hardware.tolerations),
        )

    def best(self, scenario: Scenario, inventory: Inventory | None = None, minimise: str = "cost") -> Plan | None:
        """Return the plan with the lowest cost (or TTFT, TPOT, …), without tiers and explanations.

        It can be deployed, unless a pin leaves only what cannot.
        """
        for attempt in self._attempts(scenario, inventory):
            if minimise == "cost":
                choice = cheapest(attempt.contest)
            else:
                choice = extreme(attempt.contest, attempt.grid, minimise)
            if choice is not None:
                return self._assembled(attempt, scenario, choice)
            if scenario.pin is None:
                return None
        return None

    def explain(
        self, scenario: Scenario, inventory: Inventory | None = None, tier: Tier | None = None
    ) -> tuple[Step, ...]:
        """Spell out the arithmetic of one tier's plan (the scenario's own by default); empty if there is none.

        A scenario with a full pin explains exactly that configuration.
        """
        found = self.subject(scenario, inventory, tier)
        return () if found is None else explain(found)

    def subject(
        self, scenario: Scenario, inventory: Inventory | None = None, tier: Tier | None = None
    ) -> Subject | None:
        """One tier's plan (the scenario's own by default) with what the estimator was asked; None if there is none."""
        attempt, choices = self._found(scenario, inventory)
        wanted = tier or scenario.tier
        for found in choices:
            if found.tier is wanted:
                plan = assemble(attempt.field, scenario, found)
                load = replica_load(scenario, found.choice.replicas, found.choice.max_num_seqs)
                row = attempt.field.replica.take(np.array([found.choice.row]))
                return Subject(scenario, plan, row, load)
        return None

    def _assembled(self, attempt: _Attempt, scenario: Scenario, choice: Choice) -> Plan:
        return assemble(attempt.field, scenario, TierChoice(Tier.BUDGET, choice, ()))

    def _found(self, scenario: Scenario, inventory: Inventory | None) -> tuple[_Attempt, tuple[TierChoice, ...]]:
        """Choices among what can be deployed or, where that is nothing, among what cannot yet."""
        attempts = list[_Attempt]()
        for attempt in self._attempts(scenario, inventory):
            choices = self._choices(attempt, scenario)
            if choices:
                return attempt, choices
            attempts.append(attempt)
        return attempts[0], ()

    def _attempts(self, scenario: Scenario, inventory: Inventory | None) -> Iterator[_Attempt]:
        attempt = self._attempt(scenario, inventory)
        yield attempt
        if attempt.filtered.turned_down_for(ReasonCode.NOT_DEPLOYABLE):
            yield self._attempt(scenario, inventory, spanning=True)

    def _attempt(self, scenario: Scenario, inventory: Inventory | None, *, spanning: bool = False) -> _Attempt:
        static = self._static_table(scenario)
        supply = self._supply(scenario, inventory)
        filtered = filter_shapes(static, scenario, supply, spanning=spanning)
        grid = make_grid(filtered.field)
        asked = contest(grid, Ask(scenario, budget_micro_usd=budget_micro_usd(scenario)))
        return _Attempt(filtered, grid, asked, spanning)

    def _choices(self, attempt: _Attempt, scenario: Scenario) -> tuple[TierChoice, ...]:
        grid = attempt.grid
        budget = budget_choice(attempt.contest)
        if budget is None:
            return ()
        if scenario.pin is not None:
            return (TierChoice(scenario.tier, budget.choice, ()),)
        if attempt.spanning:
            return budget, high_end_choice(grid, scenario, budget.choice)
        recommended = recommended_choice(grid, scenario, budget.choice)
        return budget, recommended, high_end_choice(grid, scenario, recommended.choice)

    def _infeasibility(
        self, attempt: _Attempt, scenario: Scenario, inventory: Inventory | None, tiers: tuple[Plan, ...]
    ) -> Infeasibility:
        """Say why nothing was chosen; ``tiers`` are plans that would do and cannot be deployed yet."""

        def best(changed: Scenario, minimise: str = "cost", /) -> Plan | None:
            return self.best(changed, inventory, minimise)

        relaxed = relaxations(scenario, best)
        rejections = turned_rejections(attempt.filtered, attempt.contest)
        if scenario.pin is not None and {r.code for r in rejections} == {ReasonCode.CONTEXT_OVER_MODEL_LIMIT}:
            rejections = (*rejections, *self._beyond_context(scenario, inventory))
        binding = _binding(rejections, relaxed.reasons, scenario.pin)
        offers = relaxed.offers
        if tiers:
            binding = tuple(dict.fromkeys((ReasonCode.NOT_DEPLOYABLE, *binding)))
            offers = (*offers, _with_tier(scenario, tiers[0]))
        speaking = tuple(rejection for rejection in rejections if rejection.code in binding)
        counted = summarise(attempt.filtered, attempt.contest).by_reason
        known = {entry.code: entry.example for entry in counted} | {entry.code: entry for entry in rejections}
        evidence = tuple(known[code] for code in binding if code in known)
        return Infeasibility(binding, _nearest(speaking or rejections), offers, evidence)

    def _beyond_context(self, scenario: Scenario, inventory: Inventory | None) -> tuple[Rejection, ...]:
        """What else would stop a pin that already fails on its context: a person wants all of it at once."""
        engines, wanted = self._catalog.engines_for(scenario), scenario.pin.model if scenario.pin else None
        custom = scenario.model.custom
        model = custom_model(custom, self._catalog) if custom else self._catalog.model(wanted or "")
        if model is None:
            return ()
        endless = replace(model, max_position_embeddings=max_model_len(scenario), task=scenario.task)
        static = build_static(self._catalog, (endless,), engines)
        filtered = filter_shapes(static, scenario, self._supply(scenario, inventory))
        found = contest(make_grid(filtered.field), Ask(scenario, budget_micro_usd=budget_micro_usd(scenario)))
        return () if cheapest(found) is not None else turned_rejections(filtered, found)

    def _static_table(self, scenario: Scenario) -> StaticTable:
        engines = self._catalog.engines_for(scenario)
        custom = scenario.model.custom
        if custom is not None:
            model = custom_model(custom, self._catalog)
            return build_static(self._catalog, () if model is None else (model,), engines)
        key = (scenario.task, engines)
        table = self._static.pop(key, None)
        if table is None:
            models = tuple(replace(model, task=scenario.task) for model in self._catalog.models)
            table = build_static(self._catalog, models, engines)
        self._static[key] = table
        while len(self._static) > 1 and sum(len(kept.code) for kept in self._static.values()) > _SHAPES_KEPT:
            del self._static[next(iter(self._static))]
        return table

    def _supply(self, scenario: Scenario, inventory: Inventory | None) -> Supply:
        policy = scenario.hardware
        if len(self._supplies) > _SUPPLIES_KEPT:
            self._supplies.clear()
        if policy.source is HardwareSource.OWNED or (policy.owned and policy.source is HardwareSource.AUTO):
            return NodeSupply.from_owned(policy.owned)
        if inventory is not None and policy.source in {HardwareSource.AUTO, HardwareSource.CLUSTER}:
            key: object = (policy, inventory)
            if key not in self._supplies:
                self._supplies[key] = NodeSupply.from_inventory(inventory, policy)
            if policy.source is HardwareSource.CLUSTER or _within_reach(inventory, policy):
                return self._supplies[key]
        if policy.source is HardwareSource.CLUSTER:
            return NoSupply("Cluster")
        if policy not in self._supplies:
            self._supplies[policy] = MarketSupply(self._catalog.offerings, policy)
        return self._supplies[policy]


def _with_tier(scenario: Scenario, plan: Plan) -> Relaxation:
    """Offer a plan of another tier than the one asked for."""
    change = Change("select.tier", str(scenario.tier), str(plan.tier))
    return Relaxation((change,), f"select.tier {plan.tier}", plan)


def _within_reach(inventory: Inventory, policy: HardwarePolicy) -> bool:
    """Whether the cluster has a free GPU on a node whose taints the pods would stand."""
    return any(node.gpus_free and not repelling(node, policy.tolerations) for node in inventory.nodes)


_UNDER_LOAD = frozenset(
    {
        ReasonCode.GPUS_OVER_MAXIMUM,
        ReasonCode.OVER_BUDGET,
        ReasonCode.LOAD_OVER_CAPACITY,
        ReasonCode.DEADLINE_MISSED,
        ReasonCode.TTFT_OVER_TARGET,
        ReasonCode.TPOT_OVER_TARGET,
        ReasonCode.LATENCY_OVER_TARGET,
    }
)


def _binding(
    rejections: tuple[Rejection, ...], loosened: tuple[ReasonCode, ...], pin: Pin | None
) -> tuple[ReasonCode, ...]:
    """Reasons that stand in the way, each once: of a full pin all, otherwise those whose loosening helps.

    If no loosening helps (or what helps is a pin, which stands for many reasons), those met under load; if nothing got
    so far, whatever turned candidates down.
    """
    found = tuple(dict.fromkeys(rejection.code for rejection in rejections))
    if pin is not None and pin.is_full:
        return found
    under_load = tuple(code for code in found if code in _UNDER_LOAD)
    # less load is always a way out; it binds only where load was too much for somebody
    helps = tuple(code for code in loosened if code is not ReasonCode.LOAD_OVER_CAPACITY or code in found)
    return helps or under_load or found


def _nearest(rejections: tuple[Rejection, ...]) -> Rejection | None:
    """The rejection that came nearest to its limit, in proportion."""

    def distance(rejection: Rejection) -> float:
        if rejection.limit is None or rejection.actual is None or rejection.limit == 0:
            return float("inf")
        ratio = abs(rejection.actual / rejection.limit)
        return abs(float(np.log(max(ratio, 1e-12))))

    return min(rejections, key=distance, default=None)
