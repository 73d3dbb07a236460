"""A command's progress: on a terminal one line that is rewritten, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

import click

from runbook_lib.display.progress import line
from runbook_lib.journal.progress import Progress, ProgressRow

QUICK_S = 0.5  # what ends within this shows no progress, and does not pay for importing rich


class LiveLine:
    """Lines that stay, and below them the progress. A `with` block takes the line away again, whatever happens.

    Args:
        step: What is under way.
        unit: Of what is counted.
        stderr: Whether it is said on the standard error.
        every_s: Where there is no terminal: seconds between two lines.
        reasons: Whether a reason that changes is said at once there, too.
    """

    def __init__(
        self, step: str, unit: str = "rows", *, stderr: bool = False, every_s: float = 5.0, reasons: bool = False
    ) -> None:
        self._step, self._unit, self._stderr, self._every_s, self._reasons = step, unit, stderr, every_s, reasons
        self._progress = Progress(self._show)
        self._begun = self._said = time.monotonic()
        self._live: Any = None
        self._reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def tell(self, text: str) -> None:
        """Say a line that stays."""
        self._clear()
        click.echo(text, err=self._stderr)

    def progress(self, done: float, total: float | None, reason: str = "", *, step: str = "", unit: str = "") -> None:
        """Say how far it is; at most once a second."""
        self._progress.report("", step or self._step, done, total, unit or self._unit, reason)

    def _show(self, row: ProgressRow) -> None:
        now = time.monotonic()
        if (sys.stderr if self._stderr else sys.stdout).isatty():
            if now - self._begun >= QUICK_S:
                self._rewrite(line(row))
        elif now - self._said >= self._every_s or (self._reasons and row.reason != self._reason):
            self._said, self._reason = now, row.reason
            click.echo(f"  {line(row)}", err=self._stderr)

    def _rewrite(self, text: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(console=Console(stderr=self._stderr), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _clear(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
