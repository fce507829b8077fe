"""The status of a scenario: put together, and written only where it differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferplan.api.figures import decimal_text
from inferplan.api.status import outcome_to_status, status_document
from inferplan.kube.client import Body
from inferplan.kube.conditions import FALSE, TRUE, Facts, State, conditions, written
from inferplan.kube.view import REQUESTED, View, timestamp

LONGEST_HISTORY = 5
LONGEST_DEFECT = 500


def make_status(facts: Facts) -> Body:
    """Put the status together; equal facts give an equal status."""
    view, choice = facts.view, facts.choice
    status: Body = {}
    if choice.outcome is not None and view.planned is not None:
        status = status_document(outcome_to_status(choice.outcome, view.planned.resolved, view.generation))
    status["observedGeneration"] = view.generation
    status["conditions"] = conditions(facts)
    if view.faults:
        status["summary"] = f"the spec cannot be planned: {view.faults[0]}"[:500]
    children = [
        {
            "apiVersion": child.kind.api_version,
            "kind": child.kind.name,
            "name": child.name.name,
            "ready": child.ready and not child.deleting,
        }
        for child in facts.work.present
    ]
    if children:
        status["children"] = children[:32]
    history = _history(facts)
    if history:
        status["history"] = history
    handled = view.annotations.get(REQUESTED, view.previous.handled)[:512]
    if handled:
        status["lastHandledReconcileAt"] = handled
    return status


def _history(facts: Facts) -> list[Body]:
    """Put a change of the plan on top of the last few."""
    view, choice = facts.view, facts.choice
    before = str(view.previous.plan.get("hash", ""))
    after = "" if choice.plan is None else choice.plan.hash
    history = list(view.previous.history)
    if before == after or (view.planned is None and not view.faults):
        return history[:LONGEST_HISTORY]
    entry: Body = {"time": timestamp(view.now), "trigger": choice.trigger or "there is no plan any more"}
    if before:
        entry["fromPlan"] = before
    if after:
        entry["toPlan"] = after
    if choice.saved_usd_per_hour is not None:
        entry["savedUsdPerHour"] = decimal_text(choice.saved_usd_per_hour)
    return [entry, *history][:LONGEST_HISTORY]


def paused_status(facts: Facts) -> Body:
    """Leave the status as it is, but for the conditions that say that nothing happens."""
    status = dict(facts.view.previous.body)
    found = {one["type"]: one for one in conditions(facts)}
    kept = [one for one in status.get("conditions") or () if one.get("type") != "Reconciling"]
    status["conditions"] = [*kept[:1], found["Reconciling"], *kept[1:]]
    return status


def defect_status(view: View, error: Exception) -> Body:
    """Say that we are wrong and not the scenario; whatever the status says beside that stays."""
    status = dict(view.previous.body)
    text = f"{type(error).__name__}: {error}"[:LONGEST_DEFECT]
    kept = [one for one in status.get("conditions") or () if one.get("type") not in {"Ready", "Reconciling", "Stalled"}]
    said = [
        written(view, "Ready", State(FALSE, "Defect", f"a defect of inferplan; please report it: {text}")),
        written(view, "Reconciling", State(FALSE, "Defect", "see Stalled")),
        written(view, "Stalled", State(TRUE, "Defect", f"a defect of inferplan; please report it: {text}")),
    ]
    return status | {"conditions": [*said, *kept], "observedGeneration": view.generation}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that turns one document into another; empty if they are equal.

    >>> changes({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 1, "d": 3}})
    {'a': None, 'b': {'d': 3}}
    """
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = changes(old, value)
            if inner:
                patch[name] = inner
        elif old != value:
            patch[name] = value
    return patch
