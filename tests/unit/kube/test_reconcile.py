"""Looking at scenarios when the API server does not do as it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from inferplan.kube import errors
from inferplan.kube.client import Body, Client
from inferplan.kube.errors import ApiError
from inferplan.kube.inbox import Inbox
from inferplan.kube.reconcile import Reconciler
from inferplan.kube.world import World
from tests.unit.api.catalogs import make_api_catalog
from tests.unit.kube.views import make_body

WRONG: dict[str, Any] = {"model": {"allow": ["nobody/nothing"]}}
"""A spec that cannot be planned."""


class Server:
    """Refuses writes of a status as a script says, then takes them."""

    def __init__(self, *refusals: int, spec: Mapping[str, Any] = WRONG) -> None:
        self.refusals = list(refusals)
        self.spec = spec
        self.statuses: list[Body] = []

    async def merge(self, path: str, change: Mapping[str, Any]) -> Body:
        assert path.endswith("/chat/status")
        if self.refusals:
            raise ApiError(self.refusals.pop(0), "refused")
        self.statuses.append(change["status"])
        body = make_body(change["status"], **self.spec)
        body["metadata"]["resourceVersion"] = "2"
        return body

    async def create(self, path: str, body: Body) -> Body:
        del path
        return body


def looked_at(server: Server, for_s: float = 0.2) -> Server:
    async def look() -> None:
        inbox = Inbox()
        client = cast("Client", server)
        world = World(client, (), inbox)
        reconciler = Reconciler(client, world, inbox, make_api_catalog())
        body = make_body(**server.spec)
        body["metadata"]["resourceVersion"] = "1"
        world.see_scenario(body)
        running = asyncio.create_task(reconciler.run())
        await asyncio.sleep(for_s)
        running.cancel()

    asyncio.run(look())
    return server


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "FIRST_DELAY_S", 0.001)


@pytest.mark.parametrize("refusals", [(), (409,), (500, 409, 429)], ids=str)
def test_a_status_that_was_refused_is_written_again(refusals: tuple[int, ...]) -> None:
    (status,) = looked_at(Server(*refusals)).statuses
    assert status["observedGeneration"] == 1
    assert status["conditions"][0]["reason"] == "InvalidSpec"


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ({"cron": "@nonsense"}, 'spec.workload.schedule.cron: "@nonsense" is not known'),
        ({"cron": "0 0 31 2 *"}, "spec.workload.schedule.cron: never starts"),
        ({"cron": "0 0 * * 7"}, "Sunday is 0"),
        (
            {"cron": "@daily", "timeZone": "Mars/Base"},
            'spec.workload.schedule.timeZone: "Mars/Base" is not a time zone',
        ),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_told_in_the_status(schedule: dict[str, str], fault: str) -> None:
    load = {"items": 1000, "deadlineMinutes": 10, "schedule": schedule}
    (status,) = looked_at(Server(spec={"workload": load})).statuses
    assert status["conditions"][0]["reason"] == "InvalidSpec"
    assert any(fault in condition["message"] for condition in status["conditions"])


def test_what_the_administrator_did_not_allow_is_told_in_the_status() -> None:
    (status,) = looked_at(Server(spec={"engine": {"allow": ["vLLM"], "image": "evil.example.com/steal:1"}})).statuses
    assert status["conditions"][0]["reason"] == "InvalidSpec"
    fault = 'spec.engine.image: "evil.example.com/steal:1" is not allowed in this cluster'
    assert any(fault in condition["message"] for condition in status["conditions"])


INSTEAD = 'use spec.select.pin.gpuMemoryUtilization: "0.95"'


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"engine": {"version": "0.1.0"}}, "spec.engine.version: there are no templates for vLLM 0.1.0"),
        (
            {"engine": {"extraArgs": ["--seed=1", "--gpu-memory-utilization=0.95"]}},
            f"spec.engine.extraArgs[1]: --gpu-memory-utilization is decided by the plan ({INSTEAD})",
        ),
        (
            {"workload": {"sharedPrefixTokens": 100}, "engine": {"extraArgs": ["--no-enable-prefix-caching"]}},
            "spec.engine.extraArgs[0]: --enable-prefix-caching is given already",
        ),
    ],
)
def test_a_spec_that_no_plan_could_be_rendered_for_is_invalid_and_stalled(spec: dict[str, Any], said: str) -> None:
    (status,) = looked_at(Server(spec=spec), for_s=2.0).statuses
    conditions = {row["type"]: row for row in status["conditions"]}
    assert (conditions["SpecValid"]["status"], conditions["SpecValid"]["reason"]) == ("False", "InvalidSpec")
    assert said in conditions["SpecValid"]["message"]
    assert conditions["Stalled"]["status"] == "True"
    assert not status.get("plan")


def test_the_status_of_a_scenario_that_is_gone_is_not_written_again() -> None:
    server = looked_at(Server(404))
    assert (server.refusals, server.statuses) == ([], [])
