"""A result as a small static HTML table: readable offline, in print, and without style sheets of the notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from runbook_lib.verdict import Outcome

_COLOURS = {Outcome.PASS: "#2e7d32", Outcome.FAIL: "#c62828", Outcome.COULD_NOT_RUN: "#b26a00"}
_WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "fail", Outcome.COULD_NOT_RUN: "could not run"}
_CELL = "text-align:left;vertical-align:top;padding:3px 14px 3px 0;border-bottom:1px solid #ddd;white-space:pre-line"


def html_table(title: str, outcome: Outcome, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A title with the outcome's colour and word, and a table under it; every value is escaped."""
    mark = f'<b style="color:{_COLOURS[outcome]}">{_WORDS[outcome]}</b>'
    head = "".join(f'<th style="{_CELL};color:#666">{escape(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(str(value))}</td>' for value in row) + "</tr>" for row in rows
    )
    table = f'<table style="border-collapse:collapse;margin-top:4px"><tr>{head}</tr>{body}</table>' if rows else ""
    return f"<div>{mark} · {escape(title)}{table}</div>"
