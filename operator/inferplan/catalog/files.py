"""Reading the catalog's folders: every file into its record, every fault noted with file and place."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError

from inferplan.catalog.schema import KINDS, Sourced
from inferplan.domain.errors import Fault
from inferplan.domain.hardware import Market, Offering, Terms
from inferplan.domain.units import MICRO_USD

OURS = Path(__file__).parent / "data"
COLUMNS = [
    "provider",
    "region",
    "instance_type",
    "gpu",
    "gpu_count",
    "vcpus",
    "memory_gib",
    "market",
    "on_demand_usd_per_hour",
    "spot_usd_per_hour",
    "as_of",
    "source",
]
_Key = tuple[str, str, str, Terms, str]
_PRICES = ((Terms.ON_DEMAND, "on_demand_usd_per_hour"), (Terms.SPOT, "spot_usd_per_hour"))
_NEEDED = ("provider", "region", "instance_type", "gpu", "source")
_DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?")
_LARGEST_FILE_BYTES = 5_000_000


@dataclass(slots=True)
class Records:
    """Records by kind and id, offerings by what they offer, and the faults met on the way."""

    by_kind: dict[str, dict[str, Sourced]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    """File of each (kind, id)."""
    offerings: dict[_Key, Offering] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)

    def digest(self) -> str:
        """SHA-256 over everything read, in order."""
        return hashlib.sha256(b"\0".join(self.content)).hexdigest()


def read(overlay: Path | None = None) -> Records:
    """Read our catalog and lay a user's over it; the same id replaces, a new one adds."""
    records = Records()
    _read_folder(OURS, records, "")
    if overlay is not None:
        if not overlay.is_dir():
            records.faults.append(
                Fault(str(overlay), "is not a folder", "give the folder that holds models/, gpus/, …")
            )
        else:
            try:
                records.faults.extend(_not_read(overlay))
            except OSError as error:
                records.faults.append(Fault(str(error.filename or overlay), f"cannot be read: {error.strerror}"))
            _read_folder(overlay, records, f"{overlay}/")
    return records


