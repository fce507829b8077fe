"""The cluster as it was last seen: everything that reconciling looks at, kept up to date by watches."""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

from pydantic import ValidationError

from inferplan.api.cluster_objects import NodeObject, PodObject
from inferplan.api.nodes import requested_gpus
from inferplan.kube.child import Child, ChildName, read_child
from inferplan.kube.client import Body, Client
from inferplan.kube.inbox import Inbox, Key
from inferplan.kube.kinds import CHILDREN, NODE, POD, SCENARIO, Kind
from inferplan.kube.reflector import Reflector
from inferplan.kube.trouble import PodState, read_pod_state
from inferplan.render.context import SCENARIO_LABEL

INVENTORY_SETTLES_S = 0.4
STANDING_SETTLES_S = 2.0
"""Changes of nodes and pods come in bursts; scenarios look again this long after one [s], those with a plan later."""
CHILD_SETTLES_S = 0.05
GONE_SETTLES_S = 1.0

_UNFINISHED_PODS = "status.phase!=Succeeded,status.phase!=Failed"
_RUNNING_PODS = f"spec.nodeName!=,{_UNFINISHED_PODS}"

Watch = (
    Reflector[Key, Body]
    | Reflector[str, NodeObject]
    | Reflector[Key, PodObject]
    | Reflector[Key, PodState]
    | Reflector[ChildName, Child]
)
By = TypeVar("By", Key, str)

logger = logging.getLogger(__name__)


def scenario_key(body: Body) -> Key:
    """Name a scenario."""
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


class World:
    """What is known of the cluster.

    Parameters
    ----------
    namespaces
        Where scenarios and their children are looked at; empty: everywhere.
    inbox
        Told which scenario has something new to see.
    """

    def __init__(self, client: Client, namespaces: tuple[str, ...], inbox: Inbox) -> None:
        self._inbox = inbox
        self.inventory_changes = 0
        self.scenario_gone: Callable[[Key], None] = inbox.forget
        places = tuple(dict.fromkeys(namespaces)) or ("",)
        self._scenarios = {
            place: Reflector(client, SCENARIO.path(place), _read_scenario, self._scenario_changed) for place in places
        }
        self.scenarios: Mapping[Key, Body] = ChainMap(*(watch.values for watch in self._scenarios.values()))
        self.nodes = Reflector(client, NODE.path(), _read_node, self._inventory_changed)
        self.pods = Reflector(client, POD.path(), _read_pod, self._inventory_changed, {"fieldSelector": _RUNNING_PODS})
        of_scenarios = {"labelSelector": SCENARIO_LABEL, "fieldSelector": _UNFINISHED_PODS}
        self._troubled = Reflector(client, POD.path(), read_pod_state, self._trouble_changed, of_scenarios)
        self._children = {
            kind.name: [
                Reflector(
                    client,
                    kind.path(place),
                    partial(_read_child, kind),
                    self._child_changed,
                    {"labelSelector": SCENARIO_LABEL},
                )
                for place in places
            ]
            for kind in CHILDREN
        }
        self._kinds: Mapping[str, Sequence[Watch]] = {
            SCENARIO.name: tuple(self._scenarios.values()),
            NODE.name: (self.nodes,),
            POD.name: (self.pods, self._troubled),
            **self._children,
        }
        self._by_scenario: dict[Key, dict[ChildName, Child]] = {}
        self._by_owner: dict[str, dict[ChildName, Child]] = {}

    def kinds(self) -> Mapping[str, Sequence[Watch]]:
        """Return everything that has to run for the world to stay up to date, by kind of object."""
        return self._kinds

    def watches(self) -> Iterator[Watch]:
        """Yield everything that has to run for the world to stay up to date."""
        yield from chain.from_iterable(self.kinds().values())

    async def listed(self) -> None:
        """Wait until everything has been listed once: what scenarios claim is then known before any plan."""
        for watch in self.watches():
            await watch.listed.wait()

    def age_s(self, kind: str) -> float:
        """Return how long ago a kind of object was last known to be in step with the cluster [s]."""
        return max(watch.age_s() for watch in self.kinds()[kind])

    def ages_s(self) -> dict[str, float]:
        """Return the ages of all kinds [s]."""
        return {kind: self.age_s(kind) for kind in self.kinds()}

    # ── scenarios ────────────────────────────────────────────────────────────────────────────────────────────

    def see_scenario(self, body: Body) -> None:
        """Take in a scenario from kopf or the answer to a write; an older one than what is known is passed over."""
        watch = self._watch_of(body)
        if watch is not None:
            watch.take(body)

    def lose_scenario(self, body: Body) -> None:
        """Note that a scenario is gone; the GPUs that it held are free for others."""
        watch = self._watch_of(body)
        if watch is not None:
            watch.end(body)

    def _watch_of(self, body: Body) -> Reflector[Key, Body] | None:
        return self._scenarios.get("") or self._scenarios.get(body["metadata"]["namespace"])

    def _scenario_changed(self, key: Key, before: Body | None, after: Body | None) -> None:
        if before is not None and (after is None or before["metadata"]["uid"] != after["metadata"]["uid"]):
            self.scenario_gone(key)
            self.look_again()
            before = None
        if after is None:
            return
        if before is None or _asks(before) != _asks(after):
            self._inbox.add(key)
        if before is None or before.get("status") != after.get("status"):
            self.look_again(CHILD_SETTLES_S, besides=key, waiting_only=True)

    def look_again(
        self, delay_s: float = INVENTORY_SETTLES_S, *, besides: Key | None = None, waiting_only: bool = False
    ) -> None:
        """Have all scenarios looked at again, or those that wait for a plan."""
        for key, body in self.scenarios.items():
            stands = bool((body.get("status") or {}).get("plan"))
            if key != besides and not (waiting_only and stands):
                self._inbox.add(key, max(delay_s, STANDING_SETTLES_S) if stands and delay_s else delay_s)

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────

    def children(self, key: Key, uid: str) -> list[Child]:
        """Return the objects that a scenario has, by label or by owner, in a fixed order."""
        owned = {name: child for name, child in self._by_owner.get(uid, {}).items() if name.namespace == key.namespace}
        found = owned | self._by_scenario.get(key, {})
        return [found[name] for name in sorted(found)]

    def child(self, name: ChildName) -> Child | None:
        """Return a child, if it is one of ours at all."""
        return next((r.values[name] for r in self._children.get(name.kind, ()) if name in r.values), None)

    def see_child(self, kind: Kind, body: Body) -> None:
        """Take in a child as the API server has just answered it."""
        paths = {kind.path(), kind.path(body["metadata"]["namespace"])}
        for reflector in self._children[kind.name]:
            if reflector.path in paths:
                reflector.take(body)

    def pods_in_trouble(self, key: Key) -> list[PodState]:
        """Return a scenario's pods that do not run as they should; few at any time."""
        return [pod for pod in self._troubled.values.values() if pod.scenario == key]

    def faults(self) -> tuple[str, ...]:
        """Say what of the inventory may be out of date."""
        return tuple(
            f"{name}: {watch.fault}" for name, watch in (("nodes", self.nodes), ("pods", self.pods)) if watch.fault
        )

    def _inventory_changed(self, key: object, before: object, after: object) -> None:
        del key, before, after
        self.inventory_changes += 1
        self.look_again()

    def _trouble_changed(self, name: Key, before: PodState | None, after: PodState | None) -> None:
        del name
        for pod in (before, after):
            if pod is not None and pod.scenario in self.scenarios:
                self._inbox.add(pod.scenario, CHILD_SETTLES_S)

    def _child_changed(self, name: ChildName, before: Child | None, after: Child | None) -> None:
        if before is not None:
            _take_out(self._by_scenario, before.key, name)
            _take_out(self._by_owner, before.owner_uid, name)
        if after is not None:
            self._by_scenario.setdefault(after.key, {})[name] = after
            self._by_owner.setdefault(after.owner_uid, {})[name] = after
        for child in (before, after):
            if child is not None and child.key in self.scenarios:
                # where a whole namespace goes, its scenario follows within a moment, and nothing is to be made again
                self._inbox.add(child.key, GONE_SETTLES_S if after is None else CHILD_SETTLES_S)


