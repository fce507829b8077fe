"""``calibrate``: from measured runs to a file that changes plans."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest

from tests.unit.accuracy.tables import make_table
from tests.unit.cli.conftest import Cli

EXAMPLE = Path(__file__).parents[3] / "examples" / "chatbot-scenario.yaml"
LOADS = ("1", "8", "32", "64")


def predictions(cli: Cli, runs: Path, *more: object) -> list[dict[str, str]]:
    target = runs.with_suffix(".rows.csv")
    assert cli("accuracy", runs, "--rows", target, *more).code == 0
    with target.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def slow_runs(cli: Cli, tmp_path: Path) -> Path:
    """Runs on A30 GPUs, each token half as slow again as predicted."""
    path = tmp_path / "runs.csv"
    cells = {"gpu": "A30", "model": "openai/gpt-oss-20b", "weight_quant": "mxfp4"}
    cells |= {"ttft_ms_mean": "", "e2e_ms_mean": "", "output_tok_s_total": ""}
    path.write_bytes(make_table(*({**cells, "row_id": load, "load_value": load} for load in LOADS)))
    told = {row["row_id"]: 1.5 * float(row["tpot_ms"]) for row in predictions(cli, path)}
    path.write_bytes(
        make_table(
            *(
                {**cells, "row_id": load, "load_value": load, "itl_or_tpot_ms_mean": f"{told[load]:.4f}"}
                for load in LOADS
            )
        )
    )
    return path


def test_help_has_an_example(cli: Cli) -> None:
    ended = cli("calibrate", "--help")
    assert ended.code == 0
    assert "Examples" in ended.out


def test_own_runs_laid_over_ours_change_predictions_and_plans(cli: Cli, slow_runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    overlay = tmp_path / "catalog"
    ended = cli(
        "calibrate", slow_runs, "-o", overlay / "calibration" / "own.toml", "--no-check", "--date", "2026-01-31"
    )
    assert ended.code == 0, ended.err
    assert "4 runs" in ended.out
    before, after = predictions(cli, slow_runs), predictions(cli, slow_runs, "--catalog", overlay)
    for old, new in zip(before, after, strict=True):
        assert float(new["tpot_ms"]) > 1.2 * float(old["tpot_ms"])
    assert cli("plan", EXAMPLE).out != cli("plan", EXAMPLE, "--catalog", overlay).out


def test_the_same_runs_give_the_same_bytes(cli: Cli, slow_runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    for name in ("one.toml", "two.toml"):
        assert cli("calibrate", slow_runs, "-o", tmp_path / name, "--no-check", "--date", "2026-01-31").code == 0
    assert (tmp_path / "one.toml").read_bytes() == (tmp_path / "two.toml").read_bytes()


def test_without_scipy_the_command_to_install_it_is_named(
    cli: Cli, slow_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferplan.cli.calibrate.find_spec", lambda _: None)
    assert importlib.util.find_spec("inferplan") is not None
    ended = cli("calibrate", slow_runs, "-o", tmp_path / "own.toml")
    assert ended.code == 2
    assert "pip install 'inferplan[calibrate]'" in ended.err


def test_a_table_without_a_run_to_fit_is_refused(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    path = tmp_path / "runs.csv"
    path.write_bytes(make_table({"row_id": "a", "gpu": "x"}))
    ended = cli("calibrate", path, "-o", tmp_path / "own.toml")
    assert ended.code == 2
    assert "no run that can be fitted" in ended.err
    assert 'GPU "x" is not in the catalog' in ended.err
    assert not (tmp_path / "own.toml").exists()


def test_runs_that_are_passed_over_are_counted_by_reason(cli: Cli, tmp_path: Path, slow_runs: Path) -> None:
    pytest.importorskip("scipy")
    lacking = tmp_path / "lacking.csv"
    lacking.write_bytes(make_table({"row_id": "x", "tp": ""}, {"row_id": "y", "tp": ""}))
    ended = cli("calibrate", slow_runs, lacking, "-o", tmp_path / "own.toml", "--no-check")
    assert ended.code == 0
    assert "passed over: 2 (states no tp)" in ended.err


def test_what_is_told_of_runs_that_are_fitted_is_told(cli: Cli, tmp_path: Path, slow_runs: Path) -> None:
    pytest.importorskip("scipy")
    with slow_runs.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    few, most = ({"requests": "400", "requests_failed": failed} for failed in ("3", "300"))
    slow_runs.write_bytes(make_table(*({**row, **few} for row in rows), {**rows[0], **most}))
    ended = cli("calibrate", slow_runs, "-o", tmp_path / "own.toml", "--no-check")
    assert "noted: 4 (3 of 400 requests failed; the others stand for all)" in ended.err
    assert "passed over: 1 (300 of 400 requests failed (more than 5%))" in ended.err


def test_a_date_that_is_none_is_refused(cli: Cli, tmp_path: Path, slow_runs: Path) -> None:
    pytest.importorskip("scipy")
    ended = cli("calibrate", slow_runs, "-o", tmp_path / "own.toml", "--no-check", "--date", "yesterday")
    assert ended.code == 2
    assert '--date: "yesterday" is not a date' in ended.err
