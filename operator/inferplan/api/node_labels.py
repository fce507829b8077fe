"""What the labels of a node say: its GPU, its provider, its terms; and its price by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inferplan.api.cluster_objects import NodeObject
from inferplan.domain.catalog import Catalog
from inferplan.domain.hardware import Market, Offering, Terms

MAXIMUM_GPUS_PER_NODE = 10_000
GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
SHARED_RESOURCE = "nvidia.com/gpu.shared"
MIG_RESOURCE = "nvidia.com/mig-"
INSTANCE_TYPE = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
REGION = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")

PRODUCT_LABELS = (
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "cloud.google.com/gke-accelerator",
)
"""Labels that name the GPU itself, the most exact first; one that is there is believed, or the GPU is unknown."""
HINT_LABELS = (
    "karpenter.k8s.aws/instance-gpu-name",
    "eks.amazonaws.com/instance-gpu-name",
    "karpenter.k8s.gcp/instance-gpu-name",
    "karpenter.azure.com/sku-gpu-name",
    "k8s.amazonaws.com/accelerator",
)
"""Labels whose short names (a100) may stand for several GPUs; read after the instance type."""
PRESENCE_LABELS = ("nvidia.com/gpu.present", "kubernetes.azure.com/accelerator", "accelerator")

_PROVIDER_IDS = {"aws": "aws", "gce": "gcp", "azure": "azure"}
_PROVIDER_LABELS = {
    "eks.amazonaws.com/": "aws",
    "karpenter.k8s.aws/": "aws",
    "cloud.google.com/": "gcp",
    "kubernetes.azure.com/": "azure",
}
_TERMS_LABELS: dict[str, dict[str, Terms]] = {
    "karpenter.sh/capacity-type": {
        "spot": Terms.SPOT,
        "on-demand": Terms.ON_DEMAND,
        "reserved": Terms.COMMITTED,
    },
    "eks.amazonaws.com/capacitytype": {"spot": Terms.SPOT, "on_demand": Terms.ON_DEMAND},
    "cloud.google.com/gke-spot": {"true": Terms.SPOT},
    "cloud.google.com/gke-preemptible": {"true": Terms.SPOT},
    "kubernetes.azure.com/scalesetpriority": {"spot": Terms.SPOT, "regular": Terms.ON_DEMAND},
}
SHARED_SUFFIX = re.compile(r"-SHARED$", re.IGNORECASE)
MIG_SUFFIX = re.compile(r"-MIG-.*$", re.IGNORECASE)


def whole_quantity(quantity: str | float) -> int | None:
    """Read a quantity of an extended resource, which is always a whole number; None if it is none.

    >>> whole_quantity("8"), whole_quantity(8.0), whole_quantity("1k")
    (8, 8, None)
    """
    if isinstance(quantity, float):
        return int(quantity) if quantity.is_integer() and 0 <= quantity < MAXIMUM_GPUS_PER_NODE else None
    text = str(quantity)
    if not (text.isascii() and text.isdigit() and len(text) < len(str(MAXIMUM_GPUS_PER_NODE))):
        return None
    return int(text)


def gpu_count(quantity: str | float | None) -> int:
    """Read a number of GPUs; what is none counts as no GPU."""
    return (whole_quantity(quantity) or 0) if quantity is not None else 0


def first_label(labels: Mapping[str, str], keys: Iterable[str]) -> str:
    """Return the first of several labels that is there, or nothing."""
    return next((labels[key] for key in keys if labels.get(key)), "")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node's labels say about its GPU, and which of them said it."""

    gpu: str | None
    label: str
    selector: tuple[tuple[str, str], ...]


class OfferingIndex:
    """Offerings of clouds by instance type."""

    def __init__(self, offerings: Iterable[Offering]) -> None:
        self._by_type: dict[str, list[Offering]] = {}
        for offering in offerings:
            if offering.market is Market.CLOUD:
                # "n1-standard-8+1xT4": a machine with GPUs attached to it carries the bare name as its label
                self._by_type.setdefault(offering.instance_type.split("+")[0].casefold(), []).append(offering)

    def gpu(self, instance_type: str, provider: str, gpus: int) -> str | None:
        """Return the GPU of an instance type, if only one is possible."""
        fitting = self._fitting(instance_type, provider, gpus)
        found = {offering.gpu for offering in fitting}
        return found.pop() if len(found) == 1 else None

    def _fitting(self, instance_type: str, provider: str, gpus: int) -> list[Offering]:
        same_type = [
            offering
            for offering in self._by_type.get(instance_type.casefold(), [])
            if provider in {"", offering.provider}
        ]
        same_count = [offering for offering in same_type if offering.gpu_count == gpus]
        return same_count or [offering for offering in same_type if "+" not in offering.instance_type]

    def price(self, node: NodeObject, terms: Terms, gpu: str | None, gpus: int) -> Offering | None:
        """Return the dated price of a node by instance type, region and terms; never a guess."""
        labels = node.metadata.labels
        region = first_label(labels, REGION).casefold()
        fitting = [
            offering
            for offering in self._fitting(first_label(labels, INSTANCE_TYPE), provider_of(node), gpus)
            if offering.terms is terms and offering.region.casefold() == region and offering.gpu == gpu
        ]
        return max(fitting, key=lambda offering: (offering.as_of, offering.source), default=None)


def provider_of(node: NodeObject) -> str:
    """Return the provider as the catalog spells it; empty on premises."""
    scheme = node.spec.provider_id.split("://")[0].casefold()
    if scheme in _PROVIDER_IDS:
        return _PROVIDER_IDS[scheme]
    return next(
        (
            name
            for prefix, name in _PROVIDER_LABELS.items()
            if any(key.startswith(prefix) for key in node.metadata.labels)
        ),
        "",
    )


def terms_of(node: NodeObject) -> Terms:
    """Tell spot and reserved nodes from the rest."""
    for key, value in node.metadata.labels.items():
        known = _TERMS_LABELS.get(key.casefold(), {})
        if value.casefold() in known:
            return known[value.casefold()]
    return Terms.ON_DEMAND


def identify(node: NodeObject, gpus: int, catalog: Catalog, index: OfferingIndex) -> Identity:
    """Find out which GPU a node has: product labels, then instance type, then short names."""
    labels = node.metadata.labels
    for key in PRODUCT_LABELS:
        if labels.get(key):
            gpu = _product(labels[key], catalog)
            return Identity(gpu, labels[key], ((key, labels[key]),))
    for key in INSTANCE_TYPE:
        if labels.get(key):
            by_type = index.gpu(labels[key], provider_of(node), gpus)
            if by_type is not None:
                return Identity(by_type, labels[key], ((key, labels[key]),))
    for key in HINT_LABELS:
        if labels.get(key):
            found = catalog.gpu(labels[key])
            return Identity(None if found is None else found.id, labels[key], ((key, labels[key]),))
    return Identity(None, first_label(labels, INSTANCE_TYPE), ())


def _product(label: str, catalog: Catalog) -> str | None:
    """Look a product up without what sharing and MIG add to it; older drivers leave ``NVIDIA-`` out."""
    bare = SHARED_SUFFIX.sub("", MIG_SUFFIX.sub("", SHARED_SUFFIX.sub("", label)))
    for name in (label, bare, f"NVIDIA-{bare}", bare.replace("_", "-"), bare.removeprefix("NVIDIA-")):
        found = catalog.gpu(name)
        if found is not None:
            return found.id
    return None
