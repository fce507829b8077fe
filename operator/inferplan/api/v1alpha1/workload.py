"""What is asked of the model: load, lengths, latency targets."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import ConfigDict, Field

from inferplan.api.v1alpha1.scalars import (
    CRON_PATTERN,
    MAXIMUM_LOAD,
    MAXIMUM_TOKENS,
    TIME_ZONE_PATTERN,
    Amount,
    Milliseconds,
    Relaxed,
    Rule,
    SpecModel,
    Tokens,
    rules,
)


class Percentile(enum.StrEnum):
    """Share of requests that must keep the latency targets."""

    P50 = "P50"
    P90 = "P90"
    P95 = "P95"
    P99 = "P99"

    @property
    def number(self) -> int:
        """The percentile as a number."""
        return int(self.value[1:])


class TokenLengths(SpecModel):
    """Token counts over the requests."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule("self.p95 >= self.mean", "p95 must not be below mean: most requests are no longer than p95")
        )
    )

    mean: Tokens = Field(description="Mean over all requests [tokens].")
    p95: Tokens = Field(description="95 of 100 requests are no longer than this [tokens].")


class OutputLengths(SpecModel):
    """Generated token counts over the requests."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule("self.p95 >= self.mean", "p95 must not be below mean: most answers are no longer than p95")
        )
    )

    mean: Annotated[int, Field(ge=0, le=MAXIMUM_TOKENS)] = Field(
        description="Mean over all requests [tokens]; 0 for a classifier, which generates nothing."
    )
    p95: Annotated[int, Field(ge=0, le=MAXIMUM_TOKENS)] = Field(
        description="95 of 100 answers are no longer than this [tokens]."
    )


def _cron_fields() -> str:
    """Write the regular expression of five cron fields whose numbers exist (names are looked up when it is read)."""
    name = "[A-Za-z]{3}"
    numbers = ("[0-5]?[0-9]", "([01]?[0-9]|2[0-3])", "([12][0-9]|3[01]|[1-9])", "(1[0-2]|[1-9])", "[0-6]")
    values = [f"0*{number}" for number in numbers[:3]] + [f"(0*{number}|{name})" for number in numbers[3:]]
    entries = [f"([*?]|{value}(-{value})?)(/0*[1-9][0-9]*)?" for value in values]
    return f"^ *{' +'.join(f'{entry}(,{entry})*' for entry in entries)} *$"


class Schedule(SpecModel):
    """When a batch run starts, for runs outside busy hours."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                f"self.cron.startsWith('@') || self.cron.matches('{_cron_fields()}')",
                "cron takes minute 0-59, hour 0-23, day of month 1-31, month 1-12 or JAN-DEC,"
                " day of week 0-6 or SUN-SAT (Sunday is 0), and steps of at least 1",
            ),
        )
    )

    cron: Annotated[str, Field(min_length=1, max_length=100, json_schema_extra={"pattern": CRON_PATTERN})] = Field(
        description=(
            "Start of the run as a CronJob of Kubernetes has it: minute, hour, day of month, month and day of week, for"
            ' example "0 2 * * MON-FRI"; or @hourly, @daily, @weekly, @monthly, @yearly, or @every with a duration.'
        )
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=TIME_ZONE_PATTERN)] = Field(
        default="Etc/UTC", description="Time zone of the cron fields, as in the tz database."
    )
    window_minutes: Annotated[int, Field(ge=1, le=10_080)] | None = Field(
        default=None,
        description=(
            "How long the window lasts; the run must end within it, and the next one starts after it."
            " Absent: the deadline."
        ),
    )


class Workload(SpecModel):
    """The offered load: people, a request rate, or a run of items. What is absent comes from the preset."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!(has(self.requestsPerSecond) && has(self.concurrentUsers))",
                "state the load once: either concurrentUsers or requestsPerSecond",
            ),
            Rule(
                "!(has(self.items) && (has(self.requestsPerSecond) || has(self.concurrentUsers)))",
                "items describe a batch run: leave concurrentUsers and requestsPerSecond out",
            ),
            Rule(
                "!has(self.requestsPerSecond) || double(self.requestsPerSecond) > 0.0",
                "requestsPerSecond must be above zero",
            ),
            Rule(
                "!has(self.thinkTimeSeconds) || !(has(self.requestsPerSecond) || has(self.items))",
                "thinkTimeSeconds belongs to concurrentUsers",
            ),
            Rule(
                "!(has(self.deadlineMinutes) || has(self.schedule))"
                " || !(has(self.requestsPerSecond) || has(self.concurrentUsers))",
                "deadlineMinutes and schedule belong to a batch run (items)",
            ),
            Rule(
                "!has(self.sharedPrefixTokens) || !has(self.promptTokens)"
                " || self.sharedPrefixTokens <= self.promptTokens.mean",
                "sharedPrefixTokens must not exceed promptTokens.mean: the prefix is part of the prompt",
            ),
        )
    )

    concurrent_users: Annotated[int, Field(ge=1, le=MAXIMUM_LOAD)] | None = Field(
        default=None,
        description="People at work at once, each sending the next request thinkTimeSeconds after an answer.",
    )
    think_time_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = Field(
        default=None, description="Pause of each person between an answer and the next request [s]."
    )
    requests_per_second: Amount | None = Field(
        default=None, description='Requests arriving per second, a decimal in quotes such as "2.5".'
    )
    burstiness: Amount | None = Field(
        default=None,
        description=(
            "Squared coefficient of variation of the gaps between arrivals, a decimal in quotes:"
            ' "1" is Poisson (the default), "0" a metronome, more means bursts.'
        ),
    )
    items: Annotated[int, Field(ge=1, le=MAXIMUM_LOAD)] | None = Field(
        default=None, description="Items of a batch run; all are there at its start."
    )
    deadline_minutes: Annotated[int, Field(ge=1, le=527_040)] | None = Field(
        default=None, description="The run must be done this long after its start [min]."
    )
    schedule: Schedule | None = Field(default=None, description="When the batch run starts; absent: once, now.")
    prompt_tokens: TokenLengths | None = Field(default=None, description="Length of the prompts, system text included.")
    output_tokens: OutputLengths | None = Field(default=None, description="Length of the answers.")
    shared_prefix_tokens: Annotated[int, Field(ge=0, le=MAXIMUM_TOKENS)] | None = Field(
        default=None,
        description="Leading tokens that all prompts share (a system prompt) [tokens]; default 0.",
    )


class Slo(SpecModel):
    """Latency targets. What is absent comes from the preset; a batch run has none."""

    percentile: Relaxed[Percentile] | None = Field(
        default=None,
        description="Share of requests that must keep the targets: P50, P90, P95 (default) or P99.",
    )
    time_to_first_token_milliseconds: Milliseconds | None = Field(
        default=None, description="Request sent to first token, queueing and prompt processing included [ms]."
    )
    time_per_output_token_milliseconds: Milliseconds | None = Field(
        default=None, description="Mean gap between the tokens of one answer [ms]."
    )
    request_latency_milliseconds: Milliseconds | None = Field(
        default=None, description="Request sent to last token [ms]."
    )
