"""The objects around the engine: names, owners, labels, security, volumes, rollouts, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from inferplan.domain.deployment import SpeculativeDecoding, SpeculativeMethod
from inferplan.domain.errors import DefectError, UnrenderableError
from inferplan.domain.manifest import Manifest
from inferplan.domain.model import Task
from inferplan.domain.operation import Deploy, Identity, ModelCache, PodAdditions, SecretKey
from inferplan.domain.plan import Plan
from inferplan.render.checks import check
from inferplan.render.context import make_context
from inferplan.render.manifest_text import to_yaml
from inferplan.render.refusals import plan_faults
from inferplan.render.renderer import render
from tests.builders import make_engine, make_model, make_scenario
from tests.unit.api.outcomes import make_cost, make_plan
from tests.unit.render.plans import (
    configured,
    container,
    environment,
    in_cluster,
    make_batch_deploy,
    make_batch_scenario,
    make_deploy,
    make_inventory,
    make_node,
    make_placement,
    pod_spec,
    rendered,
    tgi,
)

ENGINES = {"vllm": make_plan(), "tgi": tgi()}


@pytest.mark.parametrize("plan", ENGINES.values(), ids=list(ENGINES))
def test_a_server_is_a_deployment_a_service_and_a_disruption_budget(plan: Plan) -> None:
    found = render(plan, make_deploy(), scenario=make_scenario())
    assert [(item.api_version, item.kind, item.namespace, item.name) for item in found] == [
        ("apps/v1", "Deployment", "team", "chatbot"),
        ("v1", "Service", "team", "chatbot"),
        ("policy/v1", "PodDisruptionBudget", "team", "chatbot"),
    ]


def test_a_batch_run_is_a_job_or_a_cron_job_and_nothing_that_serves() -> None:
    classifier = make_batch_scenario(task=Task.CLASSIFICATION)
    assert list(rendered(None, make_batch_deploy(), scenario=make_batch_scenario())) == ["Job"]
    assert list(rendered(None, make_batch_deploy(), scenario=classifier)) == ["Job"]


@pytest.mark.parametrize("plan", ENGINES.values(), ids=list(ENGINES))
def test_everything_is_labelled_and_carries_the_hash_of_the_plan(plan: Plan) -> None:
    for manifest in rendered(plan).values():
        metadata = manifest.body["metadata"]
        assert metadata["labels"] == {
            "app.kubernetes.io/name": plan.configuration.engine.id,
            "app.kubernetes.io/instance": "chatbot",
            "app.kubernetes.io/version": plan.configuration.engine.version,
            "app.kubernetes.io/component": "server",
            "app.kubernetes.io/part-of": "chatbot",
            "app.kubernetes.io/managed-by": "inferplan",
            "inferplan.dev/scenario": "chatbot",
        }
        assert metadata["annotations"]["inferplan.dev/plan-hash"] == "abc123"


def test_service_and_budget_find_the_pods() -> None:
    found = rendered()
    pods = found["Deployment"].body["spec"]["template"]["metadata"]["labels"].items()
    assert found["Service"].body["spec"]["selector"].items() <= pods
    assert found["PodDisruptionBudget"].body["spec"]["selector"]["matchLabels"].items() <= pods
    (port,) = found["Service"].body["spec"]["ports"]
    assert port["targetPort"] in {item["name"] for item in container(found)["ports"]}


def test_changing_the_engine_changes_no_selector() -> None:
    assert rendered()["Service"].body["spec"] == rendered(tgi())["Service"].body["spec"]


def test_an_owner_is_named_only_where_its_uid_is_known() -> None:
    owned = make_deploy(identity=Identity("chatbot", "team", uid="1-2-3"))
    for manifest in rendered(None, owned).values():
        assert manifest.body["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "inferplan.dev/v1alpha1",
                "kind": "InferenceScenario",
                "name": "chatbot",
                "uid": "1-2-3",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    assert "ownerReferences" not in str(rendered())


def test_the_uid_is_all_that_a_cluster_adds() -> None:
    def without_owner(manifest: Manifest) -> dict[str, Any]:
        metadata = {key: value for key, value in manifest.body["metadata"].items() if key != "ownerReferences"}
        return {**manifest.body, "metadata": metadata}

    owned = rendered(None, make_deploy(identity=Identity("chatbot", "team", uid="1-2-3")))
    assert [without_owner(item) for item in owned.values()] == [item.body for item in rendered().values()]


def test_without_a_namespace_none_is_written() -> None:
    found = rendered(None, make_deploy(identity=Identity("chatbot")))
    assert found["Deployment"].namespace is None
    assert "namespace" not in found["Deployment"].body["metadata"]


def test_no_service_is_called_vllm() -> None:
    found = rendered(None, make_deploy(identity=Identity("vllm")))
    assert found["Deployment"].name == "vllm"
    assert found["Service"].name == "vllm-server"


@pytest.mark.parametrize("plan", ENGINES.values(), ids=list(ENGINES))
def test_pods_are_restricted(plan: Plan) -> None:
    """Everything that Pod Security "restricted" asks for."""
    pod = pod_spec(rendered(plan))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    for one in pod["containers"]:
        assert one["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {"emptyDir", "persistentVolumeClaim"}


@pytest.mark.parametrize("plan", ENGINES.values(), ids=list(ENGINES))
def test_an_engine_writes_only_where_it_may(plan: Plan) -> None:
    found = rendered(plan)
    writable = {mount["mountPath"] for mount in container(found)["volumeMounts"]}
    places = {key: value for key, value in environment(found).items() if str(value).startswith("/")}
    assert {"HF_HOME", "HOME"} <= set(places)
    for key, place in places.items():
        assert any(place == root or place.startswith(f"{root}/") for root in writable), key


def test_the_token_comes_from_its_secret() -> None:
    deploy = make_deploy(token=SecretKey("hub", "token"))
    assert environment(rendered(None, deploy))["HF_TOKEN"] == {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert "HF_TOKEN" not in environment(rendered())


def test_a_cache_holds_the_weights_and_offline_fetches_nothing() -> None:
    cached = rendered(None, make_deploy(model_cache=ModelCache("weights")))
    volumes = {volume["name"]: volume for volume in pod_spec(cached)["volumes"]}
    assert volumes["weights"]["persistentVolumeClaim"] == {"claimName": "weights"}
    assert "HF_HUB_OFFLINE" not in environment(cached)
    offline = rendered(None, make_deploy(model_cache=ModelCache("weights", offline=True)))
    assert environment(offline)["HF_HUB_OFFLINE"] == "1"


def test_what_a_user_adds_is_added_and_cannot_win() -> None:
    pods = PodAdditions(
        labels=(("inferplan.dev/scenario", "other"), ("team", "a")),
        annotations=(("note", 'a: "b" {{ c }}\n- d'),),
        priority_class="high",
    )
    template = rendered(None, make_deploy(pods=pods))["Deployment"].body["spec"]["template"]
    assert template["metadata"]["labels"]["inferplan.dev/scenario"] == "chatbot"
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["annotations"] == {"note": 'a: "b" {{ c }}\n- d'}
    assert template["spec"]["priorityClassName"] == "high"


def test_a_rollout_surges_where_a_spare_fits_and_says_so() -> None:
    plan = in_cluster()
    roomy, full = make_inventory(), make_inventory(make_node(gpus_requested=7))
    surge, swap = (rendered(plan, inventory=nodes)["Deployment"].body for nodes in (roomy, full))
    assert surge["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert surge["metadata"]["annotations"]["inferplan.dev/rollout"].startswith("Surge: ")
    assert swap["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert swap["metadata"]["annotations"]["inferplan.dev/rollout"].startswith("DrainAndSwap: no node has a spare H100")


def test_gpus_that_are_free_on_several_nodes_are_no_spare_for_a_replica_of_two() -> None:
    nodes = make_inventory(make_node(gpus_requested=5), make_node(name="b", gpus_requested=7))  # 3 + 1 free
    assert "DrainAndSwap" in str(rendered(in_cluster(configured(tp_size=2)), inventory=nodes)["Deployment"].body)


def test_idle_gpus_that_are_paid_for_are_a_spare() -> None:
    idle = make_plan(cost=make_cost(placements=(make_placement(gpus_per_instance=2, gpus_idle=1),)))
    assert "Surge" in str(rendered(idle)["Deployment"].body)
    assert "DrainAndSwap" in str(rendered()["Deployment"].body)


def test_a_replica_over_several_nodes_is_refused_with_its_reason() -> None:
    with pytest.raises(UnrenderableError, match="spans nodes, and only replicas within one node"):
        rendered(configured(pp_size=2, tp_size=8))


def test_more_sequences_than_tokens_in_a_step_are_refused() -> None:
    with pytest.raises(
        UnrenderableError,
        match=r"maxNumSeqs: each sequence needs .* so 4096 do not fit in 2048, .* \(pin at most 2048, or raise",
    ):
        rendered(configured(max_num_seqs=4096, max_num_batched_tokens=2048))


def test_a_batch_run_without_files_or_runner_is_refused() -> None:
    with pytest.raises(UnrenderableError, match=r"spec.deploy.batch: a batch run needs to know where its items are"):
        rendered(None, make_deploy(), scenario=make_batch_scenario())
    with pytest.raises(UnrenderableError, match="TGI has no batch runner"):
        rendered(tgi(), make_batch_deploy(), scenario=make_batch_scenario())
    assert "TGI has no batch runner" in str(plan_faults(tgi(), make_batch_scenario())[0])


def test_an_engine_without_templates_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(UnrenderableError, match=r"no templates for vLLM 0.8.5 \(known: 0.33.x\)"):
        rendered(configured(engine=make_engine(version="0.8.5")))


def caution(deploy: Deploy | None = None, plan: Plan | None = None, **scenario: Any) -> str:
    body = rendered(plan, deploy, scenario=make_scenario(**scenario))["Deployment"].body
    found: str = body["metadata"]["annotations"].get("inferplan.dev/caution", "")
    return found


def test_what_keeps_an_engine_from_starting_is_said() -> None:
    token = make_deploy(token=SecretKey("hub", "token"))
    assert caution() == "meta-llama/Llama-2-7b-chat-hf is gated: name a token in deploy.tokenSecretRef"
    assert caution(token) == ""
    assert caution(make_deploy(model_cache=ModelCache("weights", offline=True))) == ""
    assert caution(plan=configured(model=make_model(gated=False))) == ""
    assert "has no classification head" in caution(token, task=Task.CLASSIFICATION)


def drafting(**draft: Any) -> Plan:
    decoding = SpeculativeDecoding(SpeculativeMethod.DRAFT_MODEL, 3, 0.7, make_model(id="small/one", **draft))
    return configured(engine=make_engine(speculative=decoding), model=make_model(gated=False))


def test_a_draft_model_is_named_with_its_commit_and_needs_a_token_or_a_place_in_the_cache() -> None:
    checkpoint = make_model().checkpoints[0]
    pinned = (replace(checkpoint, repository="small/one", revision="c0ffee"),)
    annotations = rendered(drafting(checkpoints=pinned))["Deployment"].body["metadata"]["annotations"]
    assert annotations["inferplan.dev/draft-model-revision"] == "small/one c0ffee"
    unpinned = (replace(checkpoint, repository="small/one", revision=None),)
    annotations = rendered(drafting(checkpoints=unpinned))["Deployment"].body["metadata"]["annotations"]
    assert annotations["inferplan.dev/draft-model-revision"].startswith("small/one unpinned")
    gated = drafting(gated=True, checkpoints=pinned)
    assert caution(plan=gated) == "small/one, the draft model, is gated: name a token in deploy.tokenSecretRef"
    assert caution(make_deploy(token=SecretKey("hub", "token")), gated) == ""
    assert caution(plan=drafting(gated=False, checkpoints=pinned)) == ""
    offline = caution(make_deploy(model_cache=ModelCache("weights", offline=True)), gated)
    assert offline == "small/one, the draft model, is not fetched: put it into the modelCacheRef as well"
    assert "inferplan.dev/draft-model-revision" not in rendered()["Deployment"].body["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("image", "named"),
    [
        ("vllm/vllm-openai:v0.30.0", "0.30.0"),
        ("registry.example:5000/vllm:0.32-cu129", "0.32"),
        ("vllm/vllm-openai:v0.33.1.dev2", "0.33.1"),
        ("vllm/vllm-openai:v0.30.0@sha256:" + "a" * 64, "0.30.0"),
        ("vllm/vllm-openai:v0.33.0", ""),
        ("vllm/vllm-openai:v0.33.0-aarch64", ""),
        ("vllm/vllm-openai:v0.33", ""),
        ("registry.example:5000/vllm@sha256:" + "a" * 64, ""),
        ("team/vllm:2026-11-24", ""),
        ("team/vllm:nightly-0.30.0", ""),
    ],
)
def test_an_image_whose_tag_names_another_version_is_a_caution(image: str, named: str) -> None:
    plan = configured(engine=make_engine(version="0.33.0", image=image), model=make_model(gated=False))
    expected = f"the tag of the image names {named}, and the flags are those of vLLM 0.33.0: check that it takes them"
    assert caution(plan=plan) == (expected if named else "")


def test_another_run_is_another_job_and_the_same_run_is_the_same() -> None:
    def name(plan: Plan, **overrides: Any) -> str:
        return rendered(plan, make_batch_deploy(), scenario=make_batch_scenario(**overrides))["Job"].name

    first = name(make_plan())
    assert first.startswith("nightly-")
    assert name(make_plan()) == first
    assert name(make_plan(hash="def456")) != first
    assert name(configured(replicas=2)) != first


def test_the_same_arguments_give_the_same_bytes_and_they_read_back() -> None:
    arguments = (in_cluster(), make_deploy())
    texts = {
        to_yaml(render(*arguments, scenario=make_scenario(), inventory=make_inventory(*nodes)))
        for nodes in ((make_node(), make_node(name="b")), (make_node(name="b"), make_node()))
    }
    (text,) = texts
    found = render(*arguments, scenario=make_scenario(), inventory=make_inventory(make_node(), make_node(name="b")))
    assert list(yaml.safe_load_all(text)) == [manifest.body for manifest in found]


def broken(change: str, value: object) -> Manifest:
    manifest = rendered()["Deployment"]
    body: dict[str, Any] = yaml.safe_load(to_yaml([manifest]))
    place: Any = body
    *path, last = change.split("/")
    for key in path:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return replace(manifest, name=body["metadata"]["name"], body=body)


CONTAINER = "spec/template/spec/containers/0"


@pytest.mark.parametrize(
    ("change", "value", "said"),
    [
        ("metadata/name", "No_Name", "is not a DNS label"),
        ("metadata/labels/team", "a b", "label team cannot be"),
        ("spec/selector/matchLabels/team", "a", "the selector asks for team=a"),
        (f"{CONTAINER}/resources", {"limits": {"nvidia.com/gpu": "2"}}, "asks for 2 nvidia.com/gpu"),
        (f"{CONTAINER}/args", ["m", "--seed=1", "--seed=2"], "flag --seed stands twice"),
        (f"{CONTAINER}/env", [{"name": "A"}, {"name": "A"}], "variable A stands twice"),
        (f"{CONTAINER}/volumeMounts", [{"name": "gone", "mountPath": "/x"}], "mounts gone, which is not a volume"),
        (f"{CONTAINER}/image", "vllm/vllm-openai", "is not pinned"),
        (f"{CONTAINER}/image", "vllm/vllm-openai:latest", "is not pinned"),
    ],
)  # fmt: skip
def test_an_object_that_breaks_a_rule_is_a_defect(change: str, value: object, said: str) -> None:
    context = make_context(make_plan(), make_deploy(), make_scenario(), None)
    with pytest.raises(DefectError, match=said):
        check(broken(change, value), context)


def test_an_image_by_digest_is_pinned() -> None:
    context = make_context(make_plan(), make_deploy(), make_scenario(), None)
    check(broken(f"{CONTAINER}/image", f"registry.example.com:5000/vllm@sha256:{'0' * 64}"), context)
