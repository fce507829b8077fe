"""What a user may add to pods, and what not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from inferplan.api.contradiction import Contradiction
from inferplan.api.v1alpha1 import operation as written
from inferplan.api.v1alpha1.spec import InferenceScenarioSpec
from inferplan.domain.operation import TolerationOperator

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_OBJECT = _PREFIX
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]+")
OBJECT_HINT = "lower-case letters, digits, - and ."
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
SYSTEM_PRIORITY = "system-"


def deploy_makes_sense(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Check what is put into pods: nothing that the API server refuses. What gives powers, the operator refuses."""
    deploy, path = spec.deploy, "spec.deploy"
    if deploy.model_access is written.ModelAccess.CACHE and deploy.model_cache_ref is None:
        yield Contradiction(
            f"{path}.modelAccess", "Cache needs a volume that holds the weights", "set spec.deploy.modelCacheRef"
        )
    if deploy.batch is not None and deploy.batch.input == deploy.batch.output:
        yield Contradiction(f"{path}.batch.output", "is the file of the items too", "name another file")
    named = (
        ("modelCacheRef.name", deploy.model_cache_ref),
        ("tokenSecretRef.name", deploy.token_secret_ref),
        ("batch.volumeRef.name", None if deploy.batch is None else deploy.batch.volume_ref),
    )
    for field, reference in named:
        if reference is not None and not _OBJECT.fullmatch(reference.name):
            yield Contradiction(f"{path}.{field}", f'"{reference.name}" is not a valid object name', OBJECT_HINT)
    if deploy.token_secret_ref is not None and not _SECRET_KEY.fullmatch(deploy.token_secret_ref.key):
        yield Contradiction(
            f"{path}.tokenSecretRef.key", "is not a valid key of a Secret", "letters, digits, -, _ and ."
        )
    if deploy.pod_template is not None:
        yield from _pod_faults(deploy.pod_template, f"{path}.podTemplate")


def _pod_faults(pods: written.PodTemplate, path: str) -> Iterator[Contradiction]:
    yield from _key_faults(f"{path}.labels", pods.labels or {})
    for key, value in sorted((pods.labels or {}).items()):
        if not _VALUE.fullmatch(value):
            yield Contradiction(
                f"{path}.labels", f'"{value}" of {key} is not a label value', "letters, digits, -, _ and ."
            )
    yield from _key_faults(f"{path}.annotations", pods.annotations or {})
    for index, item in enumerate(pods.tolerations or ()):
        here = f"{path}.tolerations[{index}]"
        if item.operator is TolerationOperator.EXISTS and item.value is not None:
            yield Contradiction(f"{here}.value", "belongs to operator: Equal", "leave it out, or write operator: Equal")
        if item.effect is not None and item.effect not in EFFECTS:
            yield Contradiction(
                f"{here}.effect", f'there is no effect "{item.effect}"', f"allowed: {', '.join(EFFECTS)}"
            )
    name = pods.priority_class_name
    if name is not None and not _OBJECT.fullmatch(name):
        yield Contradiction(f"{path}.priorityClassName", f'"{name}" is not a valid object name', OBJECT_HINT)
    if name is not None and name.startswith(SYSTEM_PRIORITY):
        yield Contradiction(f"{path}.priorityClassName", "is kept for the cluster's own pods", "name a class of yours")


def _key_faults(path: str, entries: Mapping[str, str]) -> Iterator[Contradiction]:
    for key in sorted(entries):
        prefix, slash, name = key.rpartition("/")
        if not _NAME.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)):
            yield Contradiction(path, f'"{key}" is not a key', "such as team or example.com/team")
