"""``inferplan plan``: what goes in, what comes out, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferplan.api.v1alpha1 import InferenceScenarioStatus
from tests.unit.cli.conftest import Cli

HEAD = "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\n"
CHAT = HEAD + "metadata: {name: chat}\nspec: {useCase: Chatbot}\n"


def test_a_plan_is_found_and_told(cli: Cli, examples: Path) -> None:
    ended = cli("plan", examples / "chatbot-scenario.yaml")
    assert ended.code == 0
    assert ended.err == ""
    for text in ("chatbot", "Budget", "Recommended ←", "High-end", "Analysis", "💰", "Why not the others", "Per month"):
        assert text in ended.out
    assert "\x1b" not in ended.out
    assert "…" not in ended.out


def test_no_plan_ends_with_3_and_the_nearest_yes(cli: Cli, examples: Path) -> None:
    ended = cli("plan", examples / "infeasible-scenario.yaml")
    assert ended.code == 3
    assert "No plan meets this scenario" in ended.out
    assert "The nearest yes" in ended.out


@pytest.mark.parametrize("name", ["chatbot", "summarization", "batch-classification", "infeasible", "pinned"])
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_data_has_the_shape_of_the_status(cli: Cli, examples: Path, name: str, form: str) -> None:
    ended = cli("plan", examples / f"{name}-scenario.yaml", "-o", form)
    document = json.loads(ended.out) if form == "json" else yaml.safe_load(ended.out)
    status = InferenceScenarioStatus.model_validate_json(json.dumps(document))
    assert (status.plan is None) is (ended.code == 3)
    assert status.search is not None
    assert status.conditions[0].type == "PlanFeasible"


def test_json_and_yaml_say_the_same(cli: Cli, examples: Path) -> None:
    path = examples / "chatbot-scenario.yaml"
    assert json.loads(cli("plan", path, "-o", "json").out) == yaml.safe_load(cli("plan", path, "-o", "yaml").out)


def test_the_same_question_has_the_same_answer(cli: Cli, examples: Path) -> None:
    path = examples / "summarization-scenario.yaml"
    assert cli("plan", path, "-o", "json").out == cli("plan", path, "-o", "json").out


def test_several_scenarios_become_a_list_and_the_worst_decides(cli: Cli, examples: Path) -> None:
    ended = cli("plan", examples / "chatbot-scenario.yaml", examples / "infeasible-scenario.yaml", "-o", "json")
    assert ended.code == 3
    document = json.loads(ended.out)
    assert document["apiVersion"] == "inferplan.dev/v1alpha1"
    assert document["kind"] == "InferenceScenarioList"
    assert [item["metadata"]["name"] for item in document["items"]] == ["chatbot", "infeasible"]
    assert [item["kind"] for item in document["items"]] == ["InferenceScenario"] * 2
    for item in document["items"]:
        InferenceScenarioStatus.model_validate_json(json.dumps(item["status"]))


def test_a_list_can_be_read_as_resources_again(cli: Cli, examples: Path) -> None:
    ended = cli("plan", examples / "chatbot-scenario.yaml", examples / "pinned-scenario.yaml", "-o", "yaml")
    assert {tuple(sorted(item)) for item in yaml.safe_load(ended.out)["items"]} == {
        ("apiVersion", "kind", "metadata", "status")
    }


def test_standard_input_is_a_file_too(cli: Cli) -> None:
    ended = cli("plan", "-", "-o", "json", stdin=CHAT.encode())
    assert ended.code == 0
    assert json.loads(ended.out)["plan"]["model"]


def test_documents_of_other_kinds_are_named_and_passed_over(cli: Cli) -> None:
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
    second = CHAT.replace("name: chat", "name: second")
    ended = cli("plan", "-", "-o", "json", stdin=f"{other}---\n{CHAT}---\n{second}".encode())
    assert ended.code == 0
    assert "ConfigMap settings passed over" in ended.err
    assert len(json.loads(ended.out)["items"]) == 2


@pytest.mark.parametrize("tier", ["Budget", "Recommended", "HighEnd"])
def test_a_tier_can_be_chosen(cli: Cli, examples: Path, tier: str) -> None:
    ended = cli("plan", examples / "chatbot-scenario.yaml", "--tier", tier, "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.out)["plan"]["tier"] == tier


def test_tiers_are_recognised_however_they_are_written(cli: Cli, examples: Path) -> None:
    ended = cli("plan", examples / "chatbot-scenario.yaml", "--tier", "highend", "-o", "json")
    assert ended.code == 0


def test_the_chosen_tier_is_the_marked_one(cli: Cli, examples: Path) -> None:
    assert "Budget ←" in cli("plan", examples / "chatbot-scenario.yaml", "--tier", "Budget").out


def test_explain_adds_reasons_with_their_numbers(cli: Cli, examples: Path) -> None:
    path = examples / "chatbot-scenario.yaml"
    short, full = cli("plan", path).out, cli("plan", path, "--explain").out
    assert "Nearest example" not in short
    assert "Nearest example" in full
    assert " against " in full.split("Why not the others")[1]


def test_markdown_is_markdown(cli: Cli, examples: Path) -> None:
    ended = cli("plan", examples / "chatbot-scenario.yaml", "-o", "markdown")
    assert ended.out.startswith("# chatbot\n")
    assert "## Tiers\n" in ended.out
    assert "| --- |" in ended.out


def test_on_the_nodes_of_a_cluster_the_source_is_the_cluster(cli: Cli, examples: Path) -> None:
    ended = cli("plan", examples / "chatbot-scenario.yaml", "--inventory", examples / "nodes.yaml", "-o", "json")
    assert ended.code in {0, 3}
    assert json.loads(ended.out)["search"]["source"] == "Cluster"


def test_prices_of_a_price_book_win(cli: Cli, tmp_path: Path) -> None:
    book = tmp_path / "prices.yaml"
    book.write_text(
        "- {provider: mine, region: here, instanceType: box, gpu: l4, gpuCount: 1, terms: OnDemand,\n"
        '   usdPerHour: "0.01", asOf: "2026-11-01", source: mine, confirmed: true}\n',
        encoding="utf-8",
    )
    text = CHAT.replace("useCase: Chatbot", "useCase: Chatbot, hardware: {allow: [l4]}")
    ended = cli("plan", "-", "--price-book", book, "-o", "json", stdin=text.encode())
    assert ended.code == 0
    cost = json.loads(ended.out)["plan"]["cost"]
    assert {place["provider"] for place in placements(cost)} == {"mine"}


def placements(found: Any) -> list[dict[str, Any]]:
    return list(found["placements"])


def test_an_overlay_adds_to_the_catalog(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "offerings").mkdir()
    ended = cli("plan", "-", "--catalog", tmp_path, "-o", "json", stdin=CHAT.encode())
    assert ended.code == 0
