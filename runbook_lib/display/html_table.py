"""A result as a small static HTML table: readable offline, in print, and without style sheets of the notebook."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.display.render import render
from runbook_lib.verdict import Outcome


def html_table(title: str, outcome: Outcome, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A title with the outcome's colour and word, and a table under it."""
    return render("table", title=title, outcome=outcome, header=header, rows=rows)
