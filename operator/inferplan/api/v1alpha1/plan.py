"""The part of the status that tells what runs, what is predicted of it and what it costs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inferplan.api.v1alpha1.scalars import Relaxed, StatusModel
from inferplan.domain.estimate import Evidence
from inferplan.domain.plan import Compatibility, RemarkKind
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Tier

Line = Annotated[str, Field(max_length=512)]
Text = Annotated[str, Field(max_length=4096)]
Figure = Annotated[str, Field(max_length=40)]
"""A decimal number as text, or "unbounded" where no finite figure exists."""
WholeNumber = Annotated[int, Field(ge=0)]


class MemoryStatus(StatusModel):
    """How one GPU's memory is used at the planned batch limit. All in MiB (2**20 bytes)."""

    weights_mebibytes: WholeNumber = Field(description="Weights.")
    kv_cache_mebibytes: WholeNumber = Field(description="KV cache that the planned batch limit fills.")
    activations_mebibytes: WholeNumber = Field(description="Peak of activations.")
    overhead_mebibytes: WholeNumber = Field(description="CUDA context, graphs and the engine's own needs.")
    total_mebibytes: WholeNumber = Field(description="Sum of the four above.")
    capacity_mebibytes: WholeNumber = Field(description="Memory of the GPU as its driver reports it.")
    granted_mebibytes: WholeNumber = Field(description="Share of the capacity that the engine takes.")
    kv_pool_mebibytes: WholeNumber = Field(description="KV cache that the engine really allocates.")
    kv_pool_tokens: WholeNumber = Field(description="Tokens that the KV cache of one replica holds.")
    longest_context_tokens: WholeNumber = Field(
        description="Largest maxModelLen with which the engine starts: one sequence that fills the KV cache, or all of"
        " the model's positions."
    )
    full_length_sequences: Figure = Field(description="Sequences of maxModelLen that the KV cache holds at once.")
    kv_bytes_per_token: WholeNumber = Field(description="KV cache of one token on one GPU [bytes].")
    percent: WholeNumber = Field(description="totalMebibytes of capacityMebibytes [percent].")


class RangeStatus(StatusModel):
    """A figure with its 90 percent range."""

    low: Figure = Field(description="Low end of the range.")
    expected: Figure = Field(description="Expected value.")
    high: Figure = Field(description="High end of the range.")


class LatencyStatus(StatusModel):
    """Distribution of a latency over the requests [ms]."""

    mean: Figure = Field(description="Mean.")
    p50: Figure = Field(description="Half of the requests are faster.")
    p90: Figure = Field(description="90 of 100 requests are faster.")
    p95: Figure = Field(description="95 of 100 requests are faster.")
    p99: Figure = Field(description="99 of 100 requests are faster.")
    low: Figure = Field(description="Low end of the 90 percent range of p95.")
    high: Figure = Field(description="High end of the 90 percent range of p95.")


class PredictedStatus(StatusModel):
    """What is predicted at the modelled load."""

    time_to_first_token_milliseconds: LatencyStatus = Field(description="Request sent to first token [ms].")
    time_per_output_token_milliseconds: LatencyStatus = Field(description="Gap between tokens of one answer [ms].")
    request_latency_milliseconds: LatencyStatus = Field(description="Request sent to last token [ms].")
    output_tokens_per_second_per_user: RangeStatus = Field(description="Generation speed that one user sees.")
    output_tokens_per_second: RangeStatus = Field(description="Generated tokens of the whole deployment.")
    requests_per_second: Figure = Field(description="Requests (items) completed at the modelled load.")
    capacity_requests_per_second: RangeStatus = Field(description="Requests (items) at which it saturates.")
    running_sequences: Figure = Field(description="Mean number of sequences that one replica runs at once.")
    kv_occupancy_percent: WholeNumber = Field(description="Mean use of the KV cache [percent].")
    utilization_percent: WholeNumber = Field(description="Offered load over capacity [percent].")
    run_duration_seconds: RangeStatus | None = Field(default=None, description="Batch: time of the whole run [s].")


