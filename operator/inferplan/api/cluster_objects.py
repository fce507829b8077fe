"""The few parts of Kubernetes nodes and pods that planning reads; everything else in them is ignored."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


def _or_empty(value: object) -> object:
    """Read ``null`` as no fields."""
    return {} if value is None else value


def _or_no_items(value: object) -> object:
    """Read ``null`` as an empty list."""
    return [] if value is None else value


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)


Texts = Annotated[dict[str, str], BeforeValidator(_or_empty)]
Quantities = Annotated[dict[str, str | float], BeforeValidator(_or_empty)]


class ObjectMetadata(_Part):
    """Name and labels."""

    name: str
    namespace: str = ""
    labels: Texts = Field(default_factory=dict)


class NodeTaint(_Part):
    """A taint."""

    key: str
    value: str | None = None
    effect: str = ""


class NodeSpec(_Part):
    """Where a node comes from and whether it takes pods."""

    provider_id: str = Field(default="", alias="providerID")
    unschedulable: bool = False
    taints: Annotated[tuple[NodeTaint, ...], BeforeValidator(_or_no_items)] = ()


class NodeCondition(_Part):
    """A condition of a node."""

    type: str
    status: str


class NodeStatus(_Part):
    """What a node offers and how it is."""

    allocatable: Quantities = Field(default_factory=dict)
    conditions: Annotated[tuple[NodeCondition, ...], BeforeValidator(_or_no_items)] = ()


class NodeObject(_Part):
    """A Node as ``kubectl get node -o yaml`` prints it."""

    metadata: ObjectMetadata
    spec: NodeSpec = Field(default_factory=NodeSpec)
    status: NodeStatus = Field(default_factory=NodeStatus)


class Resources(_Part):
    """What a container asks for."""

    requests: Quantities = Field(default_factory=dict)
    limits: Quantities = Field(default_factory=dict)


class Container(_Part):
    """A container of a pod."""

    resources: Annotated[Resources, BeforeValidator(_or_empty)] = Field(default_factory=Resources)


Containers = Annotated[tuple[Container, ...], BeforeValidator(_or_no_items)]


class PodSpec(_Part):
    """Where a pod runs and what its containers ask for."""

    node_name: str = ""
    containers: Containers = ()
    init_containers: Containers = ()


class PodStatus(_Part):
    """How a pod is."""

    phase: str = ""


class PodObject(_Part):
    """A Pod as ``kubectl get pod -o yaml`` prints it."""

    metadata: ObjectMetadata
    spec: PodSpec = Field(default_factory=PodSpec)
    status: PodStatus = Field(default_factory=PodStatus)
