"""Reading the catalog's folders: every file into its record, every fault noted with file and place."""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

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
_PRICES = ((Terms.ON_DEMAND, "on_demand_usd_per_hour"), (Terms.SPOT, "spot_usd_per_hour"))
_LARGEST_FILE_BYTES = 5_000_000


@dataclass(slots=True)
class Records:
    """Records by kind and id, offerings by what they offer, and the faults met on the way."""

    by_kind: dict[str, dict[str, Sourced]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    """File of each (kind, id)."""
    offerings: dict[tuple[str, str, str, Terms, str], Offering] = field(default_factory=dict)
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
            _unknown_folders(overlay, records)
            _read_folder(overlay, records, f"{overlay}/")
    return records


def _unknown_folders(root: Path, records: Records) -> None:
    known = [*KINDS, "offerings"]
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and entry.name in known:
            records.faults.extend(_not_records(entry))
        elif entry.is_dir():
            near = get_close_matches(entry.name, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"allowed: {', '.join(known)}"
            records.faults.append(Fault(str(entry), "is not a kind of record", hint))


def _not_records(folder: Path) -> Iterator[Fault]:
    """Files that nobody would read, such as YAML where TOML is meant."""
    for path in sorted(folder.iterdir()):
        if path.suffix in {".yaml", ".yml", ".json"}:
            yield Fault(str(path), "is not read", "records are TOML files, offerings CSV")


def _read_folder(root: Path, records: Records, prefix: str) -> None:
    seen: dict[tuple[str, str], str] = {}
    for kind in KINDS:
        for path in sorted((root / kind).glob("*.toml")):
            name = f"{prefix}{kind}/{path.name}"
            _read_record(path, name, kind, records, seen)
    for path in sorted((root / "offerings").glob("*.csv")):
        _read_offerings(path, f"{prefix}offerings/{path.name}", records)
    for path in sorted((root / "offerings").glob("*.toml")):
        table = _toml(path, f"{prefix}offerings/{path.name}", records)
        tags = table.get("tags") if table else None
        if isinstance(tags, list):
            records.tags.update(str(tag["tag"]) for tag in tags if isinstance(tag, dict) and "tag" in tag)


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
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        records.faults.append(Fault(name, f"is not TOML: {error}"))
        return None


def _read_record(path: Path, name: str, kind: str, records: Records, seen: dict[tuple[str, str], str]) -> None:
    table = _toml(path, name, records)
    if table is None:
        return
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
    known = list(KINDS[kind].model_fields)
    for detail in error.errors(include_url=False):
        place = ".".join(str(part) for part in detail["loc"])
        hint = ""
        if detail["type"] == "extra_forbidden":
            near = get_close_matches(str(detail["loc"][-1]), known, 1)
            hint = f'did you mean "{near[0]}"?' if near else ""
            yield Fault(f"{name}: {place}", "unknown key", hint)
        else:
            yield Fault(f"{name}: {place}", detail["msg"])


def _read_offerings(path: Path, name: str, records: Records) -> None:
    content = _bytes(path, name, records)
    if content is None:
        return
    try:
        rows = csv.reader(io.StringIO(content.decode()))
        header = next(rows, [])
    except UnicodeDecodeError as error:
        records.faults.append(Fault(name, f"is not text: {error}"))
        return
    if header != COLUMNS:
        records.faults.append(Fault(f"{name}:1", "has other columns", f"write: {','.join(COLUMNS)}"))
        return
    for number, row in enumerate(rows, start=2):
        if row:
            _read_offering(row, f"{name}:{number}", records)


def _read_offering(row: list[str], where: str, records: Records) -> None:
    if len(row) != len(COLUMNS):
        records.faults.append(Fault(where, f"has {len(row)} values", f"{len(COLUMNS)} are needed"))
        return
    cell = dict(zip(COLUMNS, row, strict=True))
    try:
        market, count = Market(cell["market"]), int(cell["gpu_count"])
        vcpus = int(float(cell["vcpus"])) if cell["vcpus"] else None
        memory = float(cell["memory_gib"]) if cell["memory_gib"] else None
    except ValueError as error:
        records.faults.append(Fault(where, str(error)))
        return
    if count < 1:
        records.faults.append(Fault(where, f"gpu_count is {count}", "whole GPUs only"))
        return
    for terms, column in _PRICES:
        if not cell[column]:
            continue
        try:
            price = Decimal(cell[column]).quantize(MICRO_USD)
        except InvalidOperation:
            records.faults.append(Fault(f"{where}: {column}", f'"{cell[column]}" is not a price'))
            continue
        if price <= 0:
            records.faults.append(Fault(f"{where}: {column}", "must be above zero", "leave it empty if unknown"))
            continue
        key = (cell["provider"], cell["region"], cell["instance_type"], terms, market.value)
        records.offerings[key] = Offering(
            provider=cell["provider"],
            region=cell["region"],
            instance_type=cell["instance_type"],
            gpu=cell["gpu"],
            gpu_count=count,
            terms=terms,
            market=market,
            price_usd_per_hour=price,
            as_of=cell["as_of"],
            source=cell["source"],
            vcpus=vcpus,
            memory_gib=memory,
        )
