"""What a person sees while a run continues: in a terminal, in CI, in a notebook."""

from __future__ import annotations

import io
import re
import threading
from dataclasses import dataclass

import pytest
from fix_evidence import RUN, Evidence, record_phase
from rich.console import Console

from runbook_lib.display import live_line
from runbook_lib.display.terminal import _live_line, _Watch, follow
from runbook_lib.journal import History, Journal, ProgressRow, store
from runbook_lib.journal.kinds import Approval, ApprovalRequested, Intent, PhaseStarted
from runbook_lib.runner import widgets

INTENT = Intent("", {}, "0", reversible=True)


@dataclass(frozen=True)
class Watched:
    """What the widgets use of a run."""

    journal: Journal
    run_id: str = RUN
    actor: str = "ada"

    def history(self) -> History:
        return History(self.journal.entries(self.run_id))


def under_way(journal: Journal) -> None:
    journal.append(RUN, PhaseStarted(), phase="data_migration")
    journal.append(RUN, INTENT, phase="data_migration", step="copy_history")
    at = journal.entries(RUN)[-1].time.timestamp()
    row = ProgressRow("data_migration", "copy_history", 5000, 10000, "rows", 2500.0, 2.0, "replica lag 3 s", at)
    journal.set_progress(RUN, row)


def watched(evidence: Evidence, *, terminal: bool) -> str:
    text, done = io.StringIO(), threading.Event()
    console = Console(file=text, force_terminal=terminal, width=140, highlight=False)
    thread = threading.Thread(target=follow, args=(evidence.journal, RUN, done, console))
    thread.start()
    under_way(evidence.journal)
    for _ in range(100):
        if "replica lag" in text.getvalue():
            break
        thread.join(0.1)
    record_phase(evidence.journal, "cutover", passed=False)
    done.set()
    thread.join()
    return text.getvalue()


def test_without_a_terminal_it_is_plain_lines(evidence: Evidence):
    text = watched(evidence, terminal=False)
    assert "data_migration · copy_history: 5,000 of 10,000 rows (50%), 2,500 rows/s, 2 s left – replica lag 3 s" in text
    assert "✗ cutover step: did cutover" in text
    assert "✗ gate not passed" in text
    assert "3 rows are missing" in text
    assert "\x1b" not in text
    assert text.count("copy_history:") == 1  # what has not changed is not said again


def test_in_a_terminal_the_results_stand_above_one_live_line(evidence: Evidence):
    text = watched(evidence, terminal=True)
    assert "copy history" in text
    assert "50%" in text
    assert "replica lag 3 s" in text
    assert "3 rows are missing" in text
    assert "\x1b[" in text


def test_the_live_line_is_one_line_however_much_a_step_has_to_say(evidence: Evidence):
    evidence.journal.append(RUN, INTENT, phase="cutover", step="watch_traffic:cutover")
    at = evidence.journal.entries(RUN)[-1].time.timestamp()
    said = "error rate: 0 of 728 requests failed; response time: p99 24 ms; data inconsistency: both sides agree"
    evidence.journal.set_progress(RUN, ProgressRow("cutover", "watch_traffic:cutover", 2, 6, "s", 1.0, 4.0, said, at))
    watch = _Watch(evidence.journal, RUN)
    watch.news()
    text = io.StringIO()
    Console(file=text, width=100).print(_live_line(watch))
    [shown] = text.getvalue().splitlines()
    assert "watch traffic cutover" in shown and "2 of 6 s (33%)" in shown and shown.rstrip().endswith("…")


def test_what_was_seen_once_is_not_read_again(evidence: Evidence, monkeypatch: pytest.MonkeyPatch):
    under_way(evidence.journal)
    read = list[str]()
    monkeypatch.setattr(store, "_entry", lambda row, made=store._entry: read.append(row["kind"]) or made(row))
    watch = _Watch(evidence.journal, RUN)
    assert read[-2:] == ["phase_started", "intent"]
    del read[:]
    assert watch.news() == [] and read == []
    record_phase(evidence.journal, "cutover", passed=False)
    fresh = watch.news()
    assert [entry.kind for entry in fresh] == read
    assert watch.history.entries == evidence.journal.entries(RUN)


def test_unattended_the_widgets_are_static_html(evidence: Evidence):
    run = Watched(evidence.journal)
    under_way(evidence.journal)
    assert not widgets.interactive()
    assert "copy_history" in widgets.watch(run)._repr_html_()
    assert "50%" in widgets.watch(run)._repr_html_()
    assert "nothing waits" in str(widgets.approve(run, "cutover"))
    evidence.journal.append(RUN, ApprovalRequested("x"), phase="cutover", step="go <now>")
    shown = widgets.approve(run, "cutover")
    assert "runbook approve" in shown._repr_html_()
    assert "go &lt;now&gt;" in shown._repr_html_()


def test_the_button_records_the_approval_once(evidence: Evidence):
    run = Watched(evidence.journal)
    evidence.journal.append(RUN, ApprovalRequested("x"), phase="cutover", step="go")
    answer, row = widgets._form(run, "go").children
    comment, button = row.children
    comment.value = "window is open"
    button.click()
    (approval,) = evidence.journal.approvals(RUN)
    assert (approval.actor, approval.read(Approval)) == ("ada", Approval("x", "window is open"))
    assert button.disabled
    assert "approved by ada" in answer.value
    button.click()
    assert "is asked for" in answer.value
    assert len(evidence.journal.approvals(RUN)) == 1


class Terminal(io.StringIO):
    """A stream that says of itself that somebody watches it."""

    def isatty(self) -> bool:
        return True


def test_a_command_s_progress_is_one_line_of_the_terminal_s_width_and_is_taken_away_again(
    monkeypatch: pytest.MonkeyPatch,
):
    terminal = Terminal()
    monkeypatch.setattr(live_line, "QUICK_S", 0)
    monkeypatch.setattr("sys.stdout", terminal)  # here: between fixtures and test pytest puts its own there
    for name, value in {"TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyboardInterrupt), live_line.LiveLine("copy") as screen:
        screen.progress(10, 100, "waits: " + "load " * 40)
        screen.tell("orders: made")
        raise KeyboardInterrupt
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    progress, told = dict.fromkeys(text for text in re.split(r"[\r\n]+", shown) if text.strip())
    assert progress.startswith("copy: 10 of 100 rows (10%)") and len(progress) == 80 and progress.endswith("…")
    assert told == "orders: made"
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1  # the cursor is back
    assert "\x1b[2K" in terminal.getvalue().partition("orders")[0]


def test_where_nobody_watches_a_command_says_plain_lines_now_and_then(capsys: pytest.CaptureFixture[str]):
    with live_line.LiveLine("copy", stderr=True, every_s=0) as screen:
        screen.progress(10, 100)
        screen.tell("orders: made")
    assert capsys.readouterr().err == "  copy: 10 of 100 rows (10%)\norders: made\n"
