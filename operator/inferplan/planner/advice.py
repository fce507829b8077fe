"""Recommendations as the seed words them (start with, scale up, scale down, avoid), and what was assumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inferplan.domain.catalog import Catalog
from inferplan.domain.cluster import Inventory
from inferplan.domain.deployment import ASSUMED_SPECULATIVE_ACCEPTANCE
from inferplan.domain.model import WEIGHTS_BAND_PERCENT, Quantization, Task
from inferplan.domain.operation import Toleration
from inferplan.domain.plan import Plan, Recommendation
from inferplan.domain.scenario import LoadKind, Scenario, Tier
from inferplan.domain.taints import repelling
from inferplan.estimate.lengths import LARGEST_RATIO
from inferplan.estimate.roofline import ASSUMED_HOP_LATENCY_S, ASSUMED_NODE_LINK_BYTES_PER_S
from inferplan.planner import what_ifs

REPELLED_SHOWN = 3
"""Nodes named in one caution."""


def recommendations(tiers: Sequence[Plan], scenario: Scenario) -> tuple[Recommendation, ...]:
    """Advice that follows from the three tiers; every sentence names its numbers."""
    by_tier = {plan.tier: plan for plan in tiers}
    if len(by_tier) < len(Tier):
        return ()
    budget, start, high = by_tier[Tier.BUDGET], by_tier[Tier.RECOMMENDED], by_tier[Tier.HIGH_END]
    return tuple(Recommendation(kind, text) for kind, text in _advice(budget, start, high, scenario) if text)


def _advice(budget: Plan, start: Plan, high: Plan, scenario: Scenario) -> Iterator[tuple[str, str]]:
    yield "StartWith", f"{start.configuration.title} at ${start.cost.per_hour:.2f}/h"
    if high.hash != start.hash:
        yield "ScaleUp", f"{high.configuration.title} at ${high.cost.per_hour:.2f}/h: {_better(start, high, scenario)}"
    saving = start.cost.per_hour - budget.cost.per_hour
    if saving > 0:
        yield (
            "ScaleDown",
            (
                f"{budget.configuration.title} at ${budget.cost.per_hour:.2f}/h saves ${saving:.2f}/h; "
                f"it runs at {budget.cost.utilization_percent} % of saturation"
            ),
        )
    yield "Avoid", _avoid(start, scenario)


def _better(start: Plan, high: Plan, scenario: Scenario) -> str:
    metric = scenario.quality.metric
    ours, theirs = start.configuration.model, high.configuration.model
    if metric is not None and ours.id != theirs.id:
        before, after = ours.score(metric), theirs.score(metric)
        if before is not None and after is not None:
            return f"{after.value} against {before.value} on {metric}"
    faster = start.estimate.e2e.p95.expected / max(high.estimate.e2e.p95.expected, 1e-9)
    return f"{faster:.1f}x the speed (request P95 {high.estimate.e2e.p95.expected:.2f} s)"


def _avoid(start: Plan, scenario: Scenario) -> str:
    limit = start.configuration.max_num_seqs
    if scenario.workload.kind is LoadKind.OFFLINE:
        if start.configuration.checkpoint.quantization is Quantization.INT4:
            return "more aggressive quantization than INT4"
        return "generating text to classify: a pooling head needs the prompt alone"
    tpot = start.estimate.tpot.p95
    return (
        f"raising the batch limit above {limit} to save replicas: TPOT P95 is {tpot.expected * 1e3:.0f} ms at the "
        f"planned load and grows with every sequence that runs beside"
    )


def assumptions(catalog: Catalog, scenario: Scenario, plan: Plan | None) -> tuple[str, ...]:
    """Everything in the outcome that is neither measured nor given by a source."""
    found: list[str] = []
    if plan is not None:
        found.extend(_assumed_constants(catalog, plan))
        found.extend(_wide_weights(plan))
        found.extend(_assumed_of_pipelines(plan))
    decoding = None if plan is None else plan.configuration.engine.speculative
    if decoding is not None:
        found.append(
            f"speculative decoding: {100 * decoding.acceptance:.0f} % of {decoding.tokens} drafted tokens are kept"
        )
    elif plan is not None and scenario.task is Task.GENERATION:
        found.append(
            f"speculative decoding: acceptance {ASSUMED_SPECULATIVE_ACCEPTANCE}, "
            f"{what_ifs.ASSUMED_DRAFT_TOKENS} drafted tokens, draft cost {what_ifs.ASSUMED_DRAFT_COST}"
        )
    work = scenario.workload
    found.extend(_contradictory_lengths(scenario))
    if work.kind is LoadKind.OFFLINE:
        found.append("a run costs the time of its work; starting machines and loading weights come on top")
    if work.kind is LoadKind.CLOSED_LOOP:
        found.append(
            f"every user sends the next request {work.think_time_s:g} s after the last answer, exponentially spread"
        )
    if work.kind is LoadKind.OPEN_LOOP:
        found.append(f"arrivals with a squared coefficient of variation of {work.burstiness:g} (1 = Poisson)")
    return tuple(found)


def _wide_weights(plan: Plan) -> Iterator[str]:
    """A checkpoint whose loaded size is known less well than usual, and why."""
    checkpoint = plan.configuration.checkpoint
    if checkpoint.weights_band_percent > WEIGHTS_BAND_PERCENT:
        yield (
            f"weights of {checkpoint.repository}: up to {checkpoint.weights_band_percent:g} % more or less than "
            f"computed ({checkpoint.weights_band_reason})"
        )


def _contradictory_lengths(scenario: Scenario) -> Iterator[str]:
    """A P95 so far above the mean that no distribution has both."""
    work = scenario.workload
    lengths = [("promptTokens", work.prompt)]
    if scenario.task is Task.GENERATION:
        lengths.append(("outputTokens", work.output))
    for field, stated in lengths:
        if stated.p95 > LARGEST_RATIO * stated.mean:
            yield (
                f"workload.{field}: one request in twenty with the p95 of {stated.p95} alone makes a mean of "
                f"{stated.p95 / LARGEST_RATIO:.0f}, more than the {stated.mean} stated; both are taken as stated, "
                f"the p95 for latencies and the mean for the load"
            )


def _assumed_of_pipelines(plan: Plan) -> Iterator[str]:
    """The network between the machines of a replica."""
    if plan.configuration.pp_size > 1:
        gbit_per_s = 8 * ASSUMED_NODE_LINK_BYTES_PER_S / 1e9
        yield (
            f"machines of one replica are linked with {gbit_per_s:g} Gbit/s, "
            f"and handing on takes {1e6 * ASSUMED_HOP_LATENCY_S:g} microseconds more"
        )


def _assumed_constants(catalog: Catalog, plan: Plan) -> Iterator[str]:
    """Constants behind the plan's own engine and GPU that were not fitted."""
    engine, gpu = plan.configuration.engine, plan.configuration.gpu
    for record in catalog.calibrations:
        applies = record.gpu in {None, gpu.id} and record.family in {None, gpu.family}
        if record.engine == engine.id and applies and record.assumed:
            verb = "is" if len(record.assumed) == 1 else "are"
            yield f"calibration {record.id}: {', '.join(record.assumed)} {verb} assumed, not fitted"


