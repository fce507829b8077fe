"""What Flux and Argo CD make of scenarios that the operator really handles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import chart, nodes
from tests.controlplane.api import Object, eventually
from tests.controlplane.chart import Operator
from tests.controlplane.cluster import Cluster
from tests.gitops import argocd_health, kstatus

API_VERSION, KIND = "inferplan.dev/v1alpha1", "InferenceScenario"


HOME = "gitops-operator"


@pytest.fixture(scope="module")
def operator(control_plane: Cluster) -> Iterator[Operator]:
    """Have one operator at work for all these tests."""
    nodes.apply(control_plane.api, nodes.demo_pools())
    chart.install(control_plane, HOME)
    running = chart.start_operator(control_plane, HOME)
    chart.wait_until_ready(control_plane, running)
    yield running
    control_plane.processes.kill(running.process)
    control_plane.helm("uninstall", chart.RELEASE, "--namespace", HOME, "--wait")
    control_plane.api.delete("v1", "Namespace", HOME)
    nodes.clear(control_plane.api)


class Watched:
    """A scenario, and how both tools see it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def apply(self, policy: str = "Auto", **spec: Any) -> Object:
        body = {"useCase": "Chatbot", "hardware": {"allow": ["l4"]}, "deploy": {"policy": policy}} | spec
        metadata = {"name": "chatbot", "namespace": self._namespace}
        return self._cluster.api.apply({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": body})

    def annotate(self, **annotations: str | None) -> None:
        changed = {f"inferplan.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
        self._cluster.api.merge(self.now(), {"metadata": {"annotations": changed}})

    def now(self) -> Object:
        return self._cluster.api.get(API_VERSION, KIND, "chatbot", self._namespace)

    def seen(self) -> tuple[str, str]:
        self._cluster.processes.check()
        found = self.now()
        return argocd_health(found)["status"], kstatus(found)

    def becomes(self, argocd: str, flux: str) -> Object:
        eventually(lambda: self.seen() == (argocd, flux), f"{argocd} to Argo CD and {flux} to Flux")
        return self.now()


@pytest.fixture
def watched(control_plane: Cluster, namespace: str, operator: Operator) -> Watched:  # noqa: ARG001 - it has to run
    return Watched(control_plane, namespace)


def test_a_scenario_is_on_its_way_until_it_runs(watched: Watched) -> None:
    written = watched.apply()
    assert (argocd_health(written)["status"], kstatus(written)) == ("Progressing", "InProgress")
    ready = watched.becomes("Healthy", "Current")
    assert argocd_health(ready)["message"] == ready["status"]["summary"]


def test_a_change_takes_back_that_it_is_done(watched: Watched) -> None:
    watched.apply()
    watched.becomes("Healthy", "Current")
    written = watched.apply(workload={"concurrentUsers": 20})
    assert (argocd_health(written)["status"], kstatus(written)) == ("Progressing", "InProgress")
    watched.becomes("Healthy", "Current")


def test_a_wish_that_cannot_be_granted_fails_at_once_and_recovers_when_it_can(watched: Watched) -> None:
    watched.apply(model={"allow": ["meta-llama/Llama-3.3-70B-Instruct"]}, hardware={"allow": ["l4"], "maximumGpus": 1})
    watched.becomes("Degraded", "Failed")
    watched.apply()
    watched.becomes("Healthy", "Current")


def test_a_plan_that_waits_for_approval_is_suspended_until_it_is_approved(watched: Watched) -> None:
    watched.apply(policy="Manual")
    waiting = watched.becomes("Suspended", "InProgress")
    plan = waiting["status"]["plan"]["hash"]
    assert plan in argocd_health(waiting)["message"]
    watched.annotate(approved_plan=plan)
    watched.becomes("Healthy", "Current")


def test_a_plan_alone_is_all_that_was_asked_for(watched: Watched) -> None:
    watched.apply(policy="Plan")
    assert "children" not in watched.becomes("Healthy", "Current")["status"]


def test_a_paused_scenario_is_suspended_and_its_changes_wait(watched: Watched) -> None:
    watched.apply()
    watched.becomes("Healthy", "Current")
    watched.annotate(paused="true")
    watched.becomes("Suspended", "Current")
    watched.apply(workload={"concurrentUsers": 20})
    watched.becomes("Suspended", "InProgress")
    watched.annotate(paused=None)
    watched.becomes("Healthy", "Current")
