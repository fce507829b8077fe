"""Defaults of the use cases, and named quality levels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from inferplan.catalog.schema.base import Amount, Name, Record, Sourced
from inferplan.domain import model, scenario


class PresetValue(Record):
    """One default with its reason."""

    field: str
    value: str | int
    reason: str = Field(min_length=1)


class Preset(Sourced):
    """Defaults of a use case."""

    use_case: Literal["Chatbot", "Summarization", "BatchClassification", "Custom"]
    task: Literal["Generation", "Classification"]
    title: str
    values: list[PresetValue]

    @property
    def id(self) -> str:
        """The use case names the preset."""
        return self.use_case

    def to_domain(self) -> scenario.Preset:
        """Convert."""
        values = tuple(scenario.PresetValue(v.field, v.value, v.reason) for v in self.values)
        return scenario.Preset(scenario.UseCase(self.use_case), model.Task(self.task), self.title, values)


class Level(Sourced):
    """A named quality level."""

    name: Name
    metric: str
    minimum: Amount
    reason: str

    @property
    def id(self) -> str:
        """The name."""
        return self.name

    def to_domain(self) -> scenario.QualityLevel:
        """Convert."""
        return scenario.QualityLevel(self.name, self.metric, self.minimum, self.reason)
