"""Building blocks of the resource: base models, bounded scalars, and the rules a cluster checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic.alias_generators import to_camel

Item = TypeVar("Item")

AMOUNT_PATTERN = r"^(0|[1-9][0-9]{0,11})([.][0-9]{1,9})?$"
YEARS_PATTERN = r"^[1-9][0-9]?([.][0-9]{1,2})?$"
PUE_PATTERN = r"^[1-9]([.][0-9]{1,3})?$"
SHARE_PATTERN = r"^(0[.]([1-9][0-9]{0,3}|0[1-9][0-9]{0,2}|00[1-9][0-9]?|000[1-9])|1([.]0{1,4})?)$"
NAME_PATTERN = r"^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$"
REPOSITORY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)+$"
CRON_PATTERN = (
    r"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|@every ([0-9]*[.]?[0-9]+[.]?(h|ms|m|s))+"
    r"| *([-0-9A-Za-z*/,?]+ +){4}[-0-9A-Za-z*/,?]+ *)$"
)
TIME_ZONE_PATTERN = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"
IMAGE_PATTERN = r"^[a-z0-9][-a-zA-Z0-9._/:@]*$"
VERSION_PATTERN = r"^[0-9][-0-9A-Za-z._+]*$"
FILE_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
MINIMUM_PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]*( *: *[0-9]{1,9}([.][0-9]{1,6})?)?$"

PATTERN_HINTS: dict[str, str] = {
    AMOUNT_PATTERN: 'a decimal in quotes that is not negative, for example "2.50"',
    YEARS_PATTERN: 'years from "1" to "99.99" in quotes, for example "5"',
    PUE_PATTERN: 'a factor from "1" to "9.999" in quotes, for example "1.25"',
    SHARE_PATTERN: 'a share above 0 and up to 1 in quotes, with four digits at most, for example "0.95"',
    NAME_PATTERN: "at most 52 lower-case letters, digits and dashes, a letter first",
    REPOSITORY_PATTERN: "a repository such as Qwen/Qwen3-8B",
    CRON_PATTERN: 'five cron fields, for example "0 2 * * *", or a word such as @daily',
    TIME_ZONE_PATTERN: "a name of the tz database, such as Europe/Berlin",
    IMAGE_PATTERN: "an image such as registry.example.com/vllm:v0.33.0",
    MINIMUM_PATTERN: 'a level such as Good, or a benchmark with a score such as "maker_mmlu_pro: 65"',
    FILE_PATTERN: "a path inside the volume, such as runs/items.jsonl",
    VERSION_PATTERN: "a version such as 0.33.0",
}
"""What each pattern means, in words: for error messages."""

MAXIMUM_TOKENS = 10_000_000
MAXIMUM_LOAD = 1_000_000_000
MAXIMUM_MILLISECONDS = 86_400_000

Relaxed = Annotated[Item, Strict(False)]
"""Enums arrive as text and tuples as lists; only these may be converted."""

Tokens = Annotated[int, Field(ge=1, le=MAXIMUM_TOKENS)]
Milliseconds = Annotated[int, Field(ge=1, le=MAXIMUM_MILLISECONDS)]
Percent = Annotated[int, Field(ge=0, le=100)]
Amount = Annotated[str, Field(max_length=22, pattern=AMOUNT_PATTERN)]
Years = Annotated[str, Field(max_length=5, pattern=YEARS_PATTERN)]
PueFactor = Annotated[str, Field(max_length=5, pattern=PUE_PATTERN)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Pattern = Annotated[str, Field(min_length=1, max_length=128)]
Repository = Annotated[str, Field(max_length=200, pattern=REPOSITORY_PATTERN)]
FilePath = Annotated[str, Field(max_length=250, pattern=FILE_PATTERN)]
ResourceName = Annotated[str, Field(min_length=1, max_length=253)]


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule with the sentence that a person reads when it refuses.

    Parameters
    ----------
    rule
        Common Expression Language; ``self`` is the object the rule is attached to.
    message
        A sentence without full stop.
    """

    rule: str
    message: str


def rules(*items: Rule) -> dict[str, Any]:
    """Attach rules to a model's schema (``json_schema_extra``)."""
    return {"x-kubernetes-validations": [{"rule": item.rule, "message": item.message} for item in items]}


class SpecModel(BaseModel):
    """Base of what users write: strict, frozen, camelCase only, nothing unknown."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", alias_generator=to_camel, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: object) -> object:
        """Treat ``field: null`` as absent, as the API server does; an unknown field stays to be refused."""
        if not isinstance(value, dict):
            return value
        known = {info.alias or name for name, info in cls.model_fields.items()}
        return {key: item for key, item in value.items() if item is not None or key not in known}


class StatusModel(BaseModel):
    """Base of what we write: strict and frozen, built by Python names, printed in camelCase."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, defer_build=True
    )
