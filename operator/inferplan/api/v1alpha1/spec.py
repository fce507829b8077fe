"""The spec: everything that a user can say."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from inferplan.api.v1alpha1.hardware import Budget, Hardware
from inferplan.api.v1alpha1.model import ModelPolicy, Quality
from inferplan.api.v1alpha1.operation import Autoscaling, Deploy, Growth, Replan
from inferplan.api.v1alpha1.scalars import Relaxed, Rule, SpecModel, Tokens, rules
from inferplan.api.v1alpha1.serving import Engine, Select
from inferplan.api.v1alpha1.workload import Slo, Workload
from inferplan.domain.model import Task
from inferplan.domain.scenario import UseCase


class InferenceScenarioSpec(SpecModel):
    """What is wanted. Only useCase is required; what is absent comes from the use case's preset."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.contextTokens) || !has(self.workload) || !has(self.workload.promptTokens)"
                " || !has(self.workload.outputTokens)"
                " || self.workload.promptTokens.p95 + self.workload.outputTokens.p95 <= self.contextTokens",
                "contextTokens must hold a long prompt and its answer: promptTokens.p95 + outputTokens.p95",
            ),
            Rule(
                "!has(self.select) || !has(self.select.pin) || !has(self.select.pin.maxModelLen)"
                " || !has(self.contextTokens) || self.contextTokens <= self.select.pin.maxModelLen",
                "the pinned maxModelLen must not be below contextTokens",
            ),
            Rule(
                "!has(self.select) || !has(self.select.pin) || !has(self.select.pin.maxModelLen)"
                " || !has(self.workload) || !has(self.workload.promptTokens)"
                " || !has(self.workload.outputTokens)"
                " || self.workload.promptTokens.p95 + self.workload.outputTokens.p95"
                " <= self.select.pin.maxModelLen",
                "the pinned maxModelLen must hold a long prompt and its answer: promptTokens.p95 + outputTokens.p95",
            ),
            Rule(
                "!has(self.workload) || !has(self.workload.items) || !has(self.slo)"
                " || !(has(self.slo.timeToFirstTokenMilliseconds)"
                " || has(self.slo.timePerOutputTokenMilliseconds)"
                " || has(self.slo.requestLatencyMilliseconds))",
                "a batch run has a deadline (workload.deadlineMinutes) and no latency targets per request",
            ),
            Rule(
                "!has(self.task) || !has(self.model) || !has(self.model.custom)"
                " || !has(self.model.custom.task)"
                " || self.model.custom.task == self.task",
                "task and model.custom.task contradict each other",
            ),
            Rule(
                "!has(self.task) || self.task != 'Classification' || !has(self.workload)"
                " || !has(self.workload.outputTokens) || self.workload.outputTokens.p95 == 0",
                "a classifier generates nothing: leave workload.outputTokens out",
            ),
        )
    )

    use_case: Relaxed[UseCase] = Field(description="Preset that fills in what is absent; Custom has none.")
    task: Relaxed[Task] | None = Field(
        default=None,
        description=(
            "Generation, or Classification by a head that generates nothing. Absent: Classification for"
            " BatchClassification, else Generation."
        ),
    )
    workload: Workload = Field(default_factory=Workload, description="The offered load.")
    slo: Slo = Field(default_factory=Slo, description="Latency targets.")
    context_tokens: Tokens | None = Field(
        default=None, description="Prompt and output together that one request may take [tokens]."
    )
    quality: Quality = Field(default_factory=Quality, description="How good the answers must be.")
    model: ModelPolicy = Field(default_factory=ModelPolicy, description="Which models may be chosen.")
    hardware: Hardware = Field(default_factory=Hardware, description="Which GPUs may be used, and from whom.")
    budget: Budget = Field(default_factory=Budget, description="Upper limits of cost.")
    engine: Engine = Field(default_factory=Engine, description="Which inference engines may be used.")
    select: Select = Field(default_factory=Select, description="Which of the possible plans is taken.")
    deploy: Deploy = Field(default_factory=Deploy, description="How the plan is put to work in a cluster.")
    autoscaling: Autoscaling = Field(default_factory=Autoscaling, description="Who owns the number of replicas.")
    replan: Replan = Field(default_factory=Replan, description="When a running plan gives way to a cheaper one.")
    growth: Growth = Field(default_factory=Growth, description="Which multiples of the load are answered for.")
    headroom_percent: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=25, description="Load beyond today's that the Recommended tier must still serve [percent]."
    )
