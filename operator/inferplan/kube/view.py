"""One scenario at one moment: everything that a decision about it rests on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inferplan.api.v1alpha1 import InferenceScenario
from inferplan.api.v1alpha1.status import NEVER_OBSERVED
from inferplan.kube.claims import Held
from inferplan.kube.client import Body
from inferplan.kube.inbox import Key
from inferplan.kube.planning import Planned
from inferplan.kube.standing import Standing
from inferplan.kube.trouble import Trouble

APPROVED = "inferplan.dev/approved-plan"
PAUSED = "inferplan.dev/paused"
REQUESTED = "inferplan.dev/requestedAt"


def timestamp(moment: dt.datetime) -> str:
    """Write a moment as Kubernetes does: UTC, whole seconds."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> dt.datetime | None:
    """Read a moment; None if it is none."""
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Before:
    """A condition as it was last written."""

    status: str
    reason: str
    message: str
    since: str


@dataclass(frozen=True, slots=True)
class Previous:
    """The status as it was last written, by whichever version of us."""

    body: Body = field(default_factory=dict)

    @property
    def generation(self) -> int:
        """Generation of the spec that it speaks of."""
        found = self.body.get("observedGeneration", NEVER_OBSERVED)
        return found if isinstance(found, int) else NEVER_OBSERVED

    @property
    def plan(self) -> Body:
        """The plan, empty if there was none."""
        found = self.body.get("plan")
        return found if isinstance(found, dict) else {}

    @property
    def standing(self) -> Standing | None:
        """The plan by what names it."""
        return Standing.read(self.plan)

    @property
    def handled(self) -> str:
        """The last request for planning anew that was answered."""
        return str(self.body.get("lastHandledReconcileAt", ""))

    @property
    def history(self) -> tuple[Body, ...]:
        """Changes of the plan, the newest first."""
        found = self.body.get("history")
        return tuple(one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()

    def condition(self, kind: str) -> Before | None:
        """Return a condition, None if it was not written."""
        found: Any = self.body.get("conditions")
        for one in found if isinstance(found, list) else ():
            if isinstance(one, dict) and one.get("type") == kind:
                texts = (str(one.get(name, "")) for name in ("status", "reason", "message", "lastTransitionTime"))
                return Before(*texts)
        return None

    def is_true(self, kind: str) -> bool:
        """Tell whether a condition was true."""
        found = self.condition(kind)
        return found is not None and found.status == "True"


@dataclass(frozen=True, slots=True)
class Problem:
    """What stood in the way of applying.

    Parameters
    ----------
    name_taken
        A name belongs to an object that is not ours and has no label of ours, so that no watch shows it.
    """

    text: str
    name_taken: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """A scenario and what is known about it.

    Parameters
    ----------
    faults
        Why its spec cannot be planned; then there is no ``resource`` and nothing is planned.
    held
        GPUs of the cluster that others hold.
    has_room
        The pods of the standing plan run, or could be placed.
    left_out
        Why nodes with GPUs cannot be planned on.
    inventory_faults, price_faults
        Why nodes or prices may be out of date.
    fits
        The cluster has free GPUs for the plan, whatever source it was planned on.
    problem
        What stood in the way of the last attempt to apply; None if nothing did.
    troubles
        Why its pods do not run.
    """

    key: Key
    uid: str
    generation: int
    annotations: Mapping[str, str]
    previous: Previous
    now: dt.datetime
    resource: InferenceScenario | None = None
    faults: tuple[str, ...] = ()
    planned: Planned | None = None
    held: tuple[Held, ...] = ()
    has_gpus: bool = True
    has_room: bool = True
    left_out: tuple[str, ...] = ()
    inventory_faults: tuple[str, ...] = ()
    price_faults: tuple[str, ...] = ()
    problem: Problem | None = None
    troubles: tuple[Trouble, ...] = ()

    @property
    def paused(self) -> bool:
        """Whether it is to be left alone."""
        return self.annotations.get(PAUSED, "").casefold() == "true"

    @property
    def is_new_spec(self) -> bool:
        """Whether the status speaks of another spec."""
        return self.previous.generation != self.generation

    @property
    def standing(self) -> Standing | None:
        """The plan that stands for this spec."""
        return None if self.is_new_spec else self.previous.standing

    @property
    def applied(self) -> bool:
        """Whether the plan that stands was put to work."""
        return self.standing is not None and self.previous.is_true("PlanApproved")


def view(body: Body, now: dt.datetime) -> View:
    """Begin a view with what the scenario itself says."""
    metadata = body["metadata"]
    status = body.get("status")
    return View(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        generation=int(metadata.get("generation") or 0),
        annotations=metadata.get("annotations") or {},
        previous=Previous(status if isinstance(status, dict) else {}),
        now=now,
    )
