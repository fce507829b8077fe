"""A small table of measured runs, its report and its rows, kept as files.

``accuracy/runs.csv`` holds runs of InferenceMAX / InferenceX (by way of NVIDIA aiconfigurator), kubernetes-sigs
inference-perf, GPUStack and llm-d planner (all Apache-2.0), IBM LLM-Pilot (CDLA-Permissive-2.0), Argonne's
LLM-Inference-Bench (BSD-3-Clause), Splitwise (MIT) and MLPerf (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inferplan.accuracy.matching import Matcher
from inferplan.accuracy.outcome import answer
from inferplan.accuracy.rows import write_rows
from inferplan.accuracy.runs import read_table
from inferplan.accuracy.score import score
from inferplan.catalog import load_catalog, load_yardsticks
from inferplan.report.accuracy import accuracy_report
from inferplan.report.markdown import markdown

FOLDER = Path(__file__).parent / "accuracy"


def test_the_report_and_the_rows_of_a_small_table_stay_as_they_are(golden: Callable[[Path, str], None]) -> None:
    catalog = load_catalog()
    runs = read_table((FOLDER / "runs.csv").read_bytes(), "runs.csv")
    answers = answer(runs, Matcher(catalog, load_yardsticks()), catalog.calibrations)
    golden(FOLDER / "predictions.csv", write_rows(answers))
    golden(FOLDER / "report.md", markdown([accuracy_report("Accuracy", score(answers))]))
