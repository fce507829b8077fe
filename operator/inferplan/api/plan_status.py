"""A plan of the domain -> its rows in the status."""

from __future__ import annotations

from inferplan.api.figures import decimal_text, figure, mebibytes, percent, rounded, whole
from inferplan.api.pins import from_decoding
from inferplan.api.v1alpha1.pin import Execution, Modalities
from inferplan.api.v1alpha1.plan import (
    CostStatus,
    LatencyStatus,
    MemoryStatus,
    MissStatus,
    PlacementStatus,
    PlanStatus,
    PredictedStatus,
    RangeStatus,
    RemarkStatus,
    SpeculativeStatus,
    TierStatus,
)
from inferplan.api.yaml_scalars import shorten
from inferplan.domain.deployment import Cost, Placement, SpeculativeDecoding
from inferplan.domain.estimate import Estimate, Latency, MemoryLedger, Range
from inferplan.domain.plan import Plan
from inferplan.domain.units import GIB, milliseconds

LINE = 512
TEXT = 4096


def line(text: str) -> str:
    """Bring text to what fits one line of the status."""
    return shorten(text, LINE)


def range_status(value: Range, scale: float = 1.0) -> RangeStatus:
    """Write a range, scaled to its unit."""
    return RangeStatus(
        low=figure(value.low * scale),
        expected=figure(value.expected * scale),
        high=figure(value.high * scale),
    )


def latency_status(latency: Latency) -> LatencyStatus:
    """Write a latency in milliseconds; the range is that of P95."""
    return LatencyStatus(
        mean=figure(milliseconds(latency.mean.expected)),
        p50=figure(milliseconds(latency.p50.expected)),
        p90=figure(milliseconds(latency.p90.expected)),
        p95=figure(milliseconds(latency.p95.expected)),
        p99=figure(milliseconds(latency.p99.expected)),
        low=figure(milliseconds(latency.p95.low)),
        high=figure(milliseconds(latency.p95.high)),
    )


def memory_status(ledger: MemoryLedger) -> MemoryStatus:
    """Write the memory of one GPU. The parts are rounded first, so they add up to the total as shown."""
    weights, kv_cache = mebibytes(ledger.weights_bytes), mebibytes(ledger.kv_needed_bytes)
    activations, overhead = mebibytes(ledger.activations_bytes), mebibytes(ledger.overhead_bytes)
    total, capacity = weights + kv_cache + activations + overhead, mebibytes(ledger.capacity_bytes)
    return MemoryStatus(
        weights_mebibytes=weights,
        kv_cache_mebibytes=kv_cache,
        activations_mebibytes=activations,
        overhead_mebibytes=overhead,
        total_mebibytes=total,
        capacity_mebibytes=capacity,
        granted_mebibytes=mebibytes(ledger.granted_bytes),
        kv_pool_mebibytes=mebibytes(ledger.kv_pool_bytes),
        kv_pool_tokens=whole(ledger.kv_pool_tokens),
        longest_context_tokens=ledger.longest_context_tokens,
        full_length_sequences=figure(ledger.full_length_sequences),
        kv_bytes_per_token=whole(ledger.kv_bytes_per_token),
        percent=percent(total / capacity) if capacity else 0,
    )


def predicted_status(estimate: Estimate) -> PredictedStatus:
    """Write what is predicted."""
    return PredictedStatus(
        time_to_first_token_milliseconds=latency_status(estimate.ttft),
        time_per_output_token_milliseconds=latency_status(estimate.tpot),
        request_latency_milliseconds=latency_status(estimate.e2e),
        output_tokens_per_second_per_user=range_status(estimate.output_tps_per_user),
        output_tokens_per_second=range_status(estimate.output_tps_total),
        requests_per_second=figure(estimate.requests_per_s),
        capacity_requests_per_second=range_status(estimate.capacity_rps),
        running_sequences=figure(estimate.running_batch),
        kv_occupancy_percent=percent(estimate.kv_occupancy),
        utilization_percent=percent(estimate.utilization),
        run_duration_seconds=None if estimate.run_duration_s is None else range_status(estimate.run_duration_s),
    )


def _joined(values: list[str]) -> str:
    return line(", ".join(dict.fromkeys(value for value in values if value)))


def _placement(placement: Placement) -> PlacementStatus:
    return PlacementStatus(
        provider=line(placement.provider),
        region=line(placement.region),
        instance_type=line(placement.instance_type),
        count=placement.count,
        gpus_per_instance=placement.gpus_per_instance,
        gpus_used=placement.gpus_used,
        gpus_idle=placement.gpus_idle,
        usd_per_hour=decimal_text(placement.price_usd_per_hour),
        terms=placement.terms.value,
        as_of=line(placement.as_of),
        price_source=line(placement.source),
    )


