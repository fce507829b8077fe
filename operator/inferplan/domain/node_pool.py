"""A pool of equal nodes that an autoscaler fills when pods ask for them."""

from __future__ import annotations

from dataclasses import dataclass

from inferplan.domain.cluster import Taint
from inferplan.domain.hardware import Terms


@dataclass(frozen=True, slots=True)
class NodePool:
    """What a pool can bring.

    Parameters
    ----------
    maximum_nodes
        Most nodes that it may have, those included that are there.
    selector
        Labels that its nodes carry and that the autoscaler knows before there is one.
    """

    name: str
    provider: str
    region: str
    instance_type: str
    gpu: str
    gpus_per_node: int
    terms: Terms
    maximum_nodes: int
    selector: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...] = ()
