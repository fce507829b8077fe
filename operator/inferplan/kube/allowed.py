"""What the administrator lets the writers of scenarios have: images, Secrets, volumes, labels, annotations, code.

Pods are made under the operator's rights and not under those of whoever wrote the scenario. So what reaches a pod from
a scenario, and would give its writer a power, is had only where a pattern of the administrator's says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from inferplan.api.v1alpha1 import InferenceScenario
from inferplan.api.v1alpha1.serving import RemoteCode
from inferplan.domain.errors import Fault, InputError

HUB = "docker.io"
_HUB_TOO = ("index.docker.io", "registry-1.docker.io")
_REFERENCE = re.compile(
    r"(?:[A-Za-z0-9*][A-Za-z0-9.*-]*(?::[0-9]+)?/)?[a-z0-9*][a-z0-9._*-]*(?:/[a-z0-9*][a-z0-9._*-]*)*"
    r"(?::[A-Za-z0-9_*][A-Za-z0-9_.*-]{0,127})?(?:@sha256:(?:[0-9a-f]{64}|\*))?"
)
"""An image, or a pattern of images."""


class _Image(NamedTuple):
    registry: str
    path: str
    tag: str
    digest: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """Patterns of what scenarios may ask for; ``*`` in a pattern stands for any text.

    Parameters
    ----------
    images
        For ``spec.engine.image``. Without a registry: Docker Hub. ``*`` never reaches from the registry into the path,
        nor from the path into tag or digest. A pattern without tag and digest allows all of them.
    secrets
        Names for ``spec.deploy.tokenSecretRef``.
    volumes
        Names of PersistentVolumeClaims for ``spec.deploy.modelCacheRef`` and ``spec.deploy.batch.volumeRef``.
    labels, annotations
        Keys that may be put on pods.
    priority_classes
        Names for ``spec.deploy.podTemplate.priorityClassName``.
    remote_code
        Whether ``spec.engine.remoteCode: Allow`` is followed.
    """

    images: tuple[str, ...] = ("vllm/vllm-openai*", "ghcr.io/huggingface/text-generation-inference*")
    secrets: tuple[str, ...] = ("hf-token*", "*-hf-token", "huggingface*")
    volumes: tuple[str, ...] = ("*",)
    labels: tuple[str, ...] = ("team", "owner", "cost-center")
    annotations: tuple[str, ...] = (
        "prometheus.io/*",
        "cluster-autoscaler.kubernetes.io/safe-to-evict",
        "karpenter.sh/do-not-disrupt",
    )
    priority_classes: tuple[str, ...] = ()
    remote_code: bool = False

    def check(self, resource: InferenceScenario) -> None:
        """Refuse a scenario that asks for more than is allowed.

        Raises
        ------
        InputError
            Naming every such field, and the option that allows it.
        """
        faults = tuple(self._faults(resource))
        if faults:
            raise InputError(faults)

    def _faults(self, resource: InferenceScenario) -> Iterator[Fault]:
        engine, deploy = resource.spec.engine, resource.spec.deploy
        if engine.image is not None and not any(image_matches(pattern, engine.image) for pattern in self.images):
            yield _fault("spec.engine.image", engine.image, "images", self.images)
        if engine.remote_code is RemoteCode.ALLOW and not self.remote_code:
            yield Fault(
                "spec.engine.remoteCode",
                "code from elsewhere is not allowed in this cluster",
                f"leave it out, or ask the administrator ({OPTIONS['remote_code']}, allowed.remoteCode of the chart)",
            )
        token, cache, batch, pods = deploy.token_secret_ref, deploy.model_cache_ref, deploy.batch, deploy.pod_template
        if token is not None:
            yield from _others("spec.deploy.tokenSecretRef.name", [token.name], "secrets", self.secrets)
        if cache is not None:
            yield from _others("spec.deploy.modelCacheRef.name", [cache.name], "volumes", self.volumes)
        if batch is not None:
            yield from _others("spec.deploy.batch.volumeRef.name", [batch.volume_ref.name], "volumes", self.volumes)
        if pods is not None:
            path = "spec.deploy.podTemplate"
            yield from _others(f"{path}.labels", pods.labels, "labels", self.labels)
            yield from _others(f"{path}.annotations", pods.annotations, "annotations", self.annotations)
            name = pods.priority_class_name
            names = [] if name is None else [name]
            yield from _others(f"{path}.priorityClassName", names, "priority_classes", self.priority_classes)


OPTIONS: Mapping[str, str] = {
    "images": "--allow-image",
    "secrets": "--allow-secret",
    "volumes": "--allow-volume",
    "labels": "--allow-label",
    "annotations": "--allow-annotation",
    "priority_classes": "--allow-priority-class",
    "remote_code": "--allow-remote-code",
}
"""Field of :class:`Allowed` -> the operator's option."""


def chart_name(field: str) -> str:
    """Return how the chart calls a field of :class:`Allowed`.

    >>> chart_name("priority_classes")
    'priorityClasses'
    """
    first, *others = field.split("_")
    return first + "".join(map(str.capitalize, others))


def _others(
    path: str, names: list[str] | Mapping[str, str] | None, field: str, patterns: tuple[str, ...]
) -> Iterator[Fault]:
    for name in sorted(names or ()):
        if not any(_like(pattern, name) for pattern in patterns):
            yield _fault(path, name, field, patterns)


def _fault(path: str, name: str, field: str, patterns: tuple[str, ...]) -> Fault:
    return Fault(
        path,
        f'"{name}" is not allowed in this cluster',
        f"allowed: {', '.join(patterns) or 'none'}; ask the administrator for more ({OPTIONS[field]},"
        f" allowed.{chart_name(field)} of the chart)",
    )


def _like(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def image_matches(pattern: str, image: str) -> bool:
    """Tell whether an image is one of a pattern's.

    A digest decides what is pulled, whatever the tag beside it says: a pattern with a tag takes no image with a digest.

    >>> image_matches("registry.example.com/llm/*", "registry.example.com/llm/vllm:v1")
    True
    >>> image_matches("registry.example.com/llm/*", "evil.example/registry.example.com/llm/vllm:v1")
    False
    >>> image_matches("vllm/vllm-openai:v0.33.0", f"vllm/vllm-openai:v0.33.0@sha256:{'0' * 64}")
    False
    >>> image_matches("vllm/vllm-openai", "docker.io/vllm/vllm-openai:v0.33.0")
    True
    """
    asked = _read(image)
    if asked is None or "*" in image:
        return False
    if pattern == "*":
        return True
    rule = _read(pattern)
    if rule is None or not (_like(rule.registry, asked.registry) and _like(rule.path, asked.path)):
        return False
    if rule.digest:
        return _like(rule.digest, asked.digest)
    return not rule.tag or (not asked.digest and _like(rule.tag, asked.tag))


def is_image_pattern(text: str) -> bool:
    """Tell whether a pattern can match an image at all."""
    return _read(text) is not None


def _read(reference: str) -> _Image | None:
    """Take an image or a pattern apart as a container runtime does."""
    if not _REFERENCE.fullmatch(reference):
        return None
    name, _, digest = reference.partition("@")
    folder, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    path = f"{folder}{slash}{last}"
    first, slash, rest = path.partition("/")
    registry = HUB
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, path = first.lower(), rest
    registry = HUB if registry in _HUB_TOO else registry
    if registry == HUB and "/" not in path:
        path = f"library/{path}"
    return _Image(registry, path, tag, digest)
