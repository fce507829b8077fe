"""How often the API server is asked, whatever it answers, and how long ago it last answered well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import pairwise
from typing import Any, cast

import pytest

from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError
from inferplan.kube.reflector import Reflector
from tests.unit.kube.clock import now_s, run_fast, thing

LONG_S = 600.0
THINGS = [thing("a", 1)]


def bookmark(version: int) -> Body:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


BOOKMARK = bookmark(11)
GONE = ApiError(410, "too old")
FAULT = ApiError(500, "etcd is away")


class Server:
    """Gives the same answers again and again, and notes when it was asked.

    Parameters
    ----------
    listed
        Objects, or what goes wrong.
    watched
        Events, seconds of silence, and what goes wrong.
    refused
        What goes wrong before a watch is accepted.
    """

    def __init__(
        self, listed: Any = THINGS, watched: Any = (), refused: Exception | None = None, version: str = "10"
    ) -> None:
        self.listed, self.watched, self.refused, self.version = listed, watched, refused, version
        self.one_each = False
        self.lists: list[float] = []
        self.watches: list[float] = []

    @property
    def asked(self) -> list[float]:
        return sorted(self.lists + self.watches)

    async def pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[tuple[list[Body], str]]:
        del path, query
        self.lists.append(now_s())
        if isinstance(self.listed, Exception):
            raise self.listed
        yield self.listed, self.version

    async def watch(
        self, path: str, version: str, query: Mapping[str, str], opened: Callable[[], None]
    ) -> AsyncIterator[Body]:
        del path, version, query
        self.watches.append(now_s())
        if self.refused is not None:
            raise self.refused
        opened()
        for answer in self.watched:
            if isinstance(answer, float):
                await asyncio.sleep(answer)
            elif isinstance(answer, Exception):
                raise answer
            else:
                yield answer
            if self.one_each:
                return


def make(server: Server, changed: Callable[..., None] = lambda *_: None) -> Reflector[str, Body]:
    clock = asyncio.get_running_loop().time
    return Reflector(
        cast("Client", server), "/things", lambda body: (body["metadata"]["name"], body), changed, clock=clock
    )


def asked(server: Server, for_s: float = LONG_S, then: Callable[[Reflector[str, Body]], None] | None = None) -> Server:
    async def ask() -> None:
        made = make(server)
        running = asyncio.create_task(made.run())
        await asyncio.sleep(for_s)
        assert not running.done()
        if then is not None:
            then(made)
        running.cancel()

    run_fast(ask())
    return server


ANSWERS = {
    "410 as a status": Server(refused=GONE),
    "410 as an event": Server(watched=[GONE]),
    "410 after an event": Server(watched=[BOOKMARK, GONE]),
    "410 of a list": Server(listed=GONE),
    "500 of a watch": Server(refused=FAULT),
    "500 of a list": Server(listed=FAULT),
    "403": Server(refused=ApiError(403, "forbidden")),
    "a watch that ends at once": Server(),
    "a watch that tells something and ends at once": Server(watched=[BOOKMARK]),
    "a watch that ends after seconds": Server(watched=[0.5]),
    "no JSON": Server(watched=[ValueError("no JSON")]),
    "no event": Server(watched=[{"something": "else"}]),
    "an event of nothing": Server(watched=[{"type": "ADDED", "object": {}}]),
    "an event that is a list": Server(watched=[[]]),
    "a list of no objects": Server(listed=[{}]),
    "a list of numbers": Server(listed=[1, 2]),
    "no list": Server(version=""),
    "refused": Server(listed=ConnectionRefusedError()),
}


@pytest.mark.parametrize("server", ANSWERS.values(), ids=ANSWERS.keys())
def test_whatever_is_answered_the_server_is_asked_hardly_once_a_second_and_then_more_rarely(server: Server) -> None:
    times = asked(server).asked
    assert all(len([at for at in times if start <= at < start + 10.0]) <= 10 for start in range(int(LONG_S)))
    assert 10 < len(times) < 60
    assert times[-1] > LONG_S - 40.0


def test_the_pauses_double_up_to_half_a_minute() -> None:
    times = asked(Server(listed=FAULT)).lists
    pauses = [round(after - before, 3) for before, after in pairwise(times)]
    assert pauses[:8] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


@pytest.mark.parametrize("told", [[290.0, BOOKMARK], [290.0]], ids=["with a bookmark", "in silence"])
def test_a_watch_that_has_lasted_is_begun_anew_at_once_and_nothing_is_listed_again(told: list[Any]) -> None:
    server = asked(Server(watched=told))
    assert (server.lists, server.watches) == ([0.0], [0.0, 290.0, 580.0])


def test_after_a_watch_that_has_lasted_the_pauses_are_short_again() -> None:
    server = Server(listed=FAULT)

    async def heal() -> None:
        running = asyncio.create_task(make(server).run())
        await asyncio.sleep(100.0)
        server.listed, server.watched = THINGS, [20.0, GONE]
        await asyncio.sleep(60.0)
        running.cancel()

    run_fast(heal())
    first, second = server.watches[:2]
    assert round(second - first, 3) == 20.8


def test_a_watch_that_tells_something_and_ends_early_is_gone_on_with() -> None:
    server = Server()
    server.watched = (bookmark(version) for version in range(11, 20))
    server.one_each = True
    assert asked(server, for_s=20.0).lists == [0.0]
    assert server.watches == pytest.approx([0.0, 0.8, 2.4, 5.6, 12.0])


def test_the_server_may_ask_for_more_patience() -> None:
    patient = ApiError(429, "too many", retry_after_s=20.0)
    assert asked(Server(listed=patient), for_s=50.0).lists == [0.0, 20.0, 40.0]
    assert asked(Server(refused=patient), for_s=50.0).watches == [0.0, 20.0, 40.0]


def test_the_end_of_a_watch_says_how_long_to_wait() -> None:
    status = {"code": 504, "message": "too large", "reason": "Timeout", "details": {"retryAfterSeconds": 7}}
    error = ApiError.told(status)
    assert (error.status, str(error), error.reason, error.retry_after_s) == (504, "too large", "Timeout", 7.0)
    assert ApiError.told({}).status == 500
    assert ApiError.told({"code": 410}).retry_after_s is None


# ── how old what is known may be ─────────────────────────────────────────────────────────────────────────────


def age_after(server: Server, for_s: float) -> float:
    ages: list[float] = []
    asked(server, for_s, lambda made: ages.append(made.age_s()))
    return round(ages[0], 3)


def test_while_a_watch_is_up_nothing_is_old() -> None:
    assert age_after(Server(watched=[290.0]), 250.0) == 0.0


def test_what_could_not_be_listed_for_long_is_old() -> None:
    assert age_after(Server(listed=FAULT), 100.0) == 100.0


def test_a_list_counts_even_if_there_is_no_watch() -> None:
    assert age_after(Server(refused=ApiError(403, "forbidden")), 300.0) < 30.0


def test_a_quiet_watch_counts_until_it_is_cut() -> None:
    server = Server(watched=[200.0, OSError("cut")])

    def away(*_: object) -> None:
        server.listed = FAULT

    ages: list[float] = []

    async def watch() -> None:
        made = make(server, away)
        running = asyncio.create_task(made.run())
        for at_s in (199.0, 210.0, 290.0):
            await asyncio.sleep(at_s - now_s())
            ages.append(round(made.age_s(), 3))
        running.cancel()

    run_fast(watch())
    assert ages == [0.0, 10.0, 90.0]


def test_an_answer_that_is_no_list_takes_nothing_away() -> None:
    server = Server(watched=[1.0, GONE])

    async def spoil() -> None:
        made = make(server)
        running = asyncio.create_task(made.run())
        await asyncio.sleep(0.5)
        server.listed, server.version = [], ""
        await asyncio.sleep(60.0)
        assert set(made.values) == {"a"}
        assert "no list" in made.fault
        running.cancel()

    run_fast(spoil())
