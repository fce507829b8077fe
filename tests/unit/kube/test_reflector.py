"""Objects that are kept up to date, whatever order the news come in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import pytest

from inferplan.kube import reflector
from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError
from inferplan.kube.inbox import Inbox
from inferplan.kube.reflector import Reflector
from inferplan.kube.world import World, scenario_key
from tests.unit.kube.views import make_body


def obj(name: str, version: int, value: int = 0, uid: str = "") -> Body:
    return {"metadata": {"name": name, "uid": uid or name, "resourceVersion": str(version)}, "value": value}


def event(kind: str, body: Body) -> Body:
    return {"type": kind, "object": body}


class Server:
    """Answers lists and watches from a script; a watch that has nothing left hangs."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists, self.watches = lists, watches

    async def pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[tuple[list[Body], str]]:
        del path, query
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        for item in answer:  # one page each
            yield [item], "10"
        if not answer:
            yield [], "10"

    async def watch(
        self, path: str, version: str, query: Mapping[str, str], opened: Callable[[], None]
    ) -> AsyncIterator[Body]:
        del path, version, query
        opened()
        for answer in self.watches.pop(0) if self.watches else []:
            if isinstance(answer, Exception):
                raise answer
            yield answer
        if not self.watches:
            await asyncio.Event().wait()


def run(server: Server, **more: Any) -> tuple[Reflector[str, int], list[tuple[Any, ...]]]:
    told: list[tuple[Any, ...]] = []

    def read(body: Body) -> tuple[str, int] | None:
        return (body["metadata"]["name"], body["value"]) if body["value"] >= 0 else None

    made: Reflector[str, int] = Reflector(cast("Client", server), "/things", read, lambda *news: told.append(news))

    async def watch() -> None:
        running = asyncio.create_task(made.run())
        await asyncio.sleep(more.get("for_s", 0.05))
        running.cancel()

    asyncio.run(watch())
    return made, told


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "watch_delay_s", lambda *_: 0.001)


def test_what_is_listed_and_what_changes_is_told_once() -> None:
    same = event("MODIFIED", obj("a", 11, 1))
    server = Server(
        [[obj("a", 1, 1), obj("b", 2, 2)]], [[same, event("MODIFIED", obj("b", 12, 3)), event("ADDED", obj("c", 13))]]
    )
    made, told = run(server)
    assert made.values == {"a": 1, "b": 3, "c": 0}
    assert told == [("a", None, 1), ("b", None, 2), ("b", 2, 3), ("c", None, 0)]
    assert made.listed.is_set()


def test_what_is_gone_or_no_longer_matters_is_dropped() -> None:
    server = Server(
        [[obj("a", 1), obj("b", 2)]], [[event("DELETED", obj("a", 11)), event("MODIFIED", obj("b", 12, -1))]]
    )
    made, told = run(server)
    assert made.values == {}
    assert told[2:] == [("a", 0, None), ("b", 0, None)]


def test_after_a_version_that_is_too_old_everything_is_listed_again() -> None:
    server = Server([[obj("a", 1), obj("b", 2)], [obj("b", 20, 5)]], [[ApiError(410, "too old")], []])
    made, _ = run(server)
    assert made.values == {"b": 5}
    assert made.fault == ""


@pytest.mark.parametrize(
    "error", [ApiError(403, "forbidden"), OSError("refused"), TimeoutError(), ValueError("no JSON")]
)
def test_a_failure_is_told_and_tried_again_and_what_was_known_stays(error: Exception) -> None:
    made, _ = run(Server([[obj("a", 1)], error, error, [obj("a", 1)]], [[error], []]))
    assert (made.values, made.fault) == ({"a": 0}, "")
    made, _ = run(Server([[obj("a", 1)], *[error] * 10_000], [[error], []]))
    assert made.values == {"a": 0}
    assert str(error) in made.fault


def test_an_answer_that_comes_late_changes_nothing() -> None:
    server = Server(
        [[obj("a", 1, 1)]],
        [[event("MODIFIED", obj("a", 12, 2)), event("ADDED", obj("b", 13)), event("DELETED", obj("b", 14))]],
    )
    made, told = run(server)
    told.clear()
    made.take(obj("a", 11, 9))
    made.take(obj("b", 13))
    assert (made.values, told) == ({"a": 2}, [])
    made.take(obj("a", 15, 3))
    made.take(obj("b", 16, uid="another b"))
    assert made.values == {"a": 3, "b": 0}


def test_of_objects_that_come_and_go_only_the_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "ENDS_REMEMBERED", 2)
    news = [event(kind, obj(f"p{n}", 11 + n)) for n in range(5) for kind in ("ADDED", "DELETED")]
    made, _ = run(Server([[]], [news]))
    assert (made.values, made.ended) == ({}, {"p3": 14, "p4": 15})


def test_a_scenario_that_is_gone_does_not_come_back_with_a_late_answer() -> None:
    async def made() -> World:
        return World(cast("Client", None), (), Inbox())

    world = asyncio.run(made())
    body = make_body()
    body["metadata"]["resourceVersion"] = "5"
    world.see_scenario(body)
    assert scenario_key(body) in world.scenarios
    world.lose_scenario(body)
    late = make_body()
    late["metadata"]["resourceVersion"] = "6"
    world.see_scenario(late)
    assert world.scenarios == {}
