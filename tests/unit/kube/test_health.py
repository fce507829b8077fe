"""Liveness and readiness, as the kubelet asks for them."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from inferplan.kube.health import Health

Ask = Callable[[str], tuple[int, str]]


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def ask(health: Health) -> Iterator[Ask]:
    server = health.serve(0)

    def answer(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=5) as response:
                return response.status, response.read().decode().strip()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode().strip()

    yield answer
    server.shutdown()
    server.server_close()


def test_one_that_has_just_started_lives_and_says_what_it_lacks(ask: Ask) -> None:
    assert ask("/healthz") == (200, "ok")
    assert ask("/readyz") == (503, "catalog not loaded; lease not held; caches not listed")
    assert ask("/readyz?exclude=lease") == (503, "catalog not loaded")


def test_one_that_waits_for_the_lease_is_ready_only_to_take_over(health: Health, ask: Ask) -> None:
    health.met("catalog")
    assert ask("/readyz") == (503, "lease not held; caches not listed")
    assert ask("/readyz?exclude=lease") == (200, "ok")


def test_the_holder_of_the_lease_is_ready_when_it_has_seen_the_cluster(health: Health, ask: Ask) -> None:
    health.met("catalog", "lease")
    assert ask("/readyz")[0] == ask("/readyz?exclude=lease")[0] == 503
    health.met("caches")
    assert ask("/readyz") == ask("/readyz?exclude=lease") == (200, "ok")


def test_nothing_else_is_answered(ask: Ask) -> None:
    assert ask("/")[0] == 404


def test_one_that_has_not_heard_from_the_cluster_for_long_lives_and_is_not_ready(health: Health, ask: Ask) -> None:
    health.met("catalog", "lease", "caches")
    ages = {"InferenceScenario": 0.0, "Node": 59.0, "Pod": 0.0}
    health.ages_s = lambda: ages
    assert ask("/readyz") == (200, "ok")
    ages |= {"InferenceScenario": 75.4, "Pod": 61.0}
    told = "not in step with the cluster for more than 60 s: InferenceScenario (75 s), Pod (61 s)"
    assert ask("/readyz") == ask("/readyz?exclude=lease") == (503, told)
    assert ask("/healthz") == (200, "ok")
    ages |= {"InferenceScenario": 0.0, "Pod": 0.0}
    assert ask("/readyz") == (200, "ok")
