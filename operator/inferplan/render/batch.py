"""How a batch run is put to work: a Job or CronJob around the engine's batch runner, or around its pooling endpoint.

``vllm run-batch`` knows chat completions, embeddings, scores and ranks, and no classification (vLLM 0.33.0,
vllm/entrypoints/launchers/run_batch.py). So classifiers run behind ``/classify``, and everything else is the batch
runner's. It writes into the file of answers from its first second and begins anew whenever it is started; a small
driver in the same container keeps the answers of both until they are whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from inferplan.domain.model import Task
from inferplan.domain.operation import BatchFiles
from inferplan.domain.plan import Plan
from inferplan.domain.scenario import LoadKind, Scenario, Schedule
from inferplan.domain.units import SECONDS_PER_MINUTE
from inferplan.render.batch_driver import ITEMS_PER_REQUEST
from inferplan.render.timing import Timing

DRIVER = Path(__file__).with_name("batch_driver.py")
FILES_AT = "/batch"
RETRIES = 3
ASSUMED_STUCK_AFTER = 2.0
"""A run that takes this many times its deadline is stuck and no longer late."""
LATEST_START_S = 600
"""A start that was missed by more than this is left out, unless its window leaves more room."""
BATCHES_AHEAD = 2
"""Batches of items in flight, so that the engine never waits for its driver."""
MOST_PARALLEL = 64


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One batch run.

    Parameters
    ----------
    shards
        Pods, each with its share of the items.
    start_within_s
        What a missed start may be made up for.
    """

    files: BatchFiles
    shards: int
    classifies: bool
    longest_s: int
    schedule: Schedule | None
    start_within_s: int
    parallel: int

    @property
    def files_at(self) -> str:
        """Where the volume with the items is mounted."""
        return FILES_AT

    @property
    def retries(self) -> int:
        """How often a pod that failed is replaced."""
        return RETRIES

    @property
    def input(self) -> str:
        """File of items."""
        return f"{FILES_AT}/{self.files.input}"

    @property
    def output(self) -> str:
        """File of answers; with several pods each has its own, numbered from 0."""
        path = PurePosixPath(FILES_AT) / self.files.output
        return str(path if self.shards == 1 else path.with_name(f"{path.stem}-$(SHARD){path.suffix}"))

    def driven(self, engine: tuple[str, ...], image: str, times: Timing) -> tuple[str, ...]:
        """Command of the driver, which starts the engine's own and keeps the answers.

        The driver's text is a word of the command: in a ConfigMap it could change under a run, and whoever may write
        ConfigMaps in a namespace may do more there than it takes to run a batch.
        """
        asking = (f"--parallel={self.parallel}", f"--start-within={times.startup_s}") if self.classifies else ()
        return (
            "python3",
            "-c",
            DRIVER.read_text(encoding="utf-8"),
            "classify" if self.classifies else "generate",
            f"--input={self.input}",
            f"--output={self.output}",
            f"--image={image}",
            *asking,
            "--",
            *engine,
        )


def batch_run(plan: Plan, scenario: Scenario, files: BatchFiles, times: Timing) -> BatchRun:
    """Work out a batch run.

    Notes
    -----
    A run outside its window is ended; without a window it is ended when it is plainly stuck. Groups of items in
    flight: ``ceil(2 x max_num_seqs / items per request)``.
    """
    chosen, work = plan.configuration, scenario.workload
    deadline_s = work.deadline_s or 0.0
    minutes = None if work.schedule is None else work.schedule.window_minutes
    window_s = None if minutes is None else minutes * SECONDS_PER_MINUTE
    stuck_s = math.ceil(ASSUMED_STUCK_AFTER * deadline_s) + times.progress_deadline_s
    return BatchRun(
        files=files,
        shards=chosen.replicas,
        classifies=scenario.task is Task.CLASSIFICATION,
        longest_s=stuck_s if window_s is None else window_s,
        schedule=work.schedule,
        start_within_s=LATEST_START_S if window_s is None else max(LATEST_START_S, int(window_s - deadline_s)),
        parallel=min(MOST_PARALLEL, max(2, math.ceil(BATCHES_AHEAD * chosen.max_num_seqs / ITEMS_PER_REQUEST))),
    )


def is_batch(scenario: Scenario) -> bool:
    """Whether a scenario is a run of items, and no server."""
    return scenario.workload.kind is LoadKind.OFFLINE
