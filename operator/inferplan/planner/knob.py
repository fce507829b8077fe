"""A requirement that can be loosened: how to drop it, and how to put the smallest sufficient value back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from inferplan.domain.plan import Change, Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Budget, Scenario, Slo

CONTEXT_GRAIN_TOKENS = 256
"""Contexts are offered in multiples of this."""

Part = TypeVar("Part", Slo, Budget)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value put back: what to write, the scenario with it, and words for people."""

    to: str
    scenario: Scenario
    text: str
    also: tuple[Change, ...] = ()
    """Other fields that have to be written with it."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One requirement that can be loosened.

    Parameters
    ----------
    field
        Dotted path in the spec.
    current
        Value as it stands.
    dropped
        The scenario without the requirement.
    minimise
        What the search minimises to find the smallest sufficient value: ``cost``, ``ttft``, ``tpot``, ``e2e``,
        ``duration``, ``gpus``, ``price`` (of an hour), ``quality`` (the loss of it). What has a share
        (``load``, ``context``, ``replicas``, ``batch``) is bisected for the largest that works.
    fit
        From the scenario in which it is dropped and the plan found to the value to put back.
    """

    field: str
    current: str
    dropped: Scenario
    minimise: str
    fit: Callable[[Scenario, Plan], Setting]
    reason: ReasonCode | None = None
    """Reason of rejection that the requirement stands for; None for a pin, which stands for many."""
    unasked: Scenario | None = None
    """``dropped``, with no target of latency either: a full pin is obeyed if it can run at all, so the smallest change
    that lets it run counts, whatever that misses. None where nothing would be obeyed."""


def without(value: Part, attribute: str) -> Part:
    """Copy with one attribute unset."""
    changes: dict[str, Any] = {attribute: None}
    return replace(value, **changes)


def listed(values: tuple[str, ...]) -> str:
    """Write a list as YAML does."""
    return f"[{', '.join(values)}]"


def longest_context(scenario: Scenario, plan: Plan, asked: int) -> int:
    """Longest context that a plan's pool holds, below what was asked for and not below what the plan was made for."""
    made_for = scenario.pin.max_model_len if scenario.pin and scenario.pin.max_model_len else scenario.context_tokens
    return max(made_for, min(asked - 1, plan.estimate.memory.longest_context_tokens))


def longest_request(scenario: Scenario) -> int:
    """Tokens of a long prompt with a long answer: no context may be shorter."""
    return scenario.workload.prompt.p95 + scenario.workload.output.p95
