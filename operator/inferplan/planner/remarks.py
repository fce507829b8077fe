"""The ✅ ⚠️ 💰 analysis of a plan. Every remark names the number that it rests on; nothing is canned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from inferplan.domain.deployment import Configuration, Cost
from inferplan.domain.estimate import Estimate, Evidence
from inferplan.domain.hardware import Terms
from inferplan.domain.model import Task
from inferplan.domain.plan import Compatibility, Miss, Remark, RemarkKind
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import HardwareSource, LoadKind, Scenario, Tier
from inferplan.domain.units import GB, GIB
from inferplan.estimate.lora import lora_bytes
from inferplan.estimate.offloading import offloaded_weight_bytes
from inferplan.planner.candidates import Weights
from inferplan.planner.constraints import is_lossless, planned_tokens, recovery_percent

TIGHT_FIT_PERCENT = 85.0
"""Share of the GPU's memory in real use from which a fit is called tight."""
LOW_MEMORY_PERCENT = 40.0
BUSY_PERCENT = 80
LEAST_ROOM = 1.05
"""Capacity, at its low end, over the load below which there is no room to speak of."""
IDLE_PERCENT = 30
LEAST_USUAL_SPOT_SHARE, MOST_USUAL_SPOT_SHARE = Decimal("0.15"), Decimal("0.95")
"""Spot over on-demand price beyond which a snapshot is called unusual: 97 of 100 pairs in the price sources lie between
(the middle half from 0.38 to 0.53)."""
COMFORT = 0.8
"""A latency below this share of its target is called comfortable."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged."""

    scenario: Scenario
    tier: Tier
    configuration: Configuration
    estimate: Estimate
    cost: Cost
    misses: tuple[Miss, ...]
    source: str
    """Where its machines are from, as :attr:`~inferplan.planner.supply.Supply.source` names it."""


def memory_percent(estimate: Estimate) -> float:
    """Share of one GPU's memory that the plan really uses [%]."""
    return 100.0 * estimate.memory.needed_bytes / estimate.memory.capacity_bytes


def compatibility(estimate: Estimate) -> Compatibility:
    """Say whether the plan fits its GPUs, from the memory that it really uses."""
    percent = memory_percent(estimate)
    granted = 100.0 * estimate.memory.granted_bytes / estimate.memory.capacity_bytes
    if percent > granted:
        return Compatibility.INCOMPATIBLE
    return Compatibility.TIGHT_FIT if percent >= TIGHT_FIT_PERCENT else Compatibility.COMPATIBLE


def analyse(subject: Subject) -> tuple[Remark, ...]:
    """All remarks on one plan: strengths, then cautions, then costs."""
    found = (
        *_latency(subject),
        *_memory(subject),
        *_machine_memory(subject),
        *_load(subject),
        *_quality(subject),
        *_image(subject),
        *_evidence(subject),
        *_money(subject),
    )
    return in_order(found)


def not_deployable(configuration: Configuration) -> tuple[Remark, ...]:
    """What is said before everything else of a plan that cannot be deployed yet."""
    if configuration.is_deployable:
        return ()
    text = f"cannot be deployed yet: a replica spans {configuration.pp_size} machines"
    return (_caution(ReasonCode.NOT_DEPLOYABLE.value, text),)


def in_order(remarks: Sequence[Remark]) -> tuple[Remark, ...]:
    """Sort remarks: strengths, cautions, costs."""
    order = list(RemarkKind)
    return tuple(sorted(remarks, key=lambda remark: order.index(remark.kind)))


def _strength(code: str, text: str) -> Remark:
    return Remark(RemarkKind.STRENGTH, code, text)


def _caution(code: str, text: str) -> Remark:
    return Remark(RemarkKind.CAUTION, code, text)


def _plain(value: float, digits: int = 4) -> str:
    """Write a number with some digits and without an exponent.

    >>> _plain(7.504e-05), _plain(21.0478), _plain(0.00000074123, 3)
    ('0.00007504', '21.05', '0.000000741')
    """
    return f"{Decimal(f'{value:.{digits}g}'):f}"


def _latency(subject: Subject) -> Iterator[Remark]:
    slo, estimate = subject.scenario.slo, subject.estimate
    for miss in subject.misses:
        yield _caution(
            str(miss.code),
            f"misses its target: {miss.code} with {_plain(miss.actual)} against {_plain(miss.limit)} {miss.unit}",
        )
    missed = {miss.code.value for miss in subject.misses}
    targets = (
        ("TtftOverTarget", "time to first token", slo.ttft_s, estimate.ttft),
        ("TpotOverTarget", "time per output token", slo.tpot_s, estimate.tpot),
        ("LatencyOverTarget", "the whole request", slo.e2e_latency_s, estimate.e2e),
    )
    for code, name, target, latency in targets:
        if target is None or code in missed:
            continue
        value = latency.at(slo.percentile).high
        ms, limit = value * 1_000, target * 1_000
        share = value / target
        if share <= COMFORT:
            text = f"{name} P{slo.percentile} stays at {ms:.0f} ms or less, {share:.0%} of its {limit:.0f} ms target"
            yield _strength(code.replace("OverTarget", "Comfortable"), text)
        else:
            text = f"{name} P{slo.percentile} may reach {ms:.0f} ms, {share:.0%} of its {limit:.0f} ms target"
            yield _caution(code.replace("OverTarget", "Close"), text)
    duration, deadline = estimate.run_duration_s, subject.scenario.workload.time_limit_s
    if duration is not None and deadline is not None and "DeadlineMissed" not in missed:
        text = (
            f"the run takes {duration.expected / 60:.1f} min (at most {duration.high / 60:.1f}), "
            f"{duration.high / deadline:.0%} of its {deadline / 60:.0f} min deadline"
        )
        yield _strength("DeadlineMet", text)


