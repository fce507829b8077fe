"""Whose the fields of an object are: ours, or another writer's.

The API server keeps for each writer (its "field manager") the set of fields that it has set, as ``fieldsV1``. A field
that somebody else sets to another value leaves our set, so nothing but these sets has to be compared.

References
----------
.. [1] Kubernetes, "Server-Side Apply", field management.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferplan.kube.client import FIELD_MANAGER, Body

_NOT_OWNED = {"apiVersion", "kind"}
_NOT_OWNED_METADATA = {"name", "namespace"}
_POD = ("spec", "template", "spec")
"""Where a Deployment says what its pods are."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Somebody else who has set fields of an object, its status aside.

    Parameters
    ----------
    since
        When a value of these fields was last changed, as the API server writes it.
    """

    manager: str
    subresource: str
    since: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        """Render for messages."""
        if self.subresource == "scale":
            return f'"{self.manager}" (subresource scale: an HPA, KEDA or kubectl scale)'
        return f'"{self.manager}"'


def our_fields(metadata: Body) -> dict[str, Any] | None:
    """Return what we have applied of an object; None if it is nothing."""
    for entry in metadata.get("managedFields") or ():
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            fields: dict[str, Any] | None = entry.get("fieldsV1")
            return fields
    return None


def other_writers(metadata: Body) -> tuple[Writer, ...]:
    """Return who else has set fields; mostly nobody, as controllers only write the status."""
    return tuple(
        Writer(entry.get("manager", ""), entry.get("subresource", ""), entry.get("time", ""), entry["fieldsV1"])
        for entry in metadata.get("managedFields") or ()
        if (entry.get("manager"), entry.get("operation")) != (FIELD_MANAGER, "Apply")
        and entry.get("subresource") != "status"
        and entry.get("fieldsV1")
    )


def writer_of(path: str, body: Mapping[str, Any], writers: Sequence[Writer]) -> Writer | None:
    """Return who has set a field of a manifest; None if nobody has, as after it was taken away."""
    for writer in writers:
        lacking = missing_fields(body, writer.fields)
        if not any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in lacking):
            return writer
    return None


def added_fields(owned: Mapping[str, Any] | None, writers: Sequence[Writer]) -> list[tuple[str, str]]:
    """List what others have set in the pod template of a Deployment that we have not: manager and field.

    >>> ours = {"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}}
    >>> theirs = {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {"f:foo": {}}}}}}
    >>> added_fields(ours, [Writer("kubectl-edit", "", "", theirs)])
    [('kubectl-edit', 'spec.template.spec.nodeSelector.foo')]
    """
    ours = _below(owned or {}, _POD)
    return [
        (writer.manager, path)
        for writer in writers
        for path in _added(_below(writer.fields, _POD), ours, ".".join(_POD))
    ]


def _below(fields: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    for name in names:
        fields = fields.get(f"f:{name}") or {}
    return fields


def _added(theirs: Mapping[str, Any], ours: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, inner in theirs.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            below = f"{path}.{name}"
            if inner and (key not in ours or ours[key]):
                yield from _added(inner, ours.get(key) or {}, below)
            elif key not in ours:
                yield below
        elif kind in {"k", "v"}:
            below = f"{path}[{_item_name(name)}]"
            if key not in ours:
                yield below
            elif inner and ours[key]:
                yield from _added(inner, ours[key], below)


def _item_name(text: str) -> str:
    named = json.loads(text)
    return ",".join(str(one) for one in named.values()) if isinstance(named, dict) else str(named)


# ── what is not ours any more ────────────────────────────────────────────────────────────────────────────────


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
