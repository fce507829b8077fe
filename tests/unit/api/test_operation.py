"""How a plan is put to work: read in full, and nothing in it gives pods powers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenarios
from inferplan.api.operation import to_deploy
from inferplan.domain.errors import InputError
from inferplan.domain.operation import (
    Autoscaler,
    Autoscaling,
    BatchFiles,
    Deploy,
    DeployPolicy,
    Identity,
    ModelCache,
    PodAdditions,
    SecretKey,
    Toleration,
    TolerationOperator,
)
from tests.unit.api.catalogs import make_api_catalog

CATALOG = make_api_catalog()


def deploy(spec: dict[str, Any], **metadata: str) -> Deploy:
    resource = {
        "apiVersion": "inferplan.dev/v1alpha1",
        "kind": "InferenceScenario",
        "metadata": {"name": "chat", **metadata},
        "spec": {"useCase": "Chatbot", **spec},
    }
    (document,) = read_scenarios(yaml.safe_dump(resource), "chat.yaml").scenarios
    to_scenario(document.resource, CATALOG, document.locate)
    return to_deploy(document.resource)


def test_what_is_left_out_has_its_default() -> None:
    assert deploy({}) == Deploy(Identity("chat"))


def test_everything_that_can_be_said_is_read() -> None:
    spec = {
        "deploy": {
            "policy": "Manual",
            "podTemplate": {
                "labels": {"team": "a", "example.com/cost": "b"},
                "annotations": {"note": "any text: at all"},
                "tolerations": [
                    {"key": "dedicated", "operator": "Equal", "value": "us", "effect": "NoSchedule"},
                    {"key": "spot"},
                ],
                "priorityClassName": "high",
            },
            "modelCacheRef": {"name": "weights"},
            "modelAccess": "Cache",
            "tokenSecretRef": {"name": "hub"},
            "batch": {"volumeRef": {"name": "items"}, "input": "open/a.jsonl"},
        },
        "autoscaling": {"minReplicas": 0, "maxReplicas": 4},
    }
    assert deploy(spec, namespace="team", uid="1-2-3") == Deploy(
        identity=Identity("chat", "team", "1-2-3"),
        policy=DeployPolicy.MANUAL,
        pods=PodAdditions(
            labels=(("example.com/cost", "b"), ("team", "a")),
            annotations=(("note", "any text: at all"),),
            tolerations=(
                Toleration("dedicated", TolerationOperator.EQUAL, "us", "NoSchedule"),
                Toleration("spot"),
            ),
            priority_class="high",
        ),
        token=SecretKey("hub", "token"),
        model_cache=ModelCache("weights", offline=True),
        batch=BatchFiles("items", "open/a.jsonl", "answers.jsonl"),
        autoscaling=Autoscaling(Autoscaler.NONE, 0, 4),
    )


def pods(**template: Any) -> dict[str, Any]:
    return {"podTemplate": template}


@pytest.mark.parametrize(
    ("said", "field", "problem"),
    [
        ({"modelAccess": "Cache"}, "modelAccess", "needs a volume"),
        ({"batch": {"volumeRef": {"name": "a"}, "output": "items.jsonl"}}, "batch.output", "the items too"),
        ({"batch": {"volumeRef": {"name": "a"}, "input": "../etc/passwd"}}, "batch.input", "path inside the volume"),
        ({"batch": {"volumeRef": {"name": "a"}, "input": "/etc/passwd"}}, "batch.input", "path inside the volume"),
        ({"batch": {"volumeRef": {"name": "a"}, "input": "a/$(SHARD)"}}, "batch.input", "path inside the volume"),
        ({"batch": {"volumeRef": {"name": "A b"}}}, "batch.volumeRef.name", "not a valid object name"),
        ({"modelCacheRef": {"name": "UPPER"}}, "modelCacheRef.name", "not a valid object name"),
        ({"tokenSecretRef": {"name": "a", "key": "a/b"}}, "tokenSecretRef.key", "not a valid key of a Secret"),
        (pods(labels={"team": "a b"}), "podTemplate.labels", "not a label value"),
        (pods(labels={"a/b/c": "d"}), "podTemplate.labels", "not a key"),
        (pods(annotations={"-": "d"}), "podTemplate.annotations", "not a key"),
        (pods(tolerations=[{"key": "a", "effect": "Never"}]), "tolerations[0].effect", 'no effect "Never"'),
        (pods(tolerations=[{"key": "a", "value": "b"}]), "tolerations[0].value", "belongs to operator: Equal"),
        (pods(priorityClassName="system-node-critical"), "priorityClassName", "the cluster's own pods"),
        (pods(priorityClassName="Not A Name"), "priorityClassName", "not a valid object name"),
    ],
)
def test_what_the_cluster_would_refuse_or_regret_is_refused_here(
    said: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(InputError) as refused:
        deploy({"deploy": said})
    (fault,) = refused.value.faults
    assert field in fault.where
    assert problem in str(fault)
