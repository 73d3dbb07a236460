"""A release from blue to green under traffic, and back again: neither way loses an acknowledged write."""

from __future__ import annotations

from collections.abc import Callable

from runbook_lib.plan.phase_order import ROLLBACK
from runbook_lib.plan.vocabulary import BLUE_GREEN
from runbook_lib.runner.run_phases import Finished, Runner
from runbook_lib.sandbox.demo import Ending, Setting, lost_writes, play
from runbook_lib.sandbox.estate import Estate
from runbook_lib.sandbox.ledger import Ledger


def run(show: Callable[[str], None], setting: Setting) -> int:
    """Play it: 0 when green had everything, blue has everything again, and no request failed."""
    return play(show, setting, lambda runner, estate: _there_and_back(show, runner, estate), _reached, "blue_green")


def _there_and_back(show: Callable[[str], None], runner: Runner, estate: Estate) -> Finished:
    there = runner.carry_out(("preflight", *BLUE_GREEN))
    if there.exit_status:
        return there
    estate.services.stop("client")  # the ledger stands still while it is compared with green
    ledger = Ledger(estate.ledger)
    lost = lost_writes(estate, ledger, at_source=False)
    show(f"green has {ledger.summary().acknowledged_writes - len(lost):,} acknowledged writes, {len(lost)} are lost")
    if lost:
        return there
    estate.services.start("client")
    back = runner.carry_out((ROLLBACK,))
    return Finished(back.run_id, back.bundle, (*there.executed, *back.executed))


def _reached(ending: Ending) -> bool:
    fine = not (ending.lost or ending.figures["failed_requests"] or ending.finished.exit_status)
    return fine and ending.finished.rolled_back
