"""Fill in what a spec leaves out: the use case's preset first, then fixed defaults, each with its reason."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from inferplan.api.v1alpha1.scalars import MAXIMUM_TOKENS
from inferplan.api.v1alpha1.spec import InferenceScenarioSpec
from inferplan.api.v1alpha1.status import Origin
from inferplan.api.yaml_scalars import shorten
from inferplan.domain.catalog import Catalog
from inferplan.domain.deployment import ASSUMED_SPECULATIVE_ACCEPTANCE
from inferplan.domain.errors import CatalogError, Fault
from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind, Preset, PresetValue, UseCase

SECTIONS = (
    "useCase",
    "task",
    "workload",
    "slo",
    "contextTokens",
    "quality",
    "model",
    "hardware",
    "budget",
    "engine",
    "select",
    "growth",
    "headroomPercent",
)
"""Parts of the spec that decide the plan, in the order in which they are shown."""

_LOAD_FIELDS: dict[LoadKind, tuple[str, ...]] = {
    LoadKind.CLOSED_LOOP: ("workload.concurrentUsers", "workload.thinkTimeSeconds"),
    LoadKind.OPEN_LOOP: ("workload.requestsPerSecond",),
    LoadKind.OFFLINE: ("workload.items", "workload.deadlineMinutes", "workload.schedule"),
}
_SHOWN_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Resolved:
    """A value that a plan is made with, and where it comes from.

    Parameters
    ----------
    field
        Dotted path in the spec, without ``spec.``.
    """

    field: str
    value: str
    origin: Origin
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedSpec:
    """A spec with everything filled in that can be, and where each value comes from."""

    spec: InferenceScenarioSpec
    rows: tuple[Resolved, ...]
    preset_fields: frozenset[str]
    """Paths that the preset filled in."""


def resolve(spec: InferenceScenarioSpec, catalog: Catalog) -> ResolvedSpec:
    """Apply the use case's preset and the fixed defaults to a spec. What the user wrote always wins.

    Raises
    ------
    CatalogError
        If a preset says something that the spec cannot.
    """
    merged: dict[str, Any] = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    preset = next((entry for entry in catalog.presets if entry.use_case is spec.use_case), None)
    notes: dict[str, tuple[Origin, str]] = {}
    _add(merged, notes, "task", _task(spec, preset), Origin.DEFAULT, "what the use case asks of a model")
    if preset is not None:
        for entry in _applicable(merged, preset):
            value = list(entry.value) if isinstance(entry.value, tuple) else entry.value
            _add(merged, notes, entry.field, value, Origin.PRESET, entry.reason)
    _set_context(merged, notes, preset)
    for path, value, reason in _defaults(merged):
        _add(merged, notes, path, value, Origin.DEFAULT, reason)
    try:
        complete = InferenceScenarioSpec.model_validate(merged)
    except ValidationError as error:
        raise CatalogError(
            Fault(f"preset {spec.use_case}: {'.'.join(str(part) for part in detail['loc'])}", detail["msg"])
            for detail in error.errors(include_url=False)
        ) from error
    applied = frozenset(path for path, (origin, _) in notes.items() if origin is Origin.PRESET)
    return ResolvedSpec(complete, tuple(_rows(complete, notes)), applied)


def load_kind(spec: Mapping[str, Any]) -> LoadKind | None:
    """Tell how requests arrive from a spec in its written form; None if it does not say."""
    workload = spec.get("workload", {})
    if "items" in workload:
        return LoadKind.OFFLINE
    if "requestsPerSecond" in workload:
        return LoadKind.OPEN_LOOP
    return LoadKind.CLOSED_LOOP if "concurrentUsers" in workload else None


def _task(spec: InferenceScenarioSpec, preset: Preset | None) -> str:
    if spec.model.custom is not None and spec.model.custom.task is not None:
        return spec.model.custom.task.value
    if preset is not None:
        return preset.task.value
    return (Task.CLASSIFICATION if spec.use_case is UseCase.BATCH_CLASSIFICATION else Task.GENERATION).value


def _applicable(spec: Mapping[str, Any], preset: Preset) -> Iterator[PresetValue]:
    """Yield the preset's values that do not contradict what the user chose."""
    chosen = load_kind(spec)
    offline = chosen is LoadKind.OFFLINE
    other = {path for kind, paths in _LOAD_FIELDS.items() if chosen not in {None, kind} for path in paths}
    for entry in preset.values:
        path = entry.field
        left_out = (
            any(path == field or path.startswith(f"{field}.") for field in other)
            or (offline and path.startswith("slo.") and path != "slo.percentile")
            or (path.startswith("workload.outputTokens") and spec.get("task") == Task.CLASSIFICATION.value)
            or (path == "quality.minimum" and "custom" in spec.get("model", {}))
            or (path == "contextTokens")
            or (path == "select.tier" and "pin" in spec.get("select", {}))
        )
        if not left_out:
            yield entry


