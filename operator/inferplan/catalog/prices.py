"""A price book laid over the catalog's offerings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from inferplan.domain.catalog import Catalog
from inferplan.domain.hardware import Offering


def apply_price_book(catalog: Catalog, entries: Sequence[Offering]) -> Catalog:
    """Replace offerings by the user's own prices and add those that are new.

    Parameters
    ----------
    entries
        Offerings that win over ours of the same provider, region, instance type and terms.
    """
    book = {_key(entry): entry for entry in entries}
    kept = [offering for offering in catalog.offerings if _key(offering) not in book]
    offerings = sorted([*kept, *book.values()], key=lambda o: (*_key(o), o.market.value))
    if not book:
        return catalog
    digest = hashlib.sha256(f"{catalog.digest} {[book[key] for key in sorted(book)]}".encode()).hexdigest()
    return replace(catalog, offerings=tuple(offerings), digest=digest)


def _key(offering: Offering) -> tuple[str, str, str, str]:
    return (offering.provider, offering.region, offering.instance_type, offering.terms.value)
