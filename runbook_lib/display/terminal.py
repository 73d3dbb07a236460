"""A run as a person wants to watch it in a terminal: one live line, and the results as lines above it.

Reads the journal only, so it shows a run of another process just as well. Without a terminal (CI) it prints the same
line at most every two seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runbook_lib.display.progress import line
from runbook_lib.journal.content import Unknown, unknown_text
from runbook_lib.journal.history import History
from runbook_lib.journal.kinds import (
    Alarm,
    Gate,
    PhaseStarted,
    Result,
    RollbackResult,
    SchemaChanged,
    StandaloneVerdict,
)
from runbook_lib.plan.phase_order import every_phase
from runbook_lib.verdict import words_of

if TYPE_CHECKING:
    from rich.console import Console

    from runbook_lib.journal import Entry, Journal, ProgressRow, RunRow

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


@contextmanager
def progress_in_terminal(journal: Journal, run_id: str) -> Iterator[None]:
    """Show the run's progress in the terminal while the body does its work."""
    done = threading.Event()
    teller = threading.Thread(target=follow, args=(journal, run_id, done), name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


class _Watch:
    """What is new in the journal since the last look; an entry never changes, so each is read once."""

    def __init__(self, journal: Journal, run_id: str) -> None:
        self._journal, self._run_id = journal, run_id
        self.history = History(journal.entries(run_id))
        self.progress: ProgressRow | None = None

    def news(self) -> list[Entry]:
        """The entries since the last call; `history` and `progress` are current afterwards."""
        known = self.history.entries
        fresh = self._journal.entries(self._run_id, after=known[-1].seq if known else 0)
        if fresh:
            self.history = History([*known, *fresh])
        self.progress = self._journal.get_progress(self._run_id)
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
    cells = [Text(words_of(phase), style="bold"), Text(words_of(step), style="cyan"), *_bar(row, ProgressBar)]
    grid = Table.grid(padding=(0, 1), expand=True)
    for _ in cells:
        grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)  # one line: what does not fit is cut, not wrapped
    grid.add_row(*cells, Text(_figures(row, since), style="dim"))
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
    match entry.content:
        case PhaseStarted():
            yield f"{words_of(entry.phase).capitalize()}", "bold"
        case Result(outcome=outcome, text=text, duration_s=spent):
            colour = _COLOURS.get(outcome, "yellow")
            yield f"  {_MARKS.get(outcome, '?')} {words_of(entry.step)}: {text}  {spent:.1f} s", colour
        case StandaloneVerdict(outcome=outcome, text=text) | RollbackResult(outcome=outcome, text=text):
            undone = isinstance(entry.content, RollbackResult) and outcome == "pass"
            mark = "↩" if undone else _MARKS.get(outcome, "?")
            yield f"  {mark} {words_of(entry.step)}: {text}", _COLOURS.get(outcome, "yellow")
        case Gate(passed=passed, items=items):
            waived = sum(item.waived for item in items)
            more = f", {waived} of its {len(items)} items waived by policy" if waived else ""
            yield f"  {'✓ gate passed' if passed else '✗ gate not passed'}{more}", "green" if passed else "bold red"
            yield from ((f"    {item.name}: {item.text}", "red") for item in items if not item.passed)
        case SchemaChanged(text=text):
            yield f"  ! {text}", "yellow"
        case Alarm(text=text):
            yield f"  ! {text}", "bold red"
        case Unknown():
            yield f"  ? {unknown_text([(entry.seq, entry.kind)])}", "yellow"


def status_lines(journal: Journal, run_id: str = "") -> Iterator[str]:
    """Where a run is: its phases, the steps of the one under way, how far that is, and what it waits for.

    Args:
        run_id: Empty: the newest run of the journal.
    Raises:
        JournalError: there is no such run.
    """
    every = journal.runs()
    if not run_id and not every:
        yield "no run yet. Next: runbook run -f parameters/demo.yaml"
        return
    row = journal.run(run_id) if run_id else every[-1]
    history = history_of(journal, row)
    yield f"run {row.run_id}: {words_of(row.state)}; plan {row.plan_path}; since {row.created_at[:16]} UTC, {row.actor}"
    yield from phase_lines(journal, row, history)
    if row.state in ("open", "rolling_back"):
        yield from (f"waits for {each}" for each in waiting(row.run_id, history, "FILE"))


