"""When a scheduled run starts, in the dialect that Kubernetes reads for a CronJob.

Kubernetes has five fields, names of months and days, ``?`` for ``*``, words such as ``@daily``, and ``@every`` with a
duration. It knows neither seconds nor ``L``, ``W`` and ``#``, and its Sunday is 0. ``cronsim`` has another dialect: a
line is checked here, rewritten such that ``cronsim`` means the same by it, and read by ``cronsim``.

References
----------
.. [1] robfig/cron v3.0.1, ``parser.go`` and ``spec.go``: what the API server and the CronJob controller parse with.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import floor

from cronsim import CronSim, CronSimError

from inferplan.domain.units import HOURS_PER_DAY, SECONDS_PER_HOUR, SECONDS_PER_MINUTE

WORDS: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_UNITS_S = {"h": Fraction(3_600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1_000)}
_DURATION = re.compile(r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s)")
_ENTRY = re.compile(r"([*?]|\d{1,9}|[A-Za-z]{3})(?:-(\d{1,9}|[A-Za-z]{3}))?(?:/(\d{1,9}))?", re.ASCII)
SPAN_DAYS = 10_227
"""28 years: from 1901 to 2099 dates, days of the week and leap years recur after so many."""
_DAY_S = HOURS_PER_DAY * SECONDS_PER_HOUR


class CronError(ValueError):
    """A schedule that Kubernetes refuses, or that never starts anything."""

    def __init__(self, *, problem: str, fix: str) -> None:
        super().__init__(f"{problem} ({fix})")
        self.problem = problem
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Starts:
    """When a schedule starts runs, daylight saving aside.

    Parameters
    ----------
    per_hour
        Mean starts per hour over 28 years.
    shortest_gap_s
        Shortest time from one start to the next [s].
    """

    per_hour: Fraction
    shortest_gap_s: int


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = field(default=())
    """Names of the values from ``low`` on."""

    def value(self, text: str, entry: str) -> int:
        """Read a number or a name."""
        if text.upper() in self.names:
            return self.low + self.names.index(text.upper())
        if not text.isdigit():
            raise self.refused(entry, "is not understood", self.hint())
        number = int(text)
        if not self.low <= number <= self.high:
            sunday = self.names[:1] == ("SUN",) and number == self.high + 1
            raise self.refused(
                entry, f"is not from {self.low} to {self.high}", "Sunday is 0" if sunday else self.hint()
            )
        return number

    def hint(self) -> str:
        """Say what a field takes."""
        named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"write {self.low} to {self.high}{named}, a range such as 1-5, a list such as 1,5, or a step such as */2"

    def refused(self, entry: str, problem: str, fix: str) -> CronError:
        """Make the error of one entry."""
        return CronError(problem=f'{self.name} "{entry}" {problem}', fix=fix)

    def canonical(self, text: str) -> str:
        """Write a field such that ``cronsim`` takes it as Kubernetes does.

        Notes
        -----
        Days of the month and of the week are both to match if one of them holds ``*`` (or ``?``, or a step of 1 of
        it), and either suffices otherwise. ``cronsim`` looks whether a field begins with ``*``.
        """
        entries = [self._entry(entry) for entry in text.split(",")]
        return "*" if "*" in entries else ",".join(entries)

    def _entry(self, entry: str) -> str:
        found = _ENTRY.fullmatch(entry)
        if found is None or (found[1] in {"*", "?"} and found[2] is not None):
            raise self.refused(entry, "is not understood", self.hint())
        first, last, step = found[1], found[2], 1 if found[3] is None else int(found[3])
        if step == 0:
            raise self.refused(entry, "has a step of 0", "write a step of at least 1")
        if first in {"*", "?"}:
            return "*" if step == 1 else f"{self.low}-{self.high}/{step}"
        start = self.value(first, entry)
        end = self.value(last, entry) if last is not None else start if found[3] is None else self.high
        if start > end:
            over = f"{start}-{self.high},{self.low}-{end}"
            raise self.refused(entry, "runs backwards", f"write {end}-{start}, or {over} where it goes over the end")
        if start == end:  # cronsim takes "5-5/2" for "5-59/2"
            return str(start)
        return f"{start}-{end}" if step == 1 else f"{start}-{end}/{step}"


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _WEEKDAYS),
)


@functools.lru_cache(maxsize=256)
def starts(cron: str) -> Starts:
    """Tell how often and how close to one another a schedule starts runs.

    Raises
    ------
    CronError
        If Kubernetes does not accept it, or if it never starts a run.

    Examples
    --------
    >>> starts("0 2 * * MON-FRI").shortest_gap_s // 3_600, starts("@every 90m").per_hour
    (24, Fraction(2, 3))
    """
    if "TZ" in cron:
        raise CronError(problem="names a time zone", fix="set spec.workload.schedule.timeZone instead")
    if cron.startswith(_EVERY):
        return _every(cron.removeprefix(_EVERY))
    if not cron.startswith("@"):
        return _counted(cron)
    if cron not in WORDS:
        allowed = ", ".join(WORDS)
        raise CronError(problem=f'"{cron}" is not known', fix=f"allowed: {allowed}, or @every with a duration")
    return _counted(WORDS[cron])


def _every(duration: str) -> Starts:
    """Fixed time between starts; less than a second is cut off, as Kubernetes does."""
    gap_s = 0
    if _DURATION.fullmatch(duration):
        gap_s = floor(sum(Fraction(number) * _UNITS_S[unit] for number, unit in _PART.findall(duration)))
    if gap_s < 1:
        problem = f'@every "{duration}" is not a duration of at least a second'
        raise CronError(problem=problem, fix="write hours, minutes and seconds, such as @every 1h30m")
    return Starts(Fraction(SECONDS_PER_HOUR, gap_s), gap_s)


def _counted(cron: str) -> Starts:
    """Count the starts of five fields over 28 years."""
    written = [text for text in cron.split(" ") if text]
    if len(written) != len(_FIELDS):
        seconds = " (Kubernetes has none for seconds)" if len(written) == len(_FIELDS) + 1 else ""
        fields = ", ".join(each.name for each in _FIELDS)
        problem = f"has {len(written)} fields, needs 5{seconds}"
        raise CronError(problem=problem, fix=f'write {fields}, such as "0 2 * * *", or a word such as @daily')
    canonical = " ".join(each.canonical(text) for each, text in zip(_FIELDS, written, strict=True))
    days, in_day_s = _simulated(canonical)
    if not days:
        raise CronError(problem="never starts: none of its months has such a day", fix="write a day that exists")
    over_days = min(later - earlier for earlier, later in pairwise([*days, days[0] + SPAN_DAYS]))
    gaps_s = [over_days * _DAY_S - in_day_s[-1] + in_day_s[0]]
    gaps_s += [later - earlier for earlier, later in pairwise(in_day_s)]
    return Starts(Fraction(len(days) * len(in_day_s), SPAN_DAYS * HOURS_PER_DAY), min(gaps_s))


def _simulated(canonical: str) -> tuple[list[int], list[int]]:
    """Days with starts (ordinals) and the times of a day [s], of a line that ``cronsim`` knows."""
    try:
        found = CronSim(canonical, datetime(2001, 1, 1))  # noqa: DTZ001 - where it starts to look does not matter
    except CronSimError:  # no month has that day
        return [], []
    days = [day.toordinal() for day in _days() if day.month in found.months and found.match_day(day)]
    times = [hour * SECONDS_PER_HOUR + minute * SECONDS_PER_MINUTE for hour in found.hours for minute in found.minutes]
    return days, sorted(times)


@functools.cache
def _days() -> tuple[date, ...]:
    return tuple(date(2001, 1, 1) + timedelta(days=day) for day in range(SPAN_DAYS))
