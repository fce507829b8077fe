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
from inferplan.domain.model import Dtype, Quantization
from inferplan.domain.plan import Outcome, Plan
from inferplan.domain.scenario import HardwareSource, Pin, Scenario
from inferplan.kube import heap, metrics
from inferplan.kube.claims import kind_of
from inferplan.kube.client import Body
from inferplan.pipeline import run
from inferplan.planner import Planner


@dataclass(frozen=True, slots=True)
class Standing:
    """The plan that stands, by what names it in a status."""

    hash: str
    model: str
    repository: str
    quantization: str
    method: str
    engine: str
    gpu: str
    tensor_parallel: int
    pipeline_parallel: int
    replicas: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    kv_cache_type: str
    kinds: frozenset[tuple[str, str, str, str]]
    """Machines that it stands on: provider, region, instance type, terms."""

    @classmethod
    def of(cls, plan: Plan) -> Standing:
        """Name a plan."""
        chosen = plan.configuration
        return cls(
            hash=plan.hash,
            model=chosen.model.id,
            repository=chosen.checkpoint.repository,
            quantization=chosen.checkpoint.quantization.value,
            method=chosen.method.id,
            engine=chosen.engine.name,
            gpu=chosen.gpu.id,
            tensor_parallel=chosen.tp_size,
            pipeline_parallel=chosen.pp_size,
            replicas=chosen.replicas,
            max_num_seqs=chosen.max_num_seqs,
            max_num_batched_tokens=chosen.max_num_batched_tokens,
            max_model_len=chosen.max_model_len,
            kv_cache_type=chosen.kv_dtype.value,
            kinds=frozenset(
                (place.provider, place.region, place.instance_type, place.terms.value) for place in plan.cost.placements
            ),
        )

    @classmethod
    def read(cls, plan: Body) -> Standing | None:
        """Read it from a status; None if another version has written it otherwise."""
        try:
            return cls(
                hash=str(plan["hash"]),
                model=str(plan["model"]),
                repository=str(plan["repository"]),
                quantization=str(plan["quantization"]),
                method=str(plan["method"]),
                engine=str(plan["engine"]),
                gpu=str(plan["gpu"]),
                tensor_parallel=int(plan["tensorParallel"]),
                pipeline_parallel=int(plan["pipelineParallel"]),
                replicas=int(plan["replicas"]),
                max_num_seqs=int(plan["maxNumSeqs"]),
                max_num_batched_tokens=int(plan["maxNumBatchedTokens"]),
                max_model_len=int(plan["maxModelLen"]),
                kv_cache_type=str(plan["kvCacheType"]),
                kinds=frozenset(
                    (str(one["provider"]), str(one["region"]), str(one["instanceType"]), str(one["terms"]))
                    for one in plan["cost"]["placements"]
                ),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def deploys_the_same_as(self, plan: Plan) -> bool:
        """Tell whether a plan is this one, wherever it is placed."""
        return replace(Standing.of(plan), hash=self.hash, kinds=self.kinds) == self

    def pin(self, asked: Pin | None) -> Pin | None:
        """Ask for exactly this, started as the scenario's own pin says; None if a name means nothing any more."""
        if self.quantization not in set(Quantization) or self.kv_cache_type not in set(Dtype):
            return None
        return replace(
            asked or Pin(),
            model=self.model,
            quantization=Quantization(self.quantization),
            gpu=self.gpu,
            gpus_per_replica=self.tensor_parallel * self.pipeline_parallel,
            replicas=self.replicas,
            max_num_seqs=self.max_num_seqs,
            max_model_len=self.max_model_len,
            engine=self.engine.casefold(),
            kv_dtype=Dtype(self.kv_cache_type),
        )


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that an answer depends on."""

    scenario: Scenario
    inventory: Inventory | None
    catalog_digest: str
    standing: Standing | None

    def is_answered_by(self, asked: Question, found: Planned) -> bool:
        """Tell whether an answer to another question is one to this: also when its own plan is what stands now."""
        same = replace(asked, standing=self.standing) == self
        best = found.fresh.chosen
        adopted = self.standing is not None and best is not None and best.hash == self.standing.hash
        return same and (asked.standing == self.standing or (adopted and found.held is None))


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
    ) -> Planned:
        """Plan a scenario, or return what was found for the very same question before.

        Parameters
        ----------
        inventory
            What the scenario may plan on; None if the cluster has no GPU.
        standing
            The plan that stands.
        """
        scenario, used = on_cluster_or_market(resolved.scenario, inventory)
        question = Question(scenario, used, self.catalog.digest, standing)
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

    Pods ask for what they ask for because of these machines: others that are cheaper are no reason to start anew.
    """
    pin = standing.pin(question.scenario.pin)
    if pin is None or not standing.kinds:
        return None
    hardware, inventory = question.scenario.hardware, question.inventory
    if inventory is not None:
        nodes = tuple(node for node in inventory.nodes if kind_of(node) in standing.kinds)
        inventory = replace(inventory, nodes=nodes)
    elif hardware.source is HardwareSource.MARKET:
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