def _repelled(inventory: Inventory, tolerations: tuple[Toleration, ...]) -> Iterator[str]:
    """Free GPUs that are left out because of a taint, by taint."""
    nodes: dict[str, list[str]] = {}
    for node in inventory.nodes:
        for taint in repelling(node, tolerations) if node.gpus_free else ():
            nodes.setdefault(f"{taint.key}={taint.value}:{taint.effect}", []).append(node.name)
    for said, names in sorted(nodes.items()):
        shown = ", ".join(names[:REPELLED_SHOWN]) + ("…" if len(names) > REPELLED_SHOWN else "")
        yield f"not planned on {shown}: taint {said}; tolerate it in deploy.podTemplate.tolerations to use them"


def cautions(
    source: str,
    tiers: Sequence[Plan],
    plan: Plan | None,
    inventory: Inventory | None,
    tolerations: tuple[Toleration, ...],
) -> tuple[str, ...]:
    """What a reader should know before trusting the outcome at all."""
    found = [
        f"{entry.tier} ({entry.configuration.title}) cannot be deployed yet: a replica spans"
        f" {entry.configuration.pp_size} machines"
        for entry in tiers
        if not entry.configuration.is_deployable
    ]
    if inventory is not None:
        found.extend(_repelled(inventory, tolerations))
    if inventory is not None and source == "Market":
        found.append(
            f"no usable GPU in {inventory.origin}: planned on the market, with machines that are not there yet"
        )
    if plan is not None and plan.configuration.engine.chosen_only_on_request:
        engine = plan.configuration.engine
        found.append(f"{engine.name} {engine.version}: {'; '.join(engine.notes)}")
    return tuple(found)
