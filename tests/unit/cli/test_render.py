"""``inferplan render``: what the operator would apply, and the exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenario_file
from inferplan.api.nodes import read_inventory_file
from inferplan.api.operation import to_deploy
from inferplan.catalog import load_catalog
from inferplan.pipeline import manifests, run
from inferplan.render.manifest_text import to_yaml
from tests.unit.cli.conftest import Cli

HEAD = "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\n"


def kinds(text: str) -> list[str]:
    return [document["kind"] for document in yaml.safe_load_all(text)]


def test_a_scenario_becomes_the_objects_of_its_plan(cli: Cli, examples: Path) -> None:
    ended = cli("render", examples / "chatbot-scenario.yaml")
    assert (ended.code, ended.err) == (0, "")
    assert kinds(ended.out) == ["Deployment", "Service", "PodDisruptionBudget"]


@pytest.mark.parametrize("name", ["chatbot", "summarization", "batch-classification"])
def test_the_bytes_are_those_of_the_one_road(cli: Cli, examples: Path, name: str) -> None:
    path, nodes = examples / f"{name}-scenario.yaml", examples / "nodes.yaml"
    catalog = load_catalog()
    (document,) = read_scenario_file(path).scenarios
    inventory = read_inventory_file(nodes, catalog)
    outcome = run(to_scenario(document.resource, catalog).scenario, catalog, inventory=inventory)
    expected = to_yaml(manifests(outcome, to_deploy(document.resource), inventory=inventory))
    assert cli("render", path, "--inventory", nodes).out == expected


def test_nodes_of_the_inventory_are_chosen(cli: Cli, examples: Path) -> None:
    ended = cli("render", examples / "chatbot-scenario.yaml", "--inventory", examples / "nodes.yaml")
    assert "NVIDIA-L4" in ended.out
    assert "g6.12xlarge" in ended.out


def test_a_node_that_repels_the_pods_is_not_planned_on_until_it_is_tolerated(
    cli: Cli, examples: Path, tmp_path: Path
) -> None:
    nodes = tmp_path / "nodes.yaml"
    text = (examples / "nodes.yaml").read_text(encoding="utf-8").split("---\n")[3]
    nodes.write_text(text.replace("  taints:\n", "  taints:\n    - {key: dedicated, value: b, effect: NoSchedule}\n"))
    spec = "{useCase: Chatbot, hardware: {source: Cluster}, deploy: {podTemplate: {tolerations: [{key: %s}]}}}"

    def run(key: str) -> tuple[int, str]:
        scenario = f"{HEAD}metadata: {{name: chat}}\nspec: {spec % key}\n"
        ended = cli("render", "-", "--inventory", nodes, stdin=scenario.encode())
        return ended.code, ended.out

    assert run("other") == (3, "")
    code, out = run("dedicated")
    assert code == 0
    assert {"key": "dedicated", "operator": "Exists"} in next(yaml.safe_load_all(out))["spec"]["template"]["spec"][
        "tolerations"
    ]


def test_a_tier_can_be_asked_for(cli: Cli, examples: Path) -> None:
    def hashes(*options: str) -> str:
        text = cli("render", examples / "chatbot-scenario.yaml", *options).out
        document: dict[str, Any] = next(yaml.safe_load_all(text))
        found: str = document["metadata"]["annotations"]["inferplan.dev/plan-hash"]
        return found

    assert hashes("--tier", "HighEnd") != hashes() == hashes("--tier", "Recommended")


def test_each_scenario_becomes_a_file_of_its_own(cli: Cli, examples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    ended = cli("render", examples / "chatbot-scenario.yaml", examples / "pinned-scenario.yaml", "-o", folder)
    assert (ended.code, ended.out) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["chatbot.yaml", "pinned.yaml"]
    assert kinds((folder / "pinned.yaml").read_text(encoding="utf-8"))[0] == "Deployment"


def test_two_scenarios_of_one_name_are_not_written_over_each_other(cli: Cli, examples: Path, tmp_path: Path) -> None:
    path = examples / "chatbot-scenario.yaml"
    ended = cli("render", path, path, "-o", tmp_path)
    assert ended.code == 2
    assert '"chatbot" stands twice' in ended.err
    assert list(tmp_path.iterdir()) == []


def test_no_plan_ends_with_3_and_the_rest_is_rendered(cli: Cli, examples: Path) -> None:
    ended = cli("render", examples / "infeasible-scenario.yaml", examples / "chatbot-scenario.yaml")
    assert ended.code == 3
    assert kinds(ended.out) == ["Deployment", "Service", "PodDisruptionBudget"]
    assert "infeasible: no plan meets this scenario" in ended.err


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{useCase: BatchClassification}", "spec.deploy.batch: a batch run needs to know where its items are"),
        ("{useCase: Chatbot, engine: {extraArgs: [--max-num-seq=1]}}", 'did you mean "--max-num-seqs"'),
        ("{useCase: Chatbot, engine: {version: 0.8.5}}", "there are no templates for vLLM 0.8.5"),
    ],
)
def test_what_cannot_be_deployed_ends_with_2_and_its_line(cli: Cli, tmp_path: Path, spec: str, said: str) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(f"{HEAD}metadata: {{name: chat}}\nspec: {spec}\n", encoding="utf-8")
    ended = cli("render", path)
    assert ended.code == 2
    assert ended.out == ""
    assert f"{path}:4: " in ended.err
    assert said in ended.err


def test_an_image_of_ones_own_is_run_and_named_in_the_hash(cli: Cli) -> None:
    def render(engine: str) -> dict[str, Any]:
        text = f"{HEAD}metadata: {{name: chat}}\nspec: {{useCase: Chatbot, engine: {engine}}}\n"
        document: dict[str, Any] = next(yaml.safe_load_all(cli("render", "-", stdin=text.encode()).out))
        return document

    plain, own = render("{}"), render("{image: registry.example.com/vllm:mine}")
    assert own["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/vllm:mine"
    assert plain["metadata"]["annotations"] != own["metadata"]["annotations"]
    patch = render("{version: 0.33.1}")
    assert patch["spec"]["template"]["spec"]["containers"][0]["image"] == "vllm/vllm-openai:v0.33.1"
