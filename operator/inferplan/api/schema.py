"""JSON schema of pydantic -> structural OpenAPI v3 schema as Kubernetes wants it."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import BaseModel

from inferplan.api.v1alpha1.spec import InferenceScenarioSpec
from inferplan.domain.errors import DefectError

_KEPT = (
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "default",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)


def structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Make one schema structural: references inlined, ``null`` expressed by absence, nothing else left.

    Parameters
    ----------
    schema
        As pydantic writes it.
    definitions
        Its ``$defs``.

    Raises
    ------
    DefectError
        If the schema says something that a CRD cannot.
    """
    schema = _inlined(schema, definitions)
    result: dict[str, Any] = {}
    if "description" in schema:
        result["description"] = " ".join(schema["description"].split())
    result.update({key: schema[key] for key in _KEPT if schema.get(key) not in (None, [])})
    if result.get("type") == "integer":
        result["format"] = "int64"
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if "items" in schema:
        result["items"] = structural(schema["items"], definitions)
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    if "properties" in schema:
        result["properties"] = {name: structural(value, definitions) for name, value in schema["properties"].items()}
    if schema.get("required"):
        result["required"] = sorted(schema["required"])
    return result


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Replace references and optional values by what they stand for; what is said beside them wins."""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        else:
            choices = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
            if len(choices) != 1:
                message = f"no structural schema for a union: {schema}"
                raise DefectError(message)
            target = choices[0]
        rest = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
        schema = {**target, **rest}
    return schema


def model_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return structural(schema, schema.get("$defs", {}))


@functools.cache
def spec_schema() -> dict[str, Any]:
    """Return the schema of the spec."""
    return model_schema(InferenceScenarioSpec)