class PlacementStatus(StatusModel):
    """Machines of one kind that the plan occupies."""

    provider: Line = Field(description="Who sells or owns them.")
    region: Line = Field(description="Where.")
    instance_type: Line = Field(description="Kind of machine.")
    count: WholeNumber = Field(description="How many machines.")
    gpus_per_instance: WholeNumber = Field(description="GPUs in one machine.")
    gpus_used: WholeNumber = Field(description="GPUs used in all of them.")
    gpus_idle: WholeNumber = Field(description="GPUs paid for and left unused.")
    usd_per_hour: Figure = Field(description="Price of one machine.")
    terms: Line = Field(description="OnDemand, Spot, Committed or Owned.")
    as_of: Line = Field(description="Date of the price.")
    price_source: Line = Field(description="Where the price comes from.")


class CostStatus(StatusModel):
    """What the plan costs [USD]. usdPerRequest = usdPerHour / 3600 / requestsPerSecond."""

    usd_per_hour: Figure = Field(description="All machines together, per hour.")
    usd_per_month: Figure = Field(description="usdPerHour x hoursPerMonth.")
    hours_per_month: Figure = Field(description="730, or the hours of the schedule.")
    usd_per_request: Figure | None = Field(default=None, description="Per request (or item) at the modelled load.")
    usd_per_million_output_tokens: Figure | None = Field(default=None, description="Per 10**6 generated tokens.")
    usd_per_million_total_tokens: Figure | None = Field(default=None, description="Per 10**6 tokens, prompts included.")
    usd_per_run: Figure | None = Field(default=None, description="Batch: per run.")
    requests_per_second: Figure = Field(description="Requests (items) per second that the cost is divided by.")
    utilization_percent: WholeNumber = Field(description="Offered load over capacity [percent].")
    gpus_idle: WholeNumber = Field(description="GPUs paid for and left unused.")
    price_source: Line = Field(default="", description="Where the prices come from.")
    priced_at: Line = Field(default="", description="Date of the oldest price.")
    region: Line = Field(default="", description="Regions of the machines.")
    terms: Line = Field(default="", description="Terms of the machines.")
    placements: tuple[PlacementStatus, ...] = Field(default=(), max_length=32, description="Machines by kind.")


class RemarkStatus(StatusModel):
    """One sentence of the analysis, with the number that it rests on."""

    kind: Relaxed[RemarkKind] = Field(description="Strength, Caution or Cost.")
    code: Line = Field(description="Stable code of the remark.")
    text: Text = Field(description="The remark.")


class MissStatus(StatusModel):
    """A requirement that an obeyed pin does not meet."""

    code: Relaxed[ReasonCode] = Field(description="Reason code.")
    limit: Figure = Field(description="What was asked for.")
    actual: Figure = Field(description="What is predicted.")
    unit: Line = Field(description="Unit of both.")


class SpeculativeStatus(StatusModel):
    """Tokens drafted for each step."""

    method: Line = Field(description="Ngram, Mtp or DraftModel.")
    tokens: WholeNumber = Field(description="Tokens drafted for each step.")
    acceptance_percent: WholeNumber = Field(description="Share of them that the model is taken to keep [percent].")
    model: Line | None = Field(default=None, description="Draft model.")


