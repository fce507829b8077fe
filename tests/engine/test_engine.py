"""The engine's own code reads what we render and takes the kernels that we say it takes (``make test-engine``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferplan.catalog import load_catalog
from tests.engine import verdicts
from tests.engine.environment import find_or_make
from tests.engine.jobs import ask, job_of, verdict_of
from tests.engine.plans import planned

pytestmark = pytest.mark.engine

PLANS = 300
SEED = 20261129
CATALOG = load_catalog(None)


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a line past pytest's capturing: this takes minutes, and somebody is waiting."""
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", end="", flush=True)  # noqa: T201

    return line


@pytest.fixture(scope="session")
def python(say: Callable[[str], None]) -> Path:
    return find_or_make(say)


def test_the_engine_starts_every_plan_with_what_was_planned(python: Path, say: Callable[[str], None]) -> None:
    entries = list(planned(CATALOG, count=PLANS, seed=SEED))
    say(f"putting {len(entries)} rendered plans to the engine")
    wrong = []
    for entry, answer in zip(entries, ask(python, [entry.job for entry in entries], say), strict=True):
        chosen = entry.plan.configuration
        if "refusal" in answer:
            wrong.append(f"{answer['refusal']}\n    {entry.title}")
            continue
        asked = {
            "dtype": chosen.compute_dtype.value,
            "max_num_batched_tokens": chosen.max_num_batched_tokens,
            "max_model_len": chosen.max_model_len,
        }
        wrong += [
            f"{name} is {answer[name]}, planned {value}\n    {entry.title}"
            for name, value in asked.items()
            if answer[name] != value
        ]
        if answer["cache_dtype"] != chosen.kv_dtype and not (
            chosen.model.sparse_attention and answer["cache_dtype"] == "auto"
        ):
            wrong.append(f"KV cache in {answer['cache_dtype']}, planned {chosen.kv_dtype}\n    {entry.title}")
    assert not wrong, f"{len(wrong)} of {len(entries)}:\n" + "\n".join(wrong)


def test_the_committed_verdicts_are_the_engines(python: Path, say: Callable[[str], None]) -> None:
    asked = list(verdicts.forms(CATALOG))
    of_capability = {gpu.compute_capability: gpu for gpu in CATALOG.gpus}
    jobs = [job_of(form, model, of_capability[form.compute_capability]) for form, model in asked]
    say(f"asking the engine {len(jobs)} questions about attention kernels")
    told = {form: verdict_of(form, answer) for (form, _), answer in zip(asked, ask(python, jobs, say), strict=True)}
    committed = verdicts.read()
    changed = [
        f"{form}: {committed.get(form)} is now {verdict}"
        for form, verdict in told.items()
        if committed.get(form) != verdict
    ]
    assert not changed, "python -m tests.engine verdicts writes the table anew:\n" + "\n".join(changed)
