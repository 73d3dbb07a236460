"""Tell the plan's people what a run came to; whom it did not reach is recorded, and nothing is stopped by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runbook_lib.errors import RunbookError
from runbook_lib.journal.kinds import Note
from runbook_lib.monitoring.notifications import Notice, notify

if TYPE_CHECKING:
    from runbook_lib.config.environment import Environment
    from runbook_lib.journal import Journal

EVENTS = ("run_started", "phase_passed", "phase_failed", "phase_waits", "rollback_trigger", "watch_over", "run_ended")


def announce(
    environment: Environment,
    journal: Journal,
    run_id: str,
    event: str,
    text: str,
    *,
    phase: str = "",
    show: Callable[[str], None] = lambda _: None,
) -> None:
    """Tell everybody whom the plan names; who was not told is a note in the journal, and a line.

    Args:
        event: One of `EVENTS`.
        show: Gets the line.
    """
    notice = Notice(event, text, environment.name, run_id, phase)
    try:
        told = notify(notice, environment.notify_targets(), environment.root)
        missed = {one.target: one.problem for one in told.failed}
    except RunbookError as error:  # a target's secret is not there
        missed = {"nobody": str(error)}
    for target, problem in missed.items():
        words = f"nobody was told: {problem}" if target == "nobody" else f"{target} was not told: {problem}"
        show(words)
        try:
            journal.append(run_id, Note(f"{event}: {words}", {"event": event, "target": target}), phase=phase)
        except RunbookError as error:  # the phase itself says so, with what follows from it
            show(f"and that could not be recorded: {error}")
