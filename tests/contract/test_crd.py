"""The CRD is what the models say, is structural, and refuses what conversion refuses."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferplan.api.convert import to_scenario
from inferplan.api.crd import crd_document, crd_yaml
from inferplan.api.documents import read_scenario_file, read_scenarios
from inferplan.api.nodes import read_inventory_file
from inferplan.api.price_book import read_price_book_file
from inferplan.api.status import outcome_to_status, status_document
from inferplan.catalog import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import InputError
from tests.unit.api.catalogs import HEAD, make_api_catalog
from tests.unit.api.outcomes import make_infeasible_outcome, make_outcome

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*-scenario.yaml")) + sorted((ROOT / "examples" / "seed").glob("*.yaml"))
STRUCTURAL = {
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
}


def version() -> dict[str, Any]:
    found: dict[str, Any] = crd_document()["spec"]["versions"][0]
    return found


def resource_schema() -> dict[str, Any]:
    found: dict[str, Any] = version()["schema"]["openAPIV3Schema"]
    return found


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from schemas(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from schemas(schema[key], f"{path}[]")


TYPES: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}


def violations(schema: dict[str, Any], value: object, path: str = "") -> Iterator[str]:
    """Check a value as the API server does, as far as types, bounds and unknown fields go."""
    if type(value) is not TYPES[schema["type"]]:
        yield f"{path}: {value!r} is no {schema['type']}"
    elif value not in schema.get("enum", [value]):
        yield f"{path}: {value!r} is not in the enum"
    elif isinstance(value, int):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{path}: {value} is out of bounds"
    elif isinstance(value, (str, list)):
        low, high = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
        if not schema.get(low, 0) <= len(value) <= schema.get(high, len(value)):
            yield f"{path}: {len(value)} is out of bounds"
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from violations(schema["items"], item, f"{path}[{index}]")
    elif isinstance(value, dict) and "properties" in schema:
        yield from field_violations(schema, value, path)


def field_violations(schema: dict[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}: {name} is missing"
    for name, item in value.items():
        if name in schema["properties"]:
            yield from violations(schema["properties"][name], item, f"{path}.{name}")
        else:
            yield f"{path}.{name} is unknown"


def test_the_committed_crd_is_what_the_models_say() -> None:
    committed = ROOT / "crds" / "inferencescenarios.inferplan.dev.yaml"
    assert committed.read_text(encoding="utf-8") == crd_yaml(), "run `make generate`"


def test_the_yaml_is_the_document() -> None:
    assert yaml.safe_load(crd_yaml()) == crd_document()


def test_the_schema_is_structural() -> None:
    for path, schema in schemas(resource_schema()):
        assert set(schema) <= STRUCTURAL, path
        assert isinstance(schema["type"], str), path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert set(schema.get("required", ())) <= set(schema.get("properties", {})), path


def test_everything_in_the_spec_is_described_and_bounded() -> None:
    """An unbounded string or list would cost a CEL rule its budget."""
    spec = resource_schema()["properties"]["spec"]
    for path, schema in schemas(spec, "spec"):
        if not path.endswith("[]"):
            assert schema.get("description"), path
        if schema["type"] == "string" and "enum" not in schema:
            assert "maxLength" in schema, path
        if schema["type"] == "array":
            assert "maxItems" in schema, path
        if schema["type"] == "integer":
            assert {"minimum", "maximum"} <= set(schema), path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path
        assert schema["type"] != "number", path


def test_rules_are_sentences_without_full_stop() -> None:
    for path, schema in schemas(resource_schema()):
        for rule in schema.get("x-kubernetes-validations", ()):
            assert set(rule) == {"rule", "message"}, path
            assert len(rule["message"]) > len("short"), path
            assert not rule["message"].endswith("."), path


def test_a_fresh_object_never_looks_done() -> None:
    status = resource_schema()["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert "default" not in {key for path, schema in schemas(status) if path for key in schema}


def test_columns_and_selectable_fields_point_into_the_schema() -> None:
    known = {path for path, _ in schemas(resource_schema())}
    for column in version()["additionalPrinterColumns"]:
        path = column["jsonPath"].split("[?")[0]
        assert path in known or path.startswith(".metadata."), path
    for field in version()["selectableFields"]:
        assert field["jsonPath"] in known
    names = [column["name"].upper() for column in version()["additionalPrinterColumns"] if "priority" not in column]
    assert names == ["MODEL", "GPU", "REPLICAS", "$/H", "$/REQUEST", "READY", "AGE"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_passes_the_crd(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        assert list(violations(resource_schema(), document)) == []


def test_there_are_examples_of_everything_and_nine_of_the_seed() -> None:
    names = [path.name.split("-scenario")[0] for path in EXAMPLES if path.parent.name == "examples"]
    assert names == [
        "batch-classification",
        "chatbot",
        "custom-classifier",
        "infeasible",
        "owned-cluster",
        "pinned",
        "summarization",
    ]
    assert [path.name[0] for path in EXAMPLES if path.parent.name == "seed"] == list("123456789")


def test_statuses_pass_the_crd() -> None:
    schema = resource_schema()["properties"]["status"]
    for outcome in (make_outcome(), make_infeasible_outcome()):
        assert list(violations(schema, status_document(outcome_to_status(outcome)))) == []


CRON_RULE = (
    "cron takes minute 0-59, hour 0-23, day of month 1-31, month 1-12 or JAN-DEC,"
    " day of week 0-6 or SUN-SAT (Sunday is 0), and steps of at least 1"
)
REFUSED = {
    "state the load once: either concurrentUsers or requestsPerSecond": (
        'workload: {concurrentUsers: 1, requestsPerSecond: "1"}'
    ),
    "items describe a batch run: leave concurrentUsers and requestsPerSecond out": (
        "workload: {items: 1, deadlineMinutes: 1, concurrentUsers: 1}"
    ),
    "requestsPerSecond must be above zero": 'workload: {requestsPerSecond: "0.0"}',
    "thinkTimeSeconds belongs to concurrentUsers": 'workload: {requestsPerSecond: "1", thinkTimeSeconds: 1}',
    "deadlineMinutes and schedule belong to a batch run (items)": (
        'workload: {requestsPerSecond: "1", deadlineMinutes: 1}'
    ),
    CRON_RULE: 'workload: {items: 5, deadlineMinutes: 1, schedule: {cron: "0 24 * * *"}}',
    "sharedPrefixTokens must not exceed promptTokens.mean: the prefix is part of the prompt": (
        "workload: {sharedPrefixTokens: 10, promptTokens: {mean: 5, p95: 6}}"
    ),
    "p95 must not be below mean: most requests are no longer than p95": "workload: {promptTokens: {mean: 5, p95: 4}}",
    "p95 must not be below mean: most answers are no longer than p95": "workload: {outputTokens: {mean: 5, p95: 4}}",
    "contextTokens must hold a long prompt and its answer: promptTokens.p95 + outputTokens.p95": (
        "contextTokens: 5\n  workload: {promptTokens: {mean: 5, p95: 5}, outputTokens: {mean: 1, p95: 1}}"
    ),
    "the pinned maxModelLen must not be below contextTokens": "contextTokens: 10\n  select: {pin: {maxModelLen: 5}}",
    "the pinned maxModelLen must hold a long prompt and its answer: promptTokens.p95 + outputTokens.p95": (
        "select: {pin: {maxModelLen: 5}}\n"
        "  workload: {promptTokens: {mean: 5, p95: 5}, outputTokens: {mean: 1, p95: 1}}"
    ),
    "a batch run has a deadline (workload.deadlineMinutes) and no latency targets per request": (
        "workload: {items: 5, deadlineMinutes: 1}\n  slo: {requestLatencyMilliseconds: 5}"
    ),
    "task and model.custom.task contradict each other": (
        "task: Classification\n  model: {custom: {base: mistralai/Mixtral-8x7B-Instruct-v0.1, repository: a/b,"
        " task: Generation}}"
    ),
    "a classifier generates nothing: leave workload.outputTokens out": (
        "task: Classification\n  workload: {outputTokens: {mean: 1, p95: 1}}"
    ),
    "choose either a tier or a pin: a pinned configuration has no tier": "select: {tier: Budget, pin: {replicas: 1}}",
    "method DraftModel names the draft in model, and no other method has one": (
        "select: {pin: {speculativeDecoding: {method: DraftModel, tokens: 3}}}"
    ),
    "maxNumSeqs must not exceed maxNumBatchedTokens: every running sequence takes a token of a step": (
        "select: {pin: {maxNumSeqs: 512, maxNumBatchedTokens: 256}}"
    ),
    "TGI keeps neither weights nor KV cache in the machine's memory: leave cpuOffloadGib and kvOffloadGib out": (
        "select: {pin: {engine: TGI, kvOffloadGib: 8}}"
    ),
    "TGI drafts with method Ngram only": (
        "select: {pin: {engine: TGI, speculativeDecoding: {method: Mtp, tokens: 1}}}"
    ),
    "TGI takes at most 0.9 of each GPU's memory": 'select: {pin: {engine: TGI, gpuMemoryUtilization: "0.95"}}',
    "maxNumBatchedTokens must exceed the drafted tokens: a step checks them all and one more": (
        "select: {pin: {maxNumBatchedTokens: 32, speculativeDecoding: {method: Mtp, tokens: 32}}}"
    ),
    "name either base (a catalog model yours was fine-tuned from) or architecture, not both": (
        "model: {custom: {repository: a/b}}"
    ),
    "custom already names the one model to run: leave allow and deny out": (
        "model: {allow: [mistralai/*], custom: {repository: a/b, base: mistralai/Mixtral-8x7B-Instruct-v0.1}}"
    ),
    "a name stands in both allow and deny": "hardware: {allow: [t4], deny: [t4]}",
    "source Owned needs at least one pool under owned": "hardware: {source: Owned}",
    "kvHeads must not exceed attentionHeads": (
        "model: {custom: {repository: a/b, architecture: {name: X, parametersTotal: 1, layers: 1, hiddenSize: 1,"
        " attentionHeads: 1, kvHeads: 2, headDim: 1, intermediateSize: 1, vocabularySize: 1, maximumPositions: 9}}}"
    ),
    "parametersActive must not exceed parametersTotal": (
        "model: {custom: {repository: a/b, architecture: {name: X, parametersTotal: 1, parametersActive: 2, layers: 1,"
        " hiddenSize: 1, attentionHeads: 1, kvHeads: 1, headDim: 1, intermediateSize: 1, vocabularySize: 1,"
        " maximumPositions: 9}}}"
    ),
    "minReplicas must not exceed maxReplicas": "autoscaling: {minReplicas: 2, maxReplicas: 1}",
    "autoscaling.type: HPA and KEDA are not written yet; leave it out, and set select.pin.replicas": (
        "autoscaling: {type: HPA}"
    ),
    "version, image and extraArgs are those of one engine: allow only that one": (
        "engine: {allow: [vLLM, TGI], version: 3.3.7}"
    ),
    "image must name a tag other than latest, or a digest": "engine: {image: registry.example.com:5000/vllm}",
    "modelAccess: Cache needs modelCacheRef, the volume that holds the weights": "deploy: {modelAccess: Cache}",
    "batch.input and batch.output must be different files": (
        "deploy: {batch: {volumeRef: {name: items}, input: a.jsonl, output: a.jsonl}}"
    ),
}
"""For every rule of the CRD a spec that it refuses; conversion must refuse the same."""


def test_every_rule_has_an_example() -> None:
    spec = resource_schema()["properties"]["spec"]
    messages = {rule["message"] for _, schema in schemas(spec) for rule in schema.get("x-kubernetes-validations", ())}
    assert messages == set(REFUSED)


@pytest.mark.parametrize("spec", REFUSED.values(), ids=list(REFUSED))
def test_what_a_rule_refuses_conversion_refuses_too(spec: str) -> None:
    document = read_scenarios(f"{HEAD}spec:\n  useCase: Chatbot\n  {spec}\n", "chat.yaml").scenarios[0]
    with pytest.raises(InputError):
        to_scenario(document.resource, make_api_catalog(), document.locate)


SCHEDULES = {
    "0 2 * * *": True,
    "*/15 8-17 1,15 JAN-mar MON-FRI": True,
    "? ? ? ? ?": True,
    " 05  02 31 12 6 ": True,
    "5/10 0 * * 1/2": True,
    "@daily": True,
    "@every 1h30m": True,
    "@every .5h": True,
    "60 * * * *": False,
    "0 24 * * *": False,
    "0 0 0 * *": False,
    "0 0 32 * *": False,
    "0 0 * 13 *": False,
    "0 0 * * 7": False,
    "*/0 * * * *": False,
    "*/00 * * * *": False,
    "1,,2 * * * *": False,
    "0-60 * * * *": False,
    "*-5 * * * *": False,
    "0 0 L * *": False,
    "0 0 * *": False,
    "0 0 * * * *": False,
    "": False,
    "@reboot": False,
    "@every -1h": False,
    "@every 1d": False,
    "TZ=UTC 0 0 * * *": False,
}
"""Schedules, and whether the CRD takes them."""


@pytest.mark.parametrize(("cron", "taken"), SCHEDULES.items())
def test_the_crd_takes_the_schedules_that_conversion_takes(cron: str, taken: bool) -> None:  # noqa: FBT001
    schedule = dict(schemas(resource_schema()))[".spec.workload.schedule"]
    (rule,) = schedule["x-kubernetes-validations"]
    numbers = rule["rule"].split("matches('")[1].removesuffix("')")
    fits = re.search(schedule["properties"]["cron"]["pattern"], cron) is not None
    assert (fits and (cron.startswith("@") or re.search(numbers, cron) is not None)) is taken
    workload = {"items": 5, "deadlineMinutes": 1, "schedule": {"cron": cron}}
    text = f"{HEAD}spec:\n  useCase: Chatbot\n  workload: {json.dumps(workload)}\n"
    with contextlib.nullcontext() if taken else pytest.raises(InputError, match=r"schedule\.cron"):
        document = read_scenarios(text, "chat.yaml").scenarios[0]
        to_scenario(document.resource, make_api_catalog(), document.locate)


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    """The catalog that comes with the package."""
    return load_catalog()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_converts_with_the_shipped_catalog(path: Path, shipped: Catalog) -> None:
    for document in read_scenario_file(path).scenarios:
        assert to_scenario(document.resource, shipped, document.locate).scenario.name == document.resource.metadata.name


def test_the_examples_of_nodes_and_prices_are_read_with_the_shipped_catalog(shipped: Catalog) -> None:
    nodes = read_inventory_file(ROOT / "examples" / "nodes.yaml", shipped).nodes
    assert [(node.gpu, node.gpus_free, node.usable) for node in nodes] == [
        ("a100-40gb-sxm", 8, True),
        ("h100-80gb-sxm", 8, True),
        ("l4", 4, True),
        ("t4", 1, True),
        ("t4", 1, True),
    ]
    assert all(node.price_usd_per_hour for node in nodes)
    assert len(read_price_book_file(ROOT / "examples" / "price-book.yaml", shipped)) == 3
