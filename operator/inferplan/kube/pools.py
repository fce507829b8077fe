"""Nodes that are not there yet: what node pools can bring, added to the inventory as if they were.

Pods are placed by labels that the autoscaler knows before the node exists, and by the same labels ever after: a pod
template must not change because its node has arrived. So real nodes of a pool are selected by the pool's labels too,
and one node of every pool always stays in the inventory, with nothing free once the pool is exhausted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from inferplan.api.cluster_objects import NodeObject
from inferplan.api.node_labels import HINT_LABELS, INSTANCE_TYPE, gpu_count
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import GpuNode, Inventory, Taint
from inferplan.domain.hardware import Market, Offering, Terms
from inferplan.domain.node_pool import NodePool
from inferplan.domain.units import GIB
from inferplan.kube.client import Body
from inferplan.kube.prices import Requirement, read_requirements
from inferplan.render.room import ASSUMED_ALLOCATABLE_CPU, ASSUMED_ALLOCATABLE_MEMORY

ASSUMED_POOL_GPUS = 32
"""GPUs that a node pool without a limit is thought to bring. No source; nothing is reserved by it."""
ANY_DISK_BYTES = 2**63 - 1
"""Disk of a node that is not there yet: what a pod asks for is what the autoscaler has to bring."""
MOST_NODES = 64
NODE_POOL_LABEL = "karpenter.sh/nodepool"

_CAPACITY = {Terms.ON_DEMAND: "on-demand", Terms.SPOT: "spot", Terms.COMMITTED: "reserved"}
_AWS_TYPE = re.compile(r"^(?P<family>(?P<category>[a-z]+)(?P<generation>[0-9]+)[a-z0-9-]*)[.](?P<size>.+)$")


def with_pools(
    inventory: Inventory, pools: Iterable[NodePool], nodes: Mapping[str, NodeObject], catalog: Catalog
) -> Inventory:
    """Add the nodes that pools can still bring."""
    pools = list(pools)
    if not pools:
        return inventory
    there = [_by_pool(node, nodes.get(node.name), pools) for node in inventory.nodes]
    found = [node for node, _ in there]
    for pool in pools:
        # what one instance type of a Karpenter pool has taken, the others cannot have
        taken = sum(node.gpus_allocatable for node, owner in there if _base(owner) == _base(pool.name))
        found.extend(_new_nodes(pool, pool.maximum_nodes - -(-taken // pool.gpus_per_node), catalog))
    return replace(inventory, nodes=tuple(sorted(found, key=lambda node: node.name)))


def _base(name: str) -> str:
    """Return a pool's name without the instance type."""
    return name.partition("/")[0]


def _by_pool(node: GpuNode, body: NodeObject | None, pools: Iterable[NodePool]) -> tuple[GpuNode, str]:
    """Find the pool that a node belongs to, and select the node as the pool's nodes are selected."""
    labels = {} if body is None else body.metadata.labels
    for pool in pools:
        own = labels.get(NODE_POOL_LABEL, _base(pool.name)) == _base(pool.name)
        if own and node.instance_type == pool.instance_type and set(pool.selector) <= set(labels.items()):
            return replace(node, selector=pool.selector), pool.name
    return node, ""


def _new_nodes(pool: NodePool, free: int, catalog: Catalog) -> Iterator[GpuNode]:
    offer = _offer(pool, catalog)
    for number in range(max(1, min(free, MOST_NODES))):
        yield GpuNode(
            name=f"{pool.name} (new {number:03})",
            gpu=pool.gpu,
            product_label=pool.instance_type,
            selector=pool.selector,
            gpus_allocatable=pool.gpus_per_node,
            gpus_requested=0 if free > 0 else pool.gpus_per_node,
            usable=True,
            reason="",
            instance_type=pool.instance_type,
            region=pool.region,
            provider=pool.provider,
            terms=pool.terms,
            taints=pool.taints,
            price_usd_per_hour=None if offer is None else offer.price_usd_per_hour,
            price_source="" if offer is None else offer.source,
            price_as_of="" if offer is None else offer.as_of,
            cpu_allocatable_millicores=_millicores(offer),
            memory_allocatable_bytes=_memory_bytes(offer),
            disk_allocatable_bytes=ANY_DISK_BYTES,
        )


def _millicores(offer: Offering | None) -> int | None:
    return None if offer is None or offer.vcpus is None else int(offer.vcpus * 1000 * ASSUMED_ALLOCATABLE_CPU)


def _memory_bytes(offer: Offering | None) -> int | None:
    if offer is None or offer.memory_gib is None:
        return None
    return int(offer.memory_gib * GIB * ASSUMED_ALLOCATABLE_MEMORY)