def _not_read(root: Path) -> Iterator[Fault]:
    """What stands in a user's folder and nobody would read: other folders, YAML, files in the wrong place."""
    known = [*KINDS, "offerings"]
    for entry in _entries(root):
        if entry.is_dir() and entry.name in known:
            read_here = {".toml", ".csv"} if entry.name == "offerings" else {".toml"}
            for inner in _entries(entry):
                if inner.suffix not in read_here:
                    yield Fault(str(inner), "is not read", "records are TOML files, offerings CSV")
        elif entry.is_dir():
            near = get_close_matches(entry.name, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"allowed: {', '.join(known)}"
            yield Fault(str(entry), "is not a kind of record", hint)
        else:
            yield Fault(str(entry), "is not read", f"files stand in folders: {', '.join(known)}")


def _entries(folder: Path) -> list[Path]:
    """Everything in a folder but hidden files and notes to people."""
    return sorted(
        entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.suffix not in {".md", ".txt"}
    )


def _read_folder(root: Path, records: Records, prefix: str) -> None:
    seen: dict[tuple[str, str], str] = {}
    for kind in KINDS:
        for path in sorted((root / kind).glob("*.toml")):
            name = f"{prefix}{kind}/{path.name}"
            _read_record(path, name, kind, records, seen)
    priced: dict[_Key, str] = {}
    for path in sorted((root / "offerings").glob("*.csv")):
        _read_offerings(path, f"{prefix}offerings/{path.name}", records, priced)
    for path in sorted((root / "offerings").glob("*.toml")):
        _read_tags(path, f"{prefix}offerings/{path.name}", records)


def _read_tags(path: Path, name: str, records: Records) -> None:
    table = _toml(path, name, records)
    if table is None:
        return
    tags = table.get("tags")
    for tag in tags if isinstance(tags, list) else [None]:
        if isinstance(tag, dict) and isinstance(tag.get("tag"), str):
            records.tags.add(tag["tag"])
        else:
            records.faults.append(Fault(name, "describes no source", 'write [[tags]] with tag = "…" and title = "…"'))


def _bytes(path: Path, name: str, records: Records) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError as error:
        records.faults.append(Fault(name, f"cannot be read: {error.strerror}"))
        return None
    if len(content) > _LARGEST_FILE_BYTES:
        records.faults.append(Fault(name, f"is larger than {_LARGEST_FILE_BYTES:,} bytes"))
        return None
    records.content.append(content)
    return content


def _toml(path: Path, name: str, records: Records) -> dict[str, object] | None:
    content = _bytes(path, name, records)
    if content is None:
        return None
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # besides TOMLDecodeError: not UTF-8, endless digits, deep nesting
        records.faults.append(Fault(name, f"is not TOML: {error}"))
        return None


def _read_record(path: Path, name: str, kind: str, records: Records, seen: dict[tuple[str, str], str]) -> None:
    table = _toml(path, name, records)
    if table is None:
        return
    several = table.get("records")
    if isinstance(several, list) and len(table) == 1:
        for number, part in enumerate(several, start=1):
            _keep_record(part, f"{name}: record {number}", kind, records, seen)
    else:
        _keep_record(table, name, kind, records, seen)


def _keep_record(table: object, name: str, kind: str, records: Records, seen: dict[tuple[str, str], str]) -> None:
    try:
        record = KINDS[kind].model_validate(table)
    except ValidationError as error:
        records.faults.extend(_validation_faults(error, name, kind))
        return
    key = (kind, str(getattr(record, "id")).casefold())  # noqa: B009 - every kind has an id, the base has none
    if key in seen:
        records.faults.append(Fault(name, f'id "{key[1]}" stands in {seen[key]} too', "one record for each id"))
        return
    seen[key] = records.files[key] = name
    records.by_kind[kind][key[1]] = record


def _validation_faults(error: ValidationError, name: str, kind: str) -> Iterator[Fault]:
    for detail in error.errors(include_url=False):
        place = ".".join(str(part) for part in detail["loc"])
        hint = ""
        if detail["type"] == "extra_forbidden":
            near = get_close_matches(str(detail["loc"][-1]), _known_keys(KINDS[kind], detail["loc"]), 1)
            hint = f'did you mean "{near[0]}"?' if near else ""
            yield Fault(f"{name}: {place}", "unknown key", hint)
        else:
            yield Fault(f"{name}: {place}", detail["msg"])


def _known_keys(record: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Keys allowed where an unknown one was met: those of the table that holds it."""
    for part in place[:-1]:
        if isinstance(part, str) and part in record.model_fields:
            annotation = record.model_fields[part].annotation
            tables = [
                a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)
            ]
            if tables:
                record = tables[0]
    return list(record.model_fields)


def _read_offerings(path: Path, name: str, records: Records, seen: dict[_Key, str]) -> None:
    content = _bytes(path, name, records)
    if content is None:
        return
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        records.faults.append(Fault(name, f"is not CSV: {error}"))
        return
    if not rows or rows[0] != COLUMNS:
        records.faults.append(Fault(f"{name}:1", "has other columns", f"write: {','.join(COLUMNS)}"))
        return
    for number, row in enumerate(rows[1:], start=2):
        if row:
            _read_offering(row, f"{name}:{number}", records, seen)


def _read_offering(row: list[str], where: str, records: Records, seen: dict[_Key, str]) -> None:
    if len(row) != len(COLUMNS):
        records.faults.append(Fault(where, f"has {len(row)} values", f"{len(COLUMNS)} are needed"))
        return
    cell = dict(zip(COLUMNS, row, strict=True))
    faults = list(_cell_faults(cell, where))
    if faults:
        records.faults.extend(faults)
        return
    for terms, column in _PRICES:
        if not cell[column]:
            continue
        regular = cell["on_demand_usd_per_hour"]
        key = (cell["provider"], cell["region"], cell["instance_type"], terms, cell["market"])
        if key in seen:
            records.faults.append(
                Fault(where, f"is priced in {seen[key]} too", "one price for each instance and terms")
            )
            continue
        seen[key] = where
        records.offerings[key] = Offering(
            provider=cell["provider"],
            region=cell["region"],
            instance_type=cell["instance_type"],
            gpu=cell["gpu"],
            gpu_count=int(float(cell["gpu_count"])),
            terms=terms,
            market=Market(cell["market"]),
            price_usd_per_hour=Decimal(cell[column]).quantize(MICRO_USD),
            as_of=cell["as_of"],
            source=cell["source"],
            vcpus=int(float(cell["vcpus"])) if cell["vcpus"] else None,
            memory_gib=float(cell["memory_gib"]) if cell["memory_gib"] else None,
            on_demand_usd_per_hour=Decimal(regular).quantize(MICRO_USD) if regular and terms is Terms.SPOT else None,
        )


def _cell_faults(cell: dict[str, str], where: str) -> Iterator[Fault]:
    """All that is wrong with a row of offerings."""
    for column in _NEEDED:
        if not cell[column].strip():
            yield Fault(f"{where}: {column}", "is empty")
    if cell["market"] not in {market.value for market in Market}:
        yield Fault(f"{where}: market", f'"{cell["market"]}" is none', f"allowed: {', '.join(m.value for m in Market)}")
    count = _number(cell["gpu_count"])
    if count is None:
        yield Fault(f"{where}: gpu_count", f'"{cell["gpu_count"]}" is not a number')
    elif count < 1 or count % 1:
        yield Fault(f"{where}: gpu_count", f"is {cell['gpu_count']}", "whole GPUs only")
    for column in ("vcpus", "memory_gib"):
        amount = _number(cell[column]) if cell[column] else 1
        if amount is None or amount <= 0:
            yield Fault(f"{where}: {column}", f'"{cell[column]}" is not an amount', "leave it empty if unknown")
    if not _DATE.fullmatch(cell["as_of"]):
        yield Fault(f"{where}: as_of", f'"{cell["as_of"]}" is not a date', "write 2026-01-31 or 2026-01")
    for _, column in _PRICES:
        yield from _price_faults(cell[column], f"{where}: {column}")


def _price_faults(text: str, where: str) -> Iterator[Fault]:
    if not text:
        return
    try:
        price = Decimal(text).quantize(MICRO_USD)
    except InvalidOperation:
        price = Decimal("NaN")
    if price.is_nan():
        yield Fault(where, f'"{text}" is not a price')
    elif price <= 0:
        yield Fault(where, "must be above zero", "leave it empty if unknown")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None
