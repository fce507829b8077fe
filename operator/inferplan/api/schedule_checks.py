"""Whether runs can start as a schedule says: Kubernetes takes it, it starts runs, and each ends before the next."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib import resources

from inferplan.api.contradiction import Contradiction
from inferplan.api.suggest import did_you_mean
from inferplan.api.v1alpha1.spec import InferenceScenarioSpec
from inferplan.cron import CronError, starts
from inferplan.domain.units import SECONDS_PER_MINUTE


def schedule_can_be_kept(spec: InferenceScenarioSpec) -> Iterator[Contradiction]:
    """Check the schedule of a batch run.

    Only one run at a time has the GPUs: the start of the next one is left out while one still runs.
    """
    load, path = spec.workload, "spec.workload.schedule"
    if load.schedule is None:
        return
    zone = load.schedule.time_zone
    if zone not in time_zones():
        fix = did_you_mean(zone, time_zones()) or "write a name of the tz database, such as Europe/Berlin"
        yield Contradiction(f"{path}.timeZone", f'"{zone}" is not a time zone', fix)
    try:
        gap_s = starts(load.schedule.cron).shortest_gap_s
    except CronError as error:
        yield Contradiction(f"{path}.cron", error.problem, error.fix)
        return
    field, name, minutes = f"{path}.windowMinutes", "window", load.schedule.window_minutes
    if minutes is None:  # a run is ended with its window; without one it has until its deadline
        field, name, minutes = "spec.workload.deadlineMinutes", "deadline", load.deadline_minutes
    if minutes is not None and minutes * SECONDS_PER_MINUTE > gap_s:
        most = gap_s // SECONDS_PER_MINUTE
        fix = f"set at most {most}, or start less often" if most else "start less often"
        yield Contradiction(
            field, f"the {name} ({minutes} min) exceeds the {gap_s / SECONDS_PER_MINUTE:g} min between starts", fix
        )


@functools.cache
def time_zones() -> frozenset[str]:
    """Names of the tz database, the same everywhere: those of the ``tzdata`` package."""
    return frozenset((resources.files("tzdata") / "zones").read_text(encoding="utf-8").split())