def history_of(journal: Journal, row: RunRow) -> History:
    """The run's state, read from the journal."""
    return History(journal.entries(row.run_id))


def phase_lines(journal: Journal, row: RunRow, history: History) -> Iterator[str]:
    """The phases of a run, and the steps of the one under way."""
    for phase in _phases(row, history):
        yield from _phase_lines(phase, history, journal.get_progress(row.run_id))


def phases_by_state(row: RunRow, history: History) -> dict[str, str]:
    """Each phase: not begun, passed, undone, gate not passed, or under way."""
    return {phase: _phase_state(phase, history)[1] for phase in _phases(row, history)}


def waiting(run_id: str, history: History, file: str) -> Iterator[str]:
    """Whom the run waits for: each approval, sign-off and change of a schema without an answer, with the command.

    Args:
        file: The parameter file, for the command.
    """
    for ask in history.waiting:
        command = f'runbook approve {run_id} "{ask.name}" -f {file} --comment …'
        yield f'the {ask.answer.word} of "{ask.name}". Next: {command}'
    yield from newer(history)
    for text in history.schema_changes:
        yield f"an answer to a change of the schema: {text}. Next: runbook follow apply-ddl -f {file}"


def newer(history: History) -> Iterator[str]:
    """That only a newer version can act on the run, where that is so."""
    if history.unknown:
        yield f"a newer runbook_lib: {unknown_text((entry.seq, entry.kind) for entry in history.unknown)}"


def _phases(row: RunRow, history: History) -> list[str]:
    begun = dict.fromkeys(entry.phase for entry in history.entries if entry.phase and not entry.content.aside)
    started = (entry.read(PhaseStarted) for entry in history.entries if isinstance(entry.content, PhaseStarted))
    every = every_phase(next((one.strategy for one in started), "") or "dual_write")
    ahead = every if row.state == "open" else ()
    known = [name for name in every if name in begun or name in ahead]
    return known + [name for name in begun if name not in known]


def _phase_state(phase: str, history: History) -> tuple[str, str]:
    """Mark and words."""
    entries = [entry for entry in history.entries if entry.phase == phase]
    if not any(isinstance(entry.content, PhaseStarted) for entry in entries):
        return "·", "not begun"
    if history.phase_passed(phase):
        return "✓", "passed"
    if history.latest(phase) and all(unit.undone for unit in history.latest(phase)):
        return "↩", "undone"
    return ("✗", "gate not passed") if isinstance(entries[-1].content, Gate) else ("…", "under way")


def _phase_lines(phase: str, history: History, progress: ProgressRow | None) -> Iterator[str]:
    mark, text = _phase_state(phase, history)
    at = f" at {history.gates[phase].at[11:16]} UTC" if text == "passed" else ""
    yield f"  {mark} {words_of(phase):<20} {text}{at}"
    if mark in "✗…":
        yield from _step_lines(phase, history, progress)


def _step_lines(phase: str, history: History, progress: ProgressRow | None) -> Iterator[str]:
    for unit in history.latest(phase):
        text = unit.result.read(Result).text if unit.result else "begun, no result yet"
        yield f"      {_MARKS.get(unit.outcome, '…')} {words_of(unit.name)}: {text}"
        if unit.outcome == "interrupted" and progress is not None and progress.step == unit.name:
            yield f"        {line(progress)}, {max(0.0, time.time() - progress.at):,.0f} s ago"
    for (where, name), entry in history.verdicts.items():
        found = entry.read(StandaloneVerdict)
        if where == phase and found.outcome != "pass":
            yield f"      {_MARKS.get(found.outcome, '?')} {words_of(name)}: {found.text}"