def _memory(subject: Subject) -> Iterator[Remark]:
    memory = subject.estimate.memory
    if subject.scenario.pin is not None:
        longest, length = memory.longest_context_tokens, subject.configuration.max_model_len
        at_once = f"{_plain(memory.full_length_sequences, 3)} sequences of {length:,} tokens fit at once"
        yield _strength("LongestContext", f"longest context that fits: {longest:,} tokens; {at_once}")
    percent = memory_percent(subject.estimate)
    used = f"{memory.needed_bytes / GB:.1f} of {memory.capacity_bytes / GB:.1f} GB ({percent:.0f} %)"
    if percent >= TIGHT_FIT_PERCENT:
        yield _caution("MemoryTight", f"tight fit: {used} of each GPU are used at the planned batch limit")
    elif percent < LOW_MEMORY_PERCENT:
        yield _caution("MemoryUnderused", f"only {used} of each GPU are used at the planned batch limit")
    else:
        yield _strength("MemoryWellUsed", f"{used} of each GPU are used, with room for longer prompts")
    yield from _adapters(subject.configuration)
    limit, held = subject.configuration.max_num_seqs, memory.sequences_held
    if limit > max(held, 1):
        length = planned_tokens(subject.scenario)
        text = (
            f"the KV cache holds {held} sequences of {length} tokens (P95) at once and the batch limit is {limit}:"
            f" beyond {held} they wait or start again"
        )
        yield _caution("BatchLimitNotFilled", text)


def _machine_memory(subject: Subject) -> Iterator[Remark]:
    """Say where offloading needs memory of a machine whose size nobody states; nodes of a cluster state theirs."""
    chosen = subject.configuration
    gib = (offloaded_weight_bytes(chosen) * chosen.gpus_per_replica + chosen.engine.kv_offload_bytes) / GIB
    unstated = dict.fromkeys(place.instance_type for place in subject.cost.placements if place.memory_gib is None)
    if gib and unstated and subject.source != HardwareSource.CLUSTER:
        text = f"offloading needs {gib:,.0f} GiB of the machine's memory for each replica, and nobody says"
        yield _caution("MachineMemoryUnknown", f"{text} whether {' or '.join(unstated)} has that much")


def _adapters(configuration: Configuration) -> Iterator[Remark]:
    room = configuration.engine.lora
    if room is None or configuration.engine.id != "vllm":
        return
    tp_size, pp_size = np.array([[configuration.tp_size], [configuration.pp_size]], dtype=np.float64)
    size = lora_bytes(configuration.model, room, tp_size=tp_size, pp_size=pp_size)[0]
    slots = "1 LoRA adapter" if room.slots == 1 else f"{room.slots} LoRA adapters"
    text = f"room for {slots} of rank {room.rank} takes {size / GB:.1f} GB of each GPU, whether any is loaded or not"
    yield _caution("LoraAdapters", text)


def _load(subject: Subject) -> Iterator[Remark]:
    estimate, configuration = subject.estimate, subject.configuration
    percent = round(100 * estimate.utilization)
    rate = estimate.capacity_rps.expected
    spare = estimate.capacity_rps.low / max(estimate.requests_per_s, 1e-9)
    if subject.scenario.workload.kind is LoadKind.OFFLINE:
        gpus = "1 GPU" if configuration.gpus == 1 else f"{configuration.gpus} GPUs"
        yield _strength("Throughput", f"{rate:.1f} items/s over {gpus}")
    elif percent >= BUSY_PERCENT or spare < LEAST_ROOM:
        text = f"runs at {percent} % of the {rate:.2f} requests/s at which it saturates"
        yield _caution("LittleRoom", f"{text} ({estimate.capacity_rps.low:.2f} at the low end)")
    else:
        sure = f"room for {spare:.1f}x the load at the low end of that"
        yield _strength("RoomToGrow", f"runs at {percent} % of its {rate:.2f} requests/s: {sure}")
    if configuration.replicas == 1 and subject.scenario.workload.kind is not LoadKind.OFFLINE:
        yield _caution("SingleReplica", "1 replica: a restart interrupts the service")
    if configuration.gpus_per_replica > 1:
        text = f"{configuration.gpus_per_replica} GPUs work as one replica (tensor parallel {configuration.tp_size}"
        tail = f" x pipeline {configuration.pp_size})" if configuration.pp_size > 1 else ")"
        yield _caution("MultiGpu", text + tail)


