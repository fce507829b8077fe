"""Scenarios and their children as the world knows them, whoever tells first, late or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import pytest

from inferplan.kube.child import ChildName
from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError
from inferplan.kube.inbox import Inbox, Key
from inferplan.kube.kinds import SCENARIO, SERVICE
from inferplan.kube.world import World
from tests.unit.kube.clock import now_s, run_fast

Deed = Callable[[], object]


class Store:
    """The API server's scenarios: lists are as of now, watches tell everything since a version.

    Attributes
    ----------
    compacted
        Watches from before this version are refused.
    once
        Done once, after the next list was answered and before anything is watched.
    during
        Done once, after the next list was read and before it is answered.
    cut_s
        Watches are cut off at these times [s].
    """

    def __init__(self) -> None:
        self.version = 10
        self.compacted = 0
        self.bodies: dict[str, Body] = {}
        self.history: list[Body] = []
        self.once: Deed | None = None
        self.during: Deed | None = None
        self.cuts_s: list[float] = []
        self.lists = 0

    def put(self, name: str, uid: str = "", **more: Any) -> Body:
        """Create or change a scenario; return it as an answer to the write would have it."""
        self.version += 1
        metadata = {
            "namespace": "ns",
            "name": name,
            "uid": uid or name,
            "generation": more.pop("generation", 1),
            "resourceVersion": str(self.version),
            "managedFields": ["a lot"],
        }
        body = {"metadata": metadata, **more}
        self.history.append({"type": "MODIFIED" if name in self.bodies else "ADDED", "object": body})
        self.bodies[name] = body
        return answer(body)

    def delete(self, name: str) -> Body:
        """Delete a scenario; return it as kopf would be told."""
        self.version += 1
        body = answer(self.bodies.pop(name))
        body["metadata"]["resourceVersion"] = str(self.version)
        self.history.append({"type": "DELETED", "object": body})
        return answer(body)

    async def pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[tuple[list[Body], str]]:
        assert "inferencescenarios" in path
        assert not query
        self.lists += 1
        items, version = [answer(body) for body in self.bodies.values()], self.version
        deed, self.during = self.during, None
        if deed is not None:
            deed()
        yield items, str(version)
        deed, self.once = self.once, None
        if deed is not None:
            deed()

    async def watch(
        self, path: str, version: str, query: Mapping[str, str], opened: Callable[[], None]
    ) -> AsyncIterator[Body]:
        del path, query
        at = int(version)
        if at < self.compacted:
            raise ApiError(410, "too old")
        opened()
        while True:
            for event in [one for one in self.history if int(one["object"]["metadata"]["resourceVersion"]) > at]:
                at = int(event["object"]["metadata"]["resourceVersion"])
                yield {"type": event["type"], "object": answer(event["object"])}
            await asyncio.sleep(1.0)
            if self.cuts_s and now_s() >= self.cuts_s[0]:
                self.cuts_s.pop(0)
                raise ConnectionResetError


def answer(body: Body) -> Body:
    return body | {"metadata": dict(body["metadata"])}


class Seen:
    """A world over a store, and what it has told."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.inbox = Inbox()
        self.world = World(cast("Client", store), (), self.inbox)
        self.gone: list[Key] = []
        self.world.scenario_gone = self.gone.append

    @property
    def versions(self) -> dict[str, int]:
        """Versions of the scenarios that are known, by name and uid."""
        return {
            f"{key.name}/{body['metadata']['uid']}": int(body["metadata"]["resourceVersion"])
            for key, body in self.world.scenarios.items()
        }


def watched(store: Store, *acts: Callable[[Seen], None], every_s: float = 20.0) -> None:
    """Watch the scenarios of a store, and do something every few seconds."""

    async def watch() -> None:
        seen = Seen(store)
        (scenarios,) = seen.world.kinds()[SCENARIO.name]
        running = asyncio.create_task(scenarios.run())
        for act in acts:
            await asyncio.sleep(every_s)
            act(seen)
        assert not running.done()
        running.cancel()

    run_fast(watch())


@pytest.fixture
def store() -> Store:
    return Store()


def known(*names: str) -> Callable[[Seen], None]:
    def check(seen: Seen) -> None:
        assert set(seen.versions) == set(names)
        assert {key.name for key in seen.gone}.isdisjoint(name.partition("/")[0] for name in names)

    return check


# ── no ghosts ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_scenario_that_is_deleted_between_list_and_watch_is_gone(store: Store) -> None:
    store.put("a")
    store.put("b")
    store.once = lambda: store.delete("a")
    watched(store, known("b/b"))


def test_a_scenario_that_a_later_list_lacks_is_gone(store: Store) -> None:
    store.put("a")
    store.put("b")
    store.cuts_s = [25.0]

    def forget(seen: Seen) -> None:
        assert set(seen.versions) == {"a/a", "b/b"}
        store.bodies.pop("a")
        store.version = store.compacted = 50

    def check(seen: Seen) -> None:
        assert set(seen.versions) == {"b/b"}
        assert seen.gone == [Key("ns", "a")]
        assert store.lists == 2

    watched(store, forget, check)


