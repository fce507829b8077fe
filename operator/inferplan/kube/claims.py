"""Who may plan on which GPUs: two scenarios never claim one.

What a scenario's pods hold is always its own. What its plan needs beyond that is reserved for it: against newcomers
always, and among plans that stand already by priority, then age. A running pod is never taken away from anyone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.kube.inbox import Key

Rank = tuple[int, str, Key]
"""Sorts before: higher priority, then older, then by name."""

Kind = tuple[str, str, str, str]
"""Kind of machine: provider, region, instance type, terms."""


def rank(key: Key, priority: int, created: str) -> Rank:
    """Order scenarios that want the same GPU; the first gets it.

    >>> young, old = Key("a", "young"), Key("b", "old")
    >>> sorted([rank(young, 0, "2026-11-02T00:00:00Z"), rank(old, 0, "2026-11-01T00:00:00Z")])[0][2].name
    'old'
    """
    return -priority, created, key


@dataclass(frozen=True, slots=True)
class Claim:
    """GPUs that a standing plan needs.

    Parameters
    ----------
    slot_gpus, slots
        So many groups of GPUs, each inside one node.
    kinds
        Kinds of machine that it was placed on: provider, region, instance type, terms.
    """

    rank: Rank
    gpu: str
    slot_gpus: int
    slots: int
    kinds: frozenset[Kind]

    @property
    def key(self) -> Key:
        """The scenario."""
        return self.rank[2]

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.slot_gpus * self.slots


def claim_of(rank: Rank, plan: Mapping[str, Any]) -> Claim | None:
    """Read the claim of a plan in a status; None if it needs nothing of the cluster or cannot be read."""
    try:
        places = plan["cost"]["placements"]
        return Claim(
            rank=rank,
            gpu=str(plan["gpu"]),
            slot_gpus=int(plan["tensorParallel"]),
            slots=int(plan["replicas"]) * int(plan["pipelineParallel"]),
            kinds=frozenset((one["provider"], one["region"], one["instanceType"], one["terms"]) for one in places),
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Held:
    """GPUs that somebody else holds: running pods, or a plan that stands."""

    gpu: str
    gpus: int
    by: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The cluster as one scenario may plan on it, and what others hold of it."""

    inventory: Inventory
    held: tuple[Held, ...]
    mine: Mapping[str, int]
    """GPUs that its own pods hold, by node."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Why nodes with GPUs cannot be planned on, each reason with the first of its nodes and how many have it."""
        names: dict[str, list[str]] = {}
        for node in self.inventory.nodes:
            if not node.usable:
                names.setdefault(node.reason, []).append(node.name)
        return tuple(
            f"{found[0]}{f' and {len(found) - 1} more' if found[1:] else ''}: {reason}"
            for reason, found in sorted(names.items())
        )


def seen_by(
    me: Rank, inventory: Inventory, pods: Mapping[Key, Mapping[str, int]], claims: Iterable[Claim], *, standing: bool
) -> Seen:
    """Work out what a scenario may plan on.

    Parameters
    ----------
    inventory
        As the nodes are: what pods ask for is taken, whoever they belong to.
    pods
        GPUs that scenarios' pods hold, by scenario and node.
    claims
        Of all scenarios whose plan stands.
    standing
        Whether this scenario's plan stands: then only plans that go before it are served before it.
    """
    key = me[2]
    nodes = [_mine_is_free(node, pods.get(key, {}).get(node.name, 0)) for node in inventory.nodes]
    held: dict[tuple[str, str], int] = {}
    by_name = {node.name: node for node in nodes}
    for owner, places in pods.items():
        for name, gpus in places.items():
            node = by_name.get(name)
            if owner != key and node is not None and node.gpu is not None and owner.name:
                held[node.gpu, str(owner)] = held.get((node.gpu, str(owner)), 0) + gpus
    for claim in sorted(claims, key=lambda one: one.rank):
        if claim.key == key or (standing and claim.rank > me):
            continue
        missing = claim.gpus - sum(pods.get(claim.key, {}).values())
        nodes, reserved = _reserve(nodes, claim, missing)
        if reserved:
            held[claim.gpu, str(claim.key)] = held.get((claim.gpu, str(claim.key)), 0) + reserved
    return Seen(
        replace(inventory, nodes=tuple(nodes)),
        tuple(Held(gpu, gpus, by) for (gpu, by), gpus in sorted(held.items())),
        pods.get(key, {}),
    )


def _mine_is_free(node: GpuNode, mine: int) -> GpuNode:
    """Give a scenario back what its own pods hold.

    A pod that is on a node has its GPUs: a cordon, a kubelet that is silent or a device plugin that restarts does not
    drive it away. Nothing else of such a node is to be had.
    """
    if not mine:
        return node
    if node.usable:
        return replace(node, gpus_requested=max(0, node.gpus_requested - mine))
    if node.divided or node.gpu is None:
        return node
    gpus = max(node.gpus_allocatable, mine)
    return replace(node, usable=True, reason="", gpus_allocatable=gpus, gpus_requested=gpus - mine)


def _reserve(nodes: Sequence[GpuNode], claim: Claim, gpus: int) -> tuple[list[GpuNode], int]:
    """Take a claim's missing GPUs off the nodes where its pods will be placed, as far as there are any."""
    result, reserved = list(nodes), 0
    fitting = [at for at, node in enumerate(result) if node.gpu == claim.gpu and node.gpus_free >= claim.slot_gpus]
    own_kind = [at for at in fitting if kind_of(result[at]) in claim.kinds]
    rest = [at for at in fitting if at not in own_kind]
    for at in (*sorted(own_kind, key=lambda at: _price(result[at])), *sorted(rest, key=lambda at: _price(result[at]))):
        wanted = min(gpus - reserved, result[at].gpus_free) // claim.slot_gpus * claim.slot_gpus
        if wanted > 0:
            result[at] = replace(result[at], gpus_requested=result[at].gpus_requested + wanted)
            reserved += wanted
    return result, reserved


def kind_of(node: GpuNode) -> Kind:
    """Name the kind of machine that a node is, as placements do: provider, region, instance type, terms."""
    return node.provider, node.region, node.machine, node.terms.value


def _price(node: GpuNode) -> tuple[Decimal, str]:
    price = node.price_usd_per_hour
    return (Decimal(0) if price is None else price / max(1, node.gpus_allocatable), node.name)
