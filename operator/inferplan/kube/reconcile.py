"""One idempotent look at a scenario: the world as it is comes in, and what is missing is done.

Events only say when to look. There is one loop, so what one scenario was given is known before the next is planned.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import aiohttp

from inferplan.api.convert import ResolvedScenario, to_scenario
from inferplan.api.documents import read_resource
from inferplan.api.nodes import inventory as judge_nodes
from inferplan.api.operation import to_deploy
from inferplan.api.v1alpha1 import InferenceScenario
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.errors import InputError, UnrenderableError
from inferplan.domain.manifest import Manifest
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.kube import metrics
from inferplan.kube.allowed import Allowed
from inferplan.kube.apply import Applier, NameTakenError
from inferplan.kube.choice import Choice, Stop, choose
from inferplan.kube.claims import Claim, Rank, Seen, claim_of, rank, seen_by
from inferplan.kube.client import Body, Client
from inferplan.kube.conditions import Facts
from inferplan.kube.errors import ApiError, LeadershipLostError, retry_delay_s
from inferplan.kube.events import Happening, happenings, tell
from inferplan.kube.inbox import Inbox, Key
from inferplan.kube.kinds import SCENARIO
from inferplan.kube.planning import Planning
from inferplan.kube.pod_template import as_put_to_work
from inferplan.kube.pools import karpenter_pools, with_pools
from inferplan.kube.prices import Overlay, PriceBook, priced, with_book
from inferplan.kube.status import changes, defect_status, make_status, paused_status
from inferplan.kube.trouble import Wording
from inferplan.kube.view import REQUESTED, Previous, Problem, View, view
from inferplan.kube.work import Step, Work, compare
from inferplan.kube.world import CHILD_SETTLES_S, World, by_scenario
from inferplan.pipeline import manifests

FOREIGN_RETRY_S = 10.0
"""An object that is not ours is not watched; its name is tried again this often [s]."""
TERMINATING_RETRY_S = 30.0
DEFECT_TRIES = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Read:
    """A scenario that could be understood."""

    resource: InferenceScenario
    resolved: ResolvedScenario


class Reconciler:
    """Looks at scenarios, one after the other.

    Parameters
    ----------
    now
        The clock.
    allowed
        What scenarios may ask for; None: what is allowed by default.
    """

    def __init__(
        self,
        client: Client,
        world: World,
        inbox: Inbox,
        catalog: Catalog,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        *,
        allowed: Allowed | None = None,
    ) -> None:
        self._client = client
        self._world = world
        self._inbox = inbox
        self._base = catalog
        self._planning = Planning(catalog)
        self._now = now
        self._allowed = allowed or Allowed()
        self._applier = Applier(client, world)
        self._wording = Wording()
        self._book = PriceBook()
        self._failures: dict[Key, int] = {}
        self._problems: dict[Key, Problem] = {}
        self.overlays: tuple[Overlay, ...] = ()
        self.pools: tuple[Body, ...] = ()
        self._inventory: tuple[tuple[object, ...], Inventory] | None = None
        world.scenario_gone = self._forget

    def _forget(self, key: Key) -> None:
        self._inbox.forget(key)
        self._planning.forget(key)
        self._applier.forget(key)
        self._wording.forget(key)
        self._failures.pop(key, None)
        self._problems.pop(key, None)

    def use(self, book: PriceBook, overlays: tuple[Overlay, ...], pools: tuple[Body, ...]) -> None:
        """Plan with these prices and node pools from now on."""
        if (book, overlays, pools) != (self._book, self.overlays, self.pools):
            self._book, self.overlays, self.pools = book, overlays, pools
            self._planning.use(with_book(self._base, book))
            self._world.look_again(0.0)

    @property
    def book(self) -> PriceBook:
        """The price book in use."""
        return self._book

    async def run(self) -> None:
        """Look at scenarios for ever, the most urgent first."""
        while True:
            key = await self._inbox.next()
            started = time.monotonic()
            try:
                await self._look(key)
            except LeadershipLostError:
                raise
            except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
                self._try_later(key, error)
            except Exception as error:  # a defect of ours must not stop the others
                logger.exception("%s: a defect; please report it", key)
                await self._tell_defect(key, error)
            else:
                self._failures.pop(key, None)
                metrics.RECONCILES.labels("done").inc()
            finally:
                metrics.RECONCILE_SECONDS.observe(time.monotonic() - started)

    def _try_later(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay_s = retry_delay_s(failures, error)
        if isinstance(error, ApiError) and error.is_terminating:
            delay_s = TERMINATING_RETRY_S
        level = logging.INFO if isinstance(error, ApiError) and error.is_conflict else logging.WARNING
        logger.log(level, "%s: %s; again in %.0f s", key, error, delay_s)
        metrics.RECONCILES.labels("failed").inc()
        metrics.ERRORS.labels(type(error).__name__).inc()
        self._inbox.add(key, delay_s)

    async def _tell_defect(self, key: Key, error: Exception) -> None:
        """Turn a defect into a condition; it is tried again a few times, then not until something changes."""
        body = self._world.scenarios.get(key)
        if body is not None:
            seen = view(body, self._now())
            with contextlib.suppress(ApiError, aiohttp.ClientError, OSError, TimeoutError):
                await self._write(seen, defect_status(seen, error))
        if self._failures.get(key, 0) < DEFECT_TRIES:
            self._try_later(key, error)

    # ── one look ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _look(self, key: Key) -> None:
        body = self._world.scenarios.get(key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return  # what it owns goes with it
        seen = view(body, self._now())
        if seen.paused:
            await self._write(seen, paused_status(Facts(seen, Choice(), Work())))
            return
        facts = await self._facts(body, seen)
        if facts.work.unsure:
            await self._applier.make_sure(key, facts.work)
            facts = await self._facts(body, seen)
        status = make_status(facts)
        told = happenings(facts, status) if changes(seen.previous.body, status) else []
        if not await self._write(seen, status):
            return
        for happening in told:
            await tell(self._client, facts, happening)
        await self._work(key, facts)
        if facts.look_again_s is not None:
            self._inbox.add(key, facts.look_again_s)

    async def _facts(self, body: Body, seen: View) -> Facts:
        cluster = self._seen(body)
        has_gpus = any(node.usable for node in cluster.inventory.nodes)
        try:
            read = self._read(body)
            planned = await self._planning.plan(
                seen.key,
                read.resolved,
                cluster.inventory if has_gpus else None,
                seen.standing,
                applied=seen.applied,
            )
        except InputError as error:
            seen = replace(seen, faults=tuple(str(fault) for fault in error.faults))
            return Facts(seen, Choice(), self._compare(seen, None))
        seen = replace(
            seen,
            resource=read.resource,
            planned=planned,
            held=cluster.held,
            has_gpus=has_gpus,
            has_room=_has_room(seen, cluster, read.resolved.scenario),
            left_out=cluster.left_out,
            inventory_faults=self._world.faults(),
            price_faults=self._book.faults,
            problem=self._problems.get(seen.key),
            troubles=self._wording.of(seen.key, self._world.pods_in_trouble(seen.key)),
        )
        choice = choose(seen, fits=_fits((planned.held or planned.fresh).chosen, cluster.inventory))
        wanted: Sequence[Manifest] | None = None
        if choice.outcome is not None and choice.plan is not None and choice.stop is None:
            try:
                wanted = manifests(choice.outcome, to_deploy(read.resource), inventory=cluster.inventory)
            except UnrenderableError as error:
                refusals = tuple(str(fault) for fault in error.faults)
                choice = replace(choice, stop=Stop.UNRENDERABLE, refusals=refusals)
        return Facts(seen, choice, self._compare(seen, wanted, choice.plan))

    def _read(self, body: Body) -> _Read:
        resource = read_resource(body)
        self._allowed.check(resource)
        return _Read(resource, to_scenario(resource, self._planning.catalog))

    def today(self) -> dt.date:
        """Return the date."""
        return self._now().date()

    def inventory(self) -> Inventory:
        """Return the nodes as they are and as node pools could bring them, with what they cost."""
        catalog, world = self._planning.catalog, self._world
        known = (world.inventory_changes, catalog.digest, self._book, self.overlays, self.pools, self.today())
        if self._inventory is None or self._inventory[0] != known:
            self._inventory = known, self._judged(catalog)
        return self._inventory[1]

    def _judged(self, catalog: Catalog) -> Inventory:
        nodes, pods = self._world.nodes.values, self._world.pods.values
        found = judge_nodes(nodes.values(), pods.values(), catalog, "cluster")
        pools = (*self._book.pools, *karpenter_pools(self.pools, nodes.values(), catalog))
        found = with_pools(found, pools, nodes, catalog)
        return priced(found, nodes, self.overlays, catalog, self.today().isoformat())

    def _seen(self, body: Body) -> Seen:
        """Work out which GPUs a scenario may plan on."""
        mine = rank_of(body)
        standing = claim_in(body) is not None and not view(body, self._now()).is_new_spec
        claims = [claim for claim in map(claim_in, self._world.scenarios.values()) if claim is not None]
        pods = by_scenario(self._world.pods.values.values())
        return seen_by(mine, self.inventory(), pods, claims, standing=standing)

    def _compare(self, seen: View, manifests: Sequence[Manifest] | None, plan: Plan | None = None) -> Work:
        children = self._world.children(seen.key, seen.uid)
        if manifests is None or plan is None:
            return Work(present=tuple(child for child in children if child.owner_uid == seen.uid))
        before = seen.previous.condition("WorkloadAvailable")
        completed = not seen.is_new_spec and before is not None and before.reason == "RunComplete"
        applied = self._applier.applied.get(seen.key, {})
        wanted = as_put_to_work(manifests, children, plan.hash, seen.generation)
        work = compare(wanted, children, seen.uid, applied, completed=completed)
        asked = f"{seen.generation} {seen.annotations.get(REQUESTED, '')}"
        return self._applier.contests.settle(seen.key, work, asked)

    async def _write(self, seen: View, status: Body) -> bool:
        """Write a status where it differs; tell whether the scenario is still there."""
        patch = changes(seen.previous.body, status)
        if not patch:
            return True
        path = f"{SCENARIO.path(seen.key.namespace, seen.key.name)}/status"
        try:
            answer = await self._client.merge(path, {"metadata": {"uid": seen.uid}, "status": patch})
        except ApiError as error:
            if error.is_gone:
                return False
            raise  # a conflict, too: if another one has its name by now, the watch says so before the next try
        metrics.STATUS_WRITES.inc()
        self._world.see_scenario(answer)
        return True

    async def _work(self, key: Key, facts: Facts) -> None:
        work = facts.work
        if work.foreign:
            self._inbox.add(key, FOREIGN_RETRY_S)
            return
        if work.waiting or not (work.steps or work.prune):
            self._problem(key, None)
            return
        try:
            done = await self._applier.do(key, facts.view.uid, work)
        except NameTakenError as error:
            self._problem(key, Problem(str(error), name_taken=True))
            self._inbox.add(key, FOREIGN_RETRY_S)
            return
        except ApiError as error:
            if not error.is_conflict:
                self._problem(key, Problem(str(error)))
            raise
        self._problem(key, None)
        await self._tell_done(facts, done)
        self._inbox.add(key, CHILD_SETTLES_S)

    async def _tell_done(self, facts: Facts, done: Sequence[Step]) -> None:
        drifted = [f"{step.name} ({', '.join(step.drift[:3])})" for step in done if step.drift]
        created = [str(step.name) for step in done if step.reason == "Create"]
        if drifted:
            await tell(self._client, facts, Happening("DriftRepaired", f"repaired {'; '.join(drifted)}"))
        if created:
            await tell(self._client, facts, Happening("Applied", f"applied {', '.join(created)}"))

    def _problem(self, key: Key, problem: Problem | None) -> None:
        """Remember what stood in the way; the next look tells it."""
        if problem != self._problems.get(key):
            if problem is not None:
                self._problems[key] = problem
            else:
                self._problems.pop(key, None)
            self._inbox.add(key)


def rank_of(body: Body) -> Rank:
    """Say when it is a scenario's turn."""
    metadata = body["metadata"]
    deploy = (body.get("spec") or {}).get("deploy") or {}
    priority = deploy.get("priority", 0)
    key = Key(metadata["namespace"], metadata["name"])
    return rank(key, priority if isinstance(priority, int) else 0, str(metadata.get("creationTimestamp", "")))


