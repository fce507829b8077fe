"""The Lease, as one candidate among others sees it."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, cast

import pytest

from inferplan.kube import leadership
from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError, LeadershipLostError
from inferplan.kube.leadership import Leadership
from inferplan.kube.options import ObjectName

LEASE = ObjectName("ns", "lease")


class Server:
    """An API server that holds one Lease and can be made to fail."""

    def __init__(self) -> None:
        self.body: Body | None = None
        self.version = 0
        self.failing: Exception | None = None
        self.may_write = False

    async def find(self, path: str) -> Body | None:
        del path
        if self.failing is not None:
            raise self.failing
        return copy.deepcopy(self.body)

    async def lease(self, method: str, path: str, body: Body) -> Body:
        if self.failing is not None:
            raise self.failing
        if method == "PUT":
            assert path.endswith("/leases/lease")
            if self.body is None:
                raise ApiError(404, "gone")
            if body["metadata"].get("resourceVersion") != self.body["metadata"]["resourceVersion"]:
                raise ApiError(409, "changed meanwhile")
        self.version += 1
        self.body = copy.deepcopy(dict(body))
        self.body["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.body)

    def taken_by(self, holder: str, **spec: Any) -> None:
        self.version += 1
        self.body = {
            "metadata": {"name": "lease", "resourceVersion": str(self.version)},
            "spec": {"holderIdentity": holder, "renewTime": f"t{self.version}", "leaseDurationSeconds": 15, **spec},
        }

    @property
    def holder(self) -> str:
        assert self.body is not None
        return str(self.body["spec"]["holderIdentity"])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(leadership, "RETRY_EVERY_S", 0.01)
    monkeypatch.setattr(leadership, "RENEW_EVERY_S", 0.01)
    monkeypatch.setattr(leadership, "RENEW_DEADLINE_S", 0.2)
    return Server()


def candidate(server: Server, name: str = "me") -> Leadership:
    return Leadership(cast("Client", server), LEASE, name)


async def waits(one: Leadership) -> bool:
    try:
        async with asyncio.timeout(0.15):
            await one.acquire()
    except TimeoutError:
        return True
    return False


def test_a_lease_that_is_not_there_is_made_and_then_writing_is_allowed(server: Server) -> None:
    asyncio.run(candidate(server).acquire())
    assert server.holder == "me"
    assert server.may_write


def test_a_lease_that_is_renewed_is_waited_for(server: Server) -> None:
    async def run() -> None:
        server.taken_by("other")
        assert await waits(candidate(server))

    asyncio.run(run())
    assert server.holder == "other"
    assert not server.may_write


def test_a_lease_that_is_not_renewed_is_taken_after_its_time_by_our_own_clock(server: Server) -> None:
    server.taken_by("other", leaseDurationSeconds=0.05, leaseTransitions=3)
    asyncio.run(candidate(server).acquire())
    assert server.body is not None
    assert (server.holder, server.body["spec"]["leaseTransitions"]) == ("me", 4)


def test_a_lease_that_was_given_back_is_taken_at_once(server: Server) -> None:
    async def run() -> None:
        first = candidate(server, "first")
        await first.acquire()
        await first.release()
        assert not server.may_write
        assert not await waits(candidate(server, "second"))

    asyncio.run(run())
    assert server.holder == "second"


def test_one_that_is_restarted_under_its_name_goes_on_at_once(server: Server) -> None:
    server.taken_by("me")
    asyncio.run(candidate(server).acquire())
    assert server.holder == "me"


async def keeps(server: Server, break_it: Any) -> None:
    one = candidate(server)
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    await asyncio.sleep(0.05)
    break_it()
    async with asyncio.timeout(2.0):
        await keeping


@pytest.mark.parametrize("error", [ApiError(500, "broken"), OSError("unreachable"), TimeoutError()])
def test_a_lease_that_cannot_be_renewed_for_too_long_is_lost(server: Server, error: Exception) -> None:
    with pytest.raises(LeadershipLostError, match="not renewed"):
        asyncio.run(keeps(server, lambda: setattr(server, "failing", error)))
    assert not server.may_write


def test_a_lease_that_somebody_else_has_taken_is_lost_at_once(server: Server) -> None:
    with pytest.raises(LeadershipLostError, match="other holds it"):
        asyncio.run(keeps(server, lambda: server.taken_by("other")))
    assert not server.may_write


def test_a_lease_that_was_deleted_is_lost(server: Server) -> None:
    with pytest.raises(LeadershipLostError, match="deleted"):
        asyncio.run(keeps(server, lambda: setattr(server, "body", None)))


def test_somebody_who_only_labels_the_lease_takes_nothing(server: Server) -> None:
    async def run() -> None:
        one = candidate(server)
        await one.acquire()
        keeping = asyncio.create_task(one.keep())
        server.taken_by("me", labelled=True)
        await asyncio.sleep(0.1)
        assert not keeping.done()
        keeping.cancel()

    asyncio.run(run())
    assert server.may_write
