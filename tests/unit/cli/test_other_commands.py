"""``compare``, ``explain``, ``schema``, ``catalog`` and ``docs``."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import yaml

from inferplan.cli.catalog import Kind
from inferplan.cli.schema import FILE_NAME
from tests.unit.cli.conftest import Cli

THREE = ("chatbot-scenario.yaml", "summarization-scenario.yaml", "batch-classification-scenario.yaml")
CHAT = "apiVersion: inferplan.dev/v1alpha1\nkind: InferenceScenario\nmetadata: {name: chat}\nspec: {useCase: Chatbot}\n"


@pytest.mark.parametrize(
    "command",
    [
        ["plan"],
        ["compare"],
        ["explain"],
        ["schema"],
        ["catalog"],
        ["catalog", "check"],
        ["catalog", "list"],
        ["catalog", "show"],
    ],
)
def test_every_command_has_help_with_an_example(cli: Cli, command: list[str]) -> None:
    ended = cli(*command, "--help")
    assert ended.code == 0
    assert "inferplan" in ended.out
    assert "Examples" in ended.out


def test_help_alone_lists_the_commands(cli: Cli) -> None:
    ended = cli("--help")
    assert ended.code == 0
    for name in ("plan", "compare", "explain", "schema", "catalog"):
        assert name in ended.out
    assert " docs " not in ended.out


# ── compare ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_comparison_has_all_scenarios_and_parts(cli: Cli, examples: Path) -> None:
    ended = cli("compare", *(examples / name for name in THREE))
    assert ended.code == 0
    for text in ("Performance summary", "Memory patterns", "Hardware utilization", "Cost optimization", "Growth"):
        assert text in ended.out
    assert "3 of 3 scenarios have a plan" in ended.out
    assert "…" not in ended.out


def test_a_comparison_as_data_has_the_numbers_of_the_plans(cli: Cli, examples: Path) -> None:
    files = [examples / name for name in THREE]
    compared = json.loads(cli("compare", *files, "-o", "json").out)
    planned = json.loads(cli("plan", *files, "-o", "json").out)
    assert compared["items"] == planned["items"]
    assert compared["sections"][0]["title"] == "Performance summary"
    assert all(set(row) for section in compared["sections"] for row in section["rows"])


def test_a_comparison_with_a_no_ends_with_3(cli: Cli, examples: Path) -> None:
    ended = cli("compare", examples / "chatbot-scenario.yaml", examples / "infeasible-scenario.yaml", "-o", "markdown")
    assert ended.code == 3
    assert ended.out.startswith("# Comparison\n")
    assert "no plan" in ended.out


# ── explain ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_step_can_be_recomputed(cli: Cli, examples: Path) -> None:
    ended = cli("explain", examples / "chatbot-scenario.yaml", "-o", "json")
    assert ended.code == 0
    steps = json.loads(ended.out)["steps"]
    assert {step["section"] for step in steps} == {"Memory", "Step", "Prompt", "Serving", "Latency", "Cost"}
    names = {"min": min, "max": max, "ceil": math.ceil, "floor": math.floor, "exp": math.exp, "sqrt": math.sqrt}
    for step in steps:
        found = eval(step["substitution"], {"__builtins__": {}}, {**names, "log": math.log})  # noqa: S307 - arithmetic
        assert found == pytest.approx(step["value"], rel=1e-4), step["name"]
        assert step["formula"]
        assert step["reference"]


def test_steps_on_a_terminal_show_formula_numbers_result_and_source(cli: Cli, examples: Path) -> None:
    ended = cli("explain", examples / "chatbot-scenario.yaml")
    assert ended.code == 0
    for text in ("Weights on one GPU", "= (", "bytes", "catalog, GPU", "Decode step"):
        assert text in ended.out


@pytest.mark.parametrize("way", [("--tier", "Budget"), ("--candidate", "budget")])
def test_a_tier_can_be_explained(cli: Cli, examples: Path, way: tuple[str, str]) -> None:
    path = examples / "chatbot-scenario.yaml"
    assert cli("explain", path, *way, "-o", "json").code == 0


def test_tier_and_candidate_exclude_each_other(cli: Cli, examples: Path) -> None:
    ended = cli("explain", examples / "chatbot-scenario.yaml", "--tier", "Budget", "--candidate", "HighEnd")
    assert ended.code == 2
    assert "--tier" in ended.err


def test_a_candidate_is_explained_as_it_is_written(cli: Cli) -> None:
    candidate = "google/gemma-3-4b-it,BF16,l4,1,seqs=8,replicas=3"
    ended = cli("explain", "-", "--candidate", candidate, "-o", "json", stdin=CHAT.encode())
    assert ended.code == 0
    steps = json.loads(ended.out)["steps"]
    assert any("gemma-3-4b-it" in step["reference"] for step in steps)
    assert any("GPU l4" in step["reference"] for step in steps)


def test_a_candidate_that_cannot_run_ends_with_3(cli: Cli) -> None:
    ended = cli("explain", "-", "--candidate", "meta-llama/Llama-3.3-70B-Instruct,BF16,l4,1", stdin=CHAT.encode())
    assert ended.code == 3
    assert "no such plan" in ended.out


@pytest.mark.parametrize(
    ("candidate", "named"),
    [
        ("Qwen/Qwen3-8BB,FP8,l4,1", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-8B,FP8,l44,1", "l4"),
        ("Qwen/Qwen3-8B,FP9,l4,1", "FP8"),
        ("Qwen/Qwen3-8B,FP8,l4,one", "one"),
        ("Qwen/Qwen3-8B,FP8,l4,1,seqs=-1", "seqs=-1"),
    ],
)
def test_a_candidate_misspelt_is_answered_with_the_nearest_name(cli: Cli, candidate: str, named: str) -> None:
    ended = cli("explain", "-", "--candidate", candidate, stdin=CHAT.encode())
    assert ended.code == 2
    assert "--candidate" in ended.err
    assert named in ended.err


# ── schema ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_schema_is_a_custom_resource_definition(cli: Cli) -> None:
    ended = cli("schema")
    assert ended.code == 0
    assert yaml.safe_load(ended.out)["kind"] == "CustomResourceDefinition"


@pytest.mark.parametrize("target", ["folder/", "folder/crd.yaml", "new/deep/crd.yaml"])
def test_the_schema_goes_where_it_is_told(cli: Cli, tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    assert cli("schema", "-o", f"{tmp_path}/{target}").code == 0
    path = tmp_path / target
    written = path / FILE_NAME if target.endswith("/") else path
    assert written.read_text(encoding="utf-8") == cli("schema").out


def test_a_place_that_cannot_be_written_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for command in (("schema",), ("docs", "seed")):
        ended = cli(*command, "-o", tmp_path / "file" / "crd.yaml")
        assert ended.code == 2
        assert str(tmp_path / "file") in ended.err


# ── catalog ──────────────────────────────────────────────────────────────────────────────────────────────


def test_our_own_catalog_has_no_faults(cli: Cli) -> None:
    ended = cli("catalog", "check")
    assert ended.code == 0
    assert "no faults" in ended.out


@pytest.mark.parametrize("kind", [kind.value for kind in Kind])
def test_every_kind_can_be_listed(cli: Cli, kind: str) -> None:
    ended = cli("catalog", "list", kind, "-o", "json")
    assert ended.code == 0
    rows = json.loads(ended.out)
    assert rows
    assert "…" not in cli("catalog", "list", kind).out


def test_a_list_can_be_narrowed(cli: Cli) -> None:
    rows = json.loads(cli("catalog", "list", "gpus", "--match", "h100", "-o", "json").out)
    assert rows
    assert all("h100" in " ".join(row.values()).casefold() for row in rows)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "qwen/qwen3-8b", "l4", "vllm", "Chatbot"])
def test_a_record_is_shown_with_its_sources(cli: Cli, name: str) -> None:
    ended = cli("catalog", "show", name)
    assert ended.code == 0
    assert yaml.safe_load(ended.out)


def test_an_id_that_kinds_share_is_found_by_its_kind(cli: Cli) -> None:
    assert "image:" in cli("catalog", "show", "vllm").out
    calibration = cli("catalog", "show", "vllm", "--kind", "calibration").out
    assert "error_out_of_sample_percent:" in calibration
    assert "image:" not in calibration
    assert cli("catalog", "show", "vllm", "--kind", "gpus").code == 2


def test_a_record_that_is_not_there_is_answered_with_the_nearest(cli: Cli) -> None:
    ended = cli("catalog", "show", "h100-80gb-sxmm")
    assert ended.code == 2
    assert "h100-80gb-sxm" in ended.err


# ── docs ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_seed_page_is_written(cli: Cli, examples: Path, tmp_path: Path) -> None:
    ended = cli("docs", "seed", "--examples", examples / "seed", "-o", tmp_path / "seed.md")
    assert ended.code == 0
    page = (tmp_path / "seed.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\d)\.", page, re.MULTILINE) == list("123456789")


def test_a_folder_without_the_nine_scenarios_is_refused(cli: Cli, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        ended = cli("docs", "seed", "--examples", folder)
        assert ended.code == 2
        assert str(folder) in ended.err
