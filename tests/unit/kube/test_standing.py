"""Whether the cluster has room for a plan that stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferplan.domain.cluster import GpuNode, Inventory, Taint
from inferplan.kube.standing import Standing
from tests.unit.api.outcomes import make_plan
from tests.unit.kube.test_claims import make_node

TAINT = (Taint("maintenance", "x", "NoSchedule"),)
TWO = replace(Standing.of(make_plan(source="Cluster")), gpu="l4", tensor_parallel=2, pipeline_parallel=1, replicas=2)


@pytest.mark.parametrize(
    ("nodes", "mine", "has_room"),
    [
        ((), {}, False),
        ((make_node("a"),), {}, True),
        ((make_node("a", gpus_requested=1),), {}, False),
        ((make_node("a", gpu="a10g"),), {}, False),
        ((make_node("a", gpus_requested=1), make_node("b", gpus_requested=2)), {}, True),
        ((make_node("a", taints=TAINT),), {}, False),
        ((make_node("a", taints=TAINT),), {"a": 4}, True),
        ((make_node("a", usable=False, gpus_allocatable=0),), {"a": 4}, True),
        ((), {"a": 4}, True),
        ((make_node("a", taints=TAINT), make_node("b", gpus_requested=2)), {"a": 2}, True),
        ((make_node("a", taints=TAINT), make_node("b", gpus_requested=4)), {"a": 2}, False),
    ],
    ids=[
        "no node",
        "a free node",
        "too few left",
        "another GPU",
        "two nodes",
        "tainted",
        "tainted while it runs",
        "no devices while it runs",
        "an unknown node while it runs",
        "half runs and the rest fits",
        "half runs and nothing else is free",
    ],
)
def test_there_is_room_where_its_pods_run_or_could_be_placed(
    nodes: tuple[GpuNode, ...], mine: dict[str, int], *, has_room: bool
) -> None:
    assert TWO.has_room(Inventory(nodes, "test"), mine, ()) is has_room


def test_its_machines_hold_exactly_what_it_uses() -> None:
    (place,) = TWO.places
    stands = replace(TWO, places=(replace(place, count=3, gpus_per_machine=4, gpus_used=12),))
    nodes = stands.machines(None).nodes
    assert [(node.gpus_allocatable, node.gpus_free) for node in nodes] == [(4, 4)] * 3
    half = replace(TWO, places=(replace(place, count=2, gpus_per_machine=4, gpus_used=4),))
    assert [node.gpus_free for node in half.machines(None).nodes] == [2, 2]
