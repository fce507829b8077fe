"""What else could be done beside the plan: each answer is planned again under a stated assumption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

from inferplan.domain.deployment import ASSUMED_SPECULATIVE_ACCEPTANCE
from inferplan.domain.hardware import Terms
from inferplan.domain.model import Task
from inferplan.domain.plan import Plan, WhatIf
from inferplan.domain.scenario import HardwareSource, LoadKind, Pin, Scenario
from inferplan.domain.units import HOURS_PER_MONTH
from inferplan.estimate.cost import break_even_utilization
from inferplan.planner.remarks import unusual_spot_prices

ASSUMED_DRAFT_TOKENS = 3
ASSUMED_DRAFT_COST = 0.10
"""Time of drafting one token over that of one step of the model."""
ASSUMED_SHARED_PREFIX_SHARE = 0.5
"""Share of a prompt that is the same for everybody (system prompt, instructions), where none is stated."""
ASSUMED_OFF_PEAK_DISCOUNT = Decimal("0.50")
"""Spot over on-demand price at night; committed and spot discounts in the price sources range from 0.35 to 0.69."""

Best = Callable[[Scenario], Plan | None]


def what_ifs(scenario: Scenario, plan: Plan, best: Best) -> tuple[WhatIf, ...]:
    """Answers that apply to this plan, in a fixed order."""
    return tuple(
        answer
        for ask in (_speculative, _prefix_caching, _spot, _off_peak, _owned)
        for answer in ask(scenario, plan, best)
    )


def speculative_speedup(acceptance: float, draft_tokens: int, draft_cost: float) -> float:
    r"""Decode speed-up of speculative decoding while decode is bound by memory.

    Notes
    -----
    .. math:: s = \frac{1 - a^{k+1}}{(1 - a)(1 + k c)}

    with acceptance a, k drafted tokens and relative draft cost c (Leviathan et al., 2023, arXiv 2211.17192,
    theorem 3.8).

    >>> round(speculative_speedup(0.7, 3, 0.1), 2)
    1.95
    """
    expected = (1 - acceptance ** (draft_tokens + 1)) / (1 - acceptance)
    return expected / (1 + draft_tokens * draft_cost)


def _bound_by_memory(scenario: Scenario, plan: Plan) -> bool:
    """Whether reading the weights takes longer than the arithmetic of a mean step, prompts that share it included.

    Notes
    -----
    A running sequence brings one token to a step and its share of its prompt: ``1 + prompt / output``. Arithmetic
    takes over at ``peak / bandwidth x bytes per weight / 2`` tokens.
    """
    configuration, work = plan.configuration, scenario.workload
    peak = configuration.gpu.peak(configuration.compute_dtype)
    if peak is None or work.output.mean < 1:
        return False
    fresh = work.prompt.mean - work.shared_prefix_tokens
    tokens = plan.estimate.running_batch * (1.0 + fresh / work.output.mean)
    bytes_per_weight = configuration.method.weight_bits / 8
    return tokens < peak / configuration.gpu.hbm_bandwidth_bytes_per_s * bytes_per_weight / 2


def _speculative(scenario: Scenario, plan: Plan, best: Best) -> Iterator[WhatIf]:
    del best
    drafts = plan.configuration.engine.speculative is not None
    if drafts or scenario.task is not Task.GENERATION or not _bound_by_memory(scenario, plan):
        return
    speedup = speculative_speedup(ASSUMED_SPECULATIVE_ACCEPTANCE, ASSUMED_DRAFT_TOKENS, ASSUMED_DRAFT_COST)
    before = plan.estimate.tpot.p50.expected * 1e3
    batch = plan.estimate.running_batch
    yield WhatIf(
        code="SpeculativeDecoding",
        title="Speculative decoding",
        assumption=(
            f"{ASSUMED_SPECULATIVE_ACCEPTANCE:.0%} of {ASSUMED_DRAFT_TOKENS} drafted tokens accepted, a draft "
            f"costs {ASSUMED_DRAFT_COST:.0%} of a step, decode bound by memory (running batch {batch:.0f})"
        ),
        effect=f"TPOT P50 from {before:.1f} to {before / speedup:.1f} ms at best ({speedup:.2f}x); not in the plan",
    )


def _prefix_caching(scenario: Scenario, plan: Plan, best: Best) -> Iterator[WhatIf]:
    work = scenario.workload
    if work.shared_prefix_tokens or scenario.pin is not None:
        return
    shared = int(work.prompt.mean * ASSUMED_SHARED_PREFIX_SHARE)
    if shared < 1:
        return
    cached = best(replace(scenario, workload=replace(work, shared_prefix_tokens=shared)))
    if cached is None:
        return
    change = cached.cost.per_month - plan.cost.per_month
    if change >= 0:
        return
    yield WhatIf(
        code="PrefixCaching",
        title="Prefix caching",
        assumption=f"{shared} of {work.prompt.mean} prompt tokens are the same for everybody and stay cached",
        effect=(
            f"cheapest plan {cached.configuration.title} at ${cached.cost.per_month:,.2f} per month "
            f"(${-change:,.2f} less than the chosen one)"
        ),
        cost_per_month=cached.cost.per_month,
    )


def _spot(scenario: Scenario, plan: Plan, best: Best) -> Iterator[WhatIf]:
    policy = scenario.hardware
    if plan.source != "Market" or Terms.SPOT in policy.terms:
        return
    same = replace(scenario, hardware=replace(policy, terms=(Terms.SPOT,)), pin=Pin.of(plan.configuration))
    cheaper = best(same)
    if cheaper is None or cheaper.cost.per_hour >= plan.cost.per_hour:
        return
    place = cheaper.cost.placements[0]
    holds = f"the spot price of {place.as_of} still holds and machines may be taken back at any time"
    yield WhatIf(
        code="Spot",
        title="Spot machines",
        assumption="; ".join((holds, *unusual_spot_prices(cheaper.cost))),
        effect=(
            f"the same on {place.provider} {place.instance_type} at ${cheaper.cost.per_hour:.2f}/h instead of "
            f"${plan.cost.per_hour:.2f}/h"
        ),
        cost_per_month=cheaper.cost.per_month,
    )


def _off_peak(scenario: Scenario, plan: Plan, best: Best) -> Iterator[WhatIf]:
    del best
    work, run = scenario.workload, plan.cost.per_run
    if work.kind is not LoadKind.OFFLINE or run is None or plan.source != "Market":
        return
    yield WhatIf(
        code="OffPeakWindow",
        title="Run off-peak",
        assumption=f"machines cost {ASSUMED_OFF_PEAK_DISCOUNT:.0%} of the on-demand price in the window",
        effect=f"a run costs ${run * ASSUMED_OFF_PEAK_DISCOUNT:.2f} instead of ${run:.2f}",
    )


def _owned(scenario: Scenario, plan: Plan, best: Best) -> Iterator[WhatIf]:
    if plan.source != "Owned":
        return
    rented = best(replace(scenario, hardware=replace(scenario.hardware, source=HardwareSource.MARKET, owned=())))
    if rented is None:
        return
    share = break_even_utilization(plan.cost.per_hour, rented.cost.per_hour)
    verdict = f"owning pays from {share:.0%} of hours in use ({share * HOURS_PER_MONTH:.0f} h per month)"
    if share > 1:
        verdict = f"owning costs {share:.2f} times that and never pays"
    yield WhatIf(
        code="RentInstead",
        title="Rent instead of own",
        assumption="the owned machines cost in every hour, rented ones only in hours used",
        effect=f"renting: {rented.configuration.title} at ${rented.cost.per_hour:.2f}/h; {verdict}",
        cost_per_month=rented.cost.per_month,
    )
