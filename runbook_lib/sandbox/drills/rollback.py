"""Errors after the cutover: a trigger fires, the run goes back, and the monolith has every acknowledged write."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runbook_lib.plan.phase_order import PHASES
from runbook_lib.runner.run_phases import Finished, Runner
from runbook_lib.sandbox.demo import Ending, Setting, play
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.fault import error_rates

INJECTED = {"order_service@target": 0.3}  # a share that any trigger must notice


def run(show: Callable[[str], None], setting: Setting) -> int:
    """Play it: 0 when a trigger fired, the rollback passed, and no acknowledged write was lost."""
    return go_back_after(show, setting, INJECTED)


def go_back_after(show: Callable[[str], None], setting: Setting, shares: Mapping[str, float]) -> int:
    """The plan up to the cutover, then services that fail: 0 when the run went back and no acknowledged write is lost.

    Args:
        shares: Instance → share of its requests that it answers with an error.
    """

    def act(runner: Runner, estate: Estate) -> Finished:
        before = runner.carry_out(PHASES[: PHASES.index("cutover")])
        if before.exit_status:
            return before
        with error_rates(runner, estate, shares):
            last = runner.carry_out(("cutover",))
        return Finished(last.run_id, last.bundle, (*before.executed, *last.executed))

    return play(show, setting, act, _reached)


def _reached(ending: Ending) -> bool:
    return not ending.lost and ending.finished.rolled_back and ending.finished.executed[-1].passed
