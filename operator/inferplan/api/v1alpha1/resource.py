"""The whole resource: what stands at the top of a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from inferplan.api.v1alpha1.scalars import NAME_PATTERN, SpecModel
from inferplan.api.v1alpha1.spec import InferenceScenarioSpec

GROUP = "inferplan.dev"
VERSION = "v1alpha1"
KIND = "InferenceScenario"
PLURAL = "inferencescenarios"
API_VERSION = f"{GROUP}/{VERSION}"


class Metadata(BaseModel):
    """Object metadata: its name is ours to check, the rest belongs to Kubernetes."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel)

    name: Annotated[str, Field(max_length=52, pattern=NAME_PATTERN)]
    namespace: str | None = None
    generation: int | None = None
    uid: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class InferenceScenario(SpecModel):
    """An inference workload that wants to be sized, priced and deployed."""

    api_version: Literal["inferplan.dev/v1alpha1"]
    kind: Literal["InferenceScenario"]
    metadata: Metadata
    spec: InferenceScenarioSpec
    status: object = Field(default=None, exclude=True)
    """Never read here: a status written by another version must not make a scenario unreadable."""
