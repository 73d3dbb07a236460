"""How far a step is: rate over a sliding window, time left, at most one report a second."""

from __future__ import annotations

import sys
from typing import Any

from runbook_lib.display.render import render
from runbook_lib.journal.progress import Listener, ProgressRow


def line(row: ProgressRow) -> str:
    """One stable line: step, done of total, rate, time left, reason."""
    share = f" ({row.done / row.total:.0%})" if row.total else ""
    total = f" of {row.total:,.0f}" if row.total else ""
    rate = f", {row.rate:,.0f} {row.unit}/s" if row.rate and row.unit != "s" else ""  # seconds: a watch
    left = f", {row.eta_s:,.0f} s left" if row.eta_s else ""
    reason = f" – {row.reason}" if row.reason else ""
    return f"{row.step}: {row.done:,.0f}{total} {row.unit}{share}{rate}{left}{reason}"


def as_html(row: ProgressRow) -> str:
    """The same line under a static bar."""
    share = f"{min(1.0, row.done / row.total):.1%}" if row.total else None
    return render("progress", share=share, line=line(row))


def notebook_listener() -> Listener | None:
    """Shows reports in one display of the running cell; None outside a kernel."""
    if "IPython" not in sys.modules:  # a plain script: nothing to show it in, and nothing to import for it
        return None
    from IPython import get_ipython

    shell = get_ipython()
    return NotebookDisplay(shell) if shell is not None and hasattr(shell, "kernel") else None


class NotebookDisplay:
    """One display handle for each cell, updated in place: a bar for each refresh or step would bury the record."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._place = -1
        self._handle: Any = None

    def __call__(self, row: ProgressRow) -> None:
        from IPython.display import display

        place = self._shell.execution_count
        content = {"text/html": as_html(row), "text/plain": line(row)}
        if self._handle is None or place != self._place:
            self._place = place
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
