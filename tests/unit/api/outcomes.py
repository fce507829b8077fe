"""A plan and an outcome with round numbers, for tests of the status."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from inferplan.domain.deployment import Configuration, Cost, Placement
from inferplan.domain.estimate import Estimate, Evidence, Latency, MemoryLedger, Range
from inferplan.domain.hardware import Terms
from inferplan.domain.model import Dtype
from inferplan.domain.plan import (
    Change,
    Compatibility,
    GrowthStep,
    Infeasibility,
    Outcome,
    Plan,
    Recommendation,
    Relaxation,
    Remark,
    RemarkKind,
    SearchSpace,
    WhatIf,
)
from inferplan.domain.reasons import ReasonCode, Rejection, RejectionCount, RejectionSummary
from inferplan.domain.scenario import Tier
from tests.builders import make_engine, make_gpu, make_method, make_model, make_scenario

MIB = 2**20
REJECTION = Rejection(ReasonCode.WEIGHTS_DONT_FIT, "Big on 1x T4", 15.0, 140.0, "GB", "weights alone")


def latency(seconds: float) -> Latency:
    around = Range(seconds * 0.8, seconds, seconds * 1.5)
    return Latency(mean=around, p50=around, p90=around, p95=around, p99=around)


def make_estimate(**overrides: Any) -> Estimate:
    base = Estimate(
        memory=MemoryLedger(
            capacity_bytes=80_000 * MIB,
            granted_bytes=72_000 * MIB,
            weights_bytes=12_800.4 * MIB,
            activations_bytes=1_000.4 * MIB,
            overhead_bytes=1_200.4 * MIB,
            kv_pool_bytes=57_000 * MIB,
            kv_needed_bytes=5_000.4 * MIB,
            kv_bytes_per_token=524_288.0,
            kv_pool_tokens=114_000.0,
            sequences_held=80,
            longest_context_tokens=4096,
            full_length_sequences=55.5,
        ),
        ttft=latency(0.42),
        tpot=latency(0.008333333333),
        e2e=latency(1.5),
        output_tps_per_user=Range(90.0, 120.0, 130.0),
        output_tps_total=Range(1_800.0, 2_400.0, 2_600.0),
        requests_per_s=2.5,
        offered_rps=0.0,
        capacity_rps=Range(4.0, 5.0, 6.0),
        running_batch=4.25,
        kv_occupancy=0.31,
        utilization=0.5,
        run_duration_s=None,
        evidence=Evidence.CALIBRATED,
        evidence_detail="Hopper was measured",
    )
    return replace(base, **overrides)


def make_cost(**overrides: Any) -> Cost:
    """One instance for 6.88 USD/h: 6.88 / 3600 / 2.5 USD a request."""
    base = Cost(
        per_hour=Decimal("6.880000"),
        per_month=Decimal("5022.40"),
        hours_per_month=Decimal(730),
        per_request=Decimal("6.88") / 3600 / Decimal("2.5"),
        per_million_output_tokens=Decimal("0.796296296296296"),
        per_million_total_tokens=None,
        per_run=None,
        requests_per_s=Decimal("2.5"),
        utilization_percent=50,
        placements=(
            Placement(
                provider="aws",
                region="us-east-1",
                instance_type="p5.4xlarge",
                count=1,
                gpus_per_instance=1,
                gpus_used=1,
                gpus_idle=0,
                price_usd_per_hour=Decimal("6.88"),
                terms=Terms.ON_DEMAND,
                as_of="2026-07-20",
                source="test",
            ),
        ),
        gpus_idle=0,
    )
    return replace(base, **overrides)


def make_plan(**overrides: Any) -> Plan:
    model = make_model()
    configuration = Configuration(
        model=model,
        checkpoint=model.checkpoints[0],
        method=make_method(),
        engine=make_engine(),
        gpu=make_gpu(),
        tp_size=1,
        pp_size=1,
        kv_dtype=Dtype.FLOAT16,
        compute_dtype=Dtype.FLOAT16,
        max_num_seqs=16,
        max_num_batched_tokens=8192,
        max_model_len=2048,
        gpu_memory_utilization=0.92,
        replicas=1,
    )
    base = Plan(
        tier=Tier.RECOMMENDED,
        configuration=configuration,
        estimate=make_estimate(),
        cost=make_cost(),
        compatibility=Compatibility.COMPATIBLE,
        remarks=(Remark(RemarkKind.STRENGTH, "LatencyMargin", "TTFT p95 of 420 ms"),),
        misses=(),
        hash="abc123",
        source="Market",
    )
    return replace(base, **overrides)


def make_outcome(**overrides: Any) -> Outcome:
    plan = make_plan()
    base = Outcome(
        scenario=make_scenario(),
        chosen=plan,
        tiers=(replace(plan, tier=Tier.BUDGET), plan),
        infeasibility=None,
        rejected=RejectionSummary(7, (RejectionCount(ReasonCode.WEIGHTS_DONT_FIT, 7, REJECTION),)),
        growth=(GrowthStep(2, plan), GrowthStep(10, None)),
        what_ifs=(WhatIf("Spot", "Spot machines", "prices as of today", "-50 %", Decimal("2511.2")),),
        recommendations=(Recommendation("Start with", "one H100"),),
        assumptions=("ASSUMED_X = 1",),
        search=SearchSpace(1000, 100, "digest", "2026-07-20", "Market"),
    )
    return replace(base, **overrides)


def make_infeasible_outcome() -> Outcome:
    relaxation = Relaxation((Change("hardware.maximumGpus", "1", "4"),), "4 GPUs", make_plan())
    found = Infeasibility((ReasonCode.WEIGHTS_DONT_FIT,), REJECTION, (relaxation,), (REJECTION,))
    return make_outcome(chosen=None, tiers=(), infeasibility=found, growth=())
