"""How a plan is put to work and kept up to date in a cluster; offline planning does not read it."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import ConfigDict, Field

from inferplan.api.v1alpha1.scalars import FilePath, Percent, Relaxed, ResourceName, Rule, SpecModel, rules
from inferplan.domain.operation import Autoscaler, DeployPolicy, TolerationOperator

LabelValue = Annotated[str, Field(max_length=63)]
LabelKey = Annotated[str, Field(min_length=1, max_length=316)]


class ReplanPolicy(enum.StrEnum):
    """Whether a running plan may be replaced by a cheaper one."""

    NEVER = "Never"
    ON_SAVINGS = "OnSavings"


class Toleration(SpecModel):
    """A taint that the pods may stand."""

    key: LabelKey = Field(description="Key of the taint.")
    operator: Relaxed[TolerationOperator] = Field(default=TolerationOperator.EXISTS, description="Exists or Equal.")
    value: LabelValue | None = Field(default=None, description="Value of the taint, for Equal.")
    effect: Annotated[str, Field(max_length=32)] | None = Field(default=None, description="Effect; absent: all.")


class PodTemplate(SpecModel):
    """Additions to the pods; labels, annotations and priority only as the administrator allows (docs/operations.md)."""

    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] | None = Field(
        default=None, description="Labels to add, of keys that the administrator allows; ours win."
    )
    annotations: Annotated[dict[LabelKey, Annotated[str, Field(max_length=1024)]], Field(max_length=32)] | None = Field(
        default=None, description="Annotations to add, of keys that the administrator allows."
    )
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False, max_length=16)] | None = Field(
        default=None, description="Further taints that the pods may stand."
    )
    priority_class_name: ResourceName | None = Field(
        default=None, description="Priority class of the pods, if the administrator allows it."
    )


class LocalReference(SpecModel):
    """An object in the scenario's namespace."""

    name: ResourceName = Field(description="Name of the object.")


class SecretReference(SpecModel):
    """A key of a Secret in the scenario's namespace."""

    name: ResourceName = Field(description="Name of the Secret.")
    key: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        default="token", description="Key in the Secret that holds the token."
    )


class ModelAccess(enum.StrEnum):
    """Where the weights come from when a pod starts."""

    HUB = "Hub"
    CACHE = "Cache"


class BatchFiles(SpecModel):
    """Where a batch run reads and writes: files of a PersistentVolumeClaim in the scenario's namespace."""

    volume_ref: LocalReference = Field(description="PersistentVolumeClaim with the items; the answers go there too.")
    input: FilePath = Field(
        default="items.jsonl",
        description=(
            "File of items, a path inside the volume. Generation: one request a line, as `vllm run-batch` reads them."
            ' Classification: one {"id": …, "text": …} a line.'
        ),
    )
    output: FilePath = Field(
        default="answers.jsonl",
        description=(
            "File of answers, a path inside the volume; one JSON object a line. It gets its final name in a single"
            " rename, once complete, and replaces the one from before; until then what is answered is kept beside it,"
            " and a run that was cut short resumes there."
        ),
    )


class Deploy(SpecModel):
    """How the plan is put to work."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.modelAccess) || self.modelAccess != 'Cache' || has(self.modelCacheRef)",
                "modelAccess: Cache needs modelCacheRef, the volume that holds the weights",
            ),
            Rule(
                "!has(self.batch) || !has(self.batch.input) || !has(self.batch.output)"
                " || self.batch.input != self.batch.output",
                "batch.input and batch.output must be different files",
            ),
        )
    )

    policy: Relaxed[DeployPolicy] = Field(
        default=DeployPolicy.AUTO,
        description=(
            "Auto: the plan is applied. Manual: it waits until its hash is approved by annotation."
            " Plan: it stays in the status."
        ),
    )
    priority: Annotated[int, Field(ge=-1000, le=1000)] = Field(
        default=0,
        description=(
            "Whose turn it is when two scenarios want the same GPU: the higher first, then the older."
            " Pods that run are not taken away."
        ),
    )
    pod_template: PodTemplate | None = Field(default=None, description="Additions to the pods.")
    model_cache_ref: LocalReference | None = Field(
        default=None,
        description=(
            "PersistentVolumeClaim that holds the weights, and what the engine compiles for them unless modelAccess is"
            " Cache. Absent: each pod fetches the weights to its node's own disk whenever it starts."
        ),
    )
    model_access: Relaxed[ModelAccess] = Field(
        default=ModelAccess.HUB,
        description=(
            "Hub: pods fetch what the volume lacks. Cache: the volume holds everything, at the commit that the objects"
            " name in inferplan.dev/model-revision; nothing is fetched or written."
        ),
    )
    token_secret_ref: SecretReference | None = Field(
        default=None,
        description="Secret with the Hugging Face token, for gated models; its name must be one that is allowed.",
    )
    batch: BatchFiles | None = Field(
        default=None, description="Files of a batch run; needed before one can be put to work."
    )


class Autoscaling(SpecModel):
    """Who owns the number of replicas."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
                "minReplicas must not exceed maxReplicas",
            ),
            Rule(
                "!has(self.type) || self.type == 'None'",
                "autoscaling.type: HPA and KEDA are not written yet; leave it out, and set select.pin.replicas",
            ),
        )
    )

    type: Relaxed[Autoscaler] = Field(
        default=Autoscaler.NONE,
        description=(
            "None: the plan's replicas. HPA and KEDA, between minReplicas and maxReplicas, are refused: no autoscaler"
            " is written yet."
        ),
    )
    min_replicas: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        default=None, description="Fewest replicas; absent: 1. Zero needs KEDA. Not used yet."
    )
    max_replicas: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Most replicas; absent: the replicas for the first growth factor. Not used yet."
    )


class Replan(SpecModel):
    """When a running plan gives way to another. Changes of the spec are always followed."""

    policy: Relaxed[ReplanPolicy] = Field(default=ReplanPolicy.ON_SAVINGS, description="Never or OnSavings.")
    minimum_savings_percent: Percent = Field(
        default=15, description="Smallest saving for which it is worth moving [percent of the cost]."
    )
    horizon_hours: Annotated[int, Field(ge=1, le=8760)] = Field(
        default=168, description="Time over which the saving must pay for loading the weights again [h]."
    )
    persistence_minutes: Annotated[int, Field(ge=0, le=10_080)] = Field(
        default=60, description="How long the better plan must have been better [min]."
    )
    grace_minutes: Annotated[int, Field(ge=0, le=10_080)] = Field(
        default=10,
        description="How long the GPUs of a running plan may be gone before another plan takes its place [min]: longer"
        " than a reboot, or an upgrade of the device plugin.",
    )


class Growth(SpecModel):
    """Which multiples of today's load are answered for."""

    factors: Annotated[tuple[Annotated[int, Field(ge=2, le=1000)], ...], Field(strict=False, max_length=8)] = Field(
        default=(2, 5, 10), description="Multiples of today's load; an empty list asks for none."
    )
