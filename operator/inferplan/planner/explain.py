"""Every step of one candidate's arithmetic, so that a person can recompute it with a pocket calculator.

Each step carries the formula, the same formula with this candidate's numbers in it (plain arithmetic, valid
Python), and the value that the estimator came to by its own code. A test evaluates every substitution and compares.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import Task
from inferplan.domain.scenario import LoadKind
from inferplan.estimate.estimator import predict
from inferplan.estimate.lengths import length_quantile, squared_variation
from inferplan.estimate.prefill import PromptTime, attention_time, chunk_of, time_alone
from inferplan.estimate.replica_load import (
    prompt_of,
    prompt_tokens,
    sequences_beside,
)
from inferplan.estimate.roofline import StepModel
from inferplan.planner.arithmetic import Step, Subject, first, model_of, number, output_of, slots_of
from inferplan.planner.explain_memory import explain_memory
from inferplan.planner.explain_step import explain_step


def explain(subject: Subject) -> tuple[Step, ...]:
    """Spell out one plan, section by section."""
    return (
        *explain_memory(subject),
        *explain_step(subject),
        *_prompt(subject),
        *_serving(subject),
        *_latency(subject),
        *_cost(subject),
    )


def _prompt_time(s: Subject) -> PromptTime:
    return prompt_of(s.table, s.load, model_of(s), slots_of(s))


def _prompt(s: Subject) -> Iterator[Step]:
    table, model, prompt = s.table, model_of(s), _prompt_time(s)
    new, cached = prompt_tokens(table, s.load)
    tokens, prefix = first(new), first(cached)
    beside = sequences_beside(slots_of(s)) if s.scenario.task is Task.GENERATION else np.zeros(1)
    chunk = chunk_of(table, new, beside)
    variation = squared_variation(s.load.isl_mean, s.load.isl_p95)
    attention = attention_time(table, new, cached, variation)
    rate = table.peak_attention_flops_per_s * table.constant("attention_mfu")
    context = f"({tokens / 2.0:.9g} * (1 + {number(variation)}) + {prefix:.9g})"
    yield Step(
        "Prompt",
        "Attention of the prompt",
        "stages x new x (FLOP per pair x context + the same in windows) / (peak x attention_mfu), "
        "context = new / 2 x (1 + squared variation of prompts) + cached",
        f"{number(table.pp)} * {tokens:.9g} * ({number(table.attention_flop)} * {context}"
        f" + {number(table.window_attention_flop)} * min({context}, {number(table.kv_window_tokens)}))"
        f" / {number(rate)}",
        first(attention),
        "s",
        "estimate/prefill.py",
    )
    yield Step(
        "Prompt",
        f"Prompt of {tokens:.0f} new tokens",
        f"chunks x step with a chunk beside {beside[0]:.0f} sequences + attention",
        f"{tokens:.9g} / {number(chunk)} * {number(model.through(beside, chunk))} + {number(attention)}",
        first(prompt.alone),
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
        f"Prompt of the P{percentile} length, {first(new):.0f} new tokens",
        "chunks x step with a chunk + attention of that length",
        f"{number(new)} / {number(chunk)} * {number(model.through(beside, chunk))} + {number(attention)}",
        first(time_alone(s.table, model, tokens=new, prefix=cached, sequences=beside)),
        "s",
        "chunked prefill, estimate/prefill.py",
    )


def _serving(s: Subject) -> Iterator[Step]:
    p, prompt, model, output = predict(s.table, s.load), _prompt_time(s), model_of(s), output_of(s)
    running = p.met
    yield Step(
        "Serving",
        "Time per output token",
        "step (per token gained) + (running - 1) / output x what a prompt adds",
        f"{number(model.per_token(running))} + max({number(running)} - 1, 0) / {output:.9g}"
        f" * {number(prompt.added(running, output / model.gained))}",
        first(p.tpot.mean),
        "s",
        "estimate/throughput.py",
    )
    full = model.per_token(p.slots)
    more = np.maximum(p.slots - 1.0, 0.0)
    yield Step(
        "Serving",
        "Saturation of one replica",
        "slots / (prompt + (output - 1) x step with all slots running + what the other prompts add)",
        f"{number(p.slots)} / ({number(prompt.alone)} + ({output:.9g} - 1) * {number(full)}"
        f" + {number(more)} * {number(prompt.added(p.slots, output / model.gained))})",
        first(p.capacity_rps),
        "requests/s",
        "estimate/throughput.py",
    )
    if s.scenario.workload.kind is not LoadKind.OFFLINE:
        yield Step(
            "Serving",
            "Utilization",
            "completed / saturation" if s.load.kind is LoadKind.CLOSED_LOOP else "offered / saturation",
            f"{number(p.utilization * p.capacity_rps)} / {number(p.capacity_rps)}",
            first(p.utilization),
            "",
            "Little's law",
        )
        low, _ = s.table.factors("throughput", s.load.kind.value)
        replicas = s.plan.configuration.replicas
        yield Step(
            "Serving",
            "Capacity to count on",
            "saturation x low end of its range x replicas; a load above it is turned down",
            f"{number(p.capacity_rps)} * {number(low)} * {replicas}",
            s.plan.estimate.capacity_rps.low,
            "requests/s",
            f"calibration: {s.plan.estimate.evidence_detail}",
        )


def _latency(s: Subject) -> Iterator[Step]:
    p, output = predict(s.table, s.load), output_of(s)
    prompt = _prompt_time(s)
    overhead = first(
        s.table.constant("request_overhead_s") + s.table.constant("request_token_overhead_s") * s.load.isl_mean
    )
    waits = first(p.ttft.mean) - overhead - first(prompt.alone)
    yield Step(
        "Latency",
        "Mean time to first token",
        "request overhead + prompt + waits for slot, step and other prompts",
        f"{overhead:.9g} + {number(prompt.alone)} + {waits:.9g}",
        s.plan.estimate.ttft.mean.expected,
        "s",
        "estimate/queueing.py",
    )
    yield Step(
        "Latency",
        "Mean request latency",
        "TTFT + (output - 1) x TPOT",
        f"{number(p.ttft.mean)} + ({output:.9g} - 1) * {number(p.tpot.mean)}",
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
