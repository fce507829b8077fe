"""Scenarios at one moment, for tests of what is decided about them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

from inferplan.api.documents import read_resource
from inferplan.domain.plan import Outcome, Plan
from inferplan.kube.choice import choose
from inferplan.kube.client import Body
from inferplan.kube.conditions import Facts
from inferplan.kube.planning import Planned
from inferplan.kube.status import make_status
from inferplan.kube.view import View, view
from inferplan.kube.work import Work
from tests.unit.api.outcomes import make_cost, make_outcome, make_plan

NOW = dt.datetime(2026, 11, 25, 12, 0, 0, tzinfo=dt.UTC)


def make_body(status: Body | None = None, *, generation: int = 1, **more: Any) -> Body:
    """A chatbot as an API server has it; ``annotations`` and parts of the spec by keyword."""
    metadata = {
        "name": "chat",
        "namespace": "ns",
        "uid": "uid",
        "generation": generation,
        "annotations": more.pop("annotations", {}),
        "creationTimestamp": "2026-11-25T00:00:00Z",
    }
    body = {
        "apiVersion": "inferplan.dev/v1alpha1",
        "kind": "InferenceScenario",
        "metadata": metadata,
        "spec": {"useCase": "Chatbot", **more},
    }
    return body if status is None else body | {"status": status}


def priced(usd_per_hour: str, plan: Plan | None = None, **overrides: Any) -> Plan:
    """A plan on the cluster at a price."""
    cost = make_cost(per_hour=Decimal(usd_per_hour))
    return replace(plan or make_plan(source="Cluster"), cost=cost, **overrides)


def make_view(
    body: Body, fresh: Plan | None, held: Plan | None = None, *, now: dt.datetime = NOW, **overrides: Any
) -> View:
    """A view of a scenario for which planning found these plans."""
    outcome: Outcome = overrides.pop("outcome", None) or make_outcome(chosen=fresh)
    kept = None if held is None else replace(outcome, chosen=held)
    planned = Planned(outcome, kept, ())
    return replace(view(body, now), resource=read_resource(body), planned=planned, **overrides)


def make_facts(seen: View, work: Work | None = None, *, fits: bool = False) -> Facts:
    """Facts about a view, nothing having been done yet unless ``work`` says so."""
    return Facts(seen, choose(seen, fits=fits), work or Work())


def status_after(seen: View, work: Work | None = None) -> Body:
    """The status that is written."""
    return make_status(make_facts(seen, work))


def conditions_of(status: Body) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
