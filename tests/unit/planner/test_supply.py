"""Packing replicas onto machines."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inferplan.domain.cluster import GpuNode, Inventory, Taint
from inferplan.domain.hardware import OwnedPool, Terms
from inferplan.domain.operation import Toleration, TolerationOperator
from inferplan.domain.scenario import HardwarePolicy
from inferplan.domain.taints import repelling
from inferplan.domain.units import micro_usd
from inferplan.estimate.cost import price_usd_per_hour
from inferplan.planner.supply import UNAVAILABLE, MarketSupply, NodeSupply
from tests.builders import make_offering

POLICY = HardwarePolicy(maximum_gpus=16)


def offers() -> tuple:  # type: ignore[type-arg]
    return (
        make_offering(instance_type="one", gpu_count=1, price_usd_per_hour=Decimal(10)),
        make_offering(instance_type="four", gpu_count=4, price_usd_per_hour=Decimal(36)),
        make_offering(instance_type="eight", gpu_count=8, price_usd_per_hour=Decimal(60)),
    )


def test_one_eighth_of_an_instance_still_costs_the_instance() -> None:
    supply = MarketSupply([make_offering(gpu_count=8, price_usd_per_hour=Decimal(60))], POLICY)
    assert supply.costs("h100-80gb-sxm", 1)[1] == micro_usd(Decimal(60))
    (place,) = supply.place("h100-80gb-sxm", 1, 1)
    assert (place.count, place.gpus_used, place.gpus_idle) == (1, 1, 7)


def test_the_cheapest_mix_of_instance_types_covers_the_slots() -> None:
    supply = MarketSupply(offers(), POLICY)
    costs = supply.costs("h100-80gb-sxm", 1) / 1e6
    # 3 singles cost 30; five: 36 + 10 = 46; six: 36 + 2 x 10 = 56 beats the eight at 60; seven: 60 beats 66
    assert list(costs[:9]) == [0, 10, 20, 30, 36, 46, 56, 60, 60]


def test_slots_of_two_do_not_split_over_machines() -> None:
    supply = MarketSupply(offers(), POLICY)
    costs = supply.costs("h100-80gb-sxm", 2) / 1e6
    assert list(costs[:5]) == [0, 36, 36, 60, 60]


def test_a_placement_costs_what_the_table_says() -> None:
    supply = MarketSupply(offers(), POLICY)
    for slot_gpus in (1, 2, 4):
        for slots in range(1, 16 // slot_gpus + 1):
            placed = supply.place("h100-80gb-sxm", slot_gpus, slots)
            assert micro_usd(price_usd_per_hour(placed)) == supply.costs("h100-80gb-sxm", slot_gpus)[slots]
            assert sum(p.gpus_used for p in placed) == slots * slot_gpus


def test_the_cheaper_region_wins_and_regions_are_not_mixed() -> None:
    dear = make_offering(region="eu", instance_type="one", price_usd_per_hour=Decimal(9))
    supply = MarketSupply([*offers(), dear], POLICY)
    assert supply.costs("h100-80gb-sxm", 1)[1] == micro_usd(Decimal(9))
    assert supply.costs("h100-80gb-sxm", 1)[4] == micro_usd(Decimal(36))  # 4 x 9 = 36: equal, both fine
    assert supply.costs("h100-80gb-sxm", 1)[5] == micro_usd(Decimal(45))  # 5 x 9 in one region, not 36 + 9 in two


def test_spot_is_used_only_when_asked_for() -> None:
    spot = make_offering(terms=Terms.SPOT, price_usd_per_hour=Decimal(1))
    assert MarketSupply([make_offering(), spot], POLICY).costs("h100-80gb-sxm", 1)[1] == micro_usd(Decimal("6.88"))
    both = HardwarePolicy(maximum_gpus=16, terms=(Terms.ON_DEMAND, Terms.SPOT))
    assert MarketSupply([make_offering(), spot], both).costs("h100-80gb-sxm", 1)[1] == micro_usd(Decimal(1))


@given(
    prices=st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 100)), min_size=1, max_size=5),
    slots=st.integers(1, 8),
)
def test_the_cover_equals_trying_everything(prices: list[tuple[int, int]], slots: int) -> None:
    offerings = [
        make_offering(instance_type=f"t{i}", gpu_count=size, price_usd_per_hour=Decimal(price))
        for i, (size, price) in enumerate(prices)
    ]
    found = MarketSupply(offerings, POLICY).costs("h100-80gb-sxm", 1)[slots]

    def brute(left: int) -> int:
        return 0 if left <= 0 else min(price + brute(left - size) for size, price in prices if size >= 1)

    assert found == micro_usd(Decimal(brute(slots)))


def make_node(**overrides: object) -> GpuNode:
    fields: dict[str, object] = {
        "name": "a",
        "gpu": "t4",
        "product_label": "Tesla-T4",
        "selector": (),
        "gpus_allocatable": 4,
        "gpus_requested": 1,
        "usable": True,
        "reason": "",
        "instance_type": "g4dn.12xlarge",
        "region": "us-east-1",
        "provider": "aws",
        "terms": Terms.ON_DEMAND,
        "price_usd_per_hour": Decimal("3.912"),
        "price_source": "test",
        "price_as_of": "2026-07-20",
    }
    return GpuNode(**{**fields, **overrides})  # type: ignore[arg-type]


def test_a_cluster_pays_for_its_share_of_the_free_gpus() -> None:
    supply = NodeSupply.from_inventory(Inventory((make_node(),), "test"), POLICY)
    costs = supply.costs("t4", 1)
    assert list(costs) == [0, 978_000, 1_956_000, 2_934_000]  # three free GPUs at 3.912 / 4
    (place,) = supply.place("t4", 1, 2)
    assert price_usd_per_hour([place]) == Decimal("1.956000")


def test_two_gpus_free_on_two_nodes_are_no_slot_of_two() -> None:
    nodes = tuple(make_node(name=name, gpus_requested=3) for name in "ab")
    assert list(NodeSupply.from_inventory(Inventory(nodes, "test"), POLICY).costs("t4", 2)) == [0]


THEIRS = Taint("dedicated", "team-b", "NoSchedule")


def free_gpus(taints: tuple[Taint, ...], **policy: Any) -> int:
    nodes = Inventory((make_node(taints=taints),), "test")
    return len(NodeSupply.from_inventory(nodes, replace(POLICY, **policy)).costs("t4", 1)) - 1


def test_nodes_that_repel_our_pods_offer_nothing_until_they_are_tolerated() -> None:
    assert free_gpus((Taint("nvidia.com/gpu", "present", "NoSchedule"),)) == 3
    assert free_gpus((THEIRS,)) == 0
    assert free_gpus((THEIRS,), tolerations=(Toleration("dedicated"),)) == 3
    other = Toleration("dedicated", TolerationOperator.EQUAL, "team-a")
    assert free_gpus((THEIRS,), tolerations=(other,)) == 0
    assert free_gpus((THEIRS,), tolerations=(Toleration("dedicated", effect="NoExecute"),)) == 0


def test_soft_taints_and_conditions_repel_nobody() -> None:
    assert free_gpus((Taint("dedicated", "team-b", "PreferNoSchedule"),)) == 3
    assert free_gpus((Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"),)) == 3


def test_the_taint_of_spot_nodes_is_stood_on_spot_nodes() -> None:
    spot = Taint("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule")
    node = make_node(taints=(spot,), provider="azure", terms=Terms.SPOT)
    assert repelling(node, ()) == ()
    assert repelling(replace(node, terms=Terms.ON_DEMAND), ()) == (spot,)


def test_cordoned_nodes_and_nodes_without_a_price_offer_nothing() -> None:
    nodes = (make_node(usable=False, reason="cordoned"), make_node(name="b", price_usd_per_hour=None))
    assert not NodeSupply.from_inventory(Inventory(nodes, "test"), POLICY).has_gpu("t4")


def test_an_owned_pool_costs_capital_energy_and_upkeep() -> None:
    pool = OwnedPool(
        "dgx",
        "h100-80gb-sxm",
        8,
        2,
        Decimal(300_000),
        Decimal(5),
        7_650,
        Decimal("1.25"),
        Decimal("0.0826"),
        Decimal(5),
        Decimal(0),
        Decimal(0),
    )
    costs = NodeSupply.from_owned([pool]).costs("h100-80gb-sxm", 1)
    assert len(costs) == 17
    # 300000 / (8 x 5 x 8760) + 0.05 x 300000 / (8 x 8760) + 7.65 kW x 1.25 x 0.0826 / 8
    assert costs[1] == 1_168_938


def test_nothing_can_be_had_of_a_gpu_that_nobody_offers() -> None:
    supply = MarketSupply(offers(), POLICY)
    assert not supply.has_gpu("t4")
    assert np.all(supply.costs("t4", 1)[1:] >= UNAVAILABLE)
