"""One line of a plan's arithmetic, what it is about, and the numbers in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.estimate.replica import ReplicaTable
from inferplan.estimate.replica_load import (
    ReplicaLoad,
    batch_slots,
    output_tokens,
    running_context,
)
from inferplan.estimate.roofline import StepModel, step_model


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


def number(value: object) -> str:
    """Nine significant digits, which keeps chained roundings far below what is shown."""
    return f"{float(np.asarray(value, dtype=np.float64).ravel()[0]):.9g}"


def first(value: object) -> float:
    """The one value of a column with a single row."""
    return float(np.asarray(value, dtype=np.float64).ravel()[0])


def output_of(s: Subject) -> float:
    """Mean output tokens of a request."""
    return first(output_tokens(s.load))


def slots_of(s: Subject) -> NDArray[np.float64]:
    """Sequences that run at once at most, shape (1,)."""
    return batch_slots(s.table, s.load, output_of(s))


def model_of(s: Subject) -> StepModel:
    """Coefficients of a step at the mean context of the running sequences."""
    return step_model(s.table, running_context(s.load))
