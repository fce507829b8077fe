"""What nodes cost: the catalog, the price book over it, a Karpenter NodeOverlay over both; and what stands in.

A price that is not known is never made up in silence: the price of the same machine elsewhere, or else the middle of
what its GPU costs, stands in, says so in its source, and does not satisfy a budget that blocks.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from inferplan.api.cluster_objects import NodeObject
from inferplan.api.node_pools import read_node_pools
from inferplan.api.price_book import read_price_book
from inferplan.catalog.prices import apply_price_book
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.errors import InputError
from inferplan.domain.hardware import Market, Offering, Terms
from inferplan.domain.node_pool import NodePool
from inferplan.kube.client import Body

STAND_IN = "stand-in: "
"""Begins the source of a price that is not the node's own."""
POOLS_KEY = "node-pools"
ASSUMED_STALE_AFTER_DAYS = 180
"""Age from which a price is called stale [d]. No source; list prices of GPUs changed once or twice a year."""


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The price book as it was last read.

    Parameters
    ----------
    offerings
        Of the last book without a fault.
    faults
        Of the present book; while there are any, the last good prices stay.
    """

    version: str = ""
    offerings: tuple[Offering, ...] = ()
    faults: tuple[str, ...] = ()
    pools: tuple[NodePool, ...] = ()
    """Hints about node pools, under keys that begin with ``node-pools``."""


def read_book(body: Body | None, before: PriceBook, catalog: Catalog) -> PriceBook:
    """Read a ConfigMap whose every value is a list: of prices, or of node pools by its key.

    One fault anywhere, and what was read before stays.
    """
    if body is None:
        return PriceBook()
    metadata = body["metadata"]
    version = f"{metadata['uid']} {metadata['resourceVersion']}"
    if version == before.version:
        return before
    origin = f"price book {metadata['namespace']}/{metadata['name']}"
    found: list[Offering] = []
    pools: list[NodePool] = []
    faults: list[str] = []
    for name, text in sorted((body.get("data") or {}).items()):
        try:
            if name.startswith(POOLS_KEY):
                pools.extend(read_node_pools(text, f"{origin}: {name}", catalog))
            else:
                found.extend(read_price_book(text, f"{origin}: {name}", catalog))
        except InputError as error:
            faults.extend(str(fault) for fault in error.faults)
    if faults:
        return replace(before, version=version, faults=tuple(faults))
    return PriceBook(version, tuple(found), pools=tuple(pools))


def with_book(catalog: Catalog, book: PriceBook) -> Catalog:
    """Lay a price book over a catalog."""
    return apply_price_book(catalog, book.offerings)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A demand on the labels of nodes, as Karpenter writes it."""

    key: str
    operator: str
    values: tuple[str, ...]

    def met_by(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet it; an operator that is not known is not met."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value in self.values
        if self.operator == "NotIn":
            return value not in self.values
        if self.operator in {"Exists", "DoesNotExist"}:
            return (value is not None) == (self.operator == "Exists")
        if self.operator in {"Gt", "Lt"} and value is not None and value.isdigit() and self.values[0].isdigit():
            return int(value) > int(self.values[0]) if self.operator == "Gt" else int(value) < int(self.values[0])
        return False


def read_requirements(items: Iterable[Mapping[str, Any]]) -> tuple[Requirement, ...]:
    """Read a list of requirements."""
    return tuple(
        Requirement(str(item["key"]), str(item["operator"]), tuple(str(value) for value in item.get("values") or ()))
        for item in items
    )


@dataclass(frozen=True, slots=True)
class Overlay:
    """A NodeOverlay that says a price: absolute, or by how much it differs.

    References
    ----------
    .. [1] kubernetes-sigs/karpenter, pkg/apis/v1alpha1/nodeoverlay.go and designs/node-overlay.md.
    """

    name: str
    weight: int
    requirements: tuple[Requirement, ...]
    price_usd_per_hour: Decimal | None
    adjustment: str

    def price(self, before: Decimal | None) -> Decimal | None:
        """Return the price that it gives a node; None if it gives none."""
        if self.price_usd_per_hour is not None:
            return self.price_usd_per_hour
        if before is None:
            return None
        amount = Decimal(self.adjustment.rstrip("%"))
        changed = before * (1 + amount / 100) if self.adjustment.endswith("%") else before + amount
        return max(Decimal(0), changed)


def read_overlay(body: Body) -> Overlay | None:
    """Read a NodeOverlay; None if it says nothing about prices, or nothing that can be read."""
    spec = body.get("spec") or {}
    try:
        price = Decimal(str(spec["price"])) if spec.get("price") else None
        adjustment = str(spec.get("priceAdjustment") or "")
        if adjustment:
            Decimal(adjustment.rstrip("%"))
        if (price is None and not adjustment) or (price is not None and not price.is_finite()):
            return None
        requirements = read_requirements(spec.get("requirements") or ())
        weight = int(spec.get("weight") or 0)
    except (InvalidOperation, KeyError, TypeError, ValueError):
        return None
    return Overlay(body["metadata"]["name"], weight, requirements, price, adjustment)


def priced(
    inventory: Inventory, nodes: Mapping[str, NodeObject], overlays: Sequence[Overlay], catalog: Catalog, today: str
) -> Inventory:
    """Give every node the price that holds for it.

    Parameters
    ----------
    nodes
        By name, for their labels.
    overlays
        The heaviest that fits a node wins, then the first by name.
    today
        Date of what overlays say.
    """
    ordered = sorted(overlays, key=lambda overlay: (-overlay.weight, overlay.name))
    return replace(inventory, nodes=tuple(_priced(node, nodes, ordered, catalog, today) for node in inventory.nodes))


def _priced(
    node: GpuNode, nodes: Mapping[str, NodeObject], overlays: Sequence[Overlay], catalog: Catalog, today: str
) -> GpuNode:
    labels = nodes[node.name].metadata.labels if node.name in nodes else {}
    for overlay in overlays:
        if all(requirement.met_by(labels) for requirement in overlay.requirements):
            price = overlay.price(node.price_usd_per_hour)
            if price is not None:
                source = f"NodeOverlay {overlay.name}"
                if overlay.price_usd_per_hour is None:
                    source = f"{source} ({overlay.adjustment}) on {node.price_source}"
                return replace(node, price_usd_per_hour=price, price_source=source, price_as_of=today)
    return node if node.price_usd_per_hour is not None else _stood_in(node, catalog)


def _stood_in(node: GpuNode, catalog: Catalog) -> GpuNode:
    """Let a known price stand in for one that is not."""
    gpu, gpus = node.gpu, node.gpus_allocatable
    clouds = [offer for offer in catalog.offerings if offer.gpu == gpu and offer.market is Market.CLOUD]
    same_terms = [offer for offer in clouds if offer.terms is node.terms]
    offers = same_terms or [offer for offer in clouds if offer.terms is Terms.ON_DEMAND]
    if not offers or not gpus:
        return node
    same = [
        offer
        for offer in offers
        if (offer.provider, offer.instance_type) == (node.provider, node.instance_type) and offer.gpu_count == gpus
    ]
    if same:
        best = max(same, key=lambda offer: (offer.price_usd_per_hour, offer.region))
        source = f"{STAND_IN}{best.instance_type} in {best.region}, as none is known for {node.region or 'its region'}"
        return replace(node, price_usd_per_hour=best.price_usd_per_hour, price_source=source, price_as_of=best.as_of)
    middle = Decimal(statistics.median_low(offer.price_usd_per_hour / offer.gpu_count for offer in offers))
    price = (middle * gpus).quantize(Decimal("0.000001"))
    source = f"{STAND_IN}the median of {len(offers)} {offers[0].terms} prices per {gpu}, as none is known for the node"
    as_of = min(offer.as_of for offer in offers)
    return replace(node, price_usd_per_hour=price, price_source=source, price_as_of=as_of)
