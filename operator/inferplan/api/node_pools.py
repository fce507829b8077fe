"""Hints about node pools that an autoscaler fills: what nodes they could bring, although there is none yet."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from inferplan.api.faults import place, shape_faults
from inferplan.api.names import LIST_GPUS
from inferplan.api.suggest import did_you_mean
from inferplan.api.v1alpha1.scalars import NAME_PATTERN, Name, Relaxed, SpecModel
from inferplan.api.yaml_tree import Node, parse_trees
from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Taint
from inferplan.domain.errors import Fault, InputError
from inferplan.domain.hardware import Terms
from inferplan.domain.node_pool import NodePool

LabelText = Annotated[str, Field(max_length=316)]


class TaintHint(SpecModel):
    """A taint that the nodes of a pool bear."""

    key: Annotated[str, Field(min_length=1, max_length=316)] = Field(description="Key.")
    value: LabelText = Field(default="", description="Value.")
    effect: Annotated[str, Field(max_length=32)] = Field(default="NoSchedule", description="Effect.")


class NodePoolHint(SpecModel):
    """A pool of equal nodes that starts at zero."""

    name: Annotated[str, Field(max_length=52, pattern=NAME_PATTERN)] = Field(description="How the pool is called.")
    provider: Name = Field(description="Who sells its machines.")
    region: Name = Field(description="Where.")
    instance_type: Name = Field(description="Kind of machine.")
    gpu: Name = Field(description="GPU, by any name that the catalog knows.")
    gpu_count: Annotated[int, Field(ge=1, le=128)] = Field(description="GPUs of one node.")
    maximum_nodes: Annotated[int, Field(ge=1, le=1000)] = Field(description="Most nodes that the pool may have.")
    terms: Relaxed[Terms] = Field(default=Terms.ON_DEMAND, description="OnDemand, Spot or Committed.")
    labels: Annotated[dict[LabelText, LabelText], Field(min_length=1, max_length=32)] = Field(
        description="Labels that its nodes carry and that the autoscaler knows; pods are placed by them."
    )
    taints: Annotated[tuple[TaintHint, ...], Field(strict=False, max_length=16)] = Field(
        default=(), description="Taints that its nodes bear."
    )


def read_node_pools(text: str, origin: str, catalog: Catalog) -> tuple[NodePool, ...]:
    """Read a list of hints.

    Raises
    ------
    InputError
        With every fault of shape, unknown GPUs, and names that stand twice.
    """
    faults: list[Fault] = []
    found: dict[str, NodePool] = {}
    for tree in parse_trees(text, origin):
        for item in tree.items or ():
            entry = _entry(item, origin, catalog)
            if isinstance(entry, list):
                faults.extend(entry)
            elif entry.name in found:
                faults.append(Fault(place(origin, item, ("name",)), f'pool "{entry.name}" stands twice'))
            else:
                found[entry.name] = entry
        if tree.items is None:
            faults.append(Fault(f"{origin}:{tree.line}", "node pools are a list", "start entries with -"))
    if faults:
        raise InputError(faults)
    return tuple(found.values())


def _entry(node: Node, origin: str, catalog: Catalog) -> NodePool | list[Fault]:
    try:
        hint = NodePoolHint.model_validate(node.plain())
    except ValidationError as error:
        return shape_faults(error, node, origin)
    gpu = catalog.gpu(hint.gpu)
    if gpu is None:
        known = [name for one in catalog.gpus for name in (one.id, one.name, *one.aliases)]
        fix = did_you_mean(hint.gpu, known, LIST_GPUS)
        return [Fault(place(origin, node, ("gpu",)), f'unknown GPU "{hint.gpu}"', fix)]
    return NodePool(
        name=hint.name,
        provider=hint.provider,
        region=hint.region,
        instance_type=hint.instance_type,
        gpu=gpu.id,
        gpus_per_node=hint.gpu_count,
        terms=hint.terms,
        maximum_nodes=hint.maximum_nodes,
        selector=tuple(sorted(hint.labels.items())),
        taints=tuple(Taint(taint.key, taint.value, taint.effect) for taint in hint.taints),
    )
