"""A requirement that can be loosened: how to drop it, and how to put the smallest sufficient value back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from inferplan.domain.plan import Plan
from inferplan.domain.reasons import ReasonCode
from inferplan.domain.scenario import Budget, Scenario, Slo

Part = TypeVar("Part", Slo, Budget)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value put back: what to write, the scenario with it, and words for people."""

    to: str
    scenario: Scenario
    text: str


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
        ``duration``, ``gpus``, ``price`` (of an hour), ``quality`` (the loss of it); ``load`` and ``context`` are
        bisected.
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


def without(value: Part, attribute: str) -> Part:
    """Copy with one attribute unset."""
    changes: dict[str, Any] = {attribute: None}
    return replace(value, **changes)


def listed(values: tuple[str, ...]) -> str:
    """Write a list as YAML does."""
    return f"[{', '.join(values)}]"
