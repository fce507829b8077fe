"""Random scenarios of every kind, planned and rendered: what the engine would really be started with."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenarios
from inferplan.api.operation import to_deploy
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import InputError, UnrenderableError
from inferplan.domain.manifest import Manifest
from inferplan.domain.model import Task
from inferplan.domain.plan import Plan
from inferplan.planner import Planner
from inferplan.render.renderer import render
from tests.engine.configs import config_of, quantization_of
from tests.engine.jobs import MODEL, Job, items_of

Spec = dict[str, Any]
LABELS = 3
KINDS = ("Chatbot", "Summarization", "Batch", "Generation", "Custom", "Classification", "Described", "Pinned")
FILES_OF_THE_DRIVER = ["--input-file=items.jsonl", "--output-file=answers.jsonl"]
"""What our driver adds to the batch runner's words."""
NEEDS_THE_HUB = ("--revision=", "--tokenizer-revision=")


@dataclass(frozen=True, slots=True)
class Planned:
    """A rendered plan and the question that puts it to the engine."""

    spec: Spec
    plan: Plan
    job: Job

    @property
    def title(self) -> str:
        """The plan and the scenario it answers, for a failing test."""
        chosen = self.plan.configuration
        return f"{chosen.title}, KV cache {chosen.kv_dtype}, {chosen.checkpoint.repository}: {json.dumps(self.spec)}"


def planned(catalog: Catalog, *, count: int, seed: int) -> Iterator[Planned]:
    """Yield rendered vLLM plans of random scenarios, always the same for a seed, each command line once."""
    dice = random.Random(seed)  # noqa: S311 - nothing secret
    planner = Planner(catalog)
    seen: set[tuple[str, ...]] = set()
    while len(seen) < count:
        spec = _spec(dice, catalog)
        for entry in _plans(spec, catalog, planner):
            key = (entry.plan.configuration.checkpoint.repository, entry.job.gpu, *entry.job.words)
            if key not in seen and len(seen) < count:
                seen.add(key)
                yield entry


def _plans(spec: Spec, catalog: Catalog, planner: Planner) -> Iterator[Planned]:
    document = {
        "apiVersion": "inferplan.dev/v1alpha1",
        "kind": "InferenceScenario",
        "metadata": {"name": "engine"},
        "spec": spec,
    }
    try:
        file = read_scenarios(json.dumps(document), "random")
        scenario = to_scenario(file.scenarios[0].resource, catalog, file.scenarios[0].locate).scenario
    except InputError:
        return
    outcome = planner.plan(scenario, None)
    if outcome.chosen is None:
        return
    for plan in dict.fromkeys((outcome.chosen, *outcome.tiers)):
        if plan.configuration.engine.id != "vllm":
            continue
        try:
            objects = render(plan, to_deploy(file.scenarios[0].resource), scenario=outcome.scenario)
        except UnrenderableError:
            continue
        yield Planned(spec, plan, _job(plan, objects))


def _job(plan: Plan, objects: Sequence[Manifest]) -> Job:
    chosen = plan.configuration
    command = _command(objects)
    assert command[0] == "vllm"
    repository = chosen.checkpoint.repository
    words = [word.replace(repository, MODEL) if repository in word else word for word in command[2:]]
    words += FILES_OF_THE_DRIVER if command[1] == "run-batch" else []
    labels = LABELS if chosen.model.task is Task.CLASSIFICATION else 0
    config = config_of(chosen.model, quantization_of(chosen.checkpoint), labels=labels)
    if config is None:
        message = f"configs.py does not know {chosen.model.architecture}"
        raise LookupError(message)
    return Job(
        config=config,
        compute_capability=chosen.gpu.compute_capability or 0,
        memory_bytes=chosen.gpu.memory_bytes,
        gpu=chosen.gpu.name,
        command=command[1],
        words=tuple(word for word in words if not word.startswith(NEEDS_THE_HUB)),
        items=items_of(chosen.model),
    )


def _command(objects: Sequence[Manifest]) -> list[str]:
    """Words of the engine's container, without the driver that may start it."""
    for manifest in objects:
        body: Any = manifest.body["spec"]
        spec = body.get("jobTemplate", {}).get("spec", body)
        if "template" not in spec:
            continue
        container = spec["template"]["spec"]["containers"][0]
        words = [*container.get("command", []), *container.get("args", [])]
        return words[words.index("vllm") :]
    message = "no object with a container"
    raise LookupError(message)


# ── scenarios ────────────────────────────────────────────────────────────────────────────────────────────────


def _spec(dice: random.Random, catalog: Catalog) -> Spec:
    kind = dice.choice(KINDS)
    spec = _WRITE[kind](dice, catalog)
    sizable = [model.id for model in catalog.models if model.not_sizable is None]
    gpus = [gpu.id for gpu in catalog.gpus if gpu.vendor == "nvidia" and (gpu.compute_capability or 0) >= 75]
    if "model" not in spec:
        spec["model"] = {"allow": dice.sample(sizable, dice.choice([1, 2, 3]))}
    spec["quality"] = {"quantization": {"lossy": "Allow"}} if dice.random() < 0.8 else {}
    if dice.random() < 0.85:
        spec["hardware"] = {"allow": dice.sample(gpus, dice.choice([1, 2, 4]))}
    return spec


