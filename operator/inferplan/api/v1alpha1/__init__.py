"""The resource ``inferplan.dev/v1alpha1`` as pydantic models: the source of the CRD and of checks of shape.

Models of the spec accept only the names that stand in YAML (camelCase) and nothing unknown; models of the
status are built by us and may be built by Python names.
"""

from inferplan.api.v1alpha1.resource import (
    API_VERSION,
    GROUP,
    KIND,
    PLURAL,
    VERSION,
    InferenceScenario,
    Metadata,
)
from inferplan.api.v1alpha1.spec import InferenceScenarioSpec
from inferplan.api.v1alpha1.status import InferenceScenarioStatus

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "PLURAL",
    "VERSION",
    "InferenceScenario",
    "InferenceScenarioSpec",
    "InferenceScenarioStatus",
    "Metadata",
]
