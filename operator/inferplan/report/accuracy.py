"""Predictions against measurements, as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from inferplan.accuracy.moved import Moved
from inferplan.accuracy.outcome import Metric
from inferplan.accuracy.score import Score, Scores, Slice
from inferplan.report.numbers import number
from inferplan.report.outline import Report, Section, Table

TITLES = {
    Metric.TTFT: "TTFT",
    Metric.TPOT: "TPOT",
    Metric.E2E: "E2E",
    Metric.THROUGHPUT: "Output tokens/s",
    Metric.KV_TOKENS: "KV pool tokens",
    Metric.KV_POOL: "KV pool",
    Metric.WEIGHTS: "Weights",
}
MOST_REASONS = 12
"""So many reasons for skipped rows, and remarks about others, are listed; the rest is counted."""
_SHOWN = (Metric.TTFT, Metric.TPOT, Metric.E2E, Metric.THROUGHPUT, Metric.KV_TOKENS)
_NOTE = (
    "Errors are |predicted / measured - 1|: the median, in brackets the median of the signed errors (+ = predicted too "
    "high), then the rows."
)


def percent(share: float) -> str:
    """A share as people read it.

    >>> percent(0.0512), percent(1.234)
    ('5.1 %', '123 %')
    """
    value = 100.0 * share
    return f"{value:.0f} %" if abs(value) >= 100.0 else f"{value:.1f} %"  # noqa: PLR2004 - three digits are enough


def accuracy_report(title: str, scores: Scores) -> Report:
    """Tell how far predictions are from the runs of a table."""
    headline = f"{scores.predicted:,} of {scores.runs:,} runs predicted"
    if scores.predicted and not scores.overall.scores:
        headline += "; none of them states a measured value (mean or p50), so there is nothing to compare"
    if scores.repeated:
        headline += f"; {scores.repeated} stand twice and count once"
    dimensions = dict.fromkeys(part.dimension for part in scores.slices)
    sections = [
        overall_section(scores.overall),
        *(_by(name, [part for part in scores.slices if part.dimension == name]) for name in dimensions),
    ]
    sections += [
        _told(title, column, sentences)
        for title, column, sentences in (("Noted", "What", scores.noted), ("Skipped", "Why", scores.skipped))
        if sentences
    ]
    return Report(title, headline, scores.predicted > 0, tuple(sections))


def overall_section(part: Slice) -> Section:
    """All metrics of one slice, each in full."""
    rows = tuple(
        (
            TITLES[metric],
            f"{found.rows:,}",
            percent(found.median_error),
            percent(found.mean_error),
            f"{100 * found.bias:+.1f} %",
            percent(found.near),
            "–" if found.covered is None else percent(found.covered),
        )
        for metric, found in part.scores
    )
    header = ("Metric", "Rows", "Median error", "Mean error", "Bias", "Within 25 %", "In range")
    return Section("All runs", table=Table(header, rows, frozenset(range(1, len(header)))))


def moved_sections(found: Sequence[Moved], since: str) -> tuple[Section, ...]:
    """Tell what moved since an earlier file of rows."""
    rows = tuple(
        (TITLES[one.metric], f"{one.rows:,}", f"{one.moved:,}", f"{100 * one.typical:+.1f} %") for one in found
    )
    header = ("Metric", "Rows in both", "Moved", "By (median)")
    sections = [Section(f"Moved since {since}", table=Table(header, rows, frozenset({1, 2, 3})))]
    largest = tuple(
        (
            TITLES[one.metric],
            move.row_id,
            move.slice,
            number(move.before),
            number(move.now),
            f"{100 * move.share:+.0f} %",
        )
        for one in found
        for move in one.largest
    )
    if largest:
        names = ("Metric", "Row", "Of", "Before", "Now", "Change")
        sections.append(Section("The largest moves", table=Table(names, largest, frozenset({3, 4, 5}))))
    return tuple(sections)


def _by(name: str, parts: list[Slice]) -> Section:
    metrics = [metric for metric in _SHOWN if any(part.score(metric) for part in parts)]
    header = (name[0].upper() + name[1:], *(TITLES[metric] for metric in metrics))
    rows = tuple((part.value, *(_cell(part.score(metric)) for metric in metrics)) for part in parts)
    return Section(f"By {name}", table=Table(header, rows, frozenset(range(1, len(header)))), notes=(_NOTE,))


def _cell(found: Score | None) -> str:
    return "–" if found is None else f"{percent(found.median_error)} ({100 * found.bias:+.0f}) n {found.rows}"


def _told(title: str, column: str, sentences: tuple[tuple[str, int], ...]) -> Section:
    listed, rest = sentences[:MOST_REASONS], sentences[MOST_REASONS:]
    rows = [(f"{count:,}", reason) for reason, count in listed]
    if rest:
        rows.append((f"{sum(count for _, count in rest):,}", f"{len(rest)} other reasons; --rows tells each row's"))
    return Section(title, table=Table(("Rows", column), tuple(rows), frozenset({0})))