def test_one_that_kopf_has_told_first_is_gone_when_the_next_list_lacks_it(store: Store) -> None:
    store.put("a")

    def tell(seen: Seen) -> None:
        body = store.put("b")
        seen.world.see_scenario(body)
        assert set(seen.versions) == {"a/a", "b/b"}
        store.history.clear()
        store.bodies.pop("b")
        store.version = store.compacted = 50
        store.cuts_s = [0.0]

    watched(store, tell, known("a/a"))


def test_what_kopf_tells_of_one_that_has_come_and_gone_unseen_is_passed_over(store: Store) -> None:
    stale = store.put("a")
    store.delete("a")
    watched(store, lambda seen: seen.world.see_scenario(stale), known())


def test_the_late_answer_to_a_write_does_not_bring_back_what_is_gone(store: Store) -> None:
    store.put("a")
    late: list[Body] = []

    def end(seen: Seen) -> None:
        late.append(store.put("a", status={"plan": 1}))
        store.delete("a")
        assert set(seen.versions) == {"a/a"}

    def tell(seen: Seen) -> None:
        assert seen.versions == {}
        late[0]["metadata"]["resourceVersion"] = "1000"  # whatever its version: a uid never comes back
        seen.world.see_scenario(late[0])
        assert seen.versions == {}

    watched(store, end, tell)


def test_the_end_that_kopf_tells_first_is_final(store: Store) -> None:
    store.put("a")

    def end(seen: Seen) -> None:
        changed = store.put("a", status={"plan": 1})
        deleted = store.delete("a")
        seen.world.lose_scenario(deleted)
        assert (seen.versions, seen.gone) == ({}, [Key("ns", "a")])
        seen.world.see_scenario(changed)
        assert seen.versions == {}

    def check(seen: Seen) -> None:
        assert (seen.versions, seen.gone) == ({}, [Key("ns", "a")])

    watched(store, end, check)


def test_the_end_that_is_told_while_a_list_is_on_its_way_counts(store: Store) -> None:
    store.put("a")

    def begin(seen: Seen) -> None:
        store.during = lambda: seen.world.lose_scenario(store.delete("a"))
        store.cuts_s = [0.0]

    watched(store, begin, known())


def test_what_is_told_while_a_list_is_on_its_way_stays_though_the_list_lacks_it(store: Store) -> None:
    store.put("a")

    def begin(seen: Seen) -> None:
        store.during = lambda: seen.world.see_scenario(store.put("b"))
        store.cuts_s = [0.0]

    watched(store, begin, known("a/a", "b/b"))


def test_a_cluster_that_was_put_back_to_an_older_state_is_believed(store: Store) -> None:
    store.put("a")
    store.put("b")
    store.put("b", status={"plan": 1})

    def put_back(seen: Seen) -> None:
        assert seen.versions == {"a/a": 11, "b/b": 13}
        store.history.clear()
        del store.bodies["a"]
        store.version = 5
        store.put("b")
        store.cuts_s = [0.0]

    def check(seen: Seen) -> None:
        assert seen.versions == {"b/b": 6}

    watched(store, put_back, check)


# ── one name, two objects ────────────────────────────────────────────────────────────────────────────────────


def test_the_late_end_of_an_older_object_leaves_the_newer_one_of_its_name(store: Store) -> None:
    store.put("a", uid="old")

    def reuse(seen: Seen) -> None:
        deleted = store.delete("a")
        newer = store.put("a", uid="new")
        seen.world.see_scenario(newer)
        assert set(seen.versions) == {"a/new"}
        assert seen.gone == [Key("ns", "a")]
        seen.world.lose_scenario(deleted)
        assert set(seen.versions) == {"a/new"}

    def check(seen: Seen) -> None:  # our own watch has told both by now
        assert set(seen.versions) == {"a/new"}
        assert seen.gone == [Key("ns", "a")]

    watched(store, reuse, check)


def test_late_news_of_an_older_object_do_not_replace_the_newer_one_of_its_name(store: Store) -> None:
    store.put("a", uid="old")

    def reuse(seen: Seen) -> None:
        late = store.put("a", uid="old", status={"plan": 1})
        store.delete("a")
        seen.world.see_scenario(store.put("a", uid="new"))
        seen.world.see_scenario(late)
        assert set(seen.versions) == {"a/new"}

    def check(seen: Seen) -> None:
        assert set(seen.versions) == {"a/new"}

    watched(store, reuse, check)


def test_what_was_known_of_the_older_one_is_forgotten_and_the_newer_one_looked_at(store: Store) -> None:
    store.put("a", uid="old")

    def replace(seen: Seen) -> None:
        seen.inbox.forget(Key("ns", "a"))
        store.history.clear()
        store.bodies.clear()
        store.put("a", uid="new")
        store.compacted = store.version
        store.cuts_s = [0.0]

    def check(seen: Seen) -> None:
        assert seen.gone == [Key("ns", "a")]
        assert len(seen.inbox) == 1

    watched(store, replace, check)


