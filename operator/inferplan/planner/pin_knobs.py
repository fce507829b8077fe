"""Knobs of a pin: each field that it fixes, and the pin as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inferplan.domain.model import Dtype
from inferplan.domain.plan import Change, Plan
from inferplan.domain.scenario import Pin, Scenario, Slo
from inferplan.planner.knob import CONTEXT_GRAIN_TOKENS, Knob, Setting, longest_context, longest_request
from inferplan.planner.schedule import without_time_limit

WHOLE_PIN = "select.pin"

Read = Callable[[Plan], Any]

_CHOICES: tuple[tuple[str, str, str, Read], ...] = (
    ("model", "model", "cost", lambda plan: plan.configuration.model.id),
    ("quantization", "quantization", "cost", lambda plan: plan.configuration.checkpoint.quantization),
    ("gpu", "gpu", "cost", lambda plan: plan.configuration.gpu.id),
    ("gpusPerReplica", "gpus_per_replica", "gpus", lambda plan: plan.configuration.gpus_per_replica),
    ("replicas", "replicas", "cost", lambda plan: plan.configuration.replicas),
    ("maxNumSeqs", "max_num_seqs", "cost", lambda plan: plan.configuration.max_num_seqs),
)
"""Field in the spec, in the pin, what the search minimises for it, and where a plan has it."""
_COUNTS = {"replicas": "replicas", "max_num_seqs": "batch"}
"""Fields of a full pin whose largest value that can run is looked for, and what their share is called."""


def pin_knobs(scenario: Scenario, pin: Pin) -> list[Knob]:
    """Every field of a pin, and the pin as a whole."""
    found = [_field_knob(scenario, pin, *choice) for choice in _CHOICES if getattr(pin, choice[1]) is not None]
    if pin.max_model_len is not None and pin.max_model_len > longest_request(scenario):
        found.append(_context_knob(scenario, pin, pin.max_model_len))
    if pin.kv_dtype is not Dtype.FP8 and (pin.is_full or pin.kv_dtype is not None):
        found.append(_kv_type_knob(scenario, pin))
    everything = replace(scenario, pin=None)
    found.append(Knob(WHOLE_PIN, "set", everything, "cost", lambda open_, _: Setting("(unset)", open_, "no pin")))
    return found


def _field_knob(scenario: Scenario, pin: Pin, path: str, attribute: str, minimise: str, read: Read) -> Knob:
    current = getattr(pin, attribute)

    def put_back(open_: Scenario, plan: Plan) -> Setting:
        value = read(plan)
        again = replace(open_, pin=replace(open_.pin or Pin(), **{attribute: value}))
        return Setting(str(value), again, f"{path} {value}")

    if pin.is_full and attribute in _COUNTS:
        return Knob(f"{WHOLE_PIN}.{path}", str(current), scenario, _COUNTS[attribute], put_back)
    dropped = replace(scenario, pin=replace(pin, **{attribute: None}))
    patient = replace(dropped, slo=Slo(scenario.slo.percentile), workload=without_time_limit(scenario.workload))
    unasked = patient if pin.is_full else None
    return Knob(f"{WHOLE_PIN}.{path}", str(current), dropped, minimise, put_back, unasked=unasked)


def _context_knob(scenario: Scenario, pin: Pin, pinned: int) -> Knob:
    """The longest context that fits; it is written as contextTokens too, which must not exceed it.

    Where all else is pinned, the plan for the longest request says how much longer its context could be.
    """

    def put_back(open_: Scenario, plan: Plan) -> Setting:
        length = longest_context(open_, plan, pinned)
        again = _with_length(open_, length)
        kept = min(scenario.context_tokens, length)
        also = (Change("contextTokens", str(scenario.context_tokens), str(kept)),)
        return Setting(str(length), again, f"maxModelLen {length:,}", also if kept < scenario.context_tokens else ())

    shortest = _with_length(scenario, longest_request(scenario))
    dropped, minimise = (shortest, "cost") if pin.is_full else (scenario, "length")
    return Knob(f"{WHOLE_PIN}.maxModelLen", str(pinned), dropped, minimise, put_back)


def _with_length(scenario: Scenario, length: int) -> Scenario:
    pin = replace(scenario.pin or Pin(), max_model_len=length)
    return replace(scenario, context_tokens=min(scenario.context_tokens, length), pin=pin)


def _kv_type_knob(scenario: Scenario, pin: Pin) -> Knob:
    """A KV cache of 8 bits, which holds twice the tokens."""
    dropped = replace(scenario, pin=replace(pin, kv_dtype=Dtype.FP8))
    current = "the checkpoint's own" if pin.kv_dtype is None else pin.kv_dtype.value
    to = Dtype.FP8.value
    return Knob(
        f"{WHOLE_PIN}.kvCacheType", current, dropped, "cost", lambda open_, _: Setting(to, open_, "fp8 KV cache")
    )


def with_length_share(scenario: Scenario, share: float) -> Scenario | None:
    """Shorten the pinned context to a share of what lies beyond the longest request; None if that changes nothing."""
    pin, least = scenario.pin, longest_request(scenario)
    if pin is None or pin.max_model_len is None:
        return None
    length = least + int((pin.max_model_len - least) * share)
    length = max(least, length // CONTEXT_GRAIN_TOKENS * CONTEXT_GRAIN_TOKENS)
    if length >= pin.max_model_len:
        return None
    return _with_length(scenario, length)


def with_replicas_share(scenario: Scenario, share: float) -> Scenario | None:
    """Pin a share of the replicas, one at least; None if that changes nothing."""
    return _with_share(scenario, "replicas", share)


def with_batch_share(scenario: Scenario, share: float) -> Scenario | None:
    """Pin a share of the batch limit, one at least; None if that changes nothing."""
    return _with_share(scenario, "max_num_seqs", share)


def _with_share(scenario: Scenario, attribute: str, share: float) -> Scenario | None:
    pin = scenario.pin or Pin()
    current = getattr(pin, attribute) or 1
    value: Any = max(1, int(current * share))
    return replace(scenario, pin=replace(pin, **{attribute: value})) if value < current else None
