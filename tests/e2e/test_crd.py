"""A real API server takes the definition of the resource, every example, and refuses what each rule is there for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.api import ApiError, Object, documents
from tests.controlplane.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = [
    (path.relative_to(ROOT / "examples").as_posix(), document)
    for path in sorted((ROOT / "examples").rglob("*.yaml"))
    for document in documents(path)
    if document["kind"] == "InferenceScenario"
]

PROMPT, ANSWER = {"mean": 500, "p95": 1500}, {"mean": 200, "p95": 500}
ARCHITECTURE = {
    "name": "Example-1B",
    "parametersTotal": 1_000_000_000,
    "layers": 16,
    "hiddenSize": 2048,
    "attentionHeads": 16,
    "kvHeads": 8,
    "headDim": 128,
    "intermediateSize": 8192,
    "vocabularySize": 128_000,
    "maximumPositions": 8192,
}
MACHINES = [{"name": "rack", "gpu": "l4", "gpusPerNode": 4, "nodes": 1, "purchaseUsdPerNode": "20000"}]
REPOSITORY = "example-org/model"


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule: a spec it refuses, one as close to it that it lets through, and what is said."""

    field: str
    message: str
    refused: dict[str, Any]
    accepted: dict[str, Any]


def custom(**fields: object) -> dict[str, Any]:
    return {"model": {"custom": {"repository": REPOSITORY, **fields}}}


def architecture(**fields: object) -> dict[str, Any]:
    return custom(architecture=ARCHITECTURE | fields)


