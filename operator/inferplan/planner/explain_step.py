"""The arithmetic of one step of the running batch, line by line."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.model import Task
from inferplan.estimate.constants import NAMES
from inferplan.estimate.estimator import predict
from inferplan.estimate.lengths import squared_variation
from inferplan.estimate.replica_load import (
    running_context,
)
from inferplan.estimate.roofline import StepModel, kv_read_bytes, touched_share
from inferplan.planner.arithmetic import Step, Subject, first, model_of, number


def explain_step(s: Subject) -> Iterator[Step]:
    """From the reading of weights to the time of one step, stage by stage."""
    table, model = s.table, model_of(s)
    constants = {name: first(table.constant(name)) for name in NAMES}
    bandwidth, running = number(table.bandwidth_bytes_per_s), predict(table, s.load).met
    fit = f"calibration: {s.plan.estimate.evidence_detail}"
    yield Step(
        "Step",
        "Read the weights",
        "(layers + LM head) / (bandwidth x weight_mbu)",
        f"({number(table.always_bytes)} + {number(table.head_bytes)}) / ({bandwidth} * {constants['weight_mbu']})",
        first(model.weights),
        "s",
        fit,
    )
    own = model.micro_batch(running)
    if s.plan.configuration.pp_size > 1:
        yield Step(
            "Step",
            "Sequences of one batch of the pipeline",
            "1 + (running - 1) / stages",
            f"1 + ({number(running)} - 1) / {number(table.pp)}",
            first(own),
            "sequences",
            "each of the others is in the same batch with a chance of 1 / stages",
        )
    if first(table.experts) > 0:
        share = touched_share(own * model.tokens_each, table.experts, table.experts_per_token)
        yield Step(
            "Step",
            "Share of experts touched",
            "1 - (1 - k / E)^tokens",
            f"1 - (1 - {number(table.experts_per_token)} / {number(table.experts)}) ** {_tokens(model, own)}",
            first(share),
            "",
            "random routing",
        )
    yield from _context(s)
    context = running_context(s.load)
    yield Step(
        "Step",
        "Read the KV cache of one sequence",
        "KV bytes at mean context / (bandwidth x kv_mbu)",
        f"{number(kv_read_bytes(table, np.array([first(context)])))} / ({bandwidth} * {constants['kv_mbu']:.9g})",
        first(model.kv_per_sequence),
        "s",
        fit,
    )
    yield from _beside(s, model)
    yield from _decode(s, model, running)


def _tokens(model: StepModel, own: NDArray[np.float64]) -> str:
    """Tokens that a step works on for so many sequences, drafted ones included."""
    return number(own) if first(model.tokens_each) == 1 else f"({number(own)} * {number(model.tokens_each)})"


def _beside(s: Subject, model: StepModel) -> Iterator[Step]:
    """What offloaded weights and drafting add to a step, where they were asked for."""
    table, speculative = s.table, s.plan.configuration.engine.speculative
    if first(table.offloaded_bytes) > 0:
        yield Step(
            "Step",
            "Read offloaded weights from the machine's memory",
            "offloaded bytes / host link, one direction",
            f"{number(table.offloaded_bytes)} / {number(table.host_bytes_per_s)}",
            first(model.offloaded),
            "s",
            f"catalog, GPU {s.plan.configuration.gpu.id}",
        )
    if speculative is not None:
        yield Step(
            "Step",
            "Tokens that a sequence gains in one step",
            "1 + a + a^2 + ... + a^k for k drafted tokens of which a share a is accepted",
            " + ".join(f"{speculative.acceptance} ** {drafted}" for drafted in range(speculative.tokens + 1)),
            first(model.gained),
            "tokens",
            "Leviathan et al. 2023, equation 1; the share is the scenario's",
        )
        yield Step(
            "Step",
            "Draft the tokens of one step",
            "k x (bytes of the draft / (bandwidth x weight_mbu) + layers x host time of a layer)",
            f"{number(table.drafted_tokens)} * ({number(table.draft_bytes)} / ({number(table.bandwidth_bytes_per_s)}"
            f" * {number(table.constant('weight_mbu'))}) + {number(table.constant('layer_overhead_s'))}"
            f" * {number(table.draft_layers)})",
            first(model.draft),
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
        f"{number(load.isl_mean)} + {number(load.osl_mean)} * (1 + {number(variation)}) / 2",
        first(running_context(load)),
        "tokens",
        "estimate/lengths.py",
    )


def _decode(s: Subject, model: StepModel, running: NDArray[np.float64]) -> Iterator[Step]:
    """Spell out one step of the running batch, stage by stage where there are several."""
    table = s.table
    own = model.micro_batch(running)
    decoded = own * model.tokens_each
    touched = touched_share(decoded, table.experts, table.experts_per_token)
    eager = number(model.uncaptured * np.maximum(np.clip((decoded - 512.0) / 512.0, 0.0, 1.0), model.eager))
    beside = (
        f"{number(own)} * ({number(model.kv_per_sequence)} + {number(model.per_sequence)})"
        f" + {_tokens(model, own)} * {number(model.moved_per_token)}"
        f" + {number(model.fixed + model.offloaded)} + {eager}"
    )

    def stage(weights: str, head: str) -> str:
        read = f"({weights} + {number(model.routed)} * {number(touched)})"
        arithmetic = f"{_tokens(model, own)} * ({number(model.compute_per_token)} + {head})"
        return f"({read} ** 4 + ({arithmetic}) ** 4) ** 0.25 + {beside}"

    last = stage(number(model.weights), number(model.head_per_sequence))
    if first(model.draft) > 0:
        last += f" + {number(model.draft)}"
    stream = f"({number(running * model.gained)} * {number(model.per_stream)}) ** 4"
    stages = s.plan.configuration.pp_size
    if stages == 1:
        yield Step(
            "Step",
            f"Decode step with {first(running):.1f} sequences",
            "smooth maximum of reading and arithmetic + KV reads, all-reduces, host time; no faster than the front end",
            f"(({last}) ** 4 + {stream}) ** 0.25",
            first(model.time(running)),
            "s",
            "roofline (Williams 2009), estimate/roofline.py",
        )
        return
    other = stage(f"({number(model.weights)} - {number(model.head)})", "0")
    in_flight = f"max(1, min({number(running)}, {stages}))"
    handed_on = f"{stages - 1} * {_tokens(model, own)} * {number(model.hop_per_token)}"
    hops = f"{handed_on} + {stages} * {number(model.hop_latency)}"
    yield Step(
        "Step",
        "Last stage of the pipeline",
        "smooth maximum of reading and arithmetic + KV reads, all-reduces, host time",
        last,
        first(model.stage(own)),
        "s",
        "roofline (Williams 2009), estimate/roofline.py",
    )
    yield Step(
        "Step",
        f"Decode step with {first(running):.1f} sequences",
        "max(all stages, batches under way x last stage), not faster than the front end, + hops between machines",
        f"(max({last} + {stages - 1} * ({other}), {in_flight} * ({last})) ** 4 + {stream}) ** 0.25 + {hops}",
        first(model.time(running)),
        "s",
        "estimate/roofline.py",
    )
