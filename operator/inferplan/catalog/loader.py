"""From records to the catalog that the planner reads."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from inferplan.catalog.files import Records, read
from inferplan.catalog.schema import CalibrationRecord, Engine, Gpu, Level, Method, Model, Preset, Sourced
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import CatalogError, Fault

Kind = TypeVar("Kind", bound=Sourced)


def load_catalog(overlay: Path | None = None) -> Catalog:
    """Load our catalog, with a user's folder laid over it.

    Parameters
    ----------
    overlay
        Folder with the same sub-folders as ours; a record with a known id replaces ours, a new id adds.

    Raises
    ------
    CatalogError
        With every fault of form and every dangling reference. The deeper checks are those of
        :func:`inferplan.catalog.check.check_catalog`.
    """
    records = read(overlay)
    faults = [*records.faults, *dangling(records)]
    if faults:
        raise CatalogError(faults)
    return to_catalog(records)


def of_kind(records: Records, kind: str, record: type[Kind]) -> list[Kind]:
    """Records of one kind, sorted by id."""
    return [entry for _, entry in sorted(records.by_kind[kind].items()) if isinstance(entry, record)]


def to_catalog(records: Records) -> Catalog:
    """Convert records without dangling references."""
    methods = tuple(method.to_domain() for method in of_kind(records, "methods", Method))
    quantizations = {method.id: method.quantization for method in methods}
    return Catalog(
        models=tuple(model.to_domain(quantizations) for model in of_kind(records, "models", Model)),
        gpus=tuple(gpu.to_domain() for gpu in of_kind(records, "gpus", Gpu)),
        offerings=tuple(records.offerings[key] for key in sorted(records.offerings)),
        engines=tuple(engine.to_domain() for engine in of_kind(records, "engines", Engine)),
        methods=methods,
        calibrations=tuple(entry.to_domain() for entry in of_kind(records, "calibration", CalibrationRecord)),
        presets=tuple(preset.to_domain() for preset in of_kind(records, "presets", Preset)),
        levels=tuple(sorted((e.to_domain() for e in of_kind(records, "levels", Level)), key=lambda e: e.minimum)),
        digest=records.digest(),
    )


def dangling(records: Records) -> Iterator[Fault]:
    """References to records that do not exist, with the nearest name."""
    known = {kind: {str(getattr(e, "id")) for e in entries.values()} for kind, entries in records.by_kind.items()}  # noqa: B009
    for model in of_kind(records, "models", Model):
        for checkpoint in model.checkpoints:
            yield from _missing(records, "models", model.id, checkpoint.method, "method", known["methods"])
    for method in of_kind(records, "methods", Method):
        for engine in method.engines:
            yield from _missing(records, "methods", method.id, engine, "engine", known["engines"])
    for entry in of_kind(records, "calibration", CalibrationRecord):
        yield from _missing(records, "calibration", entry.id, entry.engine, "engine", known["engines"])
        if entry.gpu is not None:
            yield from _missing(records, "calibration", entry.id, entry.gpu, "GPU", known["gpus"])
    for gpu in sorted({offering.gpu for offering in records.offerings.values()} - known["gpus"]):
        near = get_close_matches(gpu, known["gpus"], 1)
        hint = f'did you mean "{near[0]}"?' if near else "add a record under gpus/"
        yield Fault("offerings", f'GPU "{gpu}" is not in the catalog', hint)


def _missing(records: Records, kind: str, of: str, name: str, what: str, known: set[str]) -> Iterator[Fault]:
    if name in known:
        return
    near = get_close_matches(name, known, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(sorted(known))}"
    yield Fault(f"{records.files[kind, of.casefold()]}: {of}", f'{what} "{name}" is not in the catalog', hint)