def _set_context(spec: dict[str, Any], notes: dict[str, tuple[Origin, str]], preset: Preset | None) -> None:
    """Choose contextTokens where the user did not: the pin's, the preset's, or what the lengths need."""
    pinned = spec.get("select", {}).get("pin", {}).get("maxModelLen")
    if pinned is not None:
        _add(spec, notes, "contextTokens", pinned, Origin.DEFAULT, "the pinned maxModelLen")
        return
    workload = spec.get("workload", {})
    longest = sum(workload.get(name, {}).get("p95", 0) for name in ("promptTokens", "outputTokens"))
    entry = next((item for item in preset.values if item.field == "contextTokens"), None) if preset else None
    if entry is not None and isinstance(entry.value, int) and entry.value >= longest:
        _add(spec, notes, "contextTokens", entry.value, Origin.PRESET, entry.reason)
    elif longest > 0:
        longest = min(longest, MAXIMUM_TOKENS)  # what is longer is refused by its lengths
        _add(spec, notes, "contextTokens", longest, Origin.DEFAULT, "promptTokens.p95 + outputTokens.p95")


def _defaults(spec: Mapping[str, Any]) -> Iterator[tuple[str, str | int, str]]:
    """Yield the defaults that hold for every use case, with their reasons."""
    yield "slo.percentile", "P95", "most requests, without chasing the rarest"
    yield "workload.sharedPrefixTokens", 0, "no shared prompt is assumed"
    kind = load_kind(spec)
    if kind is LoadKind.CLOSED_LOOP:
        yield "workload.thinkTimeSeconds", 0, "nobody pauses: the careful assumption"
    if kind is LoadKind.OPEN_LOOP:
        yield "workload.burstiness", "1", "Poisson arrivals"
    yield "quality.quantization.lossy", "Allow", "nothing in the scenario asks to avoid it"
    pin = spec.get("select", {}).get("pin")
    if pin is None:
        yield "select.tier", "Recommended", "headroom for growth at the lowest cost"
    elif "speculativeDecoding" in pin:
        percent = round(100 * ASSUMED_SPECULATIVE_ACCEPTANCE)
        yield "select.pin.speculativeDecoding.acceptancePercent", percent, "an assumption: it depends on the texts"


def _add(
    spec: dict[str, Any],
    notes: dict[str, tuple[Origin, str]],
    path: str,
    value: object,
    origin: Origin,
    reason: str,
) -> None:
    """Set a value that is not there yet, and note where it comes from."""
    *parents, name = path.split(".")
    target = spec
    for parent in parents:
        inner = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            return
        target = inner
    if name not in target:
        target[name] = value
        notes[path] = (origin, reason)


def leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a spec in its written form with its dotted path; lists are values."""
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping):
            yield from leaves(item, f"{path}.")
        else:
            yield path, item


@functools.cache
def _schema_defaults() -> dict[str, Any]:
    bare = InferenceScenarioSpec.model_validate({"useCase": UseCase.CUSTOM.value})
    return dict(leaves(bare.model_dump(by_alias=True, mode="json", exclude_none=True)))


def _rows(spec: InferenceScenarioSpec, notes: Mapping[str, tuple[Origin, str]]) -> Iterator[Resolved]:
    written = spec.model_dump(by_alias=True, mode="json", exclude_none=True)
    defaults = _schema_defaults()
    for section in SECTIONS:
        if section not in written:
            continue
        for path, value in leaves({section: written[section]}):
            origin, reason = notes.get(path, (Origin.SPEC, ""))
            if path not in notes and path != "useCase" and path in defaults and defaults[path] == value:
                origin = Origin.DEFAULT
            yield Resolved(path, shorten(_text(value), _SHOWN_CHARACTERS), origin, reason)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return str(value.get("name", "")) if "name" in value else ", ".join(f"{k}={v}" for k, v in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
