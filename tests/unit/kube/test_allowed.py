"""Whoever may only write scenarios gets nothing that the administrator did not allow."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from inferplan.api.documents import read_resource
from inferplan.api.schema import spec_schema
from inferplan.catalog.loader import load_catalog
from inferplan.domain.errors import InputError
from inferplan.kube.allowed import OPTIONS, Allowed, image_matches, is_image_pattern
from inferplan.kube.options import read_options

DIGEST = f"sha256:{'0' * 64}"


def refusals(spec: dict[str, Any], allowed: Allowed | None = None) -> list[str]:
    resource = read_resource(
        {
            "apiVersion": "inferplan.dev/v1alpha1",
            "kind": "InferenceScenario",
            "metadata": {"name": "chat", "namespace": "ns"},
            "spec": {"useCase": "Chatbot", **spec},
        }
    )
    try:
        (allowed or Allowed()).check(resource)
    except InputError as error:
        return [str(fault) for fault in error.faults]
    return []


def engine(**said: Any) -> dict[str, Any]:
    return {"engine": {"allow": ["vLLM"], **said}}


def deploy(**said: Any) -> dict[str, Any]:
    return {"deploy": said}


def pods(**said: Any) -> dict[str, Any]:
    return deploy(podTemplate=said)


ESCAPES = [
    pytest.param(
        engine(image="evil.example.com/steal:1"),
        ("spec.engine.image", "evil.example.com/steal:1", "--allow-image"),
        Allowed(images=("evil.example.com/*",)),
        id="an image",
    ),
    pytest.param(
        deploy(tokenSecretRef={"name": "db", "key": "password"}),
        ("spec.deploy.tokenSecretRef.name", "db", "--allow-secret"),
        Allowed(secrets=("db",)),
        id="a secret",
    ),
    pytest.param(
        deploy(modelCacheRef={"name": "finance-data"}),
        ("spec.deploy.modelCacheRef.name", "finance-data", "--allow-volume"),
        Allowed(),
        id="a volume of weights",
    ),
    pytest.param(
        deploy(batch={"volumeRef": {"name": "finance-data"}}),
        ("spec.deploy.batch.volumeRef.name", "finance-data", "--allow-volume"),
        Allowed(volumes=("finance-*",)),
        id="a volume of items",
    ),
    pytest.param(
        pods(labels={"app": "payments"}),
        ("spec.deploy.podTemplate.labels", "app", "--allow-label"),
        Allowed(labels=("app",)),
        id="a label",
    ),
    pytest.param(
        pods(annotations={"cdi.k8s.io/all": "nvidia.com/gpu=all"}),
        ("spec.deploy.podTemplate.annotations", "cdi.k8s.io/all", "--allow-annotation"),
        Allowed(annotations=("cdi.k8s.io/*",)),
        id="an annotation",
    ),
    pytest.param(
        pods(priorityClassName="high"),
        ("spec.deploy.podTemplate.priorityClassName", "high", "--allow-priority-class"),
        Allowed(priority_classes=("high",)),
        id="a priority",
    ),
    pytest.param(
        engine(remoteCode="Allow"),
        ("spec.engine.remoteCode", "code from elsewhere", "--allow-remote-code"),
        Allowed(remote_code=True),
        id="code and arguments that reach outside",
    ),
]


@pytest.mark.parametrize(("spec", "said", "allowing"), ESCAPES)
def test_what_the_administrator_did_not_allow_is_refused_with_its_field_and_the_option_that_allows_it(
    spec: dict[str, Any], said: tuple[str, ...], allowing: Allowed
) -> None:
    (refusal,) = refusals(spec, Allowed(volumes=("weights-*",)))
    for part in said:
        assert part in refusal
    assert refusals(spec, allowing) == []


@pytest.mark.parametrize(
    "key",
    [
        "cdi.k8s.io/gpu",
        "k8s.v1.cni.cncf.io/networks",
        "io.kubernetes.cri-o.Devices",
        "io.katacontainers.config.hypervisor.path",
        "container.apparmor.security.beta.kubernetes.io/server",
        "seccomp.security.alpha.kubernetes.io/pod",
        "sidecar.istio.io/inject",
        "linkerd.io/inject",
        "ad.datadoghq.com/server.checks",
        "note",
    ],
)
def test_no_annotation_that_others_act_on_is_allowed_unasked(key: str) -> None:
    assert len(refusals(pods(annotations={key: "x"}))) == 1


@pytest.mark.parametrize(
    "key",
    ["app", "k8s-app", "app.kubernetes.io/name", "inferplan.dev/scenario", "name", "component", "tier", "role", "run"],
)
def test_no_label_that_services_select_on_is_allowed_unasked(key: str) -> None:
    assert len(refusals(pods(labels={key: "x"}))) == 1


def test_what_is_harmless_is_allowed_unasked() -> None:
    said = pods(
        labels={"team": "a", "cost-center": "7"},
        annotations={"prometheus.io/scrape": "true", "karpenter.sh/do-not-disrupt": "true"},
    )["deploy"]
    token, cache = {"name": "hf-token"}, {"name": "weights"}
    spec = deploy(**said, tokenSecretRef=token, modelCacheRef=cache, batch={"volumeRef": {"name": "items"}})
    assert refusals(spec | engine(image="vllm/vllm-openai:v0.33.0")) == []


def test_every_fault_is_told_at_once() -> None:
    spec = pods(labels={"app": "x", "run": "y"}, annotations={"note": "z"}) | engine(image="a.example/b:1")
    assert len(refusals(spec)) == 4


def test_the_engines_of_the_catalog_are_allowed_by_name() -> None:
    for one in load_catalog().engines:
        assert any(image_matches(pattern, one.image) for pattern in Allowed().images), one.image


@pytest.mark.parametrize(
    ("pattern", "image"),
    [
        ("registry.example.com/llm/*", "registry.example.com/llm/vllm:v1"),
        ("registry.example.com/llm/*", f"Registry.Example.com/llm/team/vllm@{DIGEST}"),
        ("registry.example.com:5000/llm/*", "registry.example.com:5000/llm/vllm:v1"),
        ("*.example.com/llm/*", "eu.example.com/llm/vllm:v1"),
        ("vllm/vllm-openai*", "index.docker.io/vllm/vllm-openai-cpu:v1"),
        ("docker.io/library/x", "x:1"),
        ("a/b:v0.33.*", "a/b:v0.33.1"),
        (f"a/b@{DIGEST}", f"a/b:other@{DIGEST}"),
        ("*", "any.example/x:1"),
    ],
)
def test_an_image_is_one_of_a_pattern(pattern: str, image: str) -> None:
    assert image_matches(pattern, image)


@pytest.mark.parametrize(
    ("pattern", "image"),
    [
        ("registry.example.com/llm/*", "registry.example.com.evil.example/llm/vllm:v1"),
        ("registry.example.com/llm/*", "evil.example/registry.example.com/llm/vllm:v1"),
        ("registry.example.com/llm/*", "evil.example/x:registry.example.com/llm/vllm"),
        ("registry.example.com/llm/*", "registry.example.com:5000/llm/vllm:v1"),
        ("registry.example.com/llm/*", "registry.example.com/llm/../other/x:1"),
        ("registry.example.com/llm/*", "evil.example/x@registry.example.com/llm/x"),
        ("*.example.com/llm/*", "evil.example/a.example.com/llm/vllm:v1"),
        ("*/vllm-openai", "evil.example/vllm-openai:1"),
        ("vllm/vllm-openai*", "evil.example/vllm/vllm-openai:v1"),
        ("vllm/vllm-openai*", "vllm:5000/vllm/vllm-openai:v1"),
        ("a/b:v1", f"a/b:v1@{DIGEST}"),
        ("a/b:v1*", "a/b-other:v1"),
        (f"a/b@{DIGEST}", "a/b:v1"),
        (f"a/b@{DIGEST}", f"a/b@sha256:{'1' * 64}"),
        ("*", "x:1@2"),
        ("*", "*:1"),
        ("not a pattern", "a/b:1"),
    ],
)
def test_an_image_does_not_pass_for_one_of_a_pattern(pattern: str, image: str) -> None:
    assert not image_matches(pattern, image)


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_everything_that_can_be_allowed_has_its_option() -> None:
    assert set(OPTIONS) == {field.name for field in fields(Allowed)}


def test_unasked_the_defaults_are_allowed() -> None:
    assert read_options([], {}).allowed == Allowed()


def test_words_replace_the_defaults_and_win_over_the_environment() -> None:
    words = ["--allow-image=a.example/*", "--allow-image=b.example/*", "--allow-remote-code=true"]
    found = read_options(words, {"INFERPLAN_ALLOW_IMAGE": "c", "INFERPLAN_ALLOW_LABEL": "a, example.com/*"}).allowed
    assert found == Allowed(images=("a.example/*", "b.example/*"), labels=("a", "example.com/*"), remote_code=True)


def test_an_empty_list_allows_nothing() -> None:
    found = read_options(["--allow-image="], {"INFERPLAN_ALLOW_SECRET": ""}).allowed
    assert (found.images, found.secrets) == ((), ())
    assert "allowed: none" in refusals(engine(image="vllm/vllm-openai:v0.33.0"), found)[0]


@pytest.mark.parametrize(
    ("word", "environment"),
    [
        ("--allow-image=a b", {}),
        ("--allow-remote-code=yes", {}),
        ("--log-format=json", {"INFERPLAN_ALLOW_IMAGE": "a b"}),
        ("--log-format=json", {"INFERPLAN_ALLOW_REMOTE_CODE": "yes"}),
    ],
)
def test_a_pattern_that_makes_no_sense_ends_the_operator(word: str, environment: dict[str, str]) -> None:
    assert not is_image_pattern("a b")
    with pytest.raises(SystemExit) as ended:
        read_options([word], environment)
    assert ended.value.code == 2


# ── what a scenario has no field for ─────────────────────────────────────────────────────────────────────────


def test_a_scenario_has_no_field_for_accounts_host_paths_or_anything_else_of_a_pod() -> None:
    properties = spec_schema()["properties"]["deploy"]["properties"]
    assert set(properties["podTemplate"]["properties"]) == {
        "labels",
        "annotations",
        "tolerations",
        "priorityClassName",
    }
    assert set(properties) == {
        "policy",
        "priority",
        "podTemplate",
        "modelCacheRef",
        "modelAccess",
        "tokenSecretRef",
        "batch",
    }
    assert set(properties["tokenSecretRef"]["properties"]) == {"name", "key"}
    assert set(properties["modelCacheRef"]["properties"]) == {"name"}
