"""Schedules in the dialect of Kubernetes.

Starts in 28 years and shortest gaps are those of the same line in robfig/cron v3.0.1, with which Kubernetes parses.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferplan.cron import SPAN_DAYS, WORDS, CronError, starts

HOUR_S, DAY_S = 3_600, 86_400


@pytest.mark.parametrize(
    ("cron", "in_28_years", "gap_s"),
    [
        ("0 2 * * *", 10_227, DAY_S),
        ("* * * * *", 14_726_880, 60),
        ("*/15 * * * *", 981_792, 900),
        ("5/15 * * * *", 981_792, 900),
        ("0,1,30 8-17 * * *", 306_810, 60),
        ("0 0 1 * *", 336, 28 * DAY_S),
        ("0 0 29 2 *", 7, 1_461 * DAY_S),
        ("0 2 * * 0", 1_461, 7 * DAY_S),
        ("0 2 * * SUN", 1_461, 7 * DAY_S),
        ("0 2 * * mon-Fri", 7_305, DAY_S),
        ("0 2 ? JAN-MAR ?", 2_527, DAY_S),
        ("0  2  *  *  *", 10_227, DAY_S),
        ("05 02 01 01 *", 28, 365 * DAY_S),
        # day of month and day of week: either, unless one of them is * or ?
        ("0 0 13 * FRI", 1_749, DAY_S),
        ("0 0 13 * ?", 336, 28 * DAY_S),
        ("0 0 */2 * 1", 5_931, DAY_S),
        ("0 0 */1 * 1", 1_461, 7 * DAY_S),
        ("0 0 5,* * 1", 1_461, 7 * DAY_S),
        ("0 0 30 2 1", 113, 7 * DAY_S),
        # a step on one value runs to the end of the field, on a range to the end of the range
        ("0 0 * * 1/2", 4_383, 2 * DAY_S),
        ("5-5/2 0 * * *", 10_227, DAY_S),
        ("0 */5 * * *", 51_135, 4 * HOUR_S),
    ],
)
def test_starts_are_counted_as_kubernetes_starts(cron: str, in_28_years: int, gap_s: int) -> None:
    found = starts(cron)
    assert found.per_hour * SPAN_DAYS * 24 == in_28_years
    assert found.shortest_gap_s == gap_s


@pytest.mark.parametrize("word", WORDS)
def test_a_word_means_its_five_fields(word: str) -> None:
    assert starts(word) == starts(WORDS[word])


@pytest.mark.parametrize(
    ("cron", "gap_s"),
    [
        ("@every 1h", 3_600),
        ("@every 90m", 5_400),
        ("@every 1h30m10s", 5_410),
        ("@every 1.5h", 5_400),
        ("@every .5h", 1_800),
        ("@every 1500ms", 1),
    ],
)
def test_a_duration_is_the_gap_between_starts(cron: str, gap_s: int) -> None:
    assert starts(cron).shortest_gap_s == gap_s
    assert starts(cron).per_hour == Fraction(HOUR_S, gap_s)


@pytest.mark.parametrize(
    ("cron", "problem", "fix"),
    [
        ("", "has 0 fields, needs 5", '"0 2 * * *"'),
        ("0 2 * *", "has 4 fields, needs 5", "minute, hour, day of month, month, day of week"),
        ("0 0 2 * * *", "has 6 fields, needs 5 (Kubernetes has none for seconds)", "such as"),
        ("60 * * * *", 'minute "60" is not from 0 to 59', "write 0 to 59"),
        ("0 24 * * *", 'hour "24" is not from 0 to 23', "write 0 to 23"),
        ("0 0 0 * *", 'day of month "0" is not from 1 to 31', "write 1 to 31"),
        ("0 0 32 * *", 'day of month "32" is not from 1 to 31', "write 1 to 31"),
        ("0 0 * 13 *", 'month "13" is not from 1 to 12', "JAN to DEC"),
        ("0 0 * * 7", 'day of week "7" is not from 0 to 6', "Sunday is 0"),
        ("0 0 * * 8", 'day of week "8" is not from 0 to 6', "SUN to SAT"),
        ("0 0-24 * * *", 'hour "0-24" is not from 0 to 23', "write 0 to 23"),
        ("99 99 * * *", 'minute "99"', "write 0 to 59"),
        ("5-1 * * * *", 'minute "5-1" runs backwards', "write 1-5, or 5-59,0-1"),
        ("0 0 * * FRI-MON", 'day of week "FRI-MON" runs backwards', "5-6,0-1"),
        ("*/0 * * * *", 'minute "*/0" has a step of 0', "at least 1"),
        ("0 1-5/0 * * *", 'hour "1-5/0" has a step of 0', "at least 1"),
        ("*/ * * * *", 'minute "*/" is not understood', "a step such as */2"),
        ("1/2/3 * * * *", "is not understood", "a step"),
        ("1-2-3 * * * *", "is not understood", "a range"),
        ("*-5 * * * *", "is not understood", "a range"),
        ("-1 * * * *", "is not understood", "write 0 to 59"),
        ("1,,2 * * * *", "is not understood", "a list"),
        ("1, * * * *", "is not understood", "a list"),
        ("1.5 * * * *", "is not understood", "write 0 to 59"),
        ("0 0 L * *", "is not understood", "write 1 to 31"),
        ("0 0 15W * *", "is not understood", "write 1 to 31"),
        ("0 0 * * 1#2", "is not understood", "SUN to SAT"),
        ("0 0 JAN * *", 'day of month "JAN" is not understood', "write 1 to 31"),
        ("0 0 * MONDAY *", "is not understood", "JAN to DEC"),
        ("٣ * * * *", "is not understood", "write 0 to 59"),
        ("0\t0 * * *", "has 4 fields", "such as"),
        ("0 0 31 2 *", "never starts", "write a day that exists"),
        ("0 0 31 4,6,9,11 *", "never starts", "write a day that exists"),
        ("0 0 30-31 FEB ?", "never starts", "write a day that exists"),
        ("@reboot", '"@reboot" is not known', "@daily"),
        ("@Daily", '"@Daily" is not known', "@daily"),
        ("@daily ", "is not known", "@daily"),
        ("@nonsense", "is not known", "@every with a duration"),
        ("@every", "is not known", "@every with a duration"),
        ("@every ", "is not a duration", "@every 1h30m"),
        ("@every -1h", "is not a duration", "@every 1h30m"),
        ("@every 0s", "is not a duration", "@every 1h30m"),
        ("@every 100ms", "is not a duration of at least a second", "@every 1h30m"),
        ("@every 1d", "is not a duration", "hours, minutes and seconds"),
        ("@every 1h 30m", "is not a duration", "@every 1h30m"),
        ("TZ=UTC 0 0 * * *", "names a time zone", "timeZone"),
        ("CRON_TZ=Europe/Berlin @daily", "names a time zone", "timeZone"),
    ],
)
def test_what_kubernetes_does_not_start_is_refused_with_the_reason_and_the_fix(
    cron: str, problem: str, fix: str
) -> None:
    with pytest.raises(CronError) as caught:
        starts(cron)
    assert problem in caught.value.problem
    assert fix in caught.value.fix


@given(st.text(max_size=40) | st.text(alphabet="0123456789*/,-? @LW#", max_size=20))
def test_any_text_is_counted_or_refused(text: str) -> None:
    with contextlib.suppress(CronError):
        found = starts(text)
        assert found.per_hour > 0
        assert found.shortest_gap_s >= 1