def _offer(pool: NodePool, catalog: Catalog) -> Offering | None:
    fitting = (
        offer
        for offer in catalog.offerings
        if (offer.provider, offer.region, offer.instance_type, offer.terms)
        == (pool.provider, pool.region, pool.instance_type, pool.terms)
    )
    return max(fitting, key=lambda offer: (offer.as_of, offer.source), default=None)


# ── Karpenter ────────────────────────────────────────────────────────────────────────────────────────────────


def karpenter_pools(bodies: Iterable[Body], nodes: Iterable[NodeObject], catalog: Catalog) -> tuple[NodePool, ...]:
    """Work out what Karpenter's NodePools can bring: instance types of the catalog that meet their requirements.

    Parameters
    ----------
    nodes
        Tell the region where a pool does not.

    References
    ----------
    .. [1] kubernetes-sigs/karpenter, pkg/apis/v1/nodepool.go; well-known labels: karpenter.sh, "Scheduling".
    """
    regions = {region for node in nodes if (region := node.metadata.labels.get("topology.kubernetes.io/region"))}
    found = [pool for body in bodies for pool in _pools(body, regions, catalog)]
    return tuple(sorted(found, key=lambda pool: pool.name))


def _pools(body: Body, regions: set[str], catalog: Catalog) -> Iterator[NodePool]:
    name, spec = body["metadata"]["name"], body.get("spec") or {}
    template: dict[str, Any] = spec.get("template") or {}
    inner = template.get("spec") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    try:
        requirements = read_requirements(inner.get("requirements") or ())
        taints = tuple(
            Taint(str(one["key"]), str(one.get("value") or ""), str(one.get("effect") or ""))
            for one in inner.get("taints") or ()
        )
    except (KeyError, TypeError):
        return
    limits = spec.get("limits") or {}
    gpus = next((gpu_count(limits[key]) for key in ("nvidia.com/gpu", "amd.com/gpu") if key in limits), None)
    most = ASSUMED_POOL_GPUS if gpus is None else gpus
    seen: set[tuple[str, str, Terms]] = set()
    for offer in catalog.offerings:
        key = (offer.instance_type, offer.region, offer.terms)
        if offer.market is not Market.CLOUD or offer.provider != "aws" or key in seen or offer.gpu_count > most:
            continue
        if all(_met(one, offer, labels) for one in requirements) and _in_region(offer, requirements, regions):
            seen.add(key)
            yield NodePool(
                name=f"{name}/{offer.instance_type}",
                provider=offer.provider,
                region=offer.region,
                instance_type=offer.instance_type,
                gpu=offer.gpu,
                gpus_per_node=offer.gpu_count,
                terms=offer.terms,
                maximum_nodes=most // offer.gpu_count,
                selector=((INSTANCE_TYPE[0], offer.instance_type),),
                taints=taints,
            )


def _in_region(offer: Offering, requirements: Iterable[Requirement], regions: set[str]) -> bool:
    """Tell whether an offering is where the pool is; a pool that says nothing is where the cluster's nodes are."""
    if any(one.key.startswith("topology.kubernetes.io/") and one.operator == "In" for one in requirements):
        return True
    return offer.region in regions


def _met(requirement: Requirement, offer: Offering, labels: Mapping[str, str]) -> bool:
    """Tell whether machines of an offering meet a requirement; what cannot be known is not met."""
    if requirement.key == "topology.kubernetes.io/zone":
        return requirement.operator != "In" or any(zone.startswith(offer.region) for zone in requirement.values)
    return requirement.met_by({**labels, **_labels(offer)})


def _labels(offer: Offering) -> dict[str, str]:
    """Return the labels that Karpenter gives a machine on AWS."""
    parts = _AWS_TYPE.match(offer.instance_type)
    short = offer.gpu.partition("-")[0]
    found = {
        INSTANCE_TYPE[0]: offer.instance_type,
        "topology.kubernetes.io/region": offer.region,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "karpenter.sh/capacity-type": _CAPACITY.get(offer.terms, ""),
        "karpenter.k8s.aws/instance-gpu-count": str(offer.gpu_count),
        "karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia",
        HINT_LABELS[0]: short,
    }
    if parts is not None:
        found |= {
            "karpenter.k8s.aws/instance-family": parts["family"],
            "karpenter.k8s.aws/instance-category": parts["category"],
            "karpenter.k8s.aws/instance-generation": parts["generation"],
            "karpenter.k8s.aws/instance-size": parts["size"],
        }
    return found