RULES = [
    Rule(
        "spec",
        "contextTokens must hold a long prompt and its answer: promptTokens.p95 + outputTokens.p95",
        {"contextTokens": 1999, "workload": {"promptTokens": PROMPT, "outputTokens": ANSWER}},
        {"contextTokens": 2000, "workload": {"promptTokens": PROMPT, "outputTokens": ANSWER}},
    ),
    Rule(
        "spec",
        "the pinned maxModelLen must not be below contextTokens",
        {"contextTokens": 4096, "select": {"pin": {"maxModelLen": 4095}}},
        {"contextTokens": 4096, "select": {"pin": {"maxModelLen": 4096}}},
    ),
    Rule(
        "spec",
        "the pinned maxModelLen must hold a long prompt and its answer: promptTokens.p95 + outputTokens.p95",
        {"select": {"pin": {"maxModelLen": 1999}}, "workload": {"promptTokens": PROMPT, "outputTokens": ANSWER}},
        {"select": {"pin": {"maxModelLen": 2000}}, "workload": {"promptTokens": PROMPT, "outputTokens": ANSWER}},
    ),
    Rule(
        "spec",
        "a batch run has a deadline (workload.deadlineMinutes) and no latency targets per request",
        {"workload": {"items": 1000}, "slo": {"timeToFirstTokenMilliseconds": 500}},
        {"workload": {"items": 1000}, "slo": {"percentile": "P95"}},
    ),
    Rule(
        "spec",
        "task and model.custom.task contradict each other",
        {"task": "Generation", **custom(base="Qwen/Qwen3-0.6B", task="Classification")},
        {"task": "Classification", **custom(base="Qwen/Qwen3-0.6B", task="Classification")},
    ),
    Rule(
        "spec",
        "a classifier generates nothing: leave workload.outputTokens out",
        {"task": "Classification", "workload": {"outputTokens": {"mean": 1, "p95": 1}}},
        {"task": "Classification", "workload": {"outputTokens": {"mean": 0, "p95": 0}}},
    ),
    Rule(
        "spec.workload",
        "state the load once: either concurrentUsers or requestsPerSecond",
        {"workload": {"concurrentUsers": 10, "requestsPerSecond": "2"}},
        {"workload": {"concurrentUsers": 10}},
    ),
    Rule(
        "spec.workload",
        "items describe a batch run: leave concurrentUsers and requestsPerSecond out",
        {"workload": {"items": 1000, "concurrentUsers": 10}},
        {"workload": {"items": 1000}},
    ),
    Rule(
        "spec.workload",
        "requestsPerSecond must be above zero",
        {"workload": {"requestsPerSecond": "0.000"}},
        {"workload": {"requestsPerSecond": "0.001"}},
    ),
    Rule(
        "spec.workload",
        "thinkTimeSeconds belongs to concurrentUsers",
        {"workload": {"requestsPerSecond": "2", "thinkTimeSeconds": 20}},
        {"workload": {"concurrentUsers": 2, "thinkTimeSeconds": 20}},
    ),
    Rule(
        "spec.workload",
        "deadlineMinutes and schedule belong to a batch run (items)",
        {"workload": {"concurrentUsers": 10, "schedule": {"cron": "0 1 * * *"}}},
        {"workload": {"items": 1000, "deadlineMinutes": 60, "schedule": {"cron": "0 1 * * *"}}},
    ),
    Rule(
        "spec.workload.schedule",
        "cron takes minute 0-59, hour 0-23, day of month 1-31, month 1-12 or JAN-DEC,"
        " day of week 0-6 or SUN-SAT (Sunday is 0), and steps of at least 1",
        {"workload": {"items": 1000, "deadlineMinutes": 60, "schedule": {"cron": "0 24 * * *"}}},
        {"workload": {"items": 1000, "deadlineMinutes": 60, "schedule": {"cron": "0 23 * JAN-MAR MON,*/2"}}},
    ),
    Rule(
        "spec.workload",
        "sharedPrefixTokens must not exceed promptTokens.mean: the prefix is part of the prompt",
        {"workload": {"promptTokens": PROMPT, "sharedPrefixTokens": 501}},
        {"workload": {"promptTokens": PROMPT, "sharedPrefixTokens": 500}},
    ),
    Rule(
        "spec.workload.promptTokens",
        "p95 must not be below mean: most requests are no longer than p95",
        {"workload": {"promptTokens": {"mean": 500, "p95": 499}}},
        {"workload": {"promptTokens": {"mean": 500, "p95": 500}}},
    ),
    Rule(
        "spec.workload.outputTokens",
        "p95 must not be below mean: most answers are no longer than p95",
        {"workload": {"outputTokens": {"mean": 200, "p95": 199}}},
        {"workload": {"outputTokens": {"mean": 200, "p95": 200}}},
    ),
    Rule(
        "spec.model",
        "custom already names the one model to run: leave allow and deny out",
        {"model": {"allow": ["llama"], "custom": {"repository": REPOSITORY, "base": "llama"}}},
        custom(base="llama"),
    ),
    Rule(
        "spec.model",
        "a name stands in both allow and deny",
        {"model": {"allow": ["llama", "qwen"], "deny": ["qwen"]}},
        {"model": {"allow": ["llama", "qwen"], "deny": ["phi"]}},
    ),
    Rule(
        "spec.model.custom",
        "name either base (a catalog model yours was fine-tuned from) or architecture, not both",
        custom(base="llama", architecture=ARCHITECTURE),
        custom(architecture=ARCHITECTURE),
    ),
    Rule(
        "spec.model.custom.architecture",
        "kvHeads must not exceed attentionHeads",
        architecture(kvHeads=17),
        architecture(kvHeads=16),
    ),
    Rule(
        "spec.model.custom.architecture",
        "parametersActive must not exceed parametersTotal",
        architecture(parametersActive=1_000_000_001),
        architecture(parametersActive=1_000_000_000),
    ),
    Rule(
        "spec.hardware",
        "source Owned needs at least one pool under owned",
        {"hardware": {"source": "Owned"}},
        {"hardware": {"source": "Owned", "owned": MACHINES}},
    ),
    Rule(
        "spec.hardware",
        "a name stands in both allow and deny",
        {"hardware": {"allow": ["l4", "t4"], "deny": ["t4"]}},
        {"hardware": {"allow": ["l4", "t4"], "deny": ["v100-16gb"]}},
    ),
    Rule(
        "spec.select",
        "choose either a tier or a pin: a pinned configuration has no tier",
        {"select": {"tier": "Budget", "pin": {"gpu": "l4"}}},
        {"select": {"pin": {"gpu": "l4"}}},
    ),
    Rule(
        "spec.select.pin",
        "maxNumSeqs must not exceed maxNumBatchedTokens: every running sequence takes a token of a step",
        {"select": {"pin": {"maxNumSeqs": 512, "maxNumBatchedTokens": 256}}},
        {"select": {"pin": {"maxNumSeqs": 256, "maxNumBatchedTokens": 256}}},
    ),
    Rule(
        "spec.select.pin",
        "TGI takes at most 0.9 of each GPU's memory",
        {"select": {"pin": {"engine": "TGI", "gpuMemoryUtilization": "0.95"}}},
        {"select": {"pin": {"engine": "TGI", "gpuMemoryUtilization": "0.90"}}},
    ),
    Rule(
        "spec.select.pin",
        "maxNumBatchedTokens must exceed the drafted tokens: a step checks them all and one more",
        {"select": {"pin": {"maxNumBatchedTokens": 4, "speculativeDecoding": {"method": "Mtp", "tokens": 4}}}},
        {"select": {"pin": {"maxNumBatchedTokens": 5, "speculativeDecoding": {"method": "Mtp", "tokens": 4}}}},
    ),
    Rule(
        "spec.select.pin",
        "TGI keeps neither weights nor KV cache in the machine's memory: leave cpuOffloadGib and kvOffloadGib out",
        {"select": {"pin": {"engine": "TGI", "cpuOffloadGib": 8}}},
        {"select": {"pin": {"engine": "vLLM", "cpuOffloadGib": 8, "kvOffloadGib": 8}}},
    ),
    Rule(
        "spec.select.pin",
        "TGI drafts with method Ngram only",
        {"select": {"pin": {"engine": "TGI", "speculativeDecoding": {"method": "Mtp", "tokens": 1}}}},
        {"select": {"pin": {"engine": "TGI", "speculativeDecoding": {"method": "Ngram", "tokens": 3}}}},
    ),
    Rule(
        "spec.select.pin.speculativeDecoding",
        "method DraftModel names the draft in model, and no other method has one",
        {"select": {"pin": {"speculativeDecoding": {"method": "Ngram", "tokens": 3, "model": "Qwen/Qwen3-0.6B"}}}},
        {"select": {"pin": {"speculativeDecoding": {"method": "DraftModel", "tokens": 3, "model": "Qwen/Qwen3-0.6B"}}}},
    ),
    Rule(
        "spec.autoscaling",
        "minReplicas must not exceed maxReplicas",
        {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
        {"autoscaling": {"minReplicas": 2, "maxReplicas": 2}},
    ),
    Rule(
        "spec.autoscaling",
        "autoscaling.type: HPA and KEDA are not written yet; leave it out, and set select.pin.replicas",
        {"autoscaling": {"type": "HPA"}},
        {"autoscaling": {"type": "None"}},
    ),
    Rule(
        "spec.engine",
        "version, image and extraArgs are those of one engine: allow only that one",
        {"engine": {"allow": ["vLLM", "TGI"], "version": "3.3.7"}},
        {"engine": {"allow": ["TGI"], "version": "3.3.7"}},
    ),
    Rule(
        "spec.engine",
        "image must name a tag other than latest, or a digest",
        {"engine": {"image": "registry.example.com:5000/vllm"}},
        {"engine": {"image": f"registry.example.com:5000/vllm@sha256:{'0' * 64}"}},
    ),
    Rule(
        "spec.deploy",
        "modelAccess: Cache needs modelCacheRef, the volume that holds the weights",
        {"deploy": {"modelAccess": "Cache"}},
        {"deploy": {"modelAccess": "Cache", "modelCacheRef": {"name": "weights"}}},
    ),
    Rule(
        "spec.deploy",
        "batch.input and batch.output must be different files",
        {"deploy": {"batch": {"volumeRef": {"name": "items"}, "output": "items.jsonl"}}},
        {"deploy": {"batch": {"volumeRef": {"name": "items"}, "input": "a.jsonl", "output": "b.jsonl"}}},
    ),
]
NAME_RULE = "the name must be at most 52 lower-case letters, digits and dashes, a letter first"


def scenario(api_version: str, spec: dict[str, Any], *, name: str = "") -> Object:
    return {
        "apiVersion": api_version,
        "kind": "InferenceScenario",
        "metadata": {"name": name or f"rule-{secrets.token_hex(3)}", "namespace": "default"},
        "spec": {"useCase": "Custom", **spec},
    }


def rules_of(schema: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    """List field and message of every CEL rule in a schema."""
    found = [(path.lstrip("."), rule["message"]) for rule in schema.get("x-kubernetes-validations", ())]
    for name, inner in schema.get("properties", {}).items():
        found += rules_of(inner, f"{path}.{name}")
    return found + (rules_of(schema["items"], f"{path}[]") if "items" in schema else [])


def test_every_rule_of_the_definition_is_tried_here() -> None:
    (definition,) = documents(ROOT / "crds" / "inferencescenarios.inferplan.dev.yaml")
    (version,) = definition["spec"]["versions"]
    written = rules_of(version["schema"]["openAPIV3Schema"])
    tried = [(rule.field, rule.message) for rule in RULES]
    assert sorted(written) == sorted([*tried, ("", NAME_RULE)])


def test_the_definition_is_established_without_a_complaint(control_plane: Cluster, crd: str) -> None:
    name = f"inferencescenarios.{crd.partition('/')[0]}"
    definition = control_plane.api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
    conditions = {one["type"]: one["status"] for one in definition["status"]["conditions"]}
    # NonStructuralSchema, KubernetesAPIApprovalPolicyConformant and Terminating would be bad news
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("document", [pytest.param(document, id=name) for name, document in SCENARIOS])
def test_every_example_is_accepted(control_plane: Cluster, crd: str, document: Object) -> None:
    assert document["apiVersion"] == crd
    answer = control_plane.api.apply(document, dry_run=True)
    assert answer["status"]["observedGeneration"] == -1


@pytest.mark.parametrize("rule", [pytest.param(rule, id=f"{rule.field}: {rule.message}") for rule in RULES])
def test_a_rule_refuses_what_it_is_there_for_and_nothing_beside_it(
    control_plane: Cluster, crd: str, rule: Rule
) -> None:
    with pytest.raises(ApiError) as refusal:
        control_plane.api.apply(scenario(crd, rule.refused), dry_run=True)
    said = [(field, message.partition(": ")[2]) for field, message in refusal.value.causes]
    assert said == [(rule.field, rule.message)]
    control_plane.api.apply(scenario(crd, rule.accepted), dry_run=True)


def test_a_name_that_its_children_could_not_carry_is_refused(control_plane: Cluster, crd: str) -> None:
    control_plane.api.apply(scenario(crd, {}, name="n" * 52), dry_run=True)
    for name in ("n" * 53, "1-chatbot", "chat.bot"):
        with pytest.raises(ApiError, match=NAME_RULE):
            control_plane.api.apply(scenario(crd, {}, name=name), dry_run=True)


def test_an_unknown_field_is_refused_by_name(control_plane: Cluster, crd: str) -> None:
    with pytest.raises(ApiError, match=r"spec\.modle: field not declared in schema"):
        control_plane.api.apply(scenario(crd, {"modle": {}}), dry_run=True)


def test_scenarios_can_be_selected_by_their_fields(control_plane: Cluster, crd: str, namespace: str) -> None:
    api = control_plane.api
    for name, use_case in (("one", "Chatbot"), ("two", "Summarization")):
        document = scenario(crd, {"useCase": use_case}, name=name)
        document["metadata"]["namespace"] = namespace
        api.apply(document)
    path = api.path(crd, "InferenceScenario", namespace=namespace)
    found = api.request("GET", path, query={"fieldSelector": "spec.useCase=Chatbot"})["items"]
    assert [item["metadata"]["name"] for item in found] == ["one"]


def test_the_columns_people_see_are_printed(control_plane: Cluster, crd: str, namespace: str) -> None:
    document = scenario(crd, {"useCase": "Chatbot"}, name="seen")
    document["metadata"]["namespace"] = namespace
    control_plane.api.apply(document)
    header, row = control_plane.kubectl("get", "isc", "--namespace", namespace).splitlines()
    assert header.split() == ["NAME", "MODEL", "GPU", "REPLICAS", "$/H", "$/REQUEST", "READY", "AGE"]
    assert row.split()[0] == "seen"
