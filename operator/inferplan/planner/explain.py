"""Every step of one candidate's arithmetic, so that a person can recompute it with a pocket calculator.

Each step carries the formula, the same formula with this candidate's numbers in it (plain arithmetic, valid
Python), and the value that the estimator came to by its own code. A test evaluates every substitution and compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import Task
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import LoadKind, Scenario
from inferplan.estimate import memory
from inferplan.estimate.constants import NAMES
from inferplan.estimate.estimator import predict
from inferplan.estimate.kv_cache import kv_layout
from inferplan.estimate.lengths import length_quantile, squared_variation
from inferplan.estimate.prefill import PromptTime, attention_time, chunk_of, time_alone
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.replica_load import (
    ReplicaLoad,
    batch_slots,
    output_tokens,
    prompt_of,
    prompt_tokens,
    running_context,
    sequences_beside,
)
from inferplan.estimate.roofline import StepModel, kv_read_bytes, step_model, touched_share
from inferplan.estimate.weights import WEIGHTS_IN_MEMORY, copied_bytes, weight_bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One line of arithmetic.

    Parameters
    ----------
    section
        Memory, Step, Prompt, Serving, Latency or Cost.
    name, formula
        What it is, and how it is computed, in words and symbols.
    substitution
        The formula with numbers, an arithmetic expression that Python evaluates.
    value
        What the estimator computed, in ``unit``.
    reference
        Where the formula or its numbers come from.
    """

    section: str
    name: str
    formula: str
    substitution: str
    value: float
    unit: str
    reference: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One plan with the row of the table that it came from."""

    scenario: Scenario
    plan: Plan
    table: ReplicaTable
    load: ReplicaLoad


def explain(subject: Subject) -> tuple[Step, ...]:
    """Spell out one plan, section by section."""
    return (
        *_memory(subject),
        *_step(subject),
        *_prompt(subject),
        *_serving(subject),
        *_latency(subject),
        *_cost(subject),
    )


def _number(value: object) -> str:
    """Nine significant digits, which keeps chained roundings far below what is shown."""
    return f"{float(np.asarray(value, dtype=np.float64).ravel()[0]):.9g}"


def _first(value: object) -> float:
    return float(np.asarray(value, dtype=np.float64).ravel()[0])


def _memory(s: Subject) -> Iterator[Step]:
    configuration, table = s.plan.configuration, s.table
    size = weight_bytes(configuration.model, configuration.method)
    copied = copied_bytes(configuration.model, configuration.method)
    ranks, tp, pp = configuration.gpus_per_replica, configuration.tp_size, configuration.pp_size
    method = f"catalog, method {configuration.method.id}"
    ends = size.embedding + size.head if pp == 1 else max(size.embedding, size.head)
    vision = size.vision if memory.loads_vision(configuration.engine) else 0.0
    routed = _first(table.routed_bytes) * ranks
    copies = copied.kv_projections / pp * (1 / min(tp, kv_layout(configuration.model).kv_heads) - 1 / tp)
    yield Step(
        "Memory",
        "Weights on one GPU",
        "((layers + padded experts) / GPUs + what every GPU holds + (embedding and LM head + vision) / TP) x padding"
        " + rotary table",
        f"(({_number(size.always - copied.everywhere + copied.absorbed)} + {_number(routed)}) / {ranks}"
        f" + {_number(copied.everywhere)} / {pp} + {_number(copies)} + ({_number(ends)} + {_number(vision)}) / {tp})"
        f" * {WEIGHTS_IN_MEMORY} + {_number(copied.tables)}",
        _first(table.weights_bytes),
        "bytes",
        method,
    )
    yield Step(
        "Memory",
        "Memory that the engine sees",
        "reported memory - what the driver keeps",
        f"{configuration.gpu.memory_bytes} - {memory.hidden_bytes(configuration.gpu)}",
        _first(table.capacity_bytes),
        "bytes",
        f"catalog, GPU {configuration.gpu.id}",
    )
    yield Step(
        "Memory",
        "Granted to the engine",
        "ceil(visible x gpu-memory-utilization)",
        f"ceil({_number(table.capacity_bytes)} * {configuration.gpu_memory_utilization})",
        _first(table.granted_bytes),
        "bytes",
        "vLLM, request_memory",
    )
    yield Step(
        "Memory",
        "KV cache of one token",
        "layers x KV heads on this GPU x (key + value size) x bytes",
        f"{_number(table.kv_full_bytes_per_token)} + {_number(table.kv_window_bytes_per_token)}",
        s.plan.estimate.memory.kv_bytes_per_token,
        "bytes",
        f"catalog, model {configuration.model.id}",
    )
    activations = memory.activations_bytes(table, configuration.max_num_seqs)
    pool = memory.kv_pool_bytes(table, configuration.max_num_seqs)
    left = (
        f"{_number(table.granted_bytes)} - {_number(table.weights_bytes)} - {_number(activations)}"
        f" - {_number(memory.overhead_bytes(table, configuration.max_num_seqs))}"
    )
    block = _number(table.kv_block_bytes)
    yield Step(
        "Memory",
        "KV pool of one GPU",
        "floor((granted - weights - activations - overhead) / block) x block",
        f"floor(({left}) / {block}) * {block}",
        _first(pool),
        "bytes",
        "vLLM, determine_available_memory; constants in estimate/memory.py",
    )
    one = memory.sequence_bytes_of(table, running_context(s.load))
    yield Step(
        "Memory",
        "Sequences that run at once at most",
        "min(max_num_seqs, floor(pool / KV of one sequence at the mean context))",
        f"max(1, min({configuration.max_num_seqs}, floor({_number(pool)} / {_number(one)})))",
        _first(_slots(s)),
        "sequences",
        "vLLM scheduler",
    )


def _output(s: Subject) -> float:
    return _first(output_tokens(s.load))


def _slots(s: Subject) -> NDArray[np.float64]:
    return batch_slots(s.table, s.load, _output(s))


def _model(s: Subject) -> StepModel:
    return step_model(s.table, running_context(s.load))


def _step(s: Subject) -> Iterator[Step]:
    table, model = s.table, _model(s)
    constants = {name: _first(table.constant(name)) for name in NAMES}
    bandwidth, running = _number(table.bandwidth_bytes_per_s), predict(table, s.load).met
    fit = f"calibration: {s.plan.estimate.evidence_detail}"
    yield Step(
        "Step",
        "Read the weights",
        "(layers + LM head) / (bandwidth x weight_mbu)",
        f"({_number(table.always_bytes)} + {_number(table.head_bytes)}) / ({bandwidth} * {constants['weight_mbu']})",
        _first(model.weights),
        "s",
        fit,
    )
    own = model.micro_batch(running)
    if s.plan.configuration.pp_size > 1:
        yield Step(
            "Step",
            "Sequences of one batch of the pipeline",
            "1 + (running - 1) / stages",
            f"1 + ({_number(running)} - 1) / {_number(table.pp)}",
            _first(own),
            "sequences",
            "each of the others is in the same batch with a chance of 1 / stages",
        )
    if _first(table.experts) > 0:
        share = touched_share(own * model.tokens_each, table.experts, table.experts_per_token)
        yield Step(
            "Step",
            "Share of experts touched",
            "1 - (1 - k / E)^tokens",
            f"1 - (1 - {_number(table.experts_per_token)} / {_number(table.experts)}) ** {_tokens(model, own)}",
            _first(share),
            "",
            "random routing",
        )
    yield from _context(s)
    context = running_context(s.load)
    yield Step(
        "Step",
        "Read the KV cache of one sequence",
        "KV bytes at mean context / (bandwidth x kv_mbu)",
        f"{_number(kv_read_bytes(table, np.array([_first(context)])))} / ({bandwidth} * {constants['kv_mbu']:.9g})",
        _first(model.kv_per_sequence),
        "s",
        fit,
    )
    yield from _beside(s, model)
    yield from _decode(s, model, running)


def _tokens(model: StepModel, own: NDArray[np.float64]) -> str:
    """Tokens that a step works on for so many sequences, drafted ones included."""
    return _number(own) if _first(model.tokens_each) == 1 else f"({_number(own)} * {_number(model.tokens_each)})"


def _beside(s: Subject, model: StepModel) -> Iterator[Step]:
    """What offloaded weights and drafting add to a step, where they were asked for."""
    table, speculative = s.table, s.plan.configuration.engine.speculative
    if _first(table.offloaded_bytes) > 0:
        yield Step(
            "Step",
            "Read offloaded weights from the machine's memory",
            "offloaded bytes / host link, one direction",
            f"{_number(table.offloaded_bytes)} / {_number(table.host_bytes_per_s)}",
            _first(model.offloaded),
            "s",
            f"catalog, GPU {s.plan.configuration.gpu.id}",
        )
    if speculative is not None:
        yield Step(
            "Step",
            "Tokens that a sequence gains in one step",
            "1 + a + a^2 + ... + a^k for k drafted tokens of which a share a is accepted",
            " + ".join(f"{speculative.acceptance} ** {drafted}" for drafted in range(speculative.tokens + 1)),
            _first(model.gained),
            "tokens",
            "Leviathan et al. 2023, equation 1; the share is the scenario's",
        )
        yield Step(
            "Step",
            "Draft the tokens of one step",
            "k x (bytes of the draft / (bandwidth x weight_mbu) + layers x host time of a layer)",
            f"{_number(table.drafted_tokens)} * ({_number(table.draft_bytes)} / ({_number(table.bandwidth_bytes_per_s)}"
            f" * {_number(table.constant('weight_mbu'))}) + {_number(table.constant('layer_overhead_s'))}"
            f" * {_number(table.draft_layers)})",
            _first(model.draft),
            "s",
            "estimate/roofline.py",
        )


def _context(s: Subject) -> Iterator[Step]:
    """Say where the mean context of the running sequences comes from."""
    load = s.load
    if s.scenario.task is not Task.GENERATION:
        return
    variation = squared_variation(load.osl_mean, load.osl_p95)
    yield Step(
        "Step",
        "Mean context of the running sequences",
        "prompt + output x (1 + squared variation of outputs) / 2: long outputs run longer",
        f"{_number(load.isl_mean)} + {_number(load.osl_mean)} * (1 + {_number(variation)}) / 2",
        _first(running_context(load)),
        "tokens",
        "estimate/lengths.py",
    )


def _decode(s: Subject, model: StepModel, running: NDArray[np.float64]) -> Iterator[Step]:
    """Spell out one step of the running batch, stage by stage where there are several."""
    table = s.table
    own = model.micro_batch(running)
    decoded = own * model.tokens_each
    touched = touched_share(decoded, table.experts, table.experts_per_token)
    eager = _number(model.uncaptured * np.maximum(np.clip((decoded - 512.0) / 512.0, 0.0, 1.0), model.eager))
    beside = (
        f"{_number(own)} * ({_number(model.kv_per_sequence)} + {_number(model.per_sequence)})"
        f" + {_tokens(model, own)} * {_number(model.moved_per_token)}"
        f" + {_number(model.fixed + model.offloaded)} + {eager}"
    )

    def stage(weights: str, head: str) -> str:
        read = f"({weights} + {_number(model.routed)} * {_number(touched)})"
        arithmetic = f"{_tokens(model, own)} * ({_number(model.compute_per_token)} + {head})"
        return f"({read} ** 4 + ({arithmetic}) ** 4) ** 0.25 + {beside}"

    last = stage(_number(model.weights), _number(model.head_per_sequence))
    if _first(model.draft) > 0:
        last += f" + {_number(model.draft)}"
    stream = f"({_number(running * model.gained)} * {_number(model.per_stream)}) ** 4"
    stages = s.plan.configuration.pp_size
    if stages == 1:
        yield Step(
            "Step",
            f"Decode step with {_first(running):.1f} sequences",
            "smooth maximum of reading and arithmetic + KV reads, all-reduces, host time; no faster than the front end",
            f"(({last}) ** 4 + {stream}) ** 0.25",
            _first(model.time(running)),
            "s",
            "roofline (Williams 2009), estimate/roofline.py",
        )
        return
    other = stage(f"({_number(model.weights)} - {_number(model.head)})", "0")
    in_flight = f"max(1, min({_number(running)}, {stages}))"
    handed_on = f"{stages - 1} * {_tokens(model, own)} * {_number(model.hop_per_token)}"
    hops = f"{handed_on} + {stages} * {_number(model.hop_latency)}"
    yield Step(
        "Step",
        "Last stage of the pipeline",
        "smooth maximum of reading and arithmetic + KV reads, all-reduces, host time",
        last,
        _first(model.stage(own)),
        "s",
        "roofline (Williams 2009), estimate/roofline.py",
    )
    yield Step(
        "Step",
        f"Decode step with {_first(running):.1f} sequences",
        "max(all stages, batches under way x last stage), not faster than the front end, + hops between machines",
        f"(max({last} + {stages - 1} * ({other}), {in_flight} * ({last})) ** 4 + {stream}) ** 0.25 + {hops}",
        _first(model.time(running)),
        "s",
        "estimate/roofline.py",
    )


def _prompt_time(s: Subject) -> PromptTime:
    return prompt_of(s.table, s.load, _model(s), _slots(s))


def _prompt(s: Subject) -> Iterator[Step]:
    table, model, prompt = s.table, _model(s), _prompt_time(s)
    new, cached = prompt_tokens(table, s.load)
    tokens, prefix = _first(new), _first(cached)
    beside = sequences_beside(_slots(s)) if s.scenario.task is Task.GENERATION else np.zeros(1)
    chunk = chunk_of(table, new, beside)
    variation = squared_variation(s.load.isl_mean, s.load.isl_p95)
    attention = attention_time(table, new, cached, variation)
    rate = table.peak_attention_flops_per_s * table.constant("attention_mfu")
    context = f"({tokens / 2.0:.9g} * (1 + {_number(variation)}) + {prefix:.9g})"
    yield Step(
        "Prompt",
        "Attention of the prompt",
        "stages x new x (FLOP per pair x context + the same in windows) / (peak x attention_mfu), "
        "context = new / 2 x (1 + squared variation of prompts) + cached",
        f"{_number(table.pp)} * {tokens:.9g} * ({_number(table.attention_flop)} * {context}"
        f" + {_number(table.window_attention_flop)} * min({context}, {_number(table.kv_window_tokens)}))"
        f" / {_number(rate)}",
        _first(attention),
        "s",
        "estimate/prefill.py",
    )
    yield Step(
        "Prompt",
        f"Prompt of {tokens:.0f} new tokens",
        f"chunks x step with a chunk beside {beside[0]:.0f} sequences + attention",
        f"{tokens:.9g} / {_number(chunk)} * {_number(model.through(beside, chunk))} + {_number(attention)}",
        _first(prompt.alone),
        "s",
        "chunked prefill, estimate/prefill.py",
    )
    yield from _long_prompt(s, model, beside)


def _long_prompt(s: Subject, model: StepModel, beside: NDArray[np.float64]) -> Iterator[Step]:
    """Spell out the prompt of the P95 length, where it is another than the mean."""
    percentile = s.scenario.slo.percentile
    if np.max(s.load.isl_p95) <= np.max(s.load.isl_mean):
        return
    length = length_quantile(s.load.isl_mean, s.load.isl_p95, percentile)
    new, cached = prompt_tokens(s.table, s.load, np.maximum(length, 1.0))
    chunk = chunk_of(s.table, new, beside)
    attention = attention_time(s.table, new, cached)
    yield Step(
        "Prompt",
        f"Prompt of the P{percentile} length, {_first(new):.0f} new tokens",
        "chunks x step with a chunk + attention of that length",
        f"{_number(new)} / {_number(chunk)} * {_number(model.through(beside, chunk))} + {_number(attention)}",
        _first(time_alone(s.table, model, tokens=new, prefix=cached, sequences=beside)),
        "s",
        "chunked prefill, estimate/prefill.py",
    )


def _serving(s: Subject) -> Iterator[Step]:
    p, prompt, model, output = predict(s.table, s.load), _prompt_time(s), _model(s), _output(s)
    running = p.met
    yield Step(
        "Serving",
        "Time per output token",
        "step (per token gained) + (running - 1) / output x what a prompt adds",
        f"{_number(model.per_token(running))} + max({_number(running)} - 1, 0) / {output:.9g}"
        f" * {_number(prompt.added(running, output / model.gained))}",
        _first(p.tpot.mean),
        "s",
        "estimate/throughput.py",
    )
    full = model.per_token(p.slots)
    more = np.maximum(p.slots - 1.0, 0.0)
    yield Step(
        "Serving",
        "Saturation of one replica",
        "slots / (prompt + (output - 1) x step with all slots running + what the other prompts add)",
        f"{_number(p.slots)} / ({_number(prompt.alone)} + ({output:.9g} - 1) * {_number(full)}"
        f" + {_number(more)} * {_number(prompt.added(p.slots, output / model.gained))})",
        _first(p.capacity_rps),
        "requests/s",
        "estimate/throughput.py",
    )
    if s.scenario.workload.kind is not LoadKind.OFFLINE:
        yield Step(
            "Serving",
            "Utilization",
            "completed / saturation" if s.load.kind is LoadKind.CLOSED_LOOP else "offered / saturation",
            f"{_number(p.utilization * p.capacity_rps)} / {_number(p.capacity_rps)}",
            _first(p.utilization),
            "",
            "Little's law",
        )
        low, _ = s.table.factors("throughput", s.load.kind.value)
        replicas = s.plan.configuration.replicas
        yield Step(
            "Serving",
            "Capacity to count on",
            "saturation x low end of its range x replicas; a load above it is turned down",
            f"{_number(p.capacity_rps)} * {_number(low)} * {replicas}",
            s.plan.estimate.capacity_rps.low,
            "requests/s",
            f"calibration: {s.plan.estimate.evidence_detail}",
        )


def _latency(s: Subject) -> Iterator[Step]:
    p, output = predict(s.table, s.load), _output(s)
    prompt = _prompt_time(s)
    overhead = _first(
        s.table.constant("request_overhead_s") + s.table.constant("request_token_overhead_s") * s.load.isl_mean
    )
    waits = _first(p.ttft.mean) - overhead - _first(prompt.alone)
    yield Step(
        "Latency",
        "Mean time to first token",
        "request overhead + prompt + waits for slot, step and other prompts",
        f"{overhead:.9g} + {_number(prompt.alone)} + {waits:.9g}",
        s.plan.estimate.ttft.mean.expected,
        "s",
        "estimate/queueing.py",
    )
    yield Step(
        "Latency",
        "Mean request latency",
        "TTFT + (output - 1) x TPOT",
        f"{_number(p.ttft.mean)} + ({output:.9g} - 1) * {_number(p.tpot.mean)}",
        s.plan.estimate.e2e.mean.expected,
        "s",
        "definition of TPOT",
    )


def _cost(s: Subject) -> Iterator[Step]:
    cost = s.plan.cost
    parts = [
        f"{place.price_usd_per_hour} * {place.gpus_used + place.gpus_idle} / {place.gpus_per_instance}"
        for place in cost.placements
    ]
    where = "; ".join(f"{p.source} {p.as_of}, {p.provider} {p.region} {p.instance_type}" for p in cost.placements)
    yield Step(
        "Cost",
        "Price per hour",
        "sum of price x GPUs paid for / GPUs of the machine",
        " + ".join(parts),
        float(cost.per_hour),
        "USD/h",
        where,
    )
    if cost.per_request is not None:
        yield Step(
            "Cost",
            "Cost per request",
            "price per second / requests per second",
            f"{cost.per_hour} / 3600 / {cost.requests_per_s}",
            float(cost.per_request),
            "USD",
            "estimate/cost.py",
        )
    yield Step(
        "Cost",
        "Cost per month",
        "price per hour x hours",
        f"{cost.per_hour} * {cost.hours_per_month}",
        float(cost.per_month),
        "USD",
        "730 h, or the hours of the schedule",
    )
