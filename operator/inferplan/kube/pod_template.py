"""The pod template that a plan was put to work with: it stays as it is for as long as the plan stands for its spec.

What pods are given follows the nodes that were there (labels, taints, room) and the release of ours that wrote it. Were
it written anew each time, a node that joins or an upgrade of ours would restart what runs. So every Deployment carries
the template that it was applied with, as ``kubectl apply`` does, and that one is applied again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from inferplan.domain.manifest import Manifest
from inferplan.kube.child import TEMPLATE, Child, ChildName
from inferplan.kube.kinds import DEPLOYMENT

_FOR: Final = "for"
_TEMPLATE: Final = "template"


def as_put_to_work(
    manifests: Sequence[Manifest], children: Iterable[Child], plan: str, generation: int
) -> list[Manifest]:
    """Give Deployments the pod template that this plan was put to work with; the one written now if it is new.

    Parameters
    ----------
    children
        What is there.
    plan
        Hash of the plan that holds.
    generation
        Of the spec: a new one may ask for other pods although the plan is the same.
    """
    there = {child.name: child for child in children}
    stands_for = f"{plan}/{generation}"
    return [
        _kept(manifest, there.get(ChildName(DEPLOYMENT.name, manifest.namespace or "", manifest.name)), stands_for)
        if manifest.kind == DEPLOYMENT.name
        else manifest
        for manifest in manifests
    ]


def _kept(manifest: Manifest, child: Child | None, stands_for: str) -> Manifest:
    body = manifest.body
    template = _read("" if child is None else child.template, stands_for) or body["spec"]["template"]
    text = json.dumps({_FOR: stands_for, _TEMPLATE: template}, sort_keys=True, separators=(",", ":"))
    metadata = body["metadata"]
    annotations = {**(metadata.get("annotations") or {}), TEMPLATE: text}
    kept = {
        **body,
        "metadata": {**metadata, "annotations": annotations},
        "spec": {**body["spec"], "template": template},
    }
    return replace(manifest, body=kept)


def _read(text: str, stands_for: str) -> Mapping[str, Any] | None:
    """Read a template that was kept; None if there is none, or one for another plan or spec."""
    try:
        kept = json.loads(text)
        return dict(kept[_TEMPLATE]) if kept[_FOR] == stands_for else None
    except (KeyError, TypeError, ValueError):
        return None
