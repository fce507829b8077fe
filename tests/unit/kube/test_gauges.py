"""What Prometheus is told of what is watched."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from inferplan.kube import metrics
from inferplan.kube.client import Client
from inferplan.kube.gauges import show_ages
from inferplan.kube.inbox import Inbox
from inferplan.kube.world import World


def test_every_kind_has_an_age_that_is_worked_out_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def show() -> None:
        world = World(cast("Client", None), ("here", "there"), Inbox())
        show_ages(world)
        for kind in world.kinds():
            assert (
                0.0 <= (metrics.REGISTRY.get_sample_value("inferplan_cache_age_seconds", {"kind": kind}) or 0.0) < 5.0
            )
        first, second = world.kinds()["InferenceScenario"]
        monkeypatch.setattr(first, "age_s", lambda: 0.0)
        monkeypatch.setattr(second, "age_s", lambda: 70.0)  # one namespace is out of step
        age_s = metrics.REGISTRY.get_sample_value("inferplan_cache_age_seconds", {"kind": "InferenceScenario"})
        assert age_s == world.ages_s()["InferenceScenario"] == 70.0

    asyncio.run(show())
    metrics.CACHE_AGE_SECONDS.clear()
