"""From a scenario and what it may see of the cluster to the plan that should hold now.

Planning takes a tenth of a second of CPU, so it happens in one thread beside the event loop, and never twice for the
same question.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal

from inferplan.api.convert import ResolvedScenario
from inferplan.api.resolve import Resolved
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.errors import InputError
from inferplan.domain.plan import Outcome, Plan
from inferplan.domain.scenario import HardwareSource, Scenario
from inferplan.kube import heap, metrics
from inferplan.kube.claims import kind_of
from inferplan.kube.standing import Standing
from inferplan.pipeline import run
from inferplan.planner import Planner


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that an answer depends on.

    Parameters
    ----------
    applied
        The standing plan was put to work: then it is kept as it stands, whatever its machines do at this moment.
    """

    scenario: Scenario
    inventory: Inventory | None
    catalog_digest: str
    standing: Standing | None
    applied: bool = False

    def is_answered_by(self, asked: Question, found: Planned) -> bool:
        """Tell whether an answer to another question is one to this: also when its own plan is what stands now."""
        same = replace(asked, standing=self.standing, applied=self.applied) == self
        best = found.fresh.chosen
        adopted = self.standing is not None and best is not None and best.hash == self.standing.hash
        as_before = (asked.standing, asked.applied) == (self.standing, self.applied)
        return same and (as_before or (adopted and found.held is None))


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning found.

    Parameters
    ----------
    fresh
        The best answer as things are.
    held
        The same with the plan that stood before, if that can still be had and the best plan is another.
    resolved
        Where the values of the scenario come from.
    """

    fresh: Outcome
    held: Outcome | None
    resolved: tuple[Resolved, ...]
    if_all_were_free: Plan | None = None
    """Where there is no plan: what there would be if no pod and no other scenario held a GPU."""

    @property
    def scenario(self) -> Scenario:
        """The scenario as it was planned."""
        return self.fresh.scenario

    @property
    def saving_usd_per_hour(self) -> Decimal:
        """What the best plan would save against the held one [USD/h]."""
        best = self.fresh.chosen
        kept = None if self.held is None else self.held.chosen
        return Decimal(0) if best is None or kept is None else kept.cost.per_hour - best.cost.per_hour


class Planning:
    """Answers questions, one at a time, on one catalog.

    Parameters
    ----------
    catalog
        With the price book laid over it.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._planner = Planner(catalog)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="planning")
        self._answers: dict[object, tuple[Question, Planned]] = {}

    def use(self, catalog: Catalog) -> None:
        """Plan on another catalog from now on."""
        if catalog.digest != self.catalog.digest:
            self.catalog, self._planner = catalog, Planner(catalog)

    def forget(self, key: object) -> None:
        """Drop what was answered about a scenario."""
        self._answers.pop(key, None)

    def close(self) -> None:
        """Stop planning."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def plan(
        self,
        key: object,
        resolved: ResolvedScenario,
        inventory: Inventory | None,
        standing: Standing | None,
        *,
        applied: bool = False,
    ) -> Planned:
        """Plan a scenario, or return what was found for the very same question before.

        Parameters
        ----------
        inventory
            What the scenario may plan on; None if the cluster has no GPU.
        standing
            The plan that stands.
        applied
            It was put to work.
        """
        scenario, used = on_cluster_or_market(resolved.scenario, inventory)
        question = Question(scenario, used, self.catalog.digest, standing, applied)
        known = self._answers.get(key)
        if known is not None and question.is_answered_by(*known):
            return known[1]
        started = time.monotonic()
        found = await asyncio.get_running_loop().run_in_executor(
            self._thread, _answer_and_tidy, self._planner, self.catalog, question, resolved
        )
        metrics.PLAN_SECONDS.observe(time.monotonic() - started)
        self._answers[key] = (question, found)
        return found


def on_cluster_or_market(scenario: Scenario, inventory: Inventory | None) -> tuple[Scenario, Inventory | None]:
    """Settle what ``source: Auto`` means: the cluster if it has GPUs, even busy ones, and else the market."""
    hardware = scenario.hardware
    if hardware.source is not HardwareSource.AUTO or hardware.owned:
        return scenario, inventory
    if inventory is None or not any(node.usable for node in inventory.nodes):
        return replace(scenario, hardware=replace(hardware, source=HardwareSource.MARKET)), None
    return replace(scenario, hardware=replace(hardware, source=HardwareSource.CLUSTER)), inventory


def answer(planner: Planner, catalog: Catalog, question: Question, resolved: ResolvedScenario) -> Planned:
    """Plan afresh, and look at what stands where that differs."""
    outcome = run(question.scenario, catalog, inventory=question.inventory, planner=planner)
    fresh, standing = outcome.chosen, question.standing
    held = None
    if standing is not None and (fresh is None or fresh.hash != standing.hash):
        kept = _as_it_is_now(planner, catalog, question, standing)
        held = None if kept is None else replace(outcome, chosen=kept, infeasibility=None)
    freed = None
    if fresh is None and held is None and question.inventory is not None:
        freed = planner.best(question.scenario, _all_free(question.inventory))
    return Planned(outcome, held, resolved.resolved, freed)


def _answer_and_tidy(planner: Planner, catalog: Catalog, question: Question, resolved: ResolvedScenario) -> Planned:
    found = answer(planner, catalog, question, resolved)
    heap.give_back()
    return found


def _all_free(inventory: Inventory) -> Inventory:
    return replace(inventory, nodes=tuple(replace(node, gpus_requested=0) for node in inventory.nodes))


def _as_it_is_now(planner: Planner, catalog: Catalog, question: Question, standing: Standing) -> Plan | None:
    """Evaluate the standing plan on the machines that it stands on; None if it cannot be had there any more.

    Pods ask for what they ask for because of these machines: others that are cheaper are no reason to start anew. A
    plan that was put to work is evaluated as if they were there: that they are gone for a moment changes nothing, and
    whether it is more than a moment is decided elsewhere.
    """
    pin = standing.pin(question.scenario.pin)
    if pin is None or not standing.kinds:
        return None
    hardware, inventory = question.scenario.hardware, question.inventory
    if question.applied and standing.source == HardwareSource.CLUSTER:
        hardware, inventory = replace(hardware, source=HardwareSource.CLUSTER), standing.machines(inventory)
    elif question.applied and standing.source == HardwareSource.MARKET:
        hardware, inventory = replace(hardware, source=HardwareSource.MARKET), None
    elif inventory is not None:
        nodes = tuple(node for node in inventory.nodes if kind_of(node) in standing.kinds)
        inventory = replace(inventory, nodes=nodes)
    if inventory is None and hardware.source is HardwareSource.MARKET:
        providers, regions, _, _ = (tuple(sorted(set(names))) for names in zip(*standing.kinds, strict=True))
        hardware = replace(hardware, providers=providers, regions=regions)
    pinned = replace(question.scenario, pin=pin, growth_factors=(), hardware=hardware)
    try:
        found = run(pinned, catalog, inventory=inventory, planner=planner).chosen
    except InputError:  # it could be started once, and cannot as it is now
        return None
    if found is None or not standing.deploys_the_same_as(found):
        return None
    return replace(found, hash=standing.hash, tier=question.scenario.tier)
