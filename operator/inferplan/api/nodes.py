"""Nodes and pods as a cluster prints them -> the inventory of GPUs that planning sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from inferplan.api.cluster_objects import Container, NodeObject, PodObject
from inferplan.api.documents import opened_documents
from inferplan.api.faults import place, shape_faults
from inferplan.api.node_labels import (
    GPU_RESOURCES,
    HINT_LABELS,
    INSTANCE_TYPE,
    MIG_RESOURCE,
    MIG_SUFFIX,
    PRESENCE_LABELS,
    PRODUCT_LABELS,
    REGION,
    SHARED_RESOURCE,
    SHARED_SUFFIX,
    Identity,
    OfferingIndex,
    first_label,
    gpu_count,
    identify,
    provider_of,
    terms_of,
    whole_quantity,
)
from inferplan.api.quantities import millicores, quantity_bytes
from inferplan.api.yaml_scalars import shorten
from inferplan.api.yaml_tree import Node, parse_trees, read_bytes
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import GpuNode, Inventory, Taint
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.units import MIB

MAXIMUM_INVENTORY_BYTES = 64 * MIB


def read_inventory_file(path: Path, catalog: Catalog) -> Inventory:
    """Read a file of nodes (and pods); see :func:`read_inventory`."""
    return read_inventory(read_bytes(path, MAXIMUM_INVENTORY_BYTES), str(path), catalog)


def read_inventory(data: bytes | str, origin: str, catalog: Catalog) -> Inventory:
    """Read nodes, and pods if there are any, as ``kubectl get nodes,pods -A -o yaml`` prints them.

    Parameters
    ----------
    data
        YAML or JSON; lists are opened, other kinds ignored.
    origin
        Name of the file.
    catalog
        Names of GPUs, and prices by instance type and region.

    Raises
    ------
    InputError
        With every fault of shape, or if there is no node in it.
    """
    faults: list[Fault] = []
    nodes: dict[str, NodeObject] = {}
    pods: list[PodObject] = []
    for tree in opened_documents(parse_trees(data, origin, MAXIMUM_INVENTORY_BYTES)):
        kind = tree.get("kind")
        try:
            if kind is not None and kind.scalar == "Node":
                node = NodeObject.model_validate(tree.plain())
                if node.metadata.name in nodes:
                    where = place(origin, tree, ("metadata", "name"))
                    faults.append(Fault(where, f'node "{shorten(node.metadata.name)}" stands twice'))
                faults.extend(_quantity_faults(node, tree, origin))
                nodes[node.metadata.name] = node
            elif kind is not None and kind.scalar == "Pod":
                pods.append(PodObject.model_validate(tree.plain()))
        except ValidationError as error:
            faults.extend(shape_faults(error, tree, origin))
    if not nodes and not faults:
        faults.append(Fault(origin, "no Node in it", "make it with `kubectl get nodes -o yaml`"))
    if faults:
        raise InputError(faults)
    return inventory(nodes.values(), pods, catalog, origin)


def inventory(nodes: Iterable[NodeObject], pods: Iterable[PodObject], catalog: Catalog, origin: str) -> Inventory:
    """Judge nodes: which GPUs they have, whether those can be planned on and why not, and what they cost.

    Nodes without any sign of a GPU are left out.
    """
    requested = requested_gpus(pods)
    index = OfferingIndex(catalog.offerings)
    found = [_gpu_node(node, requested.get(node.metadata.name, 0), catalog, index) for node in nodes if _has_gpus(node)]
    return Inventory(tuple(sorted(found, key=lambda node: node.name)), origin)


def requested_gpus(pods: Iterable[PodObject]) -> dict[str, int]:
    """Count the GPUs that pods ask for, by node; pods that have ended ask for nothing.

    Notes
    -----
    A pod asks for the larger of the sum over its containers and the largest of its init containers.
    """
    counts: dict[str, int] = {}
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in {"Succeeded", "Failed"}:
            running = sum(_container_gpus(container) for container in pod.spec.containers)
            starting = max((_container_gpus(container) for container in pod.spec.init_containers), default=0)
            counts[pod.spec.node_name] = counts.get(pod.spec.node_name, 0) + max(running, starting)
    return counts


def _container_gpus(container: Container) -> int:
    asked = {**container.resources.limits, **container.resources.requests}
    return sum(gpu_count(asked.get(resource)) for resource in GPU_RESOURCES)


def _quantity_faults(node: NodeObject, tree: Node, origin: str) -> Iterator[Fault]:
    for resource in GPU_RESOURCES:
        value = node.status.allocatable.get(resource)
        if value is not None and whole_quantity(value) is None:
            where = place(origin, tree, ("status", "allocatable", resource))
            yield Fault(where, f'"{shorten(str(value))}" is not a number of GPUs', "a whole number")


def _has_gpus(node: NodeObject) -> bool:
    offered = any(
        gpu_count(value) > 0 and (name in {*GPU_RESOURCES, SHARED_RESOURCE} or name.startswith(MIG_RESOURCE))
        for name, value in node.status.allocatable.items()
    )
    keys = (*PRODUCT_LABELS, *HINT_LABELS, *PRESENCE_LABELS)
    return offered or bool(first_label(node.metadata.labels, keys))


@dataclass(slots=True)
class _Verdict:
    """Why a node cannot be planned on; the first reason is the one that is told."""

    reasons: list[str] = field(default_factory=list)
    divided: bool = False

    def no(self, reason: str, *, when: bool) -> None:
        if when:
            self.reasons.append(reason)


def _verdict(node: NodeObject, identity: Identity, gpus: int) -> _Verdict:
    labels, allocatable = node.metadata.labels, node.status.allocatable
    ready = next((condition.status for condition in node.status.conditions if condition.type == "Ready"), "True")
    product = first_label(labels, PRODUCT_LABELS)
    slices = sorted(
        name for name, value in allocatable.items() if name.startswith(MIG_RESOURCE) and gpu_count(value) > 0
    )
    strategy = labels.get("nvidia.com/gpu.sharing-strategy", "none").casefold()
    shared = (
        bool(SHARED_SUFFIX.search(product))
        or strategy not in {"", "none"}
        or gpu_count(allocatable.get(SHARED_RESOURCE)) > 0
        or bool(labels.get("cloud.google.com/gke-gpu-sharing-strategy"))
    )
    partition = labels.get("cloud.google.com/gke-gpu-partition-size", "")
    verdict = _Verdict()
    verdict.no("not ready", when=ready != "True")
    verdict.no("cordoned", when=node.spec.unschedulable)
    sliced = bool(slices) or bool(MIG_SUFFIX.search(product)) or bool(partition)
    verdict.divided = sliced or shared
    verdict.no(
        f"divided by MIG ({_mig_detail(product, slices, partition)}): no engine spans slices",
        when=sliced,
    )
    verdict.no("its GPUs are shared (time slicing or MPS): memory is not kept apart", when=shared)
    verdict.no(f'unknown GPU "{shorten(identity.label)}"', when=identity.gpu is None)
    verdict.no("offers no GPU: is the device plugin running?", when=gpus == 0 and not slices)
    return verdict


def _mig_detail(product: str, slices: list[str], partition: str) -> str:
    profile = MIG_SUFFIX.search(product)
    if profile is not None:
        return profile.group(0).removeprefix("-MIG-")
    return partition or ", ".join(name.removeprefix("nvidia.com/") for name in slices)


def _gpu_node(node: NodeObject, requested: int, catalog: Catalog, index: OfferingIndex) -> GpuNode:
    gpus = max(gpu_count(node.status.allocatable.get(resource)) for resource in GPU_RESOURCES)
    identity = identify(node, gpus, catalog, index)
    verdict, terms = _verdict(node, identity, gpus), terms_of(node)
    priced = index.price(node, terms, identity.gpu, gpus)
    price: Decimal | None = None if priced is None else priced.price_usd_per_hour
    return GpuNode(
        name=node.metadata.name,
        gpu=identity.gpu,
        product_label=identity.label,
        selector=identity.selector,
        gpus_allocatable=gpus,
        gpus_requested=requested,
        usable=not verdict.reasons,
        reason="; ".join(verdict.reasons),
        instance_type=first_label(node.metadata.labels, INSTANCE_TYPE),
        region=first_label(node.metadata.labels, REGION),
        provider=provider_of(node),
        terms=terms,
        taints=tuple(Taint(taint.key, taint.value or "", taint.effect) for taint in node.spec.taints),
        price_usd_per_hour=price,
        price_source="" if priced is None else priced.source,
        price_as_of="" if priced is None else priced.as_of,
        divided=verdict.divided,
        cpu_allocatable_millicores=millicores(node.status.allocatable.get("cpu")),
        memory_allocatable_bytes=quantity_bytes(node.status.allocatable.get("memory")),
        disk_allocatable_bytes=quantity_bytes(node.status.allocatable.get("ephemeral-storage")),
    )
