"""An object that belongs to a scenario, as it was last seen, and whether it does what it should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from inferplan.api.v1alpha1 import GROUP
from inferplan.kube.client import Body
from inferplan.kube.fields import Writer, other_writers, our_fields
from inferplan.kube.inbox import Key
from inferplan.kube.kinds import CRON_JOB, DEPLOYMENT, JOB, Kind
from inferplan.kube.trouble import Trouble, child_trouble
from inferplan.render.context import ROLLOUT, SCENARIO_LABEL

TEMPLATE = f"{GROUP}/pod-template"
"""Annotation of a Deployment: the pod template as it was applied, and for which plan."""


class ChildName(NamedTuple):
    """Where a child is."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Render as people write it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Child:
    """A child.

    Parameters
    ----------
    owner_uid
        Of the scenario that controls it; empty if nothing or something else does.
    owned_fields
        What our field manager owns in it (``fieldsV1``); None if it owns nothing.
    writers
        Who else has set fields of it; mostly nobody.
    troubles
        Why it cannot make its pods.
    """

    kind: Kind
    name: ChildName
    uid: str
    scenario: str
    owner_uid: str
    owner: str
    deleting: bool
    ready: bool
    finished: bool
    failed: bool
    detail: str
    owned_fields: dict[str, Any] | None
    writers: tuple[Writer, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    rollout: str = ""
    strategy: dict[str, Any] | None = None
    """How a Deployment was last told to roll out, in words and in fields."""
    template: str = ""
    """The pod template as we applied it; empty where somebody else has written it."""

    @property
    def key(self) -> Key:
        """The scenario that its label names."""
        return Key(self.name.namespace, self.scenario)


def read_child(kind: Kind, body: Body) -> Child:
    """Reduce an object to what matters of it."""
    metadata = body["metadata"]
    owners: list[Body] = metadata.get("ownerReferences") or []
    owner: Body = next((one for one in owners if one.get("controller")), {})
    ready, detail = _readiness(kind, body)
    conditions = _true_conditions(body)
    ours = our_fields(metadata)
    return Child(
        kind=kind,
        name=ChildName(kind.name, metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        scenario=(metadata.get("labels") or {}).get(SCENARIO_LABEL, ""),
        owner_uid=owner.get("uid", ""),
        owner=f"{owner.get('kind', '')} {owner.get('name', '')}".strip(),
        deleting="deletionTimestamp" in metadata,
        ready=ready,
        finished=kind is JOB and "Complete" in conditions,
        failed=kind is JOB and "Failed" in conditions,
        detail=detail,
        owned_fields=ours,
        writers=other_writers(metadata),
        troubles=child_trouble(kind, body),
        rollout=(metadata.get("annotations") or {}).get(ROLLOUT, ""),
        strategy=(body.get("spec") or {}).get("strategy") if kind is DEPLOYMENT else None,
        template=(metadata.get("annotations") or {}).get(TEMPLATE, "") if _owns_template(ours) else "",
    )


def _owns_template(fields: Body | None) -> bool:
    metadata: Body = (fields or {}).get("f:metadata") or {}
    return f"f:{TEMPLATE}" in (metadata.get("f:annotations") or {})


def _true_conditions(body: Body) -> dict[str, str]:
    found = (body.get("status") or {}).get("conditions") or ()
    return {one["type"]: str(one.get("message", "")) for one in found if one.get("status") == "True"}


def _readiness(kind: Kind, body: Body) -> tuple[bool, str]:
    status, spec = body.get("status") or {}, body.get("spec") or {}
    conditions = _true_conditions(body)
    if kind is DEPLOYMENT:
        wanted, there = int(spec.get("replicas", 1)), int(status.get("availableReplicas", 0))
        updated, total = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
        seen = status.get("observedGeneration", 0) >= body["metadata"].get("generation", 0)
        ready = seen and updated >= wanted and there >= wanted and total <= wanted
        rolling = ", rolling out" if total > wanted else ""
        return ready, f"{min(there, wanted)} of {wanted} replicas available{rolling}"
    if kind is JOB:
        if "Complete" in conditions:
            return True, "the run is complete"
        if "Failed" in conditions:
            return False, f"the run failed: {conditions['Failed']}"
        running = int(status.get("ready", 0))
        begun = "startTime" in status and not any(status.get(name) for name in ("active", "succeeded", "failed"))
        none_made = f"; none could be made so far, see kubectl describe job {body['metadata']['name']}" if begun else ""
        return running > 0, f"{running} of {spec.get('parallelism', 1)} pods run{none_made}"
    if kind is CRON_JOB:
        return True, f"runs at {spec.get('schedule', '')} {spec.get('timeZone', '')}".rstrip()
    return True, ""
