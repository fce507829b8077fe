"""Everything that templates may read: worked out here, laid out there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from inferplan.domain.cluster import GpuNode, Inventory
from inferplan.domain.deployment import Configuration
from inferplan.domain.model import Checkpoint, Task
from inferplan.domain.operation import Deploy
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import Scenario
from inferplan.domain.units import GB, GIB
from inferplan.render.flags import HTTP_PORT, draft_checkpoint
from inferplan.render.placing import GPU_RESOURCES, Placing, placing, plan_nodes
from inferplan.render.room import ASSUMED_LARGE_WEIGHTS_BYTES, Room, room
from inferplan.render.timing import ENDPOINT_REMOVAL_S, PROBE_PERIOD_S, Timing, timing, weight_file_bytes

GROUP = "inferplan.dev"
SCENARIO_LABEL = f"{GROUP}/scenario"
PLAN_HASH = f"{GROUP}/plan-hash"
ROLLOUT = f"{GROUP}/rollout"
REVISION = f"{GROUP}/model-revision"
DRAFT_REVISION = f"{GROUP}/draft-model-revision"
MANAGER = "inferplan"
CAUTION = f"{GROUP}/caution"
HEADLESS = "has no classification head: name weights that have one in model.custom"
GATED = "is gated: name a token in deploy.tokenSecretRef"
UNPINNED = "unpinned: no commit of the repository is known"
MODELS_AT = "/models"
HOME_AT = "/home/inference"

SURGE = "Surge"
DRAIN_AND_SWAP = "DrainAndSwap"

RESERVED_SERVICES = frozenset({"vllm"})
"""Kubernetes tells every pod of a namespace about its Services in variables; vLLM reads ``VLLM_PORT`` as its own."""


@dataclass(frozen=True, slots=True)
class Context:
    """What one plan's manifests are made of."""

    plan: Plan
    scenario: Scenario
    deploy: Deploy
    placing: Placing
    room: Room
    timing: Timing
    surge: bool

    @property
    def chosen(self) -> Configuration:
        """The configuration."""
        return self.plan.configuration

    @property
    def image(self) -> str:
        """Container image."""
        return self.chosen.engine.image

    @property
    def name(self) -> str:
        """Name of the objects: that of the scenario."""
        return self.deploy.identity.name

    @property
    def service_name(self) -> str:
        """Name of the Service."""
        return f"{self.name}-server" if self.name in RESERVED_SERVICES else self.name

    @property
    def selector(self) -> dict[str, str]:
        """Labels that find the pods of the server; they never change, because a Deployment's selector cannot."""
        return {SCENARIO_LABEL: self.name, "app.kubernetes.io/component": "server"}

    @property
    def port(self) -> int:
        """Port of the API, the probes and the metrics."""
        return HTTP_PORT

    @property
    def endpoint_removal_s(self) -> int:
        """Pause before the engine is told to stop [s]."""
        return ENDPOINT_REMOVAL_S

    @property
    def probe_period_s(self) -> int:
        """Time between two startup probes [s]."""
        return PROBE_PERIOD_S

    @property
    def gpu_resource(self) -> str:
        """Extended resource that a GPU is asked for by."""
        return GPU_RESOURCES[self.chosen.gpu.vendor]

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations of every object. Pods do not have them: they would start anew with every number of replicas."""
        found = {PLAN_HASH: self.plan.hash, REVISION: self.chosen.checkpoint.revision or UNPINNED}
        if self.draft is not None:
            found[DRAFT_REVISION] = f"{self.draft.repository} {self.draft.revision or UNPINNED}"
        cautions = "; ".join(self.cautions)
        return {**found, CAUTION: cautions} if cautions else found

    @property
    def cautions(self) -> tuple[str, ...]:
        """What keeps the engine from starting, or its node from keeping it, until somebody sees to it."""
        found = [*self._disk_cautions()]
        if self.scenario.task is Task.CLASSIFICATION and self.scenario.model.custom is None:
            found.append(f"{self.chosen.model.id} {HEADLESS}")
        offline = self.deploy.model_cache is not None and self.deploy.model_cache.offline
        fetched = self.deploy.token is None and not offline
        if self.chosen.model.gated and self.scenario.model.custom is None and fetched:
            found.append(f"{self.chosen.model.id} {GATED}")
        found += self._draft_cautions(fetched=fetched, offline=offline)
        engine = self.chosen.engine
        if engine.other_version_in_image:
            found.append(
                f"the tag of the image names {engine.other_version_in_image}, and the flags are those of"
                f" {engine.name} {engine.version}: check that it takes them"
            )
        return tuple(found)

    @property
    def draft(self) -> Checkpoint | None:
        """Weights of the draft model."""
        decoding = self.chosen.engine.speculative
        return None if decoding is None or decoding.draft is None else draft_checkpoint(decoding.draft)

    def _draft_cautions(self, *, fetched: bool, offline: bool) -> Iterator[str]:
        decoding = self.chosen.engine.speculative
        if decoding is None or decoding.draft is None or self.draft is None:
            return
        if decoding.draft.gated and fetched:
            yield f"{decoding.draft.id}, the draft model, {GATED}"
        if offline:
            yield f"{self.draft.repository}, the draft model, is not fetched: put it into the modelCacheRef as well"

    def _disk_cautions(self) -> Iterator[str]:
        room, cache = self.room, self.deploy.model_cache
        if room.disk_there_bytes is not None and room.disk_there_bytes < room.disk_needed_bytes:
            needed, there = room.disk_needed_bytes / GIB, room.disk_there_bytes / GIB
            way = "name a modelCacheRef" if cache is None else "free or add disk"
            yield f"a pod may write {needed:.0f} GiB to its node's own disk, which has {there:.0f} GiB for it: {way}"
        elif cache is None and weight_file_bytes(self.plan) > ASSUMED_LARGE_WEIGHTS_BYTES:
            size = weight_file_bytes(self.plan) / GB
            yield f"weights of {size:.0f} GB are fetched to the node's own disk at every start: name a modelCacheRef"

    @property
    def compile_cache(self) -> str:
        """Folder of compiled graphs: beside the weights if that volume can be written to, else in the pod.

        Nothing that a mere change of replicas or prices touches is part of its name: pods would start anew.
        """
        cache, chosen = self.deploy.model_cache, self.chosen
        if cache is None or cache.offline:
            return f"{HOME_AT}/.cache/{chosen.engine.id}"
        parts = (
            self.image,
            chosen.checkpoint.repository,
            chosen.checkpoint.revision,
            chosen.method.id,
            chosen.gpu.id,
            chosen.tp_size,
            chosen.pp_size,
            chosen.kv_dtype,
            chosen.compute_dtype,
            chosen.max_num_seqs,
            chosen.max_num_batched_tokens,
            chosen.max_model_len,
        )
        digest = hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:12]
        return f"{MODELS_AT}/{chosen.engine.id}-cache/{chosen.engine.version}-{digest}"

    @property
    def rollout(self) -> str:
        """How the next rollout goes, for people."""
        if self.surge:
            return f"{SURGE}: a spare fits, so a new pod starts before an old one ends"
        gpus, name = self.chosen.gpus_per_replica, self.chosen.gpu.name
        spare = f"a spare {name}" if gpus == 1 else f"{gpus} spare {name}"
        return f"{DRAIN_AND_SWAP}: no node has {spare}, so an old pod ends first"

    def labels(self, component: str) -> dict[str, str]:
        """Labels of an object."""
        return {
            "app.kubernetes.io/name": self.chosen.engine.id,
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/version": self.chosen.engine.version,
            "app.kubernetes.io/component": component,
            "app.kubernetes.io/part-of": self.name,
            "app.kubernetes.io/managed-by": MANAGER,
            SCENARIO_LABEL: self.name,
        }

    def pod_labels(self, component: str) -> dict[str, str]:
        """Labels of pods: the user's, and ours over them."""
        return {**dict(self.deploy.pods.labels), **self.labels(component)}


def make_context(plan: Plan, deploy: Deploy, scenario: Scenario, inventory: Inventory | None) -> Context:
    """Work out everything that templates read."""
    nodes = plan_nodes(plan, inventory)
    return Context(
        plan=plan,
        scenario=scenario,
        deploy=deploy,
        placing=placing(plan, nodes, deploy.pods.tolerations),
        room=room(plan, nodes, on_volume=deploy.model_cache is not None),
        timing=timing(plan),
        surge=_spare(plan, nodes),
    )


def _spare(plan: Plan, nodes: tuple[GpuNode, ...]) -> bool:
    """Whether one more replica fits beside those of the plan.

    Notes
    -----
    The free GPUs of the nodes must count those that this plan's own pods hold; a market plan has room for one more
    only on the GPUs that it pays for and leaves idle.
    """
    gpus = plan.configuration.gpus_per_replica
    if nodes:
        return sum(node.gpus_free // gpus for node in nodes) > plan.configuration.replicas
    return any(place.gpus_idle >= gpus for place in plan.cost.placements)
