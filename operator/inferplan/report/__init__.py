"""Outcomes as people read them: sections of words and tables, drawn on a terminal or written as Markdown."""
