"""Which scenario is looked at next."""

from __future__ import annotations

import asyncio

from inferplan.kube.errors import ApiError, retry_delay_s
from inferplan.kube.inbox import Inbox, Key

A, B, C = Key("ns", "a"), Key("ns", "b"), Key("ns", "c")


async def taken(inbox: Inbox, count: int) -> list[Key]:
    async with asyncio.timeout(2.0):
        return [await inbox.next() for _ in range(count)]


def test_a_scenario_waits_only_once_and_the_most_urgent_is_first() -> None:
    async def run() -> list[Key]:
        inbox = Inbox()
        inbox.rank = {A: 2, B: 1, C: 3}.get
        for key in (A, B, C, A):
            inbox.add(key)
        assert len(inbox) == 3
        return await taken(inbox, 3)

    assert asyncio.run(run()) == [B, A, C]


def test_what_is_due_later_lets_others_go_first_and_an_earlier_time_wins() -> None:
    async def run() -> list[Key]:
        inbox = Inbox()
        inbox.add(A, 0.1)
        inbox.add(B, 30.0)
        inbox.add(C)
        inbox.add(B, 0.05)
        inbox.add(B, 60.0)
        return await taken(inbox, 3)

    assert asyncio.run(run()) == [C, B, A]


def test_of_those_that_were_added_in_one_breath_the_most_urgent_is_first_when_their_time_has_come() -> None:
    async def run() -> list[Key]:
        inbox = Inbox()
        inbox.rank = {A: 3, B: 1, C: 2}.get
        waiting = asyncio.create_task(taken(inbox, 3))
        for key in (A, C, B):
            inbox.add(key, 0.05)
            await asyncio.sleep(0.002)
        return await waiting

    assert asyncio.run(run()) == [B, C, A]


def test_one_that_waits_is_woken() -> None:
    async def run() -> list[Key]:
        inbox = Inbox()
        waiting = asyncio.create_task(taken(inbox, 1))
        await asyncio.sleep(0.01)
        inbox.add(A)
        return await waiting

    assert asyncio.run(run()) == [A]


def test_one_that_is_gone_is_forgotten() -> None:
    async def run() -> list[Key]:
        inbox = Inbox()
        inbox.add(A)
        inbox.add(B)
        inbox.forget(A)
        return await taken(inbox, 1)

    assert asyncio.run(run()) == [B]


def test_the_server_may_ask_for_more_patience() -> None:
    answer = ApiError.of(429, '{"message": "too many", "reason": "TooManyRequests"}', {"Retry-After": "7"})
    assert (str(answer), answer.reason) == ("too many", "TooManyRequests")
    assert retry_delay_s(1, answer) == 7.0
    assert retry_delay_s(1, ApiError.of(502, "<html>bad gateway</html>", {})) == 1.0
