"""Events on a scenario: in the past tense, and only when something has changed."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass

import aiohttp

from inferplan.kube.client import Body, Client
from inferplan.kube.conditions import FALSE, Facts
from inferplan.kube.errors import ApiError
from inferplan.kube.kinds import EVENT
from inferplan.kube.view import Previous, timestamp

COMPONENT = "inferplan-operator"
LONGEST_MESSAGE = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to tell."""

    reason: str
    message: str
    warning: bool = False


def happenings(facts: Facts, status: Body) -> list[Happening]:
    """Compare the status that is about to be written with the one before, and say what has happened."""
    view, before, after = facts.view, facts.view.previous, Previous(status)
    summary = str(status.get("summary", ""))
    found: list[Happening] = []
    old, new = before.plan.get("hash"), after.plan.get("hash")
    if new and not old:
        found.append(Happening("PlanComputed", f"plan {new}: {summary}"))
    elif new and new != old:
        found.append(Happening("PlanChanged", f"plan {old} gave way to {new} ({facts.choice.trigger}): {summary}"))
    for condition, reason, causes in (
        ("SpecValid", "PlanRejected", None),
        ("PlanFeasible", "InventoryShort", {"GpusHeld"}),
        ("PlanFeasible", "PlanRejected", {"NoFeasiblePlan"}),
        ("WithinBudget", "BudgetExceeded", None),
        ("PricesFresh", "PriceStale", None),
        ("InventoryKnown", "InventoryLost", None),
        ("WorkloadAvailable", "NameConflicted", {"NameTaken"}),
        ("WorkloadAvailable", "RunFailed", {"RunFailed"}),
        ("Ready", "Contested", {"Contested"}),
    ):
        is_, was = after.condition(condition), before.condition(condition)
        if is_ is None or is_.status != FALSE or (causes is not None and is_.reason not in causes):
            continue
        if was is None or (was.status, was.reason) != (is_.status, is_.reason) or (view.is_new_spec and not new):
            found.append(Happening(reason, is_.message, warning=True))
    return found


async def tell(client: Client, facts: Facts, happening: Happening) -> None:
    """Post an event; one that cannot be posted is logged and forgotten."""
    view = facts.view
    now = timestamp(view.now)
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{view.key.name}.{secrets.token_hex(8)}", "namespace": view.key.namespace},
        "involvedObject": {
            "apiVersion": "inferplan.dev/v1alpha1",
            "kind": "InferenceScenario",
            "name": view.key.name,
            "namespace": view.key.namespace,
            "uid": view.uid,
        },
        "reason": happening.reason,
        "message": happening.message[:LONGEST_MESSAGE],
        "type": "Warning" if happening.warning else "Normal",
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }
    logger.info("%s: %s: %s", view.key, happening.reason, happening.message)
    try:
        await client.create(EVENT.path(view.key.namespace), body)
    except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
        logger.warning("%s: the event %s could not be posted: %s", view.key, happening.reason, error)