def _chatbot(dice: random.Random, catalog: Catalog) -> Spec:
    del catalog
    mean = dice.choice([500, 900, 2000])
    workload = {"concurrentUsers": dice.choice([1, 5, 60, 400]), "sharedPrefixTokens": dice.choice([0, 100, 400])}
    return {"useCase": "Chatbot", "workload": {**workload, "promptTokens": {"mean": mean, "p95": mean * 2}}}


def _summarization(dice: random.Random, catalog: Catalog) -> Spec:
    del catalog
    mean = dice.choice([2000, 7000, 30_000])
    lengths = {"promptTokens": {"mean": mean, "p95": mean * 3 // 2}, "outputTokens": {"mean": 250, "p95": 450}}
    return {"useCase": "Summarization", "workload": {"requestsPerSecond": dice.choice(["0.05", "0.5", "3"]), **lengths}}


def _batch(dice: random.Random, catalog: Catalog) -> Spec:
    base = dice.choice([model.id for model in catalog.models if model.not_sizable is None])
    workload = {"items": dice.choice([1000, 200_000]), "deadlineMinutes": dice.choice([30, 600])}
    return {
        "useCase": "BatchClassification",
        "workload": {**workload, "promptTokens": {"mean": 350, "p95": 900}},
        "model": {"custom": {"repository": "example-org/classifier", "base": base}},
        "deploy": {"batch": {"volumeRef": {"name": "items"}}},
    }


def _generation(dice: random.Random, catalog: Catalog) -> Spec:
    spec = _batch(dice, catalog)
    del spec["model"]
    spec["task"] = "Generation"
    spec["workload"]["outputTokens"] = {"mean": 100, "p95": 300}
    return spec


def _custom(dice: random.Random, catalog: Catalog) -> Spec:
    del catalog
    mean, output = dice.choice([100, 4000, 40_000]), dice.choice([20, 300, 2000])
    lengths = {"promptTokens": {"mean": mean, "p95": mean * 2}, "outputTokens": {"mean": output, "p95": output * 2}}
    return {
        "useCase": "Custom",
        "workload": {"requestsPerSecond": dice.choice(["0.02", "1", "10"]), **lengths},
        "slo": {"percentile": "P90", "timeToFirstTokenMilliseconds": dice.choice([2000, 20_000])},
    }


def _classification(dice: random.Random, catalog: Catalog) -> Spec:
    base = dice.choice([model.id for model in catalog.models if model.not_sizable is None])
    return {
        "useCase": "Custom",
        "task": "Classification",
        "workload": {"requestsPerSecond": dice.choice(["1", "40"]), "promptTokens": {"mean": 420, "p95": 1500}},
        "slo": {"requestLatencyMilliseconds": 2000},
        "contextTokens": 4096,
        "model": {"custom": {"repository": "example-org/classifier", "base": base}},
    }


def _described(dice: random.Random, catalog: Catalog) -> Spec:
    spec = _custom(dice, catalog)
    heads, head_dim, layers = dice.choice([16, 32]), dice.choice([64, 80, 96, 128, 256]), dice.choice([16, 32])
    hidden, inner = heads * head_dim, dice.choice([8192, 11_008])
    kv_heads = dice.choice([2, 8, heads])
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
    architecture = {
        "name": dice.choice(["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"]),
        "parametersTotal": layers * (attention + 3 * hidden * inner) + 2 * 32_000 * hidden,
        "layers": layers,
        "hiddenSize": hidden,
        "attentionHeads": heads,
        "kvHeads": kv_heads,
        "headDim": head_dim,
        "intermediateSize": inner,
        "vocabularySize": 32_000,
        "maximumPositions": 131_072,
        "computeType": dice.choice(["bfloat16", "float16"]),
    }
    formats = [{}, {}, *({"quantization": name} for name in ("FP8", "INT8", "INT4", "NVFP4"))]
    spec["model"] = {"custom": {"repository": "my-org/my-model", "architecture": architecture, **dice.choice(formats)}}
    return spec


def _pinned(dice: random.Random, catalog: Catalog) -> Spec:
    spec = dice.choice([_chatbot, _custom])(dice, catalog)
    pin = {"gpusPerReplica": dice.choice([1, 2, 4, 8]), "maxNumSeqs": dice.choice([1, 7, 64, 256])}
    return {**spec, "select": {"pin": dict(dice.sample(list(pin.items()), dice.choice([1, 2])))}}


_WRITE = {
    "Chatbot": _chatbot,
    "Summarization": _summarization,
    "Batch": _batch,
    "Generation": _generation,
    "Custom": _custom,
    "Classification": _classification,
    "Described": _described,
    "Pinned": _pinned,
}
