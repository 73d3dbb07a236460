"""A run as a person wants to watch it in a terminal: one live line, and the results as lines above it.

Reads the journal only, so it shows a run of another process just as well. Without a terminal (CI) it prints the same
line at most every two seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runbook_lib.journal.history import History
from runbook_lib.progress import line

if TYPE_CHECKING:
    from rich.console import Console

    from runbook_lib.journal import Entry, Journal, ProgressRow

PLAIN_EVERY_S = 2.0
POLL_S = 0.2
_COLOURS = {"pass": "green", "fail": "red", "could_not_run": "yellow", "interrupted": "yellow"}
_MARKS = {"pass": "✓", "fail": "✗", "could_not_run": "?"}


def follow(journal: Journal, run_id: str, done: threading.Event, console: Console | None = None) -> None:
    """Show a run's progress until `done` is set; blocks, so call it in the main thread or in one of its own.

    Args:
        journal: The run's journal; polled five times a second.
        run_id: The run.
        done: Set by whoever runs the phases.
        console: Where to write; the standard output when None.
    """
    from rich.console import Console

    screen = console or Console(emoji=False, highlight=False)
    show = _follow_live if screen.is_terminal else _follow_plain
    show(_Watch(journal, run_id), done, screen)


class _Watch:
    """What is new in the journal since the last look."""

    def __init__(self, journal: Journal, run_id: str) -> None:
        self._journal, self._run_id = journal, run_id
        self._seen = len(journal.entries(run_id))
        self.history = History(())
        self.progress: ProgressRow | None = None

    def news(self) -> list[Entry]:
        """The entries since the last call; `history` and `progress` are current afterwards."""
        entries = self._journal.entries(self._run_id)
        self.history = History(entries)
        self.progress = self._journal.get_progress(self._run_id)
        fresh, self._seen = entries[self._seen :], len(entries)
        return fresh

    def current(self) -> tuple[str, str, float]:
        """Phase, step under way (or empty), and since when (seconds since the epoch)."""
        last = self.history.entries[-1] if self.history.entries else None
        going = [unit for unit in self.history.units.values() if unit.outcome == "interrupted"]
        if going:
            return going[-1].phase, going[-1].name, going[-1].intent.time.timestamp()
        return (last.phase, "", last.time.timestamp()) if last else ("", "", time.time())

    def reported(self) -> ProgressRow | None:
        """The step's own progress, when it has said something."""
        _, step, since = self.current()
        row = self.progress
        return row if row is not None and step and row.step == step and row.at >= since - 1 else None


def _follow_live(watch: _Watch, done: threading.Event, screen: Console) -> None:
    from rich.live import Live

    with Live(console=screen, refresh_per_second=8, transient=True) as live:
        while True:
            last = done.is_set()
            for entry in watch.news():
                for text, colour in _result_lines(entry):
                    screen.print(text, style=colour, markup=False)
            live.update(_live_line(watch))
            if last:
                return
            done.wait(POLL_S)


def _live_line(watch: _Watch) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    phase, step, since = watch.current()
    row = watch.reported()
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(_words(phase), style="bold"), Text(_words(step), style="cyan"), *_bar(row, ProgressBar),
                 Text(_figures(row, since), style="dim"))  # fmt: skip
    return grid


def _bar(row: ProgressRow | None, bar: Any) -> list[Any]:
    return [bar(total=row.total, completed=row.done, width=28)] if row is not None and row.total else []


def _figures(row: ProgressRow | None, since: float) -> str:
    if row is None:
        return f"{max(0.0, time.time() - since):.0f} s"
    return line(row).partition(": ")[2]


def _follow_plain(watch: _Watch, done: threading.Event, screen: Console) -> None:
    said, before = 0.0, ""
    while True:
        last = done.is_set()
        for entry in watch.news():
            for text, _ in _result_lines(entry):
                screen.print(text, markup=False, soft_wrap=True)
        row = watch.reported()
        text = f"  {row.phase} · {line(row)}" if row else ""
        if text and text != before and time.monotonic() - said >= PLAIN_EVERY_S:
            screen.print(text, markup=False, soft_wrap=True)
            said, before = time.monotonic(), text
        if last:
            return
        done.wait(POLL_S)


def _result_lines(entry: Entry) -> Iterator[tuple[str, str]]:
    """An entry as a line for people; most kinds have none."""
    payload = entry.payload
    if entry.kind == "phase_started":
        yield f"{_words(entry.phase).capitalize()}", "bold"
    elif entry.kind in ("result", "rollback_result"):
        outcome = str(payload.get("outcome", ""))
        mark = "↩" if entry.kind == "rollback_result" and outcome == "pass" else _MARKS.get(outcome, "?")
        spent = payload.get("duration_s")
        took = f"  {spent:.1f} s" if isinstance(spent, int | float) else ""
        yield f"  {mark} {_words(entry.step)}: {payload.get('text', '')}{took}", _COLOURS.get(outcome, "yellow")
    elif entry.kind == "gate":
        passed = bool(payload.get("passed"))
        yield f"  {'✓ gate passed' if passed else '✗ gate not passed'}", "green" if passed else "bold red"
        for item in payload.get("items", ()):
            if item.get("outcome") != "pass":
                yield f"    {item.get('name')}: {item.get('text', '')}", "red"
    elif entry.kind == "alarm":
        yield f"  ! {payload.get('text', 'alarm')}", "bold red"


def _words(name: str) -> str:
    return name.replace("_", " ")
