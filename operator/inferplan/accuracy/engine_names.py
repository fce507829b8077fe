"""Which catalog engine a run used, and of which release: stated, or what was current on its date."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from inferplan.domain.catalog import Catalog
from inferplan.domain.deployment import EngineSpec

_VERSION = re.compile(r"^v?(\d+)\.(\d+)(?:\.(\d+))?")
_IN_NAME = re.compile(r"^(vllm|tgi|text[-_ ]generation[-_ ]inference)\b[-_ /:=@]*v?(\d.*)?$")
_DATE = re.compile(r"(?<!\d)(20[2-3]\d)(?:-?(\d{2}))?")
_SAME = {
    "vllm": "vllm",
    "vllm-v1": "vllm",
    "vllm-v0": "vllm",
    "vllm-openai": "vllm",
    "vllm serve": "vllm",
    "tgi": "tgi",
    "tgis": "tgi",
    "text-generation-inference": "tgi",
}

VLLM_RELEASES = (
    ((2023, 6), "0.1"),
    ((2023, 10), "0.2"),
    ((2024, 2), "0.3"),
    ((2024, 4), "0.4"),
    ((2024, 7), "0.5"),
    ((2024, 9), "0.6"),
    ((2025, 2), "0.7"),
    ((2025, 4), "0.8"),
    ((2025, 6), "0.9"),
    ((2025, 8), "0.10"),
    ((2025, 10), "0.11"),
    ((2025, 12), "0.12"),
    ((2026, 1), "0.13"),
    ((2026, 2), "0.15"),
    ((2026, 3), "0.18"),
    ((2026, 4), "0.19"),
    ((2026, 6), "0.22"),
)
"""Months from which on a vLLM release was the current one (release notes on GitHub; from 2026 on the dates of runs that
state both)."""
_MIDDLE_OF_YEAR = 7


@dataclass(frozen=True, slots=True)
class NamedEngine:
    """An engine of the catalog as a run used it; ``assumed`` if its release was inferred."""

    engine: EngineSpec
    assumed: tuple[str, ...] = ()


def find_engine(catalog: Catalog, name: str, version: str, date: str) -> NamedEngine | str:
    """Return the engine of a run with its release, or why it is not known."""
    in_name = _IN_NAME.match(name.strip().casefold())
    plain = in_name[1] if in_name is not None else name.strip().casefold()
    engine = catalog.engine(_SAME.get(plain, plain))
    if engine is None:
        return f'engine "{name}" is not in the catalog'
    stated = _VERSION.match(version) or _VERSION.match((in_name and in_name[2]) or "")
    if stated is not None:
        return NamedEngine(replace(engine, version=f"{stated[1]}.{stated[2]}.{stated[3] or 0}"))
    if engine.id != "vllm":
        return NamedEngine(engine)
    release = release_of(date) or release_of(version)
    if release is None:
        return NamedEngine(engine, (f"vLLM {engine.version}, since no release is stated",))
    return NamedEngine(replace(engine, version=f"{release}.0"), (f"vLLM {release} by its date",))


def has_date(text: str) -> bool:
    """Whether a text holds a year or a month from which the release can be told.

    >>> has_date("2026-11-24"), has_date("2025"), has_date("yesterday")
    (True, True, False)
    """
    return _DATE.search(text) is not None


def release_of(date: str) -> str | None:
    """VLLM release that was current on a date; a year alone stands for its middle.

    >>> release_of("2025-10-29"), release_of("2024"), release_of("2025-2026"), release_of("once")
    ('0.11', '0.5', '0.9', None)
    """
    found = _DATE.search(date)
    if found is None:
        return None
    month = int(found[2]) if found[2] and 1 <= int(found[2]) <= 12 else _MIDDLE_OF_YEAR  # noqa: PLR2004 - months
    at = (int(found[1]), month)
    current = [release for since, release in VLLM_RELEASES if since <= at]
    return current[-1] if current else None


def parts_of(version: str) -> tuple[int, int] | None:
    """Major and minor number of a version; None if it has none."""
    found = _VERSION.match(version)
    return None if found is None else (int(found[1]), int(found[2]))
