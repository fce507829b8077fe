"""Faults of shape in words: what pydantic found, with the line, what is allowed and the nearest name."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from inferplan.api.schema import spec_schema
from inferplan.api.suggest import did_you_mean, nearest
from inferplan.api.v1alpha1.scalars import PATTERN_HINTS
from inferplan.api.yaml_scalars import shorten
from inferplan.api.yaml_tree import FieldPath, Node
from inferplan.domain.errors import Fault

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "model_type": "a group of fields",
    "model_attributes_type": "a group of fields",
    "dict_type": "a group of fields",
    "tuple_type": "a list",
}


def dotted(path: FieldPath) -> str:
    """Write a path as people do.

    >>> dotted(("spec", "hardware", "owned", 0, "gpu"))
    'spec.hardware.owned[0].gpu'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{shorten(part)}" if text else shorten(part)
    return text


def split_path(path: str) -> FieldPath:
    """Undo :func:`dotted`.

    >>> split_path("spec.hardware.owned[0].gpu")
    ('spec', 'hardware', 'owned', 0, 'gpu')
    """
    parts: list[str | int] = []
    for piece in path.replace("[", ".[").split("."):
        if piece.startswith("[") and piece[1:-1].isdigit():
            parts.append(int(piece[1:-1]))
        elif piece:
            parts.append(piece)
    return tuple(parts)


def place(origin: str, node: Node, path: FieldPath) -> str:
    """Name a place in a file: ``chatbot.yaml:12: spec.slo.percentile``."""
    name = dotted(path)
    return f"{origin}:{node.line_of(path)}: {name}" if name else f"{origin}:{node.line}"


@dataclass(frozen=True, slots=True)
class _Finding:
    """One thing that pydantic found."""

    kind: str
    path: FieldPath
    value: object
    context: Mapping[str, Any]
    message: str


def shape_faults(error: ValidationError, node: Node, origin: str) -> list[Fault]:
    """Put everything that pydantic found into words, in the order of the lines.

    Parameters
    ----------
    error
        What validation raised.
    node
        Tree of the document, for the lines.
    origin
        Name of the file.
    """
    findings = sorted(_findings(error), key=lambda finding: node.line_of(finding.path))
    return [Fault(place(origin, node, finding.path), *_words(finding)) for finding in findings]


def _findings(error: ValidationError) -> Iterator[_Finding]:
    for detail in error.errors(include_url=False):
        context, value = detail.get("ctx", {}), detail["input"]
        if detail["type"] == "too_short" and len(value) >= context["min_length"]:
            continue  # its entries are at fault, which is said already
        path = tuple(part for part in detail["loc"] if part != "[key]")
        yield _Finding(detail["type"], path, value, context, detail["msg"])


def _words(finding: _Finding) -> tuple[str, str]:  # noqa: PLR0911 - one return per kind of finding
    kind, value, context, path = finding.kind, finding.value, finding.context, finding.path
    if kind == "missing":
        return "required, but missing", _allowed_hint(_schema_at(path))
    if kind == "extra_forbidden":
        return "unknown field", _unknown_hint(path)
    if kind in {"enum", "literal_error"}:
        allowed = [str(item) for item in _schema_at(path).get("enum", [])]
        listed = f"allowed: {', '.join(allowed)}" if allowed else f"allowed: {context.get('expected', '')}"
        close = nearest(str(value), allowed, 1)
        return f"{_show(value)} is not allowed", f'did you mean "{close[0]}"? {listed}' if close else listed
    if kind in _KINDS:
        hint = f'write it in quotes: "{value}"' if kind == "string_type" and _is_number(value) else ""
        return f"must be {_KINDS[kind]}, not {_show(value)}", hint or _allowed_hint(_schema_at(path))
    bounds = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}
    if kind in bounds:
        word, key = bounds[kind]
        return f"must be {word} {context[key]}, not {_show(value)}", ""
    if kind == "string_pattern_mismatch":
        if isinstance(value, str) and value.startswith("-") and value[1:2].isdigit():
            return f"must not be negative, not {_show(value)}", ""
        return f"{_show(value)} is not possible here", PATTERN_HINTS.get(str(context.get("pattern")), "")
    if kind in {"string_too_long", "string_too_short", "too_long", "too_short"}:
        if kind == "string_too_short" and context["min_length"] == 1:
            return "must not be empty", _allowed_hint(_schema_at(path))
        unit = "characters" if kind.startswith("string") else "entries"
        word, key = ("at most", "max_length") if kind.endswith("long") else ("at least", "min_length")
        return f"must have {word} {context[key]} {unit}", ""
    return shorten(finding.message, 200), ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _show(value: object) -> str:
    """Show a value of the file briefly."""
    if isinstance(value, Mapping):
        return "a group of fields"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    try:
        return shorten(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        return shorten(str(value))


@functools.cache
def _document_schema() -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": spec_schema()}}


def _schema_at(path: FieldPath) -> dict[str, Any]:
    """Return the schema at a path; empty where there is none."""
    schema: dict[str, Any] = _document_schema()
    for part in path:
        inner = schema.get("items") if isinstance(part, int) else schema.get("properties", {}).get(part)
        schema = inner if isinstance(inner, dict) else {}
    return schema


def _allowed_hint(schema: dict[str, Any]) -> str:
    """Say what a field takes."""
    if "enum" in schema:
        return f"allowed: {', '.join(str(item) for item in schema['enum'])}"
    if "pattern" in schema:
        return PATTERN_HINTS.get(schema["pattern"], "")
    if schema.get("type") == "integer" and "minimum" in schema and "maximum" in schema:
        return f"from {schema['minimum']} to {schema['maximum']}"
    return ""


def _unknown_hint(path: FieldPath) -> str:
    """Suggest the nearest allowed name, or the place where a field of this name is known."""
    name = str(path[-1])
    elsewhere = _places().get(name, ())
    if elsewhere:
        return f"did you mean {' or '.join(elsewhere[:2])}?"
    siblings = list(_schema_at(path[:-1]).get("properties", {})) if len(path) > 1 else []
    if not siblings:
        siblings = ["apiVersion", "kind", "metadata", "spec"] if len(path) == 1 else []
    return did_you_mean(name, siblings)


@functools.cache
def _places() -> Mapping[str, tuple[str, ...]]:
    """Paths of all known fields that are not inside a list, by the field's name."""
    found: dict[str, tuple[str, ...]] = {}

    def visit(schema: dict[str, Any], path: FieldPath) -> None:
        for name, inner in schema.get("properties", {}).items():
            found[name] = (*found.get(name, ()), dotted((*path, name)))
            visit(inner, (*path, name))

    visit(_document_schema(), ())
    return found