class PlanStatus(StatusModel):
    """A configuration with everything predicted and priced."""

    hash: Line = Field(description="Names configuration and placement; approvals refer to it.")
    title: Line = Field(description="The configuration in one line.")
    tier: Relaxed[Tier] = Field(description="Budget, Recommended or HighEnd.")
    source: Line = Field(description="Where the GPUs come from: Market, Cluster or Owned.")
    model: Line = Field(description="Model.")
    repository: Line = Field(description="Repository of the weights.")
    revision: Line | None = Field(default=None, description="Commit of the repository.")
    quantization: Line = Field(description="Weight format.")
    method: Line = Field(description="How the engine stores and multiplies the weights.")
    made_while_loading: bool = Field(description="The engine makes this format from the 16-bit weights at start.")
    engine: Line = Field(description="Engine.")
    engine_version: Line = Field(description="Version of the engine.")
    gpu: Line = Field(description="GPU, by its id in the catalog.")
    gpu_name: Line = Field(description="GPU, as people call it.")
    gpus_per_replica: WholeNumber = Field(description="GPUs of one engine instance.")
    tensor_parallel: WholeNumber = Field(description="GPUs that share each layer.")
    pipeline_parallel: WholeNumber = Field(description="Groups of GPUs that share the stack of layers.")
    replicas: WholeNumber = Field(description="Engine instances.")
    gpus: WholeNumber = Field(description="GPUs of the whole deployment.")
    kv_cache_type: Line = Field(description="Number format of the KV cache.")
    compute_type: Line = Field(description="Number format of the activations.")
    max_num_seqs: WholeNumber = Field(description="Most sequences that one replica runs at once.")
    max_num_batched_tokens: WholeNumber = Field(description="Token budget of one step.")
    max_model_len: WholeNumber = Field(description="Longest sequence [tokens].")
    gpu_memory_percent: WholeNumber = Field(description="Share of the GPU's memory that the engine takes [percent].")
    execution: Line | None = Field(default=None, description="Eager, where no CUDA graphs are recorded.")
    modalities: Line | None = Field(default=None, description="All, where more than the text part is loaded.")
    cpu_offload_gib: WholeNumber | None = Field(
        default=None, description="Weights of each GPU that stay in the machine's memory [GiB]."
    )
    kv_offload_gib: WholeNumber | None = Field(
        default=None, description="Machine memory of a replica that keeps KV cache [GiB]."
    )
    speculative_decoding: SpeculativeStatus | None = Field(
        default=None, description="How several tokens are drafted for each step."
    )
    memory: MemoryStatus = Field(description="Memory of one GPU.")
    predicted: PredictedStatus = Field(description="What is predicted at the modelled load.")
    cost: CostStatus = Field(description="What it costs.")
    compatibility: Relaxed[Compatibility] = Field(description="Compatible, TightFit or Incompatible.")
    evidence: Relaxed[Evidence] = Field(description="Measured, Calibrated or Extrapolated.")
    evidence_detail: Line = Field(default="", description="What the prediction stands on.")
    analysis: tuple[RemarkStatus, ...] = Field(default=(), max_length=32, description="Strengths, cautions and costs.")
    misses: tuple[MissStatus, ...] = Field(default=(), max_length=16, description="Requirements that a pin misses.")


class TierStatus(StatusModel):
    """One tier in a line."""

    tier: Relaxed[Tier] = Field(description="Budget, Recommended or HighEnd.")
    title: Line = Field(description="The configuration in one line.")
    hash: Line = Field(description="Names configuration and placement.")
    memory_mebibytes: WholeNumber = Field(description="Memory used on one GPU [MiB].")
    memory_percent: WholeNumber = Field(description="Share of the GPU's memory [percent].")
    time_to_first_token_p95_milliseconds: Figure = Field(description="P95 of the time to first token [ms].")
    time_per_output_token_p95_milliseconds: Figure = Field(description="P95 of the gap between tokens [ms].")
    request_latency_p95_milliseconds: Figure = Field(description="P95 of the whole request [ms].")
    output_tokens_per_second_per_user: Figure = Field(description="Generation speed that one user sees.")
    output_tokens_per_second: Figure = Field(description="Generated tokens of the whole deployment.")
    requests_per_second: Figure = Field(description="Requests (items) completed at the modelled load.")
    usd_per_hour: Figure = Field(description="Cost per hour.")
    usd_per_month: Figure = Field(description="Cost per month.")
    usd_per_request: Figure | None = Field(default=None, description="Cost per request (item).")
    compatibility: Relaxed[Compatibility] = Field(description="Compatible, TightFit or Incompatible.")
    evidence: Relaxed[Evidence] = Field(description="Measured, Calibrated or Extrapolated.")
