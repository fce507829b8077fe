"""Argo CD reads a scenario's health as the page on operations says, in the Lua and the layout that Argo CD has."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenario_file
from inferplan.api.v1alpha1.status import InferenceScenarioStatus
from inferplan.catalog import load_catalog
from inferplan.domain.catalog import Catalog
from tests.gitops import HEALTH, argocd_health

CASES: list[dict[str, Any]] = yaml.safe_load((HEALTH / "health_test.yaml").read_text(encoding="utf-8"))["tests"]
TRUTHS = ["True", "False", "Unknown"]


def load(path: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((HEALTH / path).read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load_catalog()


@pytest.mark.parametrize("case", CASES, ids=lambda case: Path(case["inputPath"]).stem)
def test_a_scenario_has_the_health_that_its_example_says(case: dict[str, Any]) -> None:
    assert argocd_health(load(case["inputPath"])) == case["healthStatus"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: Path(case["inputPath"]).stem)
def test_the_examples_are_scenarios_and_statuses(case: dict[str, Any], shipped: Catalog) -> None:
    (document,) = read_scenario_file(HEALTH / case["inputPath"]).scenarios
    assert to_scenario(document.resource, shipped, document.locate).scenario.name == "chatbot"
    status = load(case["inputPath"])["status"]
    assert (
        InferenceScenarioStatus.model_validate_json(json.dumps(status)).observed_generation
        == status["observedGeneration"]
    )


def test_every_example_is_tried_and_every_health_has_one() -> None:
    assert sorted(case["inputPath"] for case in CASES) == sorted(
        f"testdata/{path.name}" for path in (HEALTH / "testdata").iterdir()
    )
    assert {case["healthStatus"]["status"] for case in CASES} == {"Healthy", "Suspended", "Progressing", "Degraded"}


def resource(generation: int, observed: int | None, **conditions: str) -> dict[str, Any]:
    written = [{"type": kind, "status": status, "reason": "Because"} for kind, status in conditions.items()]
    status: dict[str, Any] = {"conditions": written}
    if observed is not None:
        status["observedGeneration"] = observed
    return {"metadata": {"name": "chatbot", "generation": generation}, "spec": {}, "status": status}


@pytest.mark.parametrize(("ready", "reconciling", "stalled"), list(product(TRUTHS, repeat=3)))
def test_no_status_of_another_generation_counts(ready: str, reconciling: str, stalled: str) -> None:
    conditions = {"Ready": ready, "Reconciling": reconciling, "Stalled": stalled}
    for observed in (-1, 1, None):
        assert argocd_health(resource(2, observed, **conditions))["status"] == "Progressing"


@pytest.mark.parametrize(("ready", "reconciling", "stalled"), list(product(TRUTHS, repeat=3)))
def test_trouble_comes_before_work_and_work_before_rest(ready: str, reconciling: str, stalled: str) -> None:
    if stalled == "True":
        expected = "Degraded"
    elif reconciling == "True" or ready != "True":
        expected = "Progressing"
    else:
        expected = "Healthy"
    assert argocd_health(resource(2, 2, Ready=ready, Reconciling=reconciling, Stalled=stalled))["status"] == expected


def test_an_object_without_any_status_is_on_its_way() -> None:
    assert argocd_health({"metadata": {"name": "chatbot", "generation": 1}, "spec": {}})["status"] == "Progressing"
