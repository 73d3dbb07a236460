"""The order of phases, and which run a notebook belongs to."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runbook_lib.errors import OutOfOrder
from runbook_lib.journal import Entry, History, Journal, RunRow
from runbook_lib.journal.kinds import RollbackResult, RunSuperseded
from runbook_lib.plan.phase_order import ASIDE, ROLLBACK, notebook_of, phases_before

if TYPE_CHECKING:
    from runbook_lib.config.environment import Environment
    from runbook_lib.plan.model import Plan


def find_run(journal: Journal, environment: Environment, phase: str, run_id: str, actor: str) -> RunRow:
    """The run that the phase belongs to: the one named, the environment's own, or a new one for a first phase.

    Raises:
        OutOfOrder: another plan's run is unfinished, or phases before this one have not run.
    """
    before = phases_before(phase, environment.plan)
    row = journal.run(run_id) if run_id else _own_run(journal, environment, phase)
    if row is not None:
        _require_same_plan(row, environment)
        return row
    if before or phase == ROLLBACK:
        raise OutOfOrder(
            f"phase {phase}",
            f"no run of this plan is under way in {environment.name}",
            state="nothing was started",
            action=f"start with {notebook_of('preflight')}" if before else "there is nothing to roll back",
        )
    row = _open(journal, environment, actor)
    if row.plan_digest != environment.plan.digest and _untouched(journal, row, environment.plan):
        supersede(journal, row, "the plan changed before anything did", actor)
        row = _open(journal, environment, actor)
    _require_same_plan(row, environment)
    return row


def supersede(journal: Journal, row: RunRow, reason: str, actor: str) -> None:
    """Close a run of which nothing is in force, because another one begins."""
    journal.append(row.run_id, RunSuperseded(reason), actor=actor)
    journal.set_state(row.run_id, "superseded")


def require_order(history: History, row: RunRow, phase: str, plan: Plan) -> None:
    """Refuse a phase whose predecessors have not passed, and a forward phase of a run that goes backwards.

    Raises:
        OutOfOrder: names the phase and its notebook.
    """
    if phase != ROLLBACK and phase not in ASIDE and row.state in ("rolling_back", "rolled_back"):
        over = row.state == "rolled_back"
        words = "was rolled back" if over else "is being rolled back"
        fresh = "start a new run with notebooks/00_preflight.ipynb"
        action = fresh if over else f"finish notebooks/90_rollback.ipynb, then {fresh}"
        raise OutOfOrder(f"phase {phase}", f"run {row.run_id} {words}", state="nothing was started", action=action)
    for name in phases_before(phase, plan):
        if not history.phase_passed(name):
            raise OutOfOrder(
                f"phase {phase}",
                f"{name} has not passed in run {row.run_id}",
                state="nothing was started",
                action=f"run {notebook_of(name)} up to its gate",
            )


def replayed_gate(history: History, row: RunRow, phase: str) -> Entry | None:
    """The gate that this phase has passed for good; None where its notebook has something to judge.

    What stands aside (a check, a migration of a schema) is meant to be repeated; a rollback too, while the run
    continues.
    """
    gate = None if phase in ASIDE else history.passed_by(phase)
    if gate is None or phase != ROLLBACK:
        return gate
    undone = max((one.seq for one in history.entries if isinstance(one.content, RollbackResult)), default=0)
    return gate if row.state == "rolled_back" and undone < gate.seq else None


def _own_run(journal: Journal, environment: Environment, phase: str) -> RunRow | None:
    """The unfinished run; for a phase that is not a first one also the latest that ended, to inspect or to undo."""
    unfinished = journal.latest_run(environment.name, states=("open", "rolling_back"))
    first = phase != ROLLBACK and not phases_before(phase, environment.plan)
    begins = first and (phase not in ASIDE or not environment.plan.phases)
    if unfinished is not None:
        replaceable = begins and unfinished.plan_digest != environment.plan.digest
        return None if replaceable and _untouched(journal, unfinished, environment.plan) else unfinished
    if begins:
        return None
    latest = journal.latest_run(environment.name, states=("done", "rolled_back"))
    return latest if latest is not None and latest.plan_digest == environment.plan.digest else None


def _open(journal: Journal, environment: Environment, actor: str) -> RunRow:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M")
    return journal.open_run(
        f"{stamp}-{environment.name}-{secrets.token_hex(2)}",
        environment=environment.name,
        plan_digest=environment.plan.digest,
        plan_path=environment.plan.path,
        inventory_digest=environment.inventory_digest,
        actor=actor,
    )


def _untouched(journal: Journal, row: RunRow, plan: Plan) -> bool:
    """Whether the run never got past looking: no step was tried outside the pre-flight, and none is half-done.

    For a plan without phases: whether nothing of it is in force.
    """
    history = History(journal.entries(row.run_id))
    if not plan.phases:
        return row.state == "open" and not history.to_undo()
    units = history.units.values()
    return row.state == "open" and all(unit.phase == "preflight" and unit.result is not None for unit in units)


def _require_same_plan(row: RunRow, environment: Environment) -> None:
    if row.plan_digest == environment.plan.digest:
        return
    raise OutOfOrder(
        f"run {row.run_id}",
        f"was opened with another plan ({row.plan_path}, digest {row.plan_digest[:12]})",
        expected=f"digest {environment.plan.digest[:12]} of {environment.plan.path}",
        state="nothing was started",
        action="put that plan back and finish the run, or undo it first with notebooks/90_rollback.ipynb",
    )
