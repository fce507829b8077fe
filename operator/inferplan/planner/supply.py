"""Where GPUs come from, and what any number of replicas costs there.

A *slot* is room for ``tp_size`` GPUs inside one machine; a replica needs ``pp_size`` slots. For every GPU and
slot size a supply knows the exact cheapest cost of 0, 1, 2, … slots, in whole micro-dollars, and which machines
that means. The search reads the table; nothing is packed twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.deployment import Placement
from inferplan.domain.hardware import Offering, OwnedPool, Terms
from inferplan.domain.scenario import HardwarePolicy
from inferplan.domain.taints import repelling
from inferplan.domain.units import micro_usd
from inferplan.estimate.cost import owned_node_usd_per_hour

UNAVAILABLE = np.int64(2**62)
"""Cost of what cannot be had."""


class Supply(Protocol):
    """Costs and placements of slots."""

    source: str
    prices_as_of: str

    def costs(self, gpu: str, slot_gpus: int) -> NDArray[np.int64]:
        """Cheapest cost [micro-USD/h] of 0, 1, 2, … slots; :data:`UNAVAILABLE` beyond what there is."""
        ...

    def has_gpu(self, gpu: str) -> bool:
        """Whether this GPU can be had at all, in any number."""
        ...

    def place(self, gpu: str, slot_gpus: int, slots: int) -> tuple[Placement, ...]:
        """Machines behind the cost of that many slots."""
        ...


@dataclass(frozen=True, slots=True)
class _Group:
    """Instance types of one GPU that can be bought together: same provider, region, terms and market."""

    offers: tuple[Offering, ...]


class MarketSupply:
    """Whole instances, rented: the cheapest mix of instance types of one region covers the slots.

    Notes
    -----
    Exact covering by dynamic programming over the number of slots s:
    ``C(s) = min over types (price + C(s - slots per instance))``, ``C(<=0) = 0``; the cheapest region wins,
    ties go to the alphabetically first provider and region.
    """

    source = "Market"

    def __init__(self, offerings: Iterable[Offering], policy: HardwarePolicy) -> None:
        self._maximum_gpus = policy.maximum_gpus
        groups: dict[str, dict[tuple[str, str, str, str], list[Offering]]] = defaultdict(lambda: defaultdict(list))
        dates = []
        for offer in offerings:
            if not _offered(offer, policy):
                continue
            key = (offer.provider, offer.region, offer.terms.value, offer.market.value)
            groups[offer.gpu][key].append(offer)
            dates.append(offer.as_of)
        self._groups: dict[str, list[_Group]] = {
            gpu: [_Group(_cheapest_by_size(by_key[key])) for key in sorted(by_key)]
            for gpu, by_key in sorted(groups.items())
        }
        self._tables: dict[int, dict[str, tuple[NDArray[np.int64], NDArray[np.intp]]]] = {}
        self.prices_as_of = f"{min(dates)} to {max(dates)}" if dates else ""

    def has_gpu(self, gpu: str) -> bool:
        """Whether any offering of the GPU passes the policy."""
        return gpu in self._groups

    def costs(self, gpu: str, slot_gpus: int) -> NDArray[np.int64]:
        """Cheapest cost of 0, 1, 2, … slots over all regions."""
        return self._table(gpu, slot_gpus)[0]

    def _table(self, gpu: str, slot_gpus: int) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Costs and the index of the cheapest group; all GPUs of one slot size are covered in one pass."""
        if slot_gpus not in self._tables:
            slots = self._maximum_gpus // slot_gpus
            sizes = [_sizes(group, slot_gpus) for groups in self._groups.values() for group in groups]
            covered = _cover(sizes, slots)
            tables, start = {}, 0
            for name, groups in self._groups.items():
                rows = covered[start : start + len(groups)]
                tables[name] = (rows.min(axis=0), rows.argmin(axis=0))
                start += len(groups)
            self._tables[slot_gpus] = tables
        if gpu not in self._groups:
            nothing = np.full(self._maximum_gpus // slot_gpus + 1, UNAVAILABLE)
            nothing[0] = 0
            return nothing, np.zeros(len(nothing), dtype=np.intp)
        return self._tables[slot_gpus][gpu]

    def place(self, gpu: str, slot_gpus: int, slots: int) -> tuple[Placement, ...]:
        """Instances of the cheapest cover, one placement per instance type."""
        group = self._groups[gpu][int(self._table(gpu, slot_gpus)[1][slots])]
        sizes = [size for size in _sizes(group, slot_gpus) if size[0] > 0]
        best = _cover([sizes], slots)[0]
        counts: dict[Offering, int] = defaultdict(int)
        used: dict[Offering, int] = defaultdict(int)
        left = slots
        while left > 0:
            held, offer = next(
                (k, o) for k, o in sizes if best[left] == micro_usd(o.price_usd_per_hour) + best[max(0, left - k)]
            )
            counts[offer] += 1
            used[offer] += min(held, left) * slot_gpus
            left -= held
        return tuple(
            Placement(
                provider=offer.provider,
                region=offer.region,
                instance_type=offer.instance_type,
                count=counts[offer],
                gpus_per_instance=offer.gpu_count,
                gpus_used=used[offer],
                gpus_idle=counts[offer] * offer.gpu_count - used[offer],
                price_usd_per_hour=offer.price_usd_per_hour,
                terms=offer.terms,
                as_of=offer.as_of,
                source=offer.source,
                vcpus=offer.vcpus,
                memory_gib=offer.memory_gib,
                on_demand_usd_per_hour=offer.on_demand_usd_per_hour,
            )
            for offer in sorted(counts, key=lambda o: (o.gpu_count, o.instance_type))
        )


def _offered(offer: Offering, policy: HardwarePolicy) -> bool:
    return (
        offer.terms in policy.terms
        and offer.market.value in policy.markets
        and (policy.providers is None or offer.provider in policy.providers)
        and (policy.regions is None or offer.region in policy.regions)
    )


def _cheapest_by_size(offers: Sequence[Offering]) -> tuple[Offering, ...]:
    """Keep the cheapest instance type of every GPU count; a dearer one is never part of the best cover."""
    best: dict[int, Offering] = {}
    for offer in sorted(offers, key=lambda o: (o.price_usd_per_hour, o.instance_type)):
        best.setdefault(offer.gpu_count, offer)
    return tuple(best[size] for size in sorted(best))


def _sizes(group: _Group, slot_gpus: int) -> list[tuple[int, Offering]]:
    """Slots that each instance type of the group holds."""
    return [(offer.gpu_count // slot_gpus, offer) for offer in group.offers]


def _cover(groups: Sequence[Sequence[tuple[int, Offering]]], slots: int) -> NDArray[np.int64]:
    """Cost [micro-USD/h] of covering 0 … ``slots`` slots in each group, shape (groups, slots + 1)."""
    if not groups:
        return np.empty((0, slots + 1), dtype=np.int64)
    width = max(len(group) for group in groups)
    held = np.ones((len(groups), width), dtype=np.intp)
    price = np.full((len(groups), width), UNAVAILABLE)
    for row, group in enumerate(groups):
        for column, (count, offer) in enumerate(group):
            if count > 0:
                held[row, column] = count
                price[row, column] = micro_usd(offer.price_usd_per_hour)
    table = np.full((len(groups), slots + 1), UNAVAILABLE)
    table[:, 0] = 0
    rows = np.arange(len(groups))[:, None]
    for s in range(1, slots + 1):
        rest = table[rows, np.maximum(0, s - held)]
        whole = np.where((price < UNAVAILABLE) & (rest < UNAVAILABLE), price + rest, UNAVAILABLE)
        table[:, s] = whole.min(axis=1)
    return table


@dataclass(frozen=True, slots=True)
class _Node:
    """Slots of one machine at one price."""

    provider: str
    region: str
    instance_type: str
    gpus_total: int
    gpus_free: int
    price_usd_per_hour: Decimal
    terms: Terms
    as_of: str
    source: str


class NodeSupply:
    """Machines that are there already: a deployment pays for its share of the nodes that it is placed on.

    Slots are taken from the cheapest nodes first (ties by name), as node selection would be asked to do.
    """

    def __init__(self, nodes: dict[str, list[_Node]], source: str, prices_as_of: str) -> None:
        self._nodes = nodes
        self.source = source
        self.prices_as_of = prices_as_of
        self._slots: dict[tuple[str, int], list[_Node]] = {}

    @classmethod
    def from_inventory(cls, inventory: Inventory, policy: HardwarePolicy) -> NodeSupply:
        """Free GPUs of a cluster's usable nodes whose price is known."""
        nodes: dict[str, list[_Node]] = defaultdict(list)
        dates = set()
        for node in inventory.nodes:
            if _usable(node, policy) and node.gpu is not None and node.price_usd_per_hour is not None:
                nodes[node.gpu].append(
                    _Node(
                        provider=node.provider,
                        region=node.region,
                        instance_type=node.machine,
                        gpus_total=node.gpus_allocatable,
                        gpus_free=node.gpus_free,
                        price_usd_per_hour=node.price_usd_per_hour,
                        terms=node.terms,
                        as_of=node.price_as_of,
                        source=node.price_source,
                    )
                )
                dates.add(node.price_as_of)
        return cls(dict(nodes), "Cluster", f"{min(dates)} to {max(dates)}" if dates else "")

    @classmethod
    def from_owned(cls, pools: Sequence[OwnedPool]) -> NodeSupply:
        """Owned machines at what they cost over their life."""
        nodes: dict[str, list[_Node]] = defaultdict(list)
        for pool in pools:
            node = _Node(
                provider="owned",
                region="",
                instance_type=pool.name,
                gpus_total=pool.gpus_per_node,
                gpus_free=pool.gpus_per_node,
                price_usd_per_hour=owned_node_usd_per_hour(pool),
                terms=Terms.OWNED,
                as_of="",
                source="spec.hardware.owned",
            )
            nodes[pool.gpu].extend([node] * pool.nodes)
        return cls(dict(nodes), "Owned", "")

    def has_gpu(self, gpu: str) -> bool:
        """Whether any free GPU of the kind is there."""
        return any(node.gpus_free for node in self._nodes.get(gpu, ()))

    def _sorted_slots(self, gpu: str, slot_gpus: int) -> list[_Node]:
        key = (gpu, slot_gpus)
        if key not in self._slots:
            nodes = sorted(
                self._nodes.get(gpu, ()),
                key=lambda n: (n.price_usd_per_hour / n.gpus_total, n.provider, n.region, n.instance_type),
            )
            self._slots[key] = [node for node in nodes for _ in range(node.gpus_free // slot_gpus)]
        return self._slots[key]

    def costs(self, gpu: str, slot_gpus: int) -> NDArray[np.int64]:
        """Running sum of the cheapest slots."""
        shares = [_share_micro(node, slot_gpus) for node in self._sorted_slots(gpu, slot_gpus)]
        return np.concatenate(([0], np.cumsum(np.array(shares, dtype=np.int64)))).astype(np.int64)

    def place(self, gpu: str, slot_gpus: int, slots: int) -> tuple[Placement, ...]:
        """Nodes of the slots taken, one placement per kind of machine."""
        counts: dict[_Node, int] = defaultdict(int)
        for node in self._sorted_slots(gpu, slot_gpus)[:slots]:
            counts[node] += 1
        placements = []
        for node, taken in counts.items():
            per_machine = node.gpus_free // slot_gpus
            placements.append(
                Placement(
                    provider=node.provider,
                    region=node.region,
                    instance_type=node.instance_type,
                    count=-(-taken // per_machine),
                    gpus_per_instance=node.gpus_total,
                    gpus_used=taken * slot_gpus,
                    gpus_idle=0,
                    price_usd_per_hour=node.price_usd_per_hour,
                    terms=node.terms,
                    as_of=node.as_of,
                    source=node.source,
                )
            )
        return tuple(placements)


def _usable(node: GpuNode, policy: HardwarePolicy) -> bool:
    return (
        node.usable
        and node.gpus_free > 0
        and node.terms in policy.terms
        and (policy.providers is None or node.provider in policy.providers)
        and (policy.regions is None or node.region in policy.regions)
        and not repelling(node, policy.tolerations)
    )


def _share_micro(node: _Node, slot_gpus: int) -> int:
    return int((node.price_usd_per_hour * slot_gpus / node.gpus_total * 1_000_000).to_integral_value())


class NoSupply:
    """Nothing can be had (a cluster without free GPUs, asked for by name)."""

    prices_as_of = ""

    def __init__(self, source: str) -> None:
        self.source = source

    def has_gpu(self, gpu: str) -> bool:
        """Never."""
        del gpu
        return False

    def costs(self, gpu: str, slot_gpus: int) -> NDArray[np.int64]:
        """Only nothing costs nothing."""
        del gpu, slot_gpus
        return np.zeros(1, dtype=np.int64)

    def place(self, gpu: str, slot_gpus: int, slots: int) -> tuple[Placement, ...]:
        """Nothing."""
        del gpu, slot_gpus, slots
        return ()