def _quality(subject: Subject) -> Iterator[Remark]:
    configuration, quality = subject.configuration, subject.scenario.quality
    model = configuration.model
    if subject.scenario.model.custom is not None:
        yield _strength("TaskSpecific", f"{model.id} is your own model: its quality is what you measured")
    elif subject.scenario.task is Task.CLASSIFICATION:
        yield _caution("NeedsFineTuning", f"{model.id} needs a classification head and fine-tuning on your labels")
    elif quality.metric is not None:
        score = model.score(quality.metric)
        if score is not None:
            floor = "" if quality.minimum is None else f" (asked: {quality.minimum})"
            text = f"{model.id} scores {score.value} on {quality.metric}{floor}, {score.as_of}"
            below = quality.minimum is not None and score.value < quality.minimum
            yield _caution("QualityLow", text) if below else _strength("Quality", text)
    weights = Weights(model, configuration.checkpoint, configuration.method)
    quantization = configuration.checkpoint.quantization
    recovery = recovery_percent(configuration.method, model.params_total)
    if is_lossless(weights):
        if recovery is not None and recovery < 100.0:  # noqa: PLR2004 - a percentage of everything
            yield _strength("Lossless", f"{quantization} keeps {recovery:.1f} % of the published accuracy")
    elif recovery is not None:
        yield _caution("Lossy", f"{quantization} keeps {recovery:.1f} % of the published accuracy on average")
    else:
        yield _caution("LossUnknown", f"no published accuracy for {configuration.method.id} at this model size")
    if not configuration.checkpoint.verified:
        yield _caution("CheckpointUnverified", f"{configuration.checkpoint.repository} was not seen by us")


def _image(subject: Subject) -> Iterator[Remark]:
    engine = subject.configuration.engine
    if engine.other_version_in_image:
        text = f"the tag of {engine.image} names {engine.other_version_in_image}, and flags and figures are those of"
        yield _caution("ImageOfAnotherVersion", f"{text} {engine.name} {engine.version}: check that it takes them")


def _evidence(subject: Subject) -> Iterator[Remark]:
    estimate = subject.estimate
    if subject.scenario.task is Task.GENERATION:
        tpot = estimate.tpot.p50
        spread = f"TPOT {tpot.low * 1e3:.1f} to {tpot.high * 1e3:.1f} ms"
    else:
        rate = estimate.capacity_rps
        spread = f"{rate.low:.1f} to {rate.high:.1f} items/s"
    text = f"{estimate.evidence_detail}: {spread}"
    if estimate.evidence is Evidence.EXTRAPOLATED:
        yield _caution("Extrapolated", text)
    else:
        yield _strength(str(estimate.evidence), text)


def _money(subject: Subject) -> Iterator[Remark]:
    cost = subject.cost
    what = "item" if subject.scenario.workload.kind is LoadKind.OFFLINE else "request"
    text = f"${cost.per_hour:.2f} per hour, ${cost.per_month:,.0f} per month"
    if cost.per_request is not None:
        each = _plain(float(cost.per_request), 3)
        text += f", ${each} per {what} at {cost.requests_per_s.normalize():f} {what}s/s"
    yield Remark(RemarkKind.COST, "Price", text)
    if cost.gpus_idle:
        paid = sum(place.gpus_used + place.gpus_idle for place in cost.placements)
        idle = f"{cost.gpus_idle} of {paid} GPUs paid for stay idle: no smaller instance with this GPU is cheaper"
        yield Remark(RemarkKind.COST, "IdleGpus", idle)
    if any(place.terms is Terms.SPOT for place in cost.placements):
        yield _caution("Spot", f"spot price of {cost.placements[0].as_of}: it moves and machines may be taken back")
        yield from (_caution("SpotPriceUnusual", text) for text in unusual_spot_prices(cost))
    if cost.utilization_percent < IDLE_PERCENT and subject.scenario.workload.kind is not LoadKind.OFFLINE:
        busy = f"the hardware is busy {cost.utilization_percent} % of the time at the planned load"
        yield Remark(RemarkKind.COST, "LowUtilization", busy)


def unusual_spot_prices(cost: Cost) -> Iterator[str]:
    """Say which spot prices hardly hold, or save nothing."""
    for place in cost.placements:
        usual = place.on_demand_usd_per_hour
        if place.terms is not Terms.SPOT or not usual:
            continue
        share = place.price_usd_per_hour / usual
        price = f"spot price of {place.instance_type} in {place.region} is {share:.0%} of the ${usual:.2f} on demand"
        if share < LEAST_USUAL_SPOT_SHARE:
            yield f"the {price}, which is unusually low: ask for the price of today"
        elif share > MOST_USUAL_SPOT_SHARE:
            yield f"the {price} and saves next to nothing"
