"""Which GPUs, from whom, and for how much."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from inferplan.api.v1alpha1.scalars import (
    NAME_PATTERN,
    Amount,
    Name,
    Percent,
    PueFactor,
    Relaxed,
    Rule,
    SpecModel,
    Years,
    rules,
)
from inferplan.domain.hardware import Market, Terms
from inferplan.domain.scenario import Enforcement, HardwareSource


class OwnedPool(SpecModel):
    """Machines that you own. Defaults are dated figures, each with its source; replace them by your own."""

    name: Annotated[str, Field(max_length=52, pattern=NAME_PATTERN)] = Field(description="How you call the pool.")
    gpu: Name = Field(description="GPU of the machines, by any name that the catalog knows.")
    gpus_per_node: Annotated[int, Field(ge=1, le=128)] = Field(description="GPUs in one machine.")
    nodes: Annotated[int, Field(ge=1, le=10_000)] = Field(description="How many such machines there are.")
    purchase_usd_per_node: Amount = Field(description="Price paid for one machine, its share of the network included.")
    life_years: Years = Field(
        default="5",
        description="Years over which the purchase is spread. Source: Epoch AI cost model, 2026-04-01.",
    )
    power_watts_per_node: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description=(
            "Mean draw of one machine at the plug, before PUE [W]. Absent: GPU TDP x GPUs x 1.8 (server"
            " over GPUs) x 0.75 (mean over maximum). Source: Epoch AI training-cost model, 2026-04-01."
        ),
    )
    pue: PueFactor = Field(
        default="1.25",
        description="Power usage effectiveness of the room. Source: Epoch AI, 2026, outside hyperscalers.",
    )
    usd_per_kilowatt_hour: Amount = Field(
        default="0.083", description="Electricity tariff. Source: EIA, US industrial average 2025 (0.0826)."
    )
    maintenance_percent_per_year: Percent = Field(
        default=5, description="Yearly upkeep in percent of the purchase. Source: none, an assumption."
    )
    residual_percent: Percent = Field(
        default=0,
        description="Percent of the purchase that comes back at the end. Source: none; sellers say 25 to 35.",
    )
    other_usd_per_month: Amount = Field(
        default="0",
        description="Staff, space and the like for one machine and month. Source: none; depends on you.",
    )


class Hardware(SpecModel):
    """Which GPUs may be used, from whom, and how many."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.source) || self.source != 'Owned' || (has(self.owned) && size(self.owned) > 0)",
                "source Owned needs at least one pool under owned",
            ),
            Rule(
                "!has(self.allow) || !has(self.deny) || !self.allow.exists(name, name in self.deny)",
                "a name stands in both allow and deny",
            ),
        )
    )

    source: Relaxed[HardwareSource] = Field(
        default=HardwareSource.AUTO,
        description=(
            "Cluster: GPUs of this cluster. Market: rented machines. Owned: the machines under owned."
            " Auto: owned machines if given, else the cluster's GPUs if it has any, else the market."
        ),
    )
    allow: Annotated[tuple[Name, ...], Field(strict=False, min_length=1, max_length=32)] | None = Field(
        default=None, description="GPUs that may be used, by any name that the catalog knows; absent: all."
    )
    deny: Annotated[tuple[Name, ...], Field(strict=False, max_length=32)] | None = Field(
        default=None, description="GPUs that may not be used."
    )
    maximum_gpus: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=256, description="Most GPUs that the whole deployment may take."
    )
    capacity_types: Annotated[tuple[Relaxed[Terms], ...], Field(strict=False, min_length=1, max_length=4)] = Field(
        default=(Terms.ON_DEMAND,),
        description="Terms on which machines may be had. Spot machines can be taken away soon.",
    )
    markets: Annotated[tuple[Relaxed[Market], ...], Field(strict=False, min_length=1, max_length=3)] = Field(
        default=(Market.CLOUD,),
        description="Who may sell: Cloud, or strangers' machines (Community, Marketplace).",
    )
    providers: Annotated[tuple[Name, ...], Field(strict=False, min_length=1, max_length=32)] | None = Field(
        default=None, description="Providers to rent from, such as aws; absent: all."
    )
    regions: Annotated[tuple[Name, ...], Field(strict=False, min_length=1, max_length=64)] | None = Field(
        default=None, description="Regions to rent in, such as us-east-1; absent: all."
    )
    owned: Annotated[tuple[OwnedPool, ...], Field(strict=False, min_length=1, max_length=16)] | None = Field(
        default=None, description="Machines that you own, with what they cost while they live."
    )


class Budget(SpecModel):
    """Upper limits of cost. Absent limits are no limits."""

    maximum_usd_per_hour: Amount | None = Field(
        default=None,
        description='Most that the deployment may cost per hour, a decimal in quotes such as "4.50".',
    )
    maximum_usd_per_month: Amount | None = Field(
        default=None, description="Most that it may cost per month (730 h, or the hours of the schedule)."
    )
    maximum_usd_per_request: Amount | None = Field(
        default=None, description="Most that one request (or item) may cost at the modelled load."
    )
    enforcement: Relaxed[Enforcement] = Field(
        default=Enforcement.BLOCK,
        description="Block: a plan above the budget is no plan, pinned or not. Warn: it is one, with a caution.",
    )