# ── what is kept and told ────────────────────────────────────────────────────────────────────────────────────


def test_of_every_scenario_there_is_one_body_that_says_what_it_is_and_not_who_wrote_it(store: Store) -> None:
    store.put("a", spec={"useCase": "Chatbot"})

    def check(seen: Seen) -> None:
        (kept,) = seen.world.scenarios.values()
        assert (kept["kind"], kept["apiVersion"]) == ("InferenceScenario", "inferplan.dev/v1alpha1")
        assert "managedFields" not in kept["metadata"]
        seen.world.see_scenario(answer(store.bodies["a"]))
        assert seen.world.scenarios[Key("ns", "a")] is kept
        (watch,) = seen.world.kinds()[SCENARIO.name]
        assert next(iter(watch.values.values())) is kept

    watched(store, check)


def test_a_new_spec_is_looked_at_and_a_new_status_only_by_others_that_wait(store: Store) -> None:
    store.put("a")
    store.put("b")
    a, b = Key("ns", "a"), Key("ns", "b")

    def due(seen: Seen) -> set[Key]:
        found = {key for key in (a, b) if key in seen.inbox._due}
        for key in found:
            seen.inbox.forget(key)
        return found

    def check(seen: Seen) -> None:
        assert due(seen) == {a, b}
        seen.world.see_scenario(store.put("a", generation=2))
        assert due(seen) == {a}
        seen.world.see_scenario(store.put("a", generation=2, status={"plan": {"hash": "1"}}))
        assert due(seen) == {b}
        seen.world.see_scenario(store.put("b", status={"plan": {"hash": "2"}}))
        assert due(seen) == set()
        seen.world.lose_scenario(store.delete("a"))
        assert due(seen) == {b}

    watched(store, check)


def test_scenarios_elsewhere_are_none_of_ours(store: Store) -> None:
    async def see() -> None:
        world = World(cast("Client", store), ("here", "here", "there"), Inbox())
        world.see_scenario(store.put("a"))
        world.lose_scenario(store.delete("a"))
        assert world.scenarios == {}
        assert [len(watches) for watches in world.kinds().values()] == [2, 1, 2, 2, 2, 2, 2, 2]

    asyncio.run(see())


# ── children ─────────────────────────────────────────────────────────────────────────────────────────────────


def service(name: str, version: int, *, scenario: str = "", owner: str = "", namespace: str = "ns") -> Body:
    metadata: Body = {"namespace": namespace, "name": name, "uid": f"{namespace}/{name}"}
    metadata |= {"resourceVersion": str(version), "labels": {"inferplan.dev/scenario": scenario}}
    if owner:
        metadata["ownerReferences"] = [{"controller": True, "kind": "InferenceScenario", "name": "x", "uid": owner}]
    return {"metadata": metadata}


def test_children_are_found_by_label_or_by_owner_and_only_in_their_namespace() -> None:
    def names(world: World, name: str, uid: str) -> list[str]:
        return [child.name.name for child in world.children(Key("ns", name), uid)]

    async def look() -> None:
        world = World(cast("Client", None), (), Inbox())
        for body in (
            service("both", 1, scenario="a", owner="uid-a"),
            service("label", 1, scenario="a"),
            service("alone", 1, scenario="b", owner="uid-a"),
            service("far", 1, scenario="a", owner="uid-a", namespace="other"),
            service("none", 1),
        ):
            world.see_child(SERVICE, body)
        assert names(world, "a", "uid-a") == ["alone", "both", "label"]
        assert names(world, "b", "uid-b") == ["alone"]
        assert names(world, "c", "uid-c") == []

        world.see_child(SERVICE, service("alone", 2, scenario="c", owner="uid-c"))
        world.see_child(SERVICE, service("both", 2, scenario="a", owner="uid-c"))
        assert names(world, "a", "uid-a") == ["both", "label"]
        assert names(world, "b", "uid-b") == []
        assert names(world, "c", "uid-c") == ["alone", "both"]
        child = world.child(ChildName("Service", "ns", "alone"))
        assert child is not None
        assert child.owner_uid == "uid-c"

        (services,) = world.kinds()["Service"]
        for name in ("alone", "both", "label"):
            services.end(service(name, 3))
        assert [names(world, name, f"uid-{name}") for name in "abc"] == [[], [], []]

    asyncio.run(look())


def test_a_look_at_children_touches_only_those_of_the_scenario() -> None:
    async def look() -> None:
        world = World(cast("Client", None), (), Inbox())
        for number in range(50):
            world.see_child(SERVICE, service(f"s{number}", 1, scenario=f"a{number}", owner=f"uid-{number}"))
        for watches in world.kinds().values():
            for watch in watches:
                watch.values = cast("Any", None)
        assert [child.name.name for child in world.children(Key("ns", "a7"), "uid-7")] == ["s7"]

    asyncio.run(look())