def owner_of(pod: PodObject) -> Key:
    """Return the scenario that a pod's label names; one with an empty name if it has none."""
    return Key(pod.metadata.namespace, pod.metadata.labels.get(SCENARIO_LABEL, ""))


def _asks(body: Body) -> tuple[object, ...]:
    """Everything about a scenario that reconciling answers to: all but its status."""
    metadata = body["metadata"]
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        metadata.get("annotations"),
        metadata.get("labels"),
    )


def _take_out(index: dict[By, dict[ChildName, Child]], by: By, name: ChildName) -> None:
    found = index.get(by, {})
    found.pop(name, None)
    if not found:
        index.pop(by, None)


def _read_scenario(body: Body) -> tuple[Key, Body]:
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    # items of a list do not say what they are
    kept = {"apiVersion": SCENARIO.api_version, "kind": SCENARIO.name, **body, "metadata": metadata}
    return scenario_key(body), kept


def _read_node(body: Body) -> tuple[str, NodeObject] | None:
    try:
        node = NodeObject.model_validate(body)
    except ValidationError as error:
        logger.warning("node %s cannot be read: %s", body["metadata"]["name"], error)
        return None
    return node.metadata.name, node


def _read_pod(body: Body) -> tuple[Key, PodObject] | None:
    try:
        pod = PodObject.model_validate(body)
    except ValidationError as error:
        logger.warning("pod %s cannot be read: %s", body["metadata"]["name"], error)
        return None
    if not any(requested_gpus([pod]).values()):
        return None
    return Key(pod.metadata.namespace, pod.metadata.name), pod


def _read_child(kind: Kind, body: Body) -> tuple[ChildName, Child] | None:
    child = read_child(kind, body)
    return child.name, child


def by_scenario(pods: Iterable[PodObject]) -> dict[Key, dict[str, int]]:
    """Count the GPUs that scenarios' pods hold, by scenario and node."""
    found: dict[Key, dict[str, int]] = {}
    for pod in pods:
        key = owner_of(pod)
        if key.name:
            held = found.setdefault(key, {})
            for node, gpus in requested_gpus([pod]).items():
                held[node] = held.get(node, 0) + gpus
    return found
