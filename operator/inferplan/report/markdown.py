"""Reports as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inferplan.report.outline import Report, Section, Table


def markdown(reports: Sequence[Report]) -> str:
    """Write reports one after the other."""
    return "\n".join(line for report in reports for line in _report(report)).rstrip() + "\n"


def _report(report: Report) -> Iterator[str]:
    yield f"# {report.title}"
    yield ""
    yield f"**{escape(report.headline)}**"
    yield ""
    for section in report.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    for paragraph in section.paragraphs:
        yield escape(paragraph)
        yield ""
    if section.points:
        yield from (f"- {escape(point)}" for point in section.points)
        yield ""
    if section.table is not None:
        yield from table_lines(section.table)
        yield ""
    for note in section.notes:
        yield f"<sub>{escape(note)}</sub>"
        yield ""


def table_lines(table: Table) -> Iterator[str]:
    """Write a table."""
    yield _row(table.header)
    yield _row("---:" if column in table.numeric else "---" for column in range(len(table.header)))
    for row in table.rows:
        yield _row(row)


def _row(cells: Sequence[str] | Iterator[str]) -> str:
    return f"| {' | '.join(escape(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def escape(text: str) -> str:
    r"""Keep characters that Markdown would read.

    >>> escape("a_b <c>")
    'a\\_b \\<c>'
    """
    for sign in ("\\", "_", "*", "<", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text
