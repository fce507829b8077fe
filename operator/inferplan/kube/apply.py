"""Doing what has to be done to the children: applied on the server's side, pruned, and never over what is not ours."""

from __future__ import annotations

import logging

from inferplan.kube import metrics
from inferplan.kube.child import Child, ChildName, read_child
from inferplan.kube.client import Client
from inferplan.kube.contested import Contests
from inferplan.kube.errors import ApiError
from inferplan.kube.inbox import Key
from inferplan.kube.work import Step, Work, fingerprint
from inferplan.kube.world import World

logger = logging.getLogger(__name__)


class NameTakenError(Exception):
    """A name that is needed belongs to an object that is not ours."""


class Applier:
    """Applies steps, and remembers what was applied last.

    Attributes
    ----------
    applied
        Text and uid of what was applied last, by name.
    taken
        Names found taken by objects without our label, which no watch shows.
    contests
        Counts what is repaired again and again.
    """

    def __init__(self, client: Client, world: World) -> None:
        self._client = client
        self._world = world
        self.contests = Contests()
        self.applied: dict[Key, dict[ChildName, tuple[str, str]]] = {}

    async def do(self, key: Key, uid: str, work: Work) -> list[Step]:
        """Do all the work; return the steps that were taken.

        Raises
        ------
        ApiError, NameTakenError
            At the first step that is refused; those before it are done. Nothing is done where a name is taken.
        """
        for step in work.steps:
            if not step.uid:
                await self._refuse_foreign(step, uid)
        done = []
        for child in work.prune:
            await self._delete(child)
        for step in work.steps:
            await self._apply(key, step)
            self.contests.repaired(key, step)
            metrics.APPLIES.labels(step.kind.name, step.reason).inc()
            done.append(step)
        return done

    async def make_sure(self, key: Key, work: Work) -> None:
        """Apply what this process has not applied yet."""
        for step in work.unsure:
            await self._apply(key, step)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a scenario."""
        self.applied.pop(key, None)
        self.contests.forget(key)

    async def _apply(self, key: Key, step: Step) -> None:
        path = step.kind.path(step.name.namespace, step.name.name)
        body = dict(step.body)
        if step.uid:
            body["metadata"] = {**body["metadata"], "uid": step.uid}
        try:
            answer = await self._client.apply(path, body, force=bool(step.uid))
        except ApiError as error:
            if error.is_invalid and step.uid and "immutable" in str(error):
                logger.info("%s: %s cannot be changed, so it is made anew", key, step.name)
                await self._client.delete(path, step.uid)
                return
            raise
        self._world.see_child(step.kind, answer)
        applied = fingerprint(step.body), answer["metadata"]["uid"]
        self.applied.setdefault(key, {})[step.name] = applied

    async def _refuse_foreign(self, step: Step, uid: str) -> None:
        """Make sure that nobody has the name: the watch shows only objects with our label."""
        body = await self._client.find(step.kind.path(step.name.namespace, step.name.name))
        found = None if body is None else read_child(step.kind, body)
        if found is not None and found.owner_uid != uid:
            message = f"{step.name} belongs to {found.owner or 'somebody else'}"
            raise NameTakenError(message)

    async def _delete(self, child: Child) -> None:
        await self._client.delete(child.kind.path(child.name.namespace, child.name.name), child.uid)
        metrics.APPLIES.labels(child.kind.name, "Prune").inc()