def cost_status(cost: Cost) -> CostStatus:
    """Write a cost with everything needed to compute it again."""
    places = cost.placements
    return CostStatus(
        usd_per_hour=decimal_text(cost.per_hour),
        usd_per_month=decimal_text(cost.per_month),
        hours_per_month=decimal_text(cost.hours_per_month),
        usd_per_request=None if cost.per_request is None else rounded(cost.per_request),
        usd_per_million_output_tokens=None
        if cost.per_million_output_tokens is None
        else rounded(cost.per_million_output_tokens),
        usd_per_million_total_tokens=None
        if cost.per_million_total_tokens is None
        else rounded(cost.per_million_total_tokens),
        usd_per_run=None if cost.per_run is None else rounded(cost.per_run),
        requests_per_second=rounded(cost.requests_per_s),
        utilization_percent=max(0, cost.utilization_percent),
        gpus_idle=cost.gpus_idle,
        price_source=_joined([place.source for place in places]),
        priced_at=line(min((place.as_of for place in places if place.as_of), default="")),
        region=_joined([place.region for place in places]),
        terms=_joined([place.terms.value for place in places]),
        placements=tuple(_placement(place) for place in places[:32]),
    )


def _speculative(decoding: SpeculativeDecoding | None) -> SpeculativeStatus | None:
    if decoding is None:
        return None
    written = from_decoding(decoding)
    return SpeculativeStatus(
        method=written["method"],
        tokens=written["tokens"],
        acceptance_percent=written["acceptancePercent"],
        model=written.get("model"),
    )


def plan_status(plan: Plan) -> PlanStatus:
    """Write a plan in full."""
    chosen, estimate = plan.configuration, plan.estimate
    return PlanStatus(
        hash=plan.hash,
        title=line(chosen.title),
        tier=plan.tier,
        source=line(plan.source),
        model=line(chosen.model.id),
        repository=line(chosen.checkpoint.repository),
        revision=chosen.checkpoint.revision,
        quantization=chosen.checkpoint.quantization.value,
        method=line(chosen.method.id),
        made_while_loading=chosen.checkpoint.made_while_loading or chosen.method.made_while_loading,
        engine=line(chosen.engine.name),
        engine_version=line(chosen.engine.version),
        gpu=line(chosen.gpu.id),
        gpu_name=line(chosen.gpu.name),
        gpus_per_replica=chosen.gpus_per_replica,
        tensor_parallel=chosen.tp_size,
        pipeline_parallel=chosen.pp_size,
        replicas=chosen.replicas,
        gpus=chosen.gpus,
        kv_cache_type=chosen.kv_dtype.value,
        compute_type=chosen.compute_dtype.value,
        max_num_seqs=chosen.max_num_seqs,
        max_num_batched_tokens=chosen.max_num_batched_tokens,
        max_model_len=chosen.max_model_len,
        gpu_memory_percent=percent(chosen.gpu_memory_utilization),
        execution=Execution.EAGER.value if chosen.engine.eager else None,
        modalities=None if chosen.engine.text_only else Modalities.ALL.value,
        cpu_offload_gib=chosen.engine.cpu_offload_bytes // GIB or None,
        kv_offload_gib=chosen.engine.kv_offload_bytes // GIB or None,
        speculative_decoding=_speculative(chosen.engine.speculative),
        memory=memory_status(estimate.memory),
        predicted=predicted_status(estimate),
        cost=cost_status(plan.cost),
        compatibility=plan.compatibility,
        evidence=estimate.evidence,
        evidence_detail=line(estimate.evidence_detail),
        analysis=tuple(
            RemarkStatus(kind=remark.kind, code=line(remark.code), text=shorten(remark.text, TEXT))
            for remark in plan.remarks[:32]
        ),
        misses=tuple(
            MissStatus(code=miss.code, limit=figure(miss.limit), actual=figure(miss.actual), unit=line(miss.unit))
            for miss in plan.misses[:16]
        ),
    )


def tier_status(plan: Plan) -> TierStatus:
    """Write a plan as one row of the three."""
    estimate, memory = plan.estimate, memory_status(plan.estimate.memory)
    cost = cost_status(plan.cost)
    return TierStatus(
        tier=plan.tier,
        title=line(plan.configuration.title),
        hash=plan.hash,
        memory_mebibytes=memory.total_mebibytes,
        memory_percent=memory.percent,
        time_to_first_token_p95_milliseconds=latency_status(estimate.ttft).p95,
        time_per_output_token_p95_milliseconds=latency_status(estimate.tpot).p95,
        request_latency_p95_milliseconds=latency_status(estimate.e2e).p95,
        output_tokens_per_second_per_user=figure(estimate.output_tps_per_user.expected),
        output_tokens_per_second=figure(estimate.output_tps_total.expected),
        requests_per_second=figure(estimate.requests_per_s),
        usd_per_hour=cost.usd_per_hour,
        usd_per_month=cost.usd_per_month,
        usd_per_request=cost.usd_per_request,
        compatibility=plan.compatibility,
        evidence=estimate.evidence,
    )
