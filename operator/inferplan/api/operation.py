"""The resource as users write it -> how its plan is put to work."""

from __future__ import annotations

from inferplan.api.v1alpha1 import InferenceScenario
from inferplan.api.v1alpha1 import operation as written
from inferplan.domain.operation import (
    Autoscaling,
    BatchFiles,
    Deploy,
    Identity,
    ModelCache,
    PodAdditions,
    SecretKey,
    Toleration,
)


def to_deploy(resource: InferenceScenario) -> Deploy:
    """Read how a scenario's plan is put to work; :func:`~inferplan.api.convert.to_scenario` has checked it.

    Parameters
    ----------
    resource
        As the user wrote it.
    """
    spec, metadata = resource.spec.deploy, resource.metadata
    pods, token, cache = spec.pod_template, spec.token_secret_ref, spec.model_cache_ref
    scaling = resource.spec.autoscaling
    return Deploy(
        identity=Identity(metadata.name, metadata.namespace, metadata.uid),
        policy=spec.policy,
        pods=PodAdditions() if pods is None else _pods(pods),
        token=None if token is None else SecretKey(token.name, token.key),
        model_cache=None if cache is None else ModelCache(cache.name, spec.model_access is written.ModelAccess.CACHE),
        batch=None
        if spec.batch is None
        else BatchFiles(spec.batch.volume_ref.name, spec.batch.input, spec.batch.output),
        autoscaling=Autoscaling(scaling.type, scaling.min_replicas, scaling.max_replicas),
    )


def _pods(pods: written.PodTemplate) -> PodAdditions:
    return PodAdditions(
        labels=tuple(sorted((pods.labels or {}).items())),
        annotations=tuple(sorted((pods.annotations or {}).items())),
        tolerations=to_tolerations(pods),
        priority_class=pods.priority_class_name,
    )


def to_tolerations(pods: written.PodTemplate | None) -> tuple[Toleration, ...]:
    """Read the taints that a user lets pods stand."""
    asked = () if pods is None else pods.tolerations or ()
    return tuple(Toleration(item.key, item.operator, item.value, item.effect) for item in asked)
