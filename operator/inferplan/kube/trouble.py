"""Why pods do not come or do not stay, in the cluster's own words: from Deployments, Jobs and the pods themselves."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass

from inferplan.kube.client import Body
from inferplan.kube.inbox import Key
from inferplan.kube.kinds import DEPLOYMENT, Kind
from inferplan.render.context import SCENARIO_LABEL

UNSCHEDULABLE_S = 600.0
"""A pod may wait so long for a node that an autoscaler brings, before somebody has to act [s]."""
LONGEST_TEXT = 500

REPLICA_FAILURE = "ReplicaFailure"
DEADLINE = "ProgressDeadlineExceeded"
UNSCHEDULABLE = "Unschedulable"
CRASHES = "CrashLoopBackOff"
PULL = "ImagePullBackOff"
CRASHES_TOLD_AFTER = 2

STALLING = (
    REPLICA_FAILURE,
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    PULL,
    DEADLINE,
)
"""What somebody has to act on, the most telling first."""
WAITING = {*STALLING, CRASHES, "ErrImagePull"} - {REPLICA_FAILURE, DEADLINE}
"""Why a container waits, where that is more than a normal start."""
_COUNT = re.compile(r"\b\d+(/\d+)?(?= )")
"""A number in the scheduler's words, as in ``0/6 nodes are available: 3 Insufficient nvidia.com/gpu``."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One cause.

    Parameters
    ----------
    reason
        One word of the cluster's.
    text
        What the cluster says.
    cause
        Equal for what is the same, however its text is put at the moment.
    since
        When a pod was first found to fit nowhere, as the API server writes it.
    """

    reason: str
    text: str
    cause: str = ""
    since: str = ""

    def __str__(self) -> str:
        """Render for messages."""
        return f"{self.reason}: {self.text}" if self.text else self.reason

    @property
    def rank(self) -> tuple[int, str]:
        """Order by what tells most."""
        place = STALLING.index(self.reason) if self.reason in STALLING else len(STALLING)
        return place, f"{self.reason} {self.cause}"

    def stalls(self, now: dt.datetime) -> bool:
        """Tell whether somebody has to act."""
        return self.stalls_in_s(now) == 0.0

    def stalls_in_s(self, now: dt.datetime) -> float | None:
        """Return the time after which somebody has to act [s]; None if waiting may do for ever."""
        if self.reason in STALLING:
            return 0.0
        if self.reason != UNSCHEDULABLE or not self.since:
            return None
        return max(0.0, UNSCHEDULABLE_S - (now - dt.datetime.fromisoformat(self.since)).total_seconds())


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod of a scenario that does not run as it should."""

    scenario: Key
    name: str
    phase: str
    trouble: Trouble


def child_trouble(kind: Kind, body: Body) -> tuple[Trouble, ...]:
    """Read what a Deployment says about pods that it cannot make.

    The API server keeps the first message of such a condition while the reason stays.
    """
    if kind is not DEPLOYMENT:
        return ()  # a Job tells it in events only
    found, state = [], body.get("status") or {}
    if state.get("observedGeneration", 0) < body["metadata"].get("generation", 0):
        return ()  # it speaks of what was there before
    for one in state.get("conditions") or ():
        name, value = one.get("type"), one.get("status")
        reason, message = str(one.get("reason", "")), str(one.get("message", ""))
        if (name, value) == (REPLICA_FAILURE, "True"):
            found.append(Trouble(REPLICA_FAILURE, f"{reason}: {message}"[:LONGEST_TEXT]))
        elif (name, value, reason) == ("Progressing", "False", DEADLINE):
            found.append(Trouble(DEADLINE, message[:LONGEST_TEXT]))
    return tuple(found)


# ── pods ─────────────────────────────────────────────────────────────────────────────────────────────────────


def read_pod_state(body: Body) -> tuple[Key, PodState] | None:
    """Reduce a pod to what is wrong with it; None if nothing is, or if it is on its way out."""
    metadata, status = body["metadata"], body.get("status") or {}
    trouble = None if "deletionTimestamp" in metadata else _scheduling(status) or _containers(status)
    if trouble is None:
        return None
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    scenario = Key(namespace, (metadata.get("labels") or {}).get(SCENARIO_LABEL, ""))
    return Key(namespace, name), PodState(scenario, name, str(status.get("phase", "")), trouble)


def _scheduling(status: Body) -> Trouble | None:
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            text = str(one.get("message", ""))
            reason = str(one.get("reason", "")) or UNSCHEDULABLE
            return Trouble(reason, text[:LONGEST_TEXT], _without_counts(text), str(one.get("lastTransitionTime") or ""))
    return None


def _without_counts(text: str) -> str:
    """Name the scheduler's reasons, however many nodes each holds for.

    >>> _without_counts("0/6 nodes are available: 1 too small, 5 Insufficient nvidia.com/gpu.")
    'Insufficient nvidia.com/gpu,nodes are available:,too small'
    """
    parts = re.split(r"[,.](?:\s|$)|(?<=:)\s", text)
    return ",".join(sorted({_COUNT.sub("", part).strip() for part in parts} - {""}))


def _containers(status: Body) -> Trouble | None:
    found = [
        trouble
        for name in ("initContainerStatuses", "containerStatuses")
        for container in status.get(name) or ()
        if (trouble := _container(container)) is not None
    ]
    return min(found, key=lambda one: one.rank, default=None)


def _container(status: Body) -> Trouble | None:
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, where = str(waiting.get("reason", "")), f"container {status.get('name', '')}"
    ended = (status.get("lastState") or {}).get("terminated") or {}
    again = int(status.get("restartCount", 0)) >= CRASHES_TOLD_AFTER and not status.get("ready")
    if reason == CRASHES or (again and ended.get("exitCode") and reason not in WAITING):
        # between two tries the container runs for a while; its end is what there is to tell
        how = f"{where} ended with exit code {ended.get('exitCode', '')} ({ended.get('reason', '')})"
        said = str(ended.get("message", "")).strip()
        return Trouble(CRASHES, (f"{how}: {said}" if said else how)[:LONGEST_TEXT], how)
    if reason not in WAITING:
        return None
    message = str(waiting.get("message", ""))
    if reason in {PULL, "ErrImagePull"}:  # they take turns
        return Trouble(PULL, f"{where}: {message}"[:LONGEST_TEXT], f"{where} {status.get('image', '')}")
    text = f"{where}: {message}"[:LONGEST_TEXT]
    return Trouble(reason, text, text)


class Wording:
    """Keeps the first text of a cause for as long as it lasts, so that a status is not written for other counts."""

    def __init__(self) -> None:
        self._said: dict[Key, dict[str, str]] = {}

    def of(self, key: Key, pods: Iterable[PodState]) -> tuple[Trouble, ...]:
        """List the causes that a scenario's pods tell, each once."""
        found: dict[str, Trouble] = {}
        for trouble in sorted((pod.trouble for pod in pods), key=lambda one: (one.rank, one.since, one.text)):
            found.setdefault(trouble.rank[1], trouble)
        before = self._said.get(key, {})
        said = {cause: before.get(cause, trouble.text) for cause, trouble in found.items()}
        if said:
            self._said[key] = said
        else:
            self._said.pop(key, None)
        return tuple(Trouble(one.reason, said[cause], one.cause, one.since) for cause, one in found.items())

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a scenario."""
        self._said.pop(key, None)
