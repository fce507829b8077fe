"""The CustomResourceDefinition, generated from the models: one source for YAML, cluster and documentation."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from inferplan.api.schema import model_schema, spec_schema
from inferplan.api.v1alpha1 import GROUP, KIND, PLURAL, VERSION, InferenceScenarioStatus
from inferplan.api.v1alpha1.scalars import NAME_PATTERN, PATTERN_HINTS
from inferplan.api.v1alpha1.status import NEVER_OBSERVED

HEADER = "# Generated from inferplan.api.v1alpha1 by `make generate`; do not edit.\n"

_COLUMNS: tuple[tuple[str, str, str, int, str], ...] = (
    ("Model", "string", ".status.plan.model", 0, "Model of the plan"),
    ("GPU", "string", ".status.plan.gpuName", 0, "GPU of the plan"),
    ("Replicas", "integer", ".status.plan.replicas", 0, "Engine instances"),
    ("$/h", "string", ".status.plan.cost.usdPerHour", 0, "Cost per hour [USD]"),
    ("$/Request", "string", ".status.plan.cost.usdPerRequest", 0, "Cost per request or item [USD]"),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0, "Whether the plan is at work"),
    ("Age", "date", ".metadata.creationTimestamp", 0, ""),
    ("Quantization", "string", ".status.plan.quantization", 1, "Weight format"),
    (
        "TTFT p95 ms",
        "string",
        ".status.plan.predicted.timeToFirstTokenMilliseconds.p95",
        1,
        "P95 of the time to first token [ms]",
    ),
    ("Tier", "string", ".status.plan.tier", 1, "Which of the three answers"),
    ("Message", "string", ".status.summary", 1, "The outcome in one line"),
)


def _status_schema() -> dict[str, Any]:
    """Return the schema of the status: lenient inside, and a fresh object says that nobody looked at it."""
    schema = _lenient(model_schema(InferenceScenarioStatus))
    schema["default"] = {"observedGeneration": NEVER_OBSERVED}
    return schema


def _lenient(schema: dict[str, Any], keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """Drop defaults and requirements, so that a status written by another version stays acceptable."""
    result = {key: value for key, value in schema.items() if key not in {"default", "required"}}
    if keys:
        result["required"] = sorted(keys)
    if "properties" in result:
        result["properties"] = {name: _lenient(inner) for name, inner in result["properties"].items()}
    if "items" in result:
        result["items"] = _lenient(result["items"], tuple(result.get("x-kubernetes-list-map-keys", ())))
    return result


def resource_schema() -> dict[str, Any]:
    """Return the structural OpenAPI v3 schema of the whole resource."""
    return {
        "description": "An inference workload that wants to be sized, priced and deployed.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": copy.deepcopy(spec_schema()),
            "status": _status_schema(),
        },
        "x-kubernetes-validations": [
            {
                "rule": f"self.metadata.name.matches('{NAME_PATTERN}')",
                "message": f"the name must be {PATTERN_HINTS[NAME_PATTERN]}",
            }
        ],
    }


def crd_document() -> dict[str, Any]:
    """Return the CustomResourceDefinition as a document."""
    columns = []
    for name, kind, path, priority, description in _COLUMNS:
        column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
        if description:
            column["description"] = description
        if priority:
            column["priority"] = priority
        columns.append(column)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["isc"],
                "categories": ["inference"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "selectableFields": [{"jsonPath": ".spec.useCase"}, {"jsonPath": ".status.plan.gpu"}],
                    "schema": {"openAPIV3Schema": resource_schema()},
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes every value out (no anchors) and indents lists, so that the text is stable and readable."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class names it
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        return super().increase_indent(flow, indentless=False)


def crd_yaml() -> str:
    """Return the CustomResourceDefinition as YAML, byte for byte the same every time."""
    text = yaml.dump(crd_document(), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return f"{HEADER}{text}"
