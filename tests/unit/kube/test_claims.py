"""Who may plan on which GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.hardware import Terms
from inferplan.kube.claims import Claim, Held, Rank, claim_of, rank, seen_by
from inferplan.kube.inbox import Key

OLD, NEW = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
KIND = ("aws", "us-east-1", "g6.12xlarge", "OnDemand")


def make_node(name: str = "node", **overrides: Any) -> GpuNode:
    base: dict[str, Any] = {
        "name": name,
        "gpu": "l4",
        "product_label": "NVIDIA-L4",
        "selector": (),
        "gpus_allocatable": 4,
        "gpus_requested": 0,
        "usable": True,
        "reason": "",
        "instance_type": "g6.12xlarge",
        "region": "us-east-1",
        "provider": "aws",
        "terms": Terms.ON_DEMAND,
    }
    return GpuNode(**(base | overrides))


def me(name: str = "me", created: str = NEW, priority: int = 0) -> Rank:
    return rank(Key("ns", name), priority, created)


def make_claim(owner: Rank, slots: int = 1, slot_gpus: int = 1) -> Claim:
    return Claim(owner, "l4", slot_gpus, slots, frozenset({KIND}))


def free(node: GpuNode, *, claims: tuple[Claim, ...] = (), pods: dict[Key, int] | None = None, **more: Any) -> int:
    held = {key: {node.name: gpus} for key, gpus in (pods or {}).items()}
    standing = more.pop("standing", False)
    seen = seen_by(more.pop("who", me()), Inventory((node,), "test"), held, claims, standing=standing)
    return seen.inventory.nodes[0].gpus_free


def test_what_my_own_pods_hold_is_free_for_me_and_taken_for_others() -> None:
    node = make_node(gpus_requested=3)
    mine = {Key("ns", "me"): 2}
    assert free(node, pods=mine) == 3
    assert free(node, pods=mine, who=me("other")) == 1


def test_a_plan_that_stands_is_served_before_a_newcomer_however_important() -> None:
    other = make_claim(me("other", NEW), slots=3)
    assert free(make_node(), claims=(other,), who=me("me", OLD, priority=100)) == 1


def test_among_plans_that_stand_priority_goes_before_age() -> None:
    old, important = make_claim(me("old", OLD), 3), make_claim(me("important", NEW, priority=1), 2)
    assert free(make_node(), claims=(old, important), who=old.rank, standing=True) == 2
    assert free(make_node(), claims=(old, important), who=important.rank, standing=True) == 4


def test_pods_that_run_count_towards_the_claim_they_belong_to() -> None:
    other = make_claim(me("other", OLD), slots=2)
    node = make_node(gpus_requested=1)
    assert free(node, claims=(other,), pods={Key("ns", "other"): 1}) == 2


def test_a_claim_takes_whole_slots_from_nodes_of_its_kind_first() -> None:
    elsewhere, here = make_node("a", instance_type="g6.48xlarge"), make_node("b", gpus_allocatable=3)
    claim = make_claim(me("other", OLD), slots=1, slot_gpus=2)
    seen = seen_by(me(), Inventory((elsewhere, here), "test"), {}, [claim], standing=False)
    assert [node.gpus_free for node in seen.inventory.nodes] == [4, 1]
    assert seen.held == (Held("l4", 2, "ns/other"),)


def test_a_cordon_leaves_me_where_i_am_and_nobody_else() -> None:
    node = make_node(usable=False, reason="cordoned", gpus_requested=2)
    mine = {Key("ns", "me"): 2}
    assert free(node, pods=mine) == 2
    assert free(node, pods=mine, who=me("other")) == 0


@pytest.mark.parametrize("reason", ["not ready", "offers no GPU: is the device plugin running?"])
def test_what_my_pods_hold_is_mine_whatever_becomes_of_the_node(reason: str) -> None:
    node = make_node(usable=False, reason=reason, gpus_requested=2, gpus_allocatable=4 if reason == "not ready" else 0)
    mine = {Key("ns", "me"): 2}
    assert free(node, pods=mine) == 2
    assert free(node, pods=mine, who=me("other")) == 0


def test_what_is_divided_is_no_place_even_for_me() -> None:
    node = make_node(usable=False, reason="divided by MIG", divided=True, gpus_requested=2)
    assert free(node, pods={Key("ns", "me"): 2}) == 0


def test_a_claim_that_cannot_be_read_claims_nothing() -> None:
    assert claim_of(me(), {"gpu": "l4"}) is None
    assert claim_of(me(), {}) is None


def test_nodes_that_cannot_be_planned_on_are_told_with_their_reason() -> None:
    nodes = (
        make_node("a"),
        make_node("b", usable=False, reason="cordoned"),
        make_node("c", usable=False, reason="not ready"),
        make_node("d", usable=False, reason="cordoned"),
    )
    seen = seen_by(me(), Inventory(nodes, "test"), {}, (), standing=False)
    assert seen.left_out == ("b and 1 more: cordoned", "c: not ready")
