"""Applying children over what may be there already."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from inferplan.kube.apply import Applier, NameTakenError
from inferplan.kube.child import ChildName
from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError
from inferplan.kube.inbox import Inbox, Key
from inferplan.kube.kinds import DEPLOYMENT, SERVICE
from inferplan.kube.work import Step, Work
from inferplan.kube.world import World

THEIRS = {"metadata": {"namespace": "ns", "name": "chat", "uid": "theirs"}}
NAMES = [ChildName(kind.name, "ns", "chat") for kind in (DEPLOYMENT, SERVICE)]
STEPS = tuple(
    Step(kind, name, {"metadata": {"name": "chat"}}) for kind, name in zip((DEPLOYMENT, SERVICE), NAMES, strict=True)
)


class Server:
    """Has a Service, or answers every apply with a conflict."""

    def __init__(self, *, has_service: bool) -> None:
        self.has_service = has_service
        self.applied: list[str] = []

    async def find(self, path: str) -> Body | None:
        return THEIRS if self.has_service and "/services/" in path else None

    async def apply(self, path: str, body: Mapping[str, Any], *, force: bool) -> Body:
        del body, force
        self.applied.append(path)
        raise ApiError(409, "the object has been modified")


def do(server: Server) -> None:
    async def apply() -> None:
        client = cast("Client", server)
        await Applier(client, World(client, (), Inbox())).do(Key("ns", "chat"), "uid", Work(steps=STEPS))

    asyncio.run(apply())


def test_where_one_name_is_taken_nothing_at_all_is_made() -> None:
    server = Server(has_service=True)
    with pytest.raises(NameTakenError, match="Service chat belongs to somebody else"):
        do(server)
    assert server.applied == []


def test_a_conflict_alone_does_not_mean_that_a_name_is_taken() -> None:
    server = Server(has_service=False)
    with pytest.raises(ApiError, match="modified"):
        do(server)
    assert len(server.applied) == 1
