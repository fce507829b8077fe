"""Which engine runs the model, and which of the possible plans is taken."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import ConfigDict, Field

from inferplan.api.v1alpha1.pin import EngineName, Pin
from inferplan.api.v1alpha1.scalars import IMAGE_PATTERN, VERSION_PATTERN, Relaxed, Rule, SpecModel, rules
from inferplan.domain.scenario import Tier


class RemoteCode(enum.StrEnum):
    """Whether code from a model's repository may run."""

    DENY = "Deny"
    ALLOW = "Allow"


class Engine(SpecModel):
    """Which inference engines may be used, and how."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!(has(self.version) || has(self.image) || has(self.extraArgs))"
                " || !has(self.allow) || size(self.allow) == 1",
                "version, image and extraArgs are those of one engine: allow only that one",
            ),
            Rule(
                "!has(self.image) || (self.image.matches('^.+(:[^/:@]+|@sha256:[0-9a-f]{64})$')"
                " && !self.image.endsWith(':latest'))",
                "image must name a tag other than latest, or a digest",
            ),
        )
    )

    allow: Annotated[tuple[Relaxed[EngineName], ...], Field(strict=False, min_length=1, max_length=2)] = Field(
        default=(EngineName.VLLM,),
        description="Engines that may be used. TGI is archived since March 2026: used only where it is named.",
    )
    version: Annotated[str, Field(max_length=32, pattern=VERSION_PATTERN)] | None = Field(
        default=None, description="Version of the engine; absent: the catalog's."
    )
    image: Annotated[str, Field(max_length=500, pattern=IMAGE_PATTERN)] | None = Field(
        default=None, description="Container image to use instead of the catalog's, if the administrator allows it."
    )
    extra_args: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
            Field(strict=False, max_length=32),
        ]
        | None
    ) = Field(
        default=None,
        description="Further arguments; each must be a flag that this version of the engine has.",
    )
    remote_code: Relaxed[RemoteCode] = Field(
        default=RemoteCode.DENY,
        description=(
            "Whether code from the model's repository may run (trust-remote-code), and extraArgs may name code, files"
            " and addresses. In a cluster only if the administrator allows it."
        ),
    )


class Select(SpecModel):
    """Which plan is taken: one of the three tiers, or a pinned configuration."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!(has(self.tier) && has(self.pin))",
                "choose either a tier or a pin: a pinned configuration has no tier",
            )
        )
    )

    tier: Relaxed[Tier] | None = Field(
        default=None,
        description=(
            "Budget: the cheapest plan that meets every requirement. Recommended (default): the cheapest with"
            " headroom. HighEnd: the best quality within the budget."
        ),
    )
    pin: Pin | None = Field(default=None, description="Evaluate exactly this configuration.")
