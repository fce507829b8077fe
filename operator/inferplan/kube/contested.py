"""Fields that another controller sets again and again: they are left to it, and that is told, instead of a fight."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from inferplan.kube.child import ChildName
from inferplan.kube.fields import Writer
from inferplan.kube.inbox import Key
from inferplan.kube.work import Step, Work, fingerprint

REPAIRS = 3
WITHIN_S = 600.0
"""A field that was repaired so often within this time is left to whoever takes it [s]."""
STILL_S = 3600.0
"""After so long without another change of it, a field is repaired again [s]."""


@dataclass(slots=True)
class _Field:
    """What is known of a field that was taken.

    Parameters
    ----------
    wanted
        Names what we want the object to be: where that changes, it begins anew.
    repaired
        When it was repaired, while it was not left alone.
    since
        What the API server says of the writer's last change, and when we first saw that.
    """

    wanted: int
    repaired: list[float]
    left: bool = False
    since: str = ""
    moved: float = 0.0


class Contests:
    """Counts repairs, by scenario, child and field; a restart of the process begins anew."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fields: dict[Key, dict[tuple[ChildName, str], _Field]] = {}
        self._asked: dict[Key, str] = {}

    def repaired(self, key: Key, step: Step) -> None:
        """Count a step that was taken because somebody else had taken fields."""
        if not step.uid:
            return  # it was deleted
        now, wanted = self._clock(), hash(fingerprint(step.body))
        known = self._fields.setdefault(key, {})
        for field in step.drift:
            found = known.get((step.name, field))
            if found is None or found.wanted != wanted:
                found = known[step.name, field] = _Field(wanted, [])
            found.repaired = [*_recent(found, now), now]

    def settle(self, key: Key, work: Work, asked: str) -> Work:
        """Take the steps out that would repair what was repaired too often.

        Parameters
        ----------
        asked
            Names what people have asked for last; where it changes, everything is repaired again.
        """
        if self._asked.get(key) != asked:
            self._asked[key] = asked
            self._fields.pop(key, None)
        if not self._fields.get(key):
            return work
        steps, told, waits = [], [], []
        for step in work.steps:
            left = [found for field in step.drift if (found := self._left(key, step, field)) is not None]
            if not left:
                steps.append(step)
            for text, wait_s in left:
                told.append(text)
                waits.append(wait_s)
        self._tidy(key, work)
        if not told:
            return work
        return replace(work, steps=tuple(steps), contested=tuple(told), contested_for_s=min(waits))

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a scenario."""
        self._fields.pop(key, None)
        self._asked.pop(key, None)

    def _left(self, key: Key, step: Step, field: str) -> tuple[str, float] | None:
        found = self._fields[key].get((step.name, field))
        if found is None:
            return None
        now, writer = self._clock(), step.writers.get(field)
        as_before = found.wanted == hash(fingerprint(step.body))
        if not as_before or (not found.left and len(_recent(found, now)) < REPAIRS):
            return None
        since = "" if writer is None else f"{writer.manager} {writer.since}"
        if not found.left or since != found.since:
            found.left, found.since, found.moved = True, since, now
        still_s = now - found.moved
        if still_s >= STILL_S:
            del self._fields[key][step.name, field]
            return None
        return _told(step, field, writer), STILL_S - still_s

    def _tidy(self, key: Key, work: Work) -> None:
        """Drop what nobody takes any more."""
        now, taken = self._clock(), {(step.name, field) for step in work.steps for field in step.drift}
        known = self._fields[key]
        for name, found in list(known.items()):
            if name not in taken and (found.left or not _recent(found, now)):
                del known[name]
        if not known:
            del self._fields[key]


def _recent(field: _Field, now: float) -> list[float]:
    return [at for at in field.repaired if now - at < WITHIN_S]


def _told(step: Step, field: str, writer: Writer | None) -> str:
    by = "somebody who left no name" if writer is None else str(writer)
    return (
        f"{field} of {step.name} was set {REPAIRS} times in {WITHIN_S / 60:.0f} minutes by {by}; it is left as it is. "
        "Remove whatever sets it, then give the annotation inferplan.dev/requestedAt a new value; it is also set back "
        f"after {STILL_S / 60:.0f} minutes without a change"
    )
