"""What has to be done to the children: desired manifests against what is there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferplan.domain.manifest import Manifest
from inferplan.kube.child import Child, ChildName
from inferplan.kube.kinds import JOB, Kind, child_kind
from inferplan.render.context import ROLLOUT

DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Step:
    """An object to apply, and why.

    Parameters
    ----------
    drift
        Fields that somebody else has changed or taken, or that the whole object was deleted; empty if it is applied
        for our own reasons.
    """

    kind: Kind
    name: ChildName
    body: Mapping[str, Any]
    uid: str = ""
    drift: tuple[str, ...] = ()

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
    """

    steps: tuple[Step, ...] = ()
    unsure: tuple[Step, ...] = ()
    prune: tuple[Child, ...] = ()
    foreign: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    wanted: tuple[ChildName, ...] = ()
    present: tuple[Child, ...] = ()

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
                steps.append(Step(kind, name, manifest.body, child.uid, drift))
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


# ── drift ────────────────────────────────────────────────────────────────────────────────────────────────────

_NOT_OWNED = {"apiVersion", "kind"}
_NOT_OWNED_METADATA = {"name", "namespace"}


def missing_fields(body: Mapping[str, Any], owned: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the fields of a manifest that our field manager does not own in the object.

    A field that somebody else sets to another value leaves our set, so nothing but these sets has to be compared.

    >>> owned = {"f:spec": {"f:replicas": {}, "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}}
    >>> list(missing_fields({"spec": {"replicas": 2, "ports": [{"port": 80}]}}, owned))
    []
    >>> list(missing_fields({"spec": {"replicas": 2, "paused": False}}, owned))
    ['spec.paused']
    """
    for name, value in body.items():
        if name in _NOT_OWNED:
            continue
        skip = _NOT_OWNED_METADATA if name == "metadata" else frozenset[str]()
        yield from _missing(value, (owned or {}).get(f"f:{name}"), name, skip)


def _missing(value: object, owned: Mapping[str, Any] | None, path: str, skip: Iterable[str] = ()) -> Iterator[str]:
    if owned is None:
        yield path
    elif not owned:
        return  # a leaf, or something that is owned as a whole
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in skip:
                yield from _missing(inner, owned.get(f"f:{name}"), f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            yield from _missing(inner, _item(inner, owned), f"{path}[{at}]")


def _item(value: object, owned: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find what is owned of an item of a list: by its key, by its value, or by its place."""
    for key, fields in owned.items():
        prefix, _, rest = key.partition(":")
        if prefix == "k" and isinstance(value, Mapping):
            names = json.loads(rest)
            if all(name not in value or value[name] == wanted for name, wanted in names.items()):
                return dict(fields)
        elif prefix == "v" and json.loads(rest) == value:
            return dict(fields)
    return None
