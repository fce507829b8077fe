"""What has to be done to the children: desired manifests against what is there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inferplan.domain.manifest import Manifest
from inferplan.kube.child import Child, ChildName
from inferplan.kube.fields import Writer, added_fields, missing_fields, writer_of
from inferplan.kube.kinds import DEPLOYMENT, JOB, Kind, child_kind
from inferplan.kube.trouble import Trouble
from inferplan.render.context import ROLLOUT

DELETED = "deleted"
TOLD_ADDED = 3


@dataclass(frozen=True, slots=True)
class Step:
    """An object to apply, and why.

    Parameters
    ----------
    drift
        Fields that somebody else has changed or taken, or that the whole object was deleted; empty if it is applied
        for our own reasons.
    writers
        Who has set these fields, as far as that is known.
    """

    kind: Kind
    name: ChildName
    body: Mapping[str, Any]
    uid: str = ""
    drift: tuple[str, ...] = ()
    writers: Mapping[str, Writer] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why, in one word."""
        return "Drift" if self.drift else "Update" if self.uid else "Create"


@dataclass(frozen=True, slots=True)
class Work:
    """What has to be done, and how far the children are.

    Parameters
    ----------
    unsure
        Objects that look as they should and that this process has not applied yet: to be applied before anything is
        said about them. Mostly that changes nothing, and then it is no write.
    foreign
        Names that are taken by objects that are not ours.
    waiting
        Names of ours that are being deleted and have to go first.
    contested
        Fields that somebody else sets again and again, in words; their objects are left as they are.
    contested_for_s
        When the first of them may be repaired again [s].
    """

    steps: tuple[Step, ...] = ()
    unsure: tuple[Step, ...] = ()
    prune: tuple[Child, ...] = ()
    foreign: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    wanted: tuple[ChildName, ...] = ()
    present: tuple[Child, ...] = ()
    contested: tuple[str, ...] = ()
    contested_for_s: float | None = None

    @property
    def is_done(self) -> bool:
        """Nothing is left to do."""
        return not (self.steps or self.prune or self.foreign or self.waiting)

    @property
    def is_available(self) -> bool:
        """Everything wanted is there and does what it should."""
        ready = {child.name for child in self.present if child.ready and not child.deleting}
        return self.is_done and bool(self.wanted) and all(name in ready for name in self.wanted)

    @property
    def completed(self) -> bool:
        """A batch run has ended well."""
        return any(child.finished for child in self.present)

    @property
    def failed(self) -> str:
        """How a batch run has failed; empty if it has not."""
        return next((child.detail for child in self.present if child.failed), "")

    @property
    def detail(self) -> str:
        """How far the workload is, in words."""
        return "; ".join(child.detail for child in self.present if child.detail)

    @property
    def added(self) -> tuple[str, ...]:
        """What others have added to pods of ours, in words."""
        found = [
            f"{manager} added {path}"
            for child in self.present
            for manager, path in added_fields(child.owned_fields, child.writers)
            if child.kind is DEPLOYMENT
        ]
        more = (f"and {len(found) - TOLD_ADDED} more",) if len(found) > TOLD_ADDED else ()
        return (*found[:TOLD_ADDED], *more)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Why objects of ours cannot make their pods."""
        return tuple(trouble for child in self.present for trouble in child.troubles)


def compare(
    manifests: Sequence[Manifest],
    children: Sequence[Child],
    uid: str,
    applied: Mapping[ChildName, tuple[str, str]],
    *,
    completed: bool,
) -> Work:
    """Find out what has to be done.

    Parameters
    ----------
    uid
        Of the scenario: what it does not control is not ours.
    applied
        Text and uid of what was applied last, by name; what is not in it is applied once to be sure.
    completed
        A batch run for this plan has ended well; its Job is not made again.
    """
    there = {child.name: child for child in children}
    steps, unsure, foreign, waiting, wanted = [], [], [], [], []
    for manifest in manifests:
        kind = child_kind(manifest.api_version, manifest.kind)
        name = ChildName(kind.name, manifest.namespace or "", manifest.name)
        child = there.get(name)
        if completed and kind is JOB and child is None:
            continue
        wanted.append(name)
        if child is None:
            as_before = applied.get(name, ("", ""))[0] == fingerprint(manifest.body)
            steps.append(Step(kind, name, manifest.body, drift=(DELETED,) if as_before else ()))
        elif child.deleting:
            waiting.append(str(name))
        elif child.owner_uid != uid:
            foreign.append(f"{name} belongs to {child.owner or 'somebody else'}")
        elif kind.replaced and child.finished and completed:
            continue
        else:
            drift = tuple(missing_fields(manifest.body, child.owned_fields))
            if drift:
                found = ((path, writer_of(path, manifest.body, child.writers)) for path in drift)
                writers = {path: writer for path, writer in found if writer is not None}
                steps.append(Step(kind, name, manifest.body, child.uid, drift, writers))
            elif name not in applied:
                unsure.append(Step(kind, name, _as_it_rolls(manifest.body, child), child.uid))
            elif applied[name] != (fingerprint(manifest.body), child.uid):
                steps.append(Step(kind, name, manifest.body, child.uid))
    ours = [child for child in children if child.owner_uid == uid]
    return Work(
        steps=tuple(steps),
        unsure=tuple(unsure),
        prune=tuple(child for child in ours if child.name not in wanted and not child.deleting and not child.finished),
        foreign=tuple(foreign),
        waiting=tuple(waiting),
        wanted=tuple(wanted),
        present=tuple(ours),
    )


def fingerprint(body: Mapping[str, Any]) -> str:
    """Name a manifest by its content, but for how it rolls out: that is settled when there is something to roll out."""
    return json.dumps(_with_rollout(body, "", None), sort_keys=True, separators=(",", ":"))


def _as_it_rolls(body: Mapping[str, Any], child: Child) -> Mapping[str, Any]:
    """Leave a Deployment's way of rolling out as it is: a spare GPU that comes or goes is no reason to write."""
    return body if child.strategy is None else _with_rollout(body, child.rollout, child.strategy)


def _with_rollout(body: Mapping[str, Any], rollout: str, strategy: Mapping[str, Any] | None) -> dict[str, Any]:
    annotations = body["metadata"].get("annotations") or {}
    if ROLLOUT not in annotations:
        return dict(body)
    metadata = {**body["metadata"], "annotations": {**annotations, ROLLOUT: rollout}}
    return {**body, "metadata": metadata, "spec": {**body["spec"], "strategy": strategy}}