def claim_in(body: Body) -> Claim | None:
    """Read what a scenario's standing plan needs of the cluster; None if nothing stands."""
    status = body.get("status")
    previous = Previous(status if isinstance(status, dict) else {})
    available = previous.condition("WorkloadAvailable")
    over = available is not None and available.reason in {"RunComplete", "RunFailed"}
    if "deletionTimestamp" in body["metadata"] or over or not previous.is_true("PlanApproved"):
        return None
    return claim_of(rank_of(body), previous.plan)


def urgency(world: World) -> Callable[[Key], tuple[bool, Rank]]:
    """Order scenarios that are due: specs that nobody has read first, then by rank."""

    def of(key: Key) -> tuple[bool, Rank]:
        body = world.scenarios.get(key)
        if body is None:
            return True, (0, "", key)
        status = body.get("status") or {}
        return status.get("observedGeneration") == body["metadata"].get("generation"), rank_of(body)

    return of


def _has_room(seen: View, cluster: Seen, scenario: Scenario) -> bool:
    """Tell whether the plan that stands runs, or could be placed."""
    standing = seen.standing
    if standing is None:
        return True
    return standing.has_room(cluster.inventory, cluster.mine, scenario.hardware.tolerations)


def _fits(plan: Plan | None, inventory: Inventory) -> bool:
    """Tell whether the cluster has free GPUs for a plan."""
    if plan is None:
        return False
    chosen = plan.configuration
    slots = sum(node.gpus_free // chosen.tp_size for node in inventory.nodes if node.gpu == chosen.gpu.id)
    return slots >= chosen.replicas * chosen.pp_size
