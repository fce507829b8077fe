"""Outcomes as resources with a status, as ``-o json`` and ``-o yaml`` write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inferplan.api.status import outcome_to_status, status_document
from inferplan.api.v1alpha1 import API_VERSION, KIND
from inferplan.cli.inputs import Asked
from inferplan.domain.plan import Outcome


def document(asked: Sequence[Asked], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """One scenario: its status. Several: a list of resources with their statuses."""
    found = resources(asked, outcomes)
    if len(found) == 1:
        status: dict[str, Any] = found[0]["status"]
        return status
    return {"apiVersion": API_VERSION, "kind": f"{KIND}List", "items": found}


def resources(asked: Sequence[Asked], outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Each scenario as a resource with its name and status."""
    return [
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": _metadata(one),
            "status": status_document(outcome_to_status(outcome, one.resolved.resolved)),
        }
        for one, outcome in zip(asked, outcomes, strict=True)
    ]


def _metadata(one: Asked) -> dict[str, str]:
    metadata = one.document.resource.metadata
    found = {"name": metadata.name}
    if metadata.namespace is not None:
        found["namespace"] = metadata.namespace
    return found
