"""What must hold for every object that we write; a breach is a defect of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inferplan.domain.errors import DefectError
from inferplan.domain.manifest import Manifest
from inferplan.render.context import Context

LONGEST_LABEL = 63
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def check(manifest: Manifest, context: Context) -> None:
    """Check one object.

    Raises
    ------
    DefectError
        Naming everything that does not hold.
    """
    body = manifest.body
    found = [*_names(manifest), *_labels(body["metadata"].get("labels", {})), *_selected(body)]
    for spec in _pod_specs(body):
        found += [*_pod(spec), *_gpus(spec, context)]
    if found:
        message = f"{manifest.kind} {manifest.name}: {'; '.join(found)}"
        raise DefectError(message)


def _names(manifest: Manifest) -> Iterator[str]:
    if len(manifest.name) > LONGEST_LABEL or not DNS_LABEL.fullmatch(manifest.name):
        yield f"{manifest.name!r} is not a DNS label"


def _labels(labels: Mapping[str, str]) -> Iterator[str]:
    for key, value in labels.items():
        if len(value) > LONGEST_LABEL or not LABEL_VALUE.fullmatch(value):
            yield f"label {key} cannot be {value!r}"


def _selected(body: Mapping[str, Any]) -> Iterator[str]:
    spec = body.get("spec", {})
    if "template" not in spec or "selector" not in spec:
        return
    labels = spec["template"]["metadata"]["labels"]
    for key, value in spec["selector"]["matchLabels"].items():
        if labels.get(key) != value:
            yield f"the selector asks for {key}={value}, and the pods have {labels.get(key)!r}"
    yield from _labels(labels)


def _pod_specs(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    spec = body.get("spec", {})
    if "jobTemplate" in spec:
        spec = spec["jobTemplate"]["spec"]
    if "template" in spec:
        yield spec["template"]["spec"]


def _containers(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


def _pod(spec: Mapping[str, Any]) -> Iterator[str]:
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    for container in _containers(spec):
        here = container["name"]
        variables = [variable["name"] for variable in container.get("env", ())]
        flags = [word.partition("=")[0] for word in container.get("args", ()) if word.startswith("--")]
        for what, names in (("variable", variables), ("flag", flags)):
            yield from (f"{here}: {what} {name} stands twice" for name in sorted({*names}) if names.count(name) > 1)
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        yield from (f"{here}: mounts {name}, which is not a volume" for name in sorted(mounted - volumes))
        if container["image"].endswith(":latest") or (":" not in container["image"].rsplit("/", 1)[-1]):
            yield f"{here}: image {container['image']} is not pinned"


def _gpus(spec: Mapping[str, Any], context: Context) -> Iterator[str]:
    resource, planned = context.gpu_resource, context.chosen.gpus_per_replica
    asked = [container.get("resources", {}).get("limits", {}).get(resource, "0") for container in _containers(spec)]
    if sum(int(value) for value in asked) != planned:
        yield f"asks for {'+'.join(asked)} {resource}, and the plan has {planned}"
