"""The seed's nine rows: bounds worked out by hand, and a page that says what each row is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from inferplan.api.convert import to_scenario
from inferplan.api.documents import read_scenario_file
from inferplan.catalog import load_catalog
from inferplan.domain.catalog import Catalog
from inferplan.domain.errors import DefectError
from inferplan.domain.plan import Outcome
from inferplan.domain.scenario import Scenario
from inferplan.planner import Planner
from inferplan.report.seed import seed_page
from inferplan.report.seed_bounds import bounds
from inferplan.report.seed_statements import STATEMENTS
from tests.builders import make_catalog, make_scenario

FILES = sorted((Path(__file__).parents[3] / "examples" / "seed").glob("*.yaml"))
IMPOSSIBLE = {4, 5, 6}

# Row: memory of one GPU [GB], tokens/s of one sequence and of all, worked out on paper from the models' config.json
# (6.738e9 and 13.016e9 parameters, 524,288 and 819,200 bytes a token; Mixtral 46.70e9 and 131,072) and datasheets.
BY_HAND = {
    1: (8.89, 36.0, 72),
    2: (17.77, 87.5, 350),
    3: (52.88, 38.6, 308),
    4: (133.41, 15.3, 245),
    5: (75.46, 20.6, 659),
    6: (144.95, 23.1, 555),
    7: (11.03, 140.9, 9020),
    8: (26.64, 76.5, 3674),
    9: (4.44, 72.0, 2305),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def scenarios(catalog: Catalog) -> tuple[Scenario, ...]:
    documents = [read_scenario_file(path).scenarios[0] for path in FILES]
    return tuple(to_scenario(entry.resource, catalog, entry.locate).scenario for entry in documents)


@pytest.fixture(scope="module")
def outcomes(catalog: Catalog, scenarios: tuple[Scenario, ...]) -> list[Outcome]:
    planner = Planner(catalog)
    return [planner.plan(scenario) for scenario in scenarios]


def test_bounds_are_what_paper_says(catalog: Catalog, scenarios: tuple[Scenario, ...]) -> None:
    for statement, scenario in zip(STATEMENTS, scenarios, strict=True):
        found = bounds(scenario, statement.batch, statement.sequence_tokens, catalog)
        needed_gb, each_tps, total_tps = BY_HAND[statement.row]
        assert found.needed_bytes / 1e9 == pytest.approx(needed_gb, abs=0.006)
        assert 1 / found.step_s == pytest.approx(each_tps, rel=0.003)
        assert found.total_tps == pytest.approx(total_tps, rel=0.003)
        assert found.fits is (statement.row not in IMPOSSIBLE)


def test_rows_4_to_6_are_refused_and_the_others_run(outcomes: Sequence[Outcome]) -> None:
    for statement, outcome in zip(STATEMENTS, outcomes, strict=True):
        assert (outcome.chosen is None) is (statement.row in IMPOSSIBLE)
        if outcome.infeasibility is not None:
            assert outcome.infeasibility.binding
            assert outcome.infeasibility.nearest


def test_our_memory_and_speed_stay_within_the_bounds(catalog: Catalog, outcomes: Sequence[Outcome]) -> None:
    for statement, outcome in zip(STATEMENTS, outcomes, strict=True):
        plan = outcome.chosen
        if plan is None:
            continue
        least = bounds(outcome.scenario, statement.batch, statement.sequence_tokens, catalog)
        assert plan.estimate.memory.weights_bytes >= least.weights_bytes
        weights_s = least.weights_bytes / least.gpu.hbm_bandwidth_bytes_per_s
        assert plan.estimate.output_tps_per_user.expected <= 1 / weights_s


def test_the_page_shows_every_row_with_both_figures(catalog: Catalog, outcomes: Sequence[Outcome]) -> None:
    page = seed_page(outcomes, catalog)
    assert page.endswith("\n")
    assert "  \n" not in page
    for statement in STATEMENTS:
        section = page.split(f"## {statement.row}. ")[1].split("\n## ")[0]
        assert statement.usd_per_request in section
        assert f"{statement.memory_gb} GB" in section
        assert f"{BY_HAND[statement.row][0]:.2f} GB" in section
        if statement.row in IMPOSSIBLE:
            assert "**It does not fit.**" in section
            assert "against" in section
            assert "What works instead" in section
            assert "select.pin" in section
        else:
            assert "times the stated" in section
            assert "Evidence: " in section


def test_the_page_is_the_same_every_time(catalog: Catalog, scenarios: tuple[Scenario, ...]) -> None:
    pages = {seed_page([Planner(catalog).plan(scenario) for scenario in scenarios], catalog) for _ in range(2)}
    assert len(pages) == 1


def test_bounds_need_a_pinned_gpu_that_exists() -> None:
    catalog = make_catalog()
    with pytest.raises(DefectError, match="pins no GPU"):
        bounds(make_scenario(), 1, 1, catalog)


def test_more_replicas_share_the_sequences(catalog: Catalog, scenarios: tuple[Scenario, ...]) -> None:
    four = scenarios[6]
    assert four.pin is not None
    eight = replace(four, pin=replace(four.pin, replicas=8))
    assert bounds(eight, 64, 512, catalog).kv_bytes == bounds(four, 64, 512, catalog).kv_bytes / 2
