"""Errors after the cutover: a trigger fires, the run goes back, and the monolith has every acknowledged write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runbook_lib.journal.kinds import Result, StandaloneVerdict
from runbook_lib.plan.phase_order import PHASES
from runbook_lib.runner.run_phases import Finished, Runner
from runbook_lib.sandbox.demo import Ending, Setting, play
from runbook_lib.sandbox.estate import Estate

INJECTED = {"error_rate": 0.3}  # a share that any trigger must notice
_LAST_BEFORE_WATCH = "smoke_test:target:cutover"  # an error before it would fail this test, and no trigger would fire


def run(show: Callable[[str], None], setting: Setting) -> int:
    """Play it: 0 when a trigger fired, the rollback passed, and no acknowledged write was lost."""
    return play(show, setting, _carry_out, _reached)


def _carry_out(runner: Runner, estate: Estate) -> Finished:
    before = runner.carry_out(PHASES[: PHASES.index("cutover")])
    if before.exit_status:
        return before
    with errors_after(runner, estate, _LAST_BEFORE_WATCH):
        last = runner.carry_out(("cutover",))
    return Finished(last.run_id, last.bundle, (*before.executed, *last.executed))


def _reached(ending: Ending) -> bool:
    return not ending.lost and ending.finished.rolled_back and ending.finished.executed[-1].passed


@contextmanager
def errors_after(runner: Runner, estate: Estate, step: str) -> Iterator[None]:
    """Let a service fail once it has the writes and this step has passed: what notices it is to be a trigger."""
    done = threading.Event()

    def inject() -> None:
        while not done.wait(0.2):
            if runner.journal.entries(runner.run_id, Result, StandaloneVerdict, step=step):
                estate.services.inject("order_service@target", INJECTED["error_rate"], None)
                return

    thread = threading.Thread(target=inject, name="drill", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
