"""What all records share: strictness, sources, and the types of their figures."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from inferplan.domain import model


def _decimal(value: object) -> object:
    """Read a figure written as text, so that it stays exact."""
    if not isinstance(value, str):
        return value
    try:
        return Decimal(value)
    except InvalidOperation:
        message = f'"{value}" is not a number'
        raise ValueError(message) from None


Name = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Amount = Annotated[Decimal, BeforeValidator(_decimal)]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]


class Record(BaseModel):
    """Base of all records: strict, frozen, no unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class Source(Record):
    """Where facts come from."""

    fields: list[str] = Field(min_length=1)
    title: str = Field(min_length=1)
    retrieved: Date
    url: str | None = None
    licence: str | None = None

    def to_domain(self) -> model.Source:
        """Convert."""
        return model.Source(tuple(self.fields), self.title, self.retrieved, self.url, self.licence)


class Sourced(Record):
    """A record that names its sources."""

    sources: list[Source] = Field(min_length=1)

    def domain_sources(self) -> tuple[model.Source, ...]:
        """Convert the sources."""
        return tuple(source.to_domain() for source in self.sources)
