"""Which nodes the pods of a plan may run on: by labels that the nodes really carry, and with the taints they bear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.deployment import Configuration, Placement
from inferplan.domain.hardware import ARM64, GpuSpec, Terms
from inferplan.domain.operation import Toleration, TolerationOperator
from inferplan.domain.plan import Plan
from inferplan.domain.taints import ARCHITECTURE, ARM_TAINT, GPU_TAINTS, SPOT_TAINTS

GFD_PRODUCT = "nvidia.com/gpu.product"
GKE_ACCELERATOR = "cloud.google.com/gke-accelerator"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
CLUSTER = "Cluster"

GPU_RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "intel": "habana.ai/gaudi"}
"""Extended resource by maker of the GPU."""

SPOT_LABELS: dict[str, tuple[tuple[str, str], ...]] = {
    "aws": (("karpenter.sh/capacity-type", "spot"), ("eks.amazonaws.com/capacityType", "SPOT")),
    "gcp": (("cloud.google.com/gke-spot", "true"), ("cloud.google.com/gke-preemptible", "true")),
    "azure": (("kubernetes.azure.com/scalesetpriority", "spot"), ("karpenter.sh/capacity-type", "spot")),
}
"""What marks a spot node, by provider."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label of a node."""

    key: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placing:
    """Conditions on nodes.

    Parameters
    ----------
    terms
        A node must meet all requirements of one of them.
    preferred
        Instance types that the price was worked out for, where others would do as well.
    """

    terms: tuple[tuple[Requirement, ...], ...]
    preferred: tuple[str, ...]
    tolerations: tuple[Toleration, ...]


def plan_nodes(plan: Plan, inventory: Inventory | None) -> tuple[GpuNode, ...]:
    """Nodes of the cluster that a plan was made for; none for a plan on the market.

    These are the nodes of the kinds that the plan occupies, cordoned and busy ones included: what pods ask for must
    not change when a node comes or goes.
    """
    if inventory is None or plan.source != CLUSTER:
        return ()
    chosen = plan.configuration
    fitting = [
        node
        for node in inventory.nodes
        if node.gpu == chosen.gpu.id and not node.divided and node.gpus_allocatable >= chosen.tp_size
    ]
    kinds = {(place.instance_type, place.terms) for place in plan.cost.placements}
    same = [node for node in fitting if (node.machine, node.terms) in kinds]
    return tuple(sorted(same or fitting, key=lambda node: node.name))


def placing(plan: Plan, nodes: tuple[GpuNode, ...], asked: Iterable[Toleration]) -> Placing:
    """Work out where the pods of a plan may run.

    Parameters
    ----------
    nodes
        As :func:`plan_nodes` finds them.
    asked
        The user's own tolerations.
    """
    spots = [place.terms is Terms.SPOT for place in plan.cost.placements]
    providers = tuple(sorted({place.provider for place in plan.cost.placements}))
    spot = _spot(providers, wanted=all(spots)) if not any(spots) or all(spots) else ()
    selectors = sorted({node.selector for node in nodes if node.selector})
    terms = [_exact(selector) for selector in selectors] or list(_market(plan.configuration.gpu, plan.cost.placements))
    host = _host(plan.configuration)
    return Placing(
        terms=tuple((*term, *extra, *host) for term in terms for extra in (spot or ((),))),
        preferred=tuple(sorted({node.instance_type for node in nodes if node.instance_type})),
        tolerations=tuple(
            dict.fromkeys(
                (*_tolerations(nodes, providers, spot=any(spots)), *_arm(plan.configuration, nodes), *asked),
            )
        ),
    )


def _exact(selector: tuple[tuple[str, str], ...]) -> tuple[Requirement, ...]:
    return tuple(Requirement(key, "In", (value,)) for key, value in selector)


def _market(gpu: GpuSpec, placements: tuple[Placement, ...]) -> Iterator[tuple[Requirement, ...]]:
    """Labels that nodes with the GPU would carry: by GPU Feature Discovery, and by the provider before it has run."""
    gke = tuple(sorted(label for label in gpu.product_labels if label == label.lower()))
    found = [label for label in gpu.product_labels if label not in gke]
    products = tuple(sorted({*found, *(label.removeprefix("NVIDIA-") for label in found)}))
    if products:
        yield (Requirement(GFD_PRODUCT, "In", products),)
    if gke and any(place.provider == "gcp" for place in placements):
        yield (Requirement(GKE_ACCELERATOR, "In", gke),)
    # "n1-standard-8+1xT4": a machine with GPUs attached to it carries the bare name, and so do those without
    types = sorted(
        {p.instance_type for p in placements if p.provider in {"aws", "azure"} and "+" not in p.instance_type}
    )
    if types:
        yield (Requirement(INSTANCE_TYPE, "In", tuple(types)),)


def _host(chosen: Configuration) -> tuple[Requirement, ...]:
    """CPU architecture of the nodes, where not every node with the GPU would do."""
    machines, built = chosen.gpu.host_architecture, chosen.engine.image_architectures
    if machines == ARM64 or ARM64 not in built:
        return (Requirement(ARCHITECTURE, "In", (machines,)),)
    return ()


def _arm(chosen: Configuration, nodes: tuple[GpuNode, ...]) -> Iterator[Toleration]:
    """Taint of Arm nodes, for images that run on them."""
    key, value = ARM_TAINT
    borne = any((taint.key, taint.value) == ARM_TAINT for node in nodes for taint in node.taints)
    if ARM64 in chosen.engine.image_architectures and (borne or chosen.gpu.host_architecture == ARM64):
        yield Toleration(key, TolerationOperator.EQUAL, value)


def _spot(providers: tuple[str, ...], *, wanted: bool) -> tuple[tuple[Requirement, ...], ...]:
    """Alternatives that make nodes spot or keep spot nodes out; a label that is absent meets ``NotIn``."""
    marks = tuple(dict.fromkeys(mark for provider in providers for mark in SPOT_LABELS.get(provider, ())))
    if not marks:
        return ()
    if wanted:
        return tuple((Requirement(key, "In", (value,)),) for key, value in marks)
    return (tuple(Requirement(key, "NotIn", (value,)) for key, value in marks),)


def _tolerations(nodes: tuple[GpuNode, ...], providers: tuple[str, ...], *, spot: bool) -> Iterator[Toleration]:
    """Taints of GPU nodes; others (``dedicated=…``) are somebody's wish that only the user can overrule."""
    borne = {(taint.key, taint.value) for node in nodes for taint in node.taints}
    for key, value in GPU_TAINTS:
        met = any(key == other and value in {None, worth} for other, worth in borne)
        if key == GPU_RESOURCES["nvidia"] or met or (not nodes and value and "azure" in providers):
            operator = TolerationOperator.EXISTS if value is None else TolerationOperator.EQUAL
            yield Toleration(key, operator, value)
    if spot:
        for provider in providers:
            for key, value in SPOT_TAINTS.get(provider, ()):
                yield Toleration(key, TolerationOperator.EQUAL, value)
