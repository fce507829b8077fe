"""Every way out that is offered works when a person writes it into the file."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenarios
from inferplan.catalog import load_catalog
from inferplan.domain.plan import Change, Outcome
from inferplan.planner import Planner

CATALOG = load_catalog()
PLANNER = Planner(CATALOG)
TEXT = {"maximumUsdPerHour", "maximumUsdPerMonth", "maximumUsdPerRequest", "requestsPerSecond", "minimum"}
"""Fields that hold text, where YAML would read a number."""

LLAMA = "meta-llama/Llama-3.3-70B-Instruct"
FULL = {"model": "Qwen/Qwen3-8B", "quantization": "FP8", "gpu": "l4", "gpusPerReplica": 1, "replicas": 8}
NIGHTLY = {"cron": "0 2 * * *", "windowMinutes": 10}
WISHES: dict[str, dict[str, Any]] = {
    "a first token within 20 ms": {"useCase": "Chatbot", "slo": {"timeToFirstTokenMilliseconds": 20}},
    "2 ms per token": {"useCase": "Chatbot", "slo": {"timePerOutputTokenMilliseconds": 2}},
    "a summary in 300 ms": {"useCase": "Summarization", "slo": {"requestLatencyMilliseconds": 300}},
    "ten cents an hour": {"useCase": "Chatbot", "budget": {"maximumUsdPerHour": "0.10"}},
    "nothing at all": {"useCase": "Chatbot", "budget": {"maximumUsdPerHour": "0"}},
    "next to nothing per request": {"useCase": "Chatbot", "budget": {"maximumUsdPerRequest": "0.0000001"}},
    "a cheap batch": {"useCase": "BatchClassification", "budget": {"maximumUsdPerHour": "0.05"}},
    "a fast batch": {"useCase": "BatchClassification", "workload": {"items": 10**8, "deadlineMinutes": 1}},
    "a perfect model": {"useCase": "Chatbot", "quality": {"minimum": "lmarena_text_elo_style_control: 1600"}},
    "two million tokens": {"useCase": "Summarization", "contextTokens": 2_000_000},
    "seventy billion on two T4": {
        "useCase": "Chatbot",
        "model": {"allow": [LLAMA]},
        "hardware": {"allow": ["t4"], "maximumGpus": 2},
    },
    "a licence that nobody has": {"useCase": "Chatbot", "model": {"licenses": ["CC0"]}},
    "INT8 and the best": {
        "useCase": "Chatbot",
        "quality": {"minimum": "Top", "quantization": {"allow": ["INT8"]}},
    },
    "a GPU where it is not": {
        "useCase": "Chatbot",
        "hardware": {"providers": ["aws"], "regions": ["sa-east-1"], "allow": ["h200-141gb-sxm"]},
    },
    "a cluster without GPUs": {"useCase": "Chatbot", "hardware": {"source": "Cluster"}},
    "too many documents": {"useCase": "Summarization", "workload": {"requestsPerSecond": "5000"}},
    "a pin that does not fit": {
        "useCase": "Chatbot",
        "select": {
            "pin": {
                "model": LLAMA,
                "quantization": "BF16",
                "gpu": "h100-80gb-sxm",
                "gpusPerReplica": 1,
                "replicas": 1,
                "maxNumSeqs": 8,
            }
        },
    },
    "a pin with too large a batch": {"useCase": "Chatbot", "select": {"pin": {**FULL, "maxNumSeqs": 65_536}}},
    "a pin over the budget": {
        "useCase": "Chatbot",
        "select": {"pin": {**FULL, "maxNumSeqs": 8}},
        "budget": {"maximumUsdPerHour": "1"},
    },
    "a pin with too many GPUs": {
        "useCase": "Chatbot",
        "select": {"pin": {**FULL, "maxNumSeqs": 8}},
        "hardware": {"maximumGpus": 4},
    },
    "a pin where its GPU is not": {
        "useCase": "Chatbot",
        "select": {"pin": {**FULL, "maxNumSeqs": 8}},
        "hardware": {"providers": ["aws"], "regions": ["af-south-1"]},
    },
    "a pin in a format that nobody publishes": {
        "useCase": "Chatbot",
        "select": {"pin": {**FULL, "quantization": "NVFP4", "maxNumSeqs": 8}},
    },
    "a pinned context beyond the model": {
        "useCase": "Chatbot",
        "contextTokens": 8192,
        "select": {"pin": {"model": "meta-llama/Llama-2-7b-chat-hf", "maxModelLen": 8192}},
    },
    "every model denied": {"useCase": "Chatbot", "model": {"deny": ["*"]}},
    "an engine that runs no classifier": {"useCase": "BatchClassification", "engine": {"allow": ["TGI"]}},
    "a month of runs for nothing": {
        "useCase": "BatchClassification",
        "workload": {"items": 1_000_000, "schedule": {"cron": "0 * * * *"}},
        "budget": {"maximumUsdPerMonth": "5"},
    },
    "a window that is too short": {
        "useCase": "BatchClassification",
        "workload": {"items": 5 * 10**8, "deadlineMinutes": 15, "schedule": NIGHTLY},
    },
    "a run that must end before the next one starts": {
        "useCase": "BatchClassification",
        "workload": {"items": 10**9, "deadlineMinutes": 15, "schedule": {"cron": "*/20 * * * *"}},
        "hardware": {"maximumGpus": 4},
    },
    "a daily run with too little time": {
        "useCase": "BatchClassification",
        "workload": {"items": 10**8, "deadlineMinutes": 5, "schedule": {"cron": "@daily"}},
        "hardware": {"maximumGpus": 4},
    },
    "few users, a large model and small GPUs": {
        "useCase": "Chatbot",
        "workload": {"concurrentUsers": 5, "thinkTimeSeconds": 0},
        "model": {"allow": [LLAMA]},
        "hardware": {"allow": ["l40s"], "maximumGpus": 2},
    },
    "two things at once": {
        "useCase": "Chatbot",
        "slo": {"timeToFirstTokenMilliseconds": 30},
        "budget": {"maximumUsdPerHour": "0.2"},
    },
}


def plan(spec: dict[str, Any]) -> Outcome:
    document = {
        "apiVersion": "inferplan.dev/v1alpha1",
        "kind": "InferenceScenario",
        "metadata": {"name": "wish"},
        "spec": spec,
    }
    (found,) = read_scenarios(yaml.safe_dump(document), "wish.yaml").scenarios
    return PLANNER.plan(to_scenario(found.resource, CATALOG, found.locate).scenario)


def written(spec: dict[str, Any], changes: tuple[Change, ...]) -> dict[str, Any]:
    """Write changes into a spec as a person would."""
    changed = copy.deepcopy(spec)
    for change in changes:
        *path, last = change.field.split(".")
        place = changed
        for name in path:
            place = place.setdefault(name, {})
        if change.to == "(unset)":
            del place[last]
        else:
            place[last] = change.to if last in TEXT else yaml.safe_load(change.to)
    if changed.get("select") == {}:
        del changed["select"]
    return changed


@pytest.mark.parametrize("name", WISHES)
def test_what_is_offered_works_when_written_into_the_file(name: str) -> None:
    spec = WISHES[name]
    found = plan(spec).infeasibility
    assert found is not None
    assert found.binding
    assert found.nearest
    for offer in found.nearest:
        outcome = plan(written(spec, offer.changes))
        assert outcome.chosen is not None, offer.changes
