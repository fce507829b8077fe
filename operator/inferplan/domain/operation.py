"""How a plan is put to work in a cluster: under whose name, in which pods, with which credentials and volumes."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class DeployPolicy(enum.StrEnum):
    """What happens with a plan."""

    PLAN = "Plan"
    """It stays in the status."""
    MANUAL = "Manual"
    """It waits until its hash is approved."""
    AUTO = "Auto"
    """It is applied."""


class Autoscaler(enum.StrEnum):
    """Who owns the number of replicas."""

    NONE = "None"
    HPA = "HPA"
    KEDA = "KEDA"


class TolerationOperator(enum.StrEnum):
    """How a toleration matches."""

    EXISTS = "Exists"
    EQUAL = "Equal"


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that pods may stand; an ``effect`` of None stands for all effects."""

    key: str
    operator: TolerationOperator = TolerationOperator.EXISTS
    value: str | None = None
    effect: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """The resource that everything deployed belongs to.

    Parameters
    ----------
    uid
        Given by the API server; None offline. Only with it there can be an owner reference.
    """

    name: str
    namespace: str | None = None
    uid: str | None = None


@dataclass(frozen=True, slots=True)
class PodAdditions:
    """What a user adds to pods; the operator checks that it is allowed."""

    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    priority_class: str | None = None


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key of a Secret in the scenario's namespace."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class ModelCache:
    """A PersistentVolumeClaim with the weights; ``offline`` means that nothing is fetched any more."""

    claim: str
    offline: bool = False


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """Where a batch run reads its items and writes its answers: paths inside a PersistentVolumeClaim."""

    claim: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """Who owns the number of replicas, and between which bounds; None leaves a bound to the plan."""

    kind: Autoscaler = Autoscaler.NONE
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Deploy:
    """Everything that rendering needs to know beside the plan.

    Parameters
    ----------
    batch
        Files of a batch run; None for everything else.
    """

    identity: Identity
    policy: DeployPolicy = DeployPolicy.AUTO
    pods: PodAdditions = field(default_factory=PodAdditions)
    token: SecretKey | None = None
    model_cache: ModelCache | None = None
    batch: BatchFiles | None = None
    autoscaling: Autoscaling = field(default_factory=Autoscaling)
