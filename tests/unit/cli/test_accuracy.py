"""``accuracy`` and ``simulate``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.unit.accuracy.tables import make_table
from tests.unit.cli.conftest import Cli

REPORT = Path(__file__).parents[1] / "accuracy" / "guidellm-0.8.1.json"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_bytes(make_table({"row_id": "a"}, {"row_id": "b", "load_value": "64"}, {"row_id": "c", "gpu": "x"}))
    return path


@pytest.mark.parametrize("command", ["accuracy", "simulate"])
def test_every_command_has_help_with_an_example(cli: Cli, command: str) -> None:
    ended = cli(command, "--help")
    assert ended.code == 0
    assert "Examples" in ended.out


def test_accuracy_tells_errors_slices_and_what_was_skipped(cli: Cli, runs: Path) -> None:
    ended = cli("accuracy", runs)
    assert ended.code == 0
    assert "2 of 3 runs predicted" in ended.out
    for words in ("All runs", "By GPU", "By model family", "By load type", "TPOT", "E2E", "In range", "Skipped"):
        assert words in ended.out
    assert 'GPU "x" is not in the catalog' in ended.out


def test_accuracy_as_data_has_the_same_counts(cli: Cli, runs: Path) -> None:
    found = json.loads(cli("accuracy", runs, "-o", "json").out)
    assert (found["runs"], found["predicted"]) == (3, 2)
    assert found["overall"]["tpot_ms"]["rows"] == 2
    assert found["skipped"] == [{"reason": 'GPU "x" is not in the catalog', "rows": 1}]
    assert {part["by"] for part in found["slices"]} >= {"engine", "GPU", "model family", "load type", "source"}


def test_rows_are_written_to_a_file_one_for_each_row(cli: Cli, runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "predictions.csv"
    assert cli("accuracy", runs, "--rows", target).code == 0
    with target.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["row_id"] for row in rows] == ["a", "b", "c"]
    assert [bool(row["skipped"]) for row in rows] == [False, False, True]
    assert float(rows[1]["tpot_ms"]) > float(rows[0]["tpot_ms"]) > 0


def test_the_same_table_gives_the_same_bytes(cli: Cli, runs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert cli("accuracy", runs, "--rows", tmp_path / name).code == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_table_comes_from_standard_input_and_from_several_files(cli: Cli, runs: Path) -> None:
    assert "2 of 3 runs" in cli("accuracy", "-", stdin=runs.read_bytes()).out
    assert "4 of 6 runs" in cli("accuracy", runs, runs).out


def test_a_report_of_a_tool_is_predicted_with_the_facts_that_it_lacks(cli: Cli) -> None:
    ended = cli("accuracy", REPORT, "--fact", "gpu=t4", "--fact", "tp=1", "--fact", "model=Qwen/Qwen3-0.6B")
    assert ended.code == 0
    assert "5 of 5 runs predicted" in ended.out


def test_what_is_told_of_predicted_runs_is_in_the_report_and_in_its_data(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    few, most = ({"requests": "400", "requests_failed": failed} for failed in ("3", "300"))
    path.write_bytes(make_table(few, most, {"tp": "two", "row_id": "X7"}))
    ended = cli("accuracy", path)
    assert "1 of 3 runs predicted" in ended.out
    assert "Noted" in ended.out
    found = json.loads(cli("accuracy", path, "-o", "json").out)
    assert found["noted"] == [{"remark": "3 of 400 requests failed; the others stand for all", "rows": 1}]
    assert [skipped["reason"] for skipped in found["skipped"]] == [
        "300 of 400 requests failed (more than 5%)",
        'X7: tp "two" could not be read as a number',
    ]


def test_what_a_change_moved_is_shown_and_nothing_if_nothing_did(cli: Cli, runs: Path, tmp_path: Path) -> None:
    rows = tmp_path / "before.csv"
    cli("accuracy", runs, "--rows", rows)
    same = json.loads(cli("accuracy", runs, "--against", rows, "-o", "json").out)["moved"]
    assert {one["metric"]: (one["rows"], one["moved"]) for one in same}["tpot_ms"] == (2, 0)
    with rows.open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    table[1]["tpot_ms"] = str(float(table[1]["tpot_ms"]) / 2)
    with rows.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, table[0])
        writer.writeheader()
        writer.writerows(table)
    ended = cli("accuracy", runs, "--against", rows)
    assert f"Moved since {rows}" in ended.out
    assert "+100 %" in ended.out
    assert "Llama-3.1-8B-Instruct bf16 on 1x h100-80gb-sxm" in ended.out


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"row_id,colour\n1,red\n", b"\xff\xfe"])
def test_a_file_of_rows_that_is_none_is_refused(cli: Cli, runs: Path, tmp_path: Path, content: bytes) -> None:
    rows = tmp_path / "before.csv"
    rows.write_bytes(content)
    ended = cli("accuracy", runs, "--against", rows)
    assert ended.code == 2
    assert "before.csv" in ended.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", 'has no column "engine"'),
        (b"a,b\n1,2\n", 'has no column "engine"'),
        (b"\x89PNG\r\n\x1a\n\x00", "is not UTF-8 text"),
        (b"{}", "is neither a result of vllm bench serve nor a GuideLLM report"),
        (b'{"model_id":', "is not JSON"),
    ],
)
def test_a_file_that_holds_no_runs_is_one_clear_error(cli: Cli, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    ended = cli("accuracy", path)
    assert ended.code == 2
    assert str(path) in ended.err
    assert words in ended.err
    assert ended.out == ""


def test_all_files_that_cannot_be_read_are_told_at_once(cli: Cli, tmp_path: Path) -> None:
    ended = cli("accuracy", tmp_path / "none.csv", tmp_path)
    assert ended.code == 2
    assert "none.csv" in ended.err
    assert ended.err.count("cannot be read") == 2


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("gpu", "column=value"),
        ("gpu=", "column=value"),
        ("gppu=t4", 'did you mean "gpu"'),
        ("tp=two", 'tp "two" could not be read as a number'),
    ],
)
def test_a_fact_that_is_not_understood_is_told(cli: Cli, runs: Path, fact: str, words: str) -> None:
    ended = cli("accuracy", runs, "--fact", fact)
    assert ended.code == 2
    assert words in ended.err


# ── simulate ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_simulation_shows_the_distribution_beside_the_closed_form(cli: Cli, examples: Path) -> None:
    ended = cli("simulate", examples / "chatbot-scenario.yaml", "--requests", "300")
    assert ended.code == 0
    for words in ("TTFT", "TPOT", "E2E", "P50", "P90", "P95", "P99", "Simulated", "Closed form", "steps"):
        assert words in ended.out


def test_the_same_seed_gives_the_same_simulation_and_another_seed_another(cli: Cli, examples: Path) -> None:
    def simulated(seed: int) -> str:
        return cli(
            "simulate", examples / "chatbot-scenario.yaml", "--requests", "200", "--seed", seed, "-o", "json"
        ).out

    assert simulated(1) == simulated(1)
    assert simulated(1) != simulated(2)
    found = json.loads(simulated(1))
    assert found["requests"] == 200
    assert [row["statistic"] for row in found["simulated"]][:5] == ["mean", "P50", "P90", "P95", "P99"]


def test_a_classifier_is_refused_and_an_infeasible_scenario_is_no_plan(cli: Cli, examples: Path) -> None:
    refused = cli("simulate", examples / "batch-classification-scenario.yaml")
    assert refused.code == 2
    assert "generates nothing" in refused.err
    infeasible = cli("simulate", examples / "infeasible-scenario.yaml")
    assert infeasible.code == 3
    assert "no such plan" in infeasible.out


def test_rows_of_other_runs_are_no_earlier_rows(cli: Cli, tmp_path: Path) -> None:
    runs, others, rows = tmp_path / "runs.csv", tmp_path / "others.csv", tmp_path / "rows.csv"
    runs.write_bytes(make_table({"row_id": "a"}))
    others.write_bytes(make_table({"row_id": "b"}))
    assert cli("accuracy", others, "--rows", rows).code == 0
    ended = cli("accuracy", runs, "--against", rows)
    assert ended.code == 2
    assert "no row was predicted both times" in ended.err


def test_a_table_without_measured_values_says_so(cli: Cli, tmp_path: Path) -> None:
    runs = tmp_path / "runs.csv"
    silent = dict.fromkeys(("ttft_ms_mean", "itl_or_tpot_ms_mean", "e2e_ms_mean", "output_tok_s_total"), "")
    runs.write_bytes(make_table(silent))
    ended = cli("accuracy", runs)
    assert ended.code == 0
    assert "none of them states a measured value" in ended.out
