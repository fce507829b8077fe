"""Reports drawn on terminals of any width, and written as Markdown: nothing may be lost."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from rich.console import Console

from inferplan.domain.plan import Outcome
from inferplan.report.compare import comparison
from inferplan.report.markdown import escape, markdown, table_lines
from inferplan.report.outline import Report, Section, Table
from inferplan.report.plan import report
from inferplan.report.terminal import show
from tests.unit.api.outcomes import make_infeasible_outcome, make_outcome

OUTCOMES = [make_outcome(), make_infeasible_outcome()]


def drawn(found: Report, width: int, *, color: bool = False) -> str:
    text = io.StringIO()
    show([found], Console(file=text, width=width, highlight=False, force_terminal=color, no_color=not color))
    return text.getvalue()


def texts(found: Report) -> Iterator[str]:
    yield from (found.title, found.headline)
    for section in found.sections:
        yield section.title
        yield from section.paragraphs
        yield from (point.lstrip("✅⚠️💰❌ ") for point in section.points)
        yield from section.notes
        if section.table is not None:
            for row in (section.table.header, *section.table.rows):
                yield from row


def bare(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("width", [40, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(outcome: Outcome, width: int) -> None:
    found = drawn(report(outcome, everything=True), width)
    assert "…" not in found
    assert max(cell_len(line) for line in found.splitlines()) <= width


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_with_room_enough_every_text_stands_whole(outcome: Outcome) -> None:
    found = report(outcome, everything=True)
    shown = drawn(found, 400)
    for text in texts(found):
        assert bare(text) in bare(shown)


def test_without_color_there_are_no_escapes_with_color_there_are() -> None:
    found = report(OUTCOMES[0])
    assert "\x1b" not in drawn(found, 100)
    assert "\x1b[" in drawn(found, 100, color=True)


def test_text_of_users_is_never_read_as_markup() -> None:
    found = Report("[red]name[/red]", "[bold]", good=True, sections=(Section("[x]", ("[/]",), ("[link=x]y",)),))
    shown = drawn(found, 100)
    for text in ("[red]name[/red]", "[bold]", "[x]", "[/]", "[link=x]y"):
        assert text in shown


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_markdown_has_every_text(outcome: Outcome) -> None:
    found = report(outcome, everything=True)
    written = markdown([found])
    for text in texts(found):
        assert bare(escape(text)) in bare(written).replace("\\|", "|")


def test_markdown_tables_have_as_many_cells_in_every_line() -> None:
    table = Table(("a", "b|c"), (("1|2", "x_y"), ("", "<b>")), frozenset({0}))
    assert list(table_lines(table)) == ["| a | b\\|c |", "| ---: | --- |", "| 1\\|2 | x\\_y |", "|  | \\<b> |"]


def test_several_reports_follow_one_another_in_markdown() -> None:
    written = markdown([report(outcome) for outcome in OUTCOMES])
    assert [line for line in written.splitlines() if line.startswith("# ")] == ["# chatbot", "# chatbot"]
    assert "\n\n\n" not in written
    assert written.endswith("\n")
    assert not written.endswith("\n\n")


def test_a_comparison_names_scenarios_without_a_plan_and_their_reason() -> None:
    found = comparison(OUTCOMES)
    assert found.headline == "1 of 2 scenarios have a plan"
    assert not found.good
    table = found.sections[0].table
    assert table is not None
    assert table.rows[1][1:3] == ("no plan", "WeightsDontFit")


def test_a_comparison_of_nothing_feasible_stops_after_the_summary() -> None:
    assert [section.title for section in comparison([make_infeasible_outcome()]).sections] == ["Performance summary"]


def test_a_comparison_has_its_six_parts() -> None:
    assert [section.title for section in comparison([make_outcome(), make_outcome()]).sections] == [
        "Performance summary",
        "Memory patterns",
        "Hardware utilization",
        "Cost optimization",
        "Growth",
        "Total cost of ownership",
    ]


WORDS = Table(
    ("Name", "Alpha", "Beta", "Gamma", "Delta"), (("some-long-name", "one two three", "x", "four five", "y"),)
)


def table_lines_at(width: int) -> list[str]:
    text = drawn(Report("t", "h", good=True, sections=(Section("s", table=WORDS),)), width)
    return [line.strip() for line in text.splitlines()[4:] if line.strip()]


def test_a_table_that_fits_has_a_line_for_each_row() -> None:
    assert table_lines_at(80)[1].split() == ["some-long-name", "one", "two", "three", "x", "four", "five", "y"]


def test_a_table_that_is_a_little_too_wide_wraps_between_words() -> None:
    shown = table_lines_at(46)
    assert shown[1].startswith("some-long-name")
    assert set(" ".join(shown).split()) >= {"some-long-name", "one", "two", "three", "four", "five"}


def test_a_table_far_too_wide_is_drawn_row_by_row() -> None:
    assert table_lines_at(30) == ["some-long-name", "Alpha  one two three", "Beta   x", "Gamma  four five", "Delta  y"]


def test_a_comparison_names_the_numbers_behind_each_insight() -> None:
    found = comparison([make_outcome(), make_outcome()])
    for section in found.sections:
        for point in section.points:
            assert any(sign.isdigit() for sign in point) or "rented" in point, point
