"""A user's own prices: a list in YAML that overrides the catalog's offerings, or adds to them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from inferplan.api.faults import place, shape_faults
from inferplan.api.names import LIST_GPUS
from inferplan.api.suggest import did_you_mean
from inferplan.api.v1alpha1.scalars import Amount, Name, Relaxed, SpecModel
from inferplan.api.yaml_tree import Node, parse_trees, read_bytes
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.hardware import Market, Offering, Terms

DATE_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
ABSURD_FACTOR = 20
"""A price this many times above the dearest or below the cheapest known price of its GPU must be confirmed."""


class Price(SpecModel):
    """One line of a price book."""

    provider: Name = Field(description="Who sells.")
    region: Name = Field(description="Where.")
    instance_type: Name = Field(description="Kind of machine.")
    gpu: Name = Field(description="GPU, by any name that the catalog knows.")
    gpu_count: Annotated[int, Field(ge=1, le=1024)] = Field(description="GPUs in one machine.")
    terms: Relaxed[Terms] = Field(default=Terms.ON_DEMAND, description="OnDemand, Spot or Committed.")
    market: Relaxed[Market] = Field(default=Market.CLOUD, description="Cloud, Community or Marketplace.")
    usd_per_hour: Amount = Field(description="Price of the whole machine.")
    as_of: Annotated[str, Field(pattern=DATE_PATTERN)] = Field(description="Date of the price.")
    source: Annotated[str, Field(min_length=1, max_length=500)] = Field(description="Where it comes from.")
    confirmed: bool = Field(default=False, description="True: the price is right although it looks absurd.")


def read_price_book_file(path: Path, catalog: Catalog) -> tuple[Offering, ...]:
    """Read a price book from a file; see :func:`read_price_book`."""
    return read_price_book(read_bytes(path), str(path), catalog)


def read_price_book(data: bytes | str, origin: str, catalog: Catalog) -> tuple[Offering, ...]:
    """Read a price book.

    Parameters
    ----------
    data
        YAML or JSON: a list of prices.
    origin
        Name of the file.
    catalog
        Names of GPUs, and the prices that a new one is compared with.

    Raises
    ------
    InputError
        With every fault: of shape, unknown GPUs, dates that are none, prices that stand twice, and prices far
        outside what is known of their GPU that are not confirmed.
    """
    faults: list[Fault] = []
    found: dict[tuple[str, str, str, Terms], Offering] = {}
    for tree in parse_trees(data, origin):
        if tree.items is None:
            faults.append(Fault(f"{origin}:{tree.line}", "a price book is a list of prices", "start entries with -"))
            continue
        for item in tree.items:
            entry = _entry(item, origin, catalog)
            if isinstance(entry, list):
                faults.extend(entry)
            elif _key(entry) in found:
                faults.append(Fault(f"{origin}:{item.line}", f"the price of {_title(entry)} stands twice"))
            else:
                found[_key(entry)] = entry
    if faults:
        raise InputError(faults)
    return tuple(found.values())


def _key(offering: Offering) -> tuple[str, str, str, Terms]:
    return offering.provider, offering.region, offering.instance_type, offering.terms


def _title(offering: Offering) -> str:
    return f"{offering.provider} {offering.region} {offering.instance_type} {offering.terms}"


def _entry(node: Node, origin: str, catalog: Catalog) -> Offering | list[Fault]:
    try:
        price = Price.model_validate(node.plain())
    except ValidationError as error:
        return shape_faults(error, node, origin)
    faults = []
    gpu = catalog.gpu(price.gpu)
    if gpu is None:
        known = [name for known in catalog.gpus for name in (known.id, known.name, *known.aliases)]
        fix = did_you_mean(price.gpu, known, LIST_GPUS)
        faults.append(Fault(place(origin, node, ("gpu",)), f'unknown GPU "{price.gpu}"', fix))
    if not _is_date(price.as_of):
        faults.append(Fault(place(origin, node, ("asOf",)), f'"{price.as_of}" is not a date', "write 2026-11-24"))
    if price.terms is Terms.OWNED:
        faults.append(
            Fault(place(origin, node, ("terms",)), "a price book holds rented machines", "use spec.hardware.owned")
        )
    if Decimal(price.usd_per_hour) == 0:
        faults.append(Fault(place(origin, node, ("usdPerHour",)), "must be above zero"))
    if faults or gpu is None:
        return faults
    offering = Offering(
        provider=price.provider,
        region=price.region,
        instance_type=price.instance_type,
        gpu=gpu.id,
        gpu_count=price.gpu_count,
        terms=price.terms,
        market=price.market,
        price_usd_per_hour=Decimal(price.usd_per_hour),
        as_of=price.as_of,
        source=f"price book: {price.source}",
    )
    absurd = None if price.confirmed else _absurd(offering, catalog)
    return offering if absurd is None else [Fault(place(origin, node, ("usdPerHour",)), *absurd)]


def _absurd(price: Offering, catalog: Catalog) -> tuple[str, str] | None:
    """Say why a price looks wrong: far outside the range of its GPU, on any terms."""
    per_gpu = price.price_usd_per_hour / price.gpu_count
    known = sorted(
        offering.price_usd_per_hour / offering.gpu_count
        for offering in catalog.offerings
        if offering.gpu == price.gpu and offering.price_usd_per_hour > 0
    )
    if not known or known[0] / ABSURD_FACTOR <= per_gpu <= known[-1] * ABSURD_FACTOR:
        return None
    span = f"{known[0]:.2f} to {known[-1]:.2f}"
    problem = f"{per_gpu:.4f} USD per GPU and hour is far outside what is known of {price.gpu} ({span})"
    return problem, "per hour, not per month? If it is right, add confirmed: true"


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True
