"""Upgrade the plan's fleets, batch by batch; whatever fails, what was upgraded is rolled back in reverse order."""

from __future__ import annotations

from runbook_lib.errors import GateFailed, LeaseHeld, OutOfOrder, RunbookError, StepFailed
from runbook_lib.journal.kinds import RolloutGivenUp
from runbook_lib.plan.model import RollingGoal
from runbook_lib.plan.rollout import batches, minimum
from runbook_lib.plan.units import duration
from runbook_lib.run.context import RunContext
from runbook_lib.run.execute_step import execute
from runbook_lib.run.records import RollbackRecord, StepRecords
from runbook_lib.run.rollback import rollback
from runbook_lib.run.step import Step
from runbook_lib.services.streak import ANSWERS
from runbook_lib.steps.check_table import Findings, findings
from runbook_lib.steps.fleet import FleetControl, goal_of, marks
from runbook_lib.steps.fleet_watch import needs_baseline
from runbook_lib.steps.record_baseline import RecordBaseline
from runbook_lib.steps.start_spares import StartSpares
from runbook_lib.steps.stop_spares import StopSpares
from runbook_lib.steps.upgrade_instances import UpgradeInstances
from runbook_lib.steps.verify_fleet import VerifyFleet, fleet_rows


def roll_out(run: RunContext) -> StepRecords:
    """Carry the upgrade out, or resume the one that was interrupted.

    Returns:
        StepRecords: one for each step.
    Raises:
        StepFailed: something failed; says what, what was rolled back, and where every instance is.
        GateFailed: a rollback trigger fired, and the policy says to ask: nothing continues, nothing is rolled back.
        OutOfOrder: the run is being rolled back by its own notebook.
    """
    if (reason := _given_up(run)) is not None:
        raise _undo(run, reason)
    if run.journal.run(run.run_id).state == "rolling_back":
        raise OutOfOrder(
            "rolling",
            f"run {run.run_id} is being rolled back",
            state="nothing was upgraded",
            action="finish notebooks/90_rollback.ipynb",
        )
    try:
        return StepRecords([execute(run, step) for step in rollout_steps(run)])
    except (LeaseHeld, GateFailed):
        raise  # somebody else acts, or is asked
    except RunbookError as error:
        if run.history().alarms and run.policy.triggers != "act":
            raise
        raise _undo(run, f"{error.subject}: {error.observed}") from error


def rollout_steps(run: RunContext) -> list[Step]:
    """Every step of the plan's fleets, in order, each after the one before; the same ones whenever it is asked."""
    made: list[Step] = [RecordBaseline()] if needs_baseline(run) else []
    for goal in run.plan.rolling:
        fleet = run.environment.inventory.fleets[goal.service]
        spares = fleet.spares[: goal.surge]
        made.append(VerifyFleet(goal.service, "before", requires=_after(made)))
        if spares:
            made.append(StartSpares(goal.service, spares, requires=_after(made)))
        for batch in batches(fleet.instances, goal):
            made.append(UpgradeInstances(goal.service, batch, goal.version, requires=_after(made)))
        if spares:
            made.append(StopSpares(goal.service, spares, requires=_after(made)))
        made.append(VerifyFleet(goal.service, "after", goal.version, requires=_after(made)))
    return made


def _after(made: list[Step]) -> tuple[str, ...]:
    return (made[-1].name,) if made else ()


# -- looks ---


def rollout_plan(run: RunContext) -> Findings:
    """What `roll_out` would do: each batch, who stays meanwhile, and for how long it is monitored."""
    rows = [row for goal in run.plan.rolling for row in _planned(run, goal_of(run, goal.service))]
    header = ("fleet", "batch", "release", "stay in rotation", "minimum", "monitored")
    text = "1 batch" if len(rows) == 1 else f"{len(rows)} batches, one after the other"
    return findings(run, "rollout_planned", "Plan", header, rows, [], text)


def _planned(run: RunContext, goal: RollingGoal) -> list[tuple[object, ...]]:
    fleet = run.environment.inventory.fleets[goal.service]
    size = len(fleet.instances)
    rows: list[tuple[object, ...]] = []
    for number, batch in enumerate(batches(fleet.instances, goal)):
        title = ", ".join(batch) + (" (canary)" if number < goal.canary else "")
        left = size + goal.surge - len(batch)
        rows.append((goal.service, title, goal.version, left, minimum(goal, size), duration(goal.monitor_s)))
    return rows


def rollout_minimum(run: RunContext) -> int:
    """The plan's minimum of healthy instances, for the chart; of several fleets there is not one."""
    [goal, *others] = run.plan.rolling
    return 0 if others else minimum(goal, len(run.environment.inventory.fleets[goal.service].instances))


def rollout_result(run: RunContext) -> Findings:
    """Every instance as it is now: release before and now, health, its percent of the requests."""
    known, rows, ill = marks(run), [], []
    for goal in run.plan.rolling:
        for name, said, share, version in fleet_rows(run, goal.service):
            mark = known.get(name)
            before = mark.version if mark else ""
            rows.append((name, before or "–", version or (goal.version if mark else "–"), said, f"{share} %"))
            ill += [name] if said != ANSWERS or not share else []
    header = ("instance", "release before", "release now", "health", "of the requests")
    text = f"not healthy or out of rotation: {', '.join(ill)}" if ill else f"{len(rows)} instances answer"
    return findings(run, "rollout_result", "Fleet", header, rows, [], text)


# -- back ---


def _given_up(run: RunContext) -> str | None:
    """Why the upgrade is being undone; None: it is not."""
    found = run.journal.entries(run.run_id, RolloutGivenUp)
    if not found:
        return None
    names = {*_names(run)}
    if not any(unit.name in names for unit in run.history().to_undo()):
        return None
    return found[-1].read(RolloutGivenUp).reason


def _names(run: RunContext) -> list[str]:
    return [step.name for step in rollout_steps(run)]


def _undo(run: RunContext, why: str) -> StepFailed:
    """Undo every step of the upgrade, the last one first; the error says why, and where every instance is then."""
    if _given_up(run) is None:
        run.write(RolloutGivenUp(why))
    try:
        record = rollback(run, steps=_names(run))
    except LeaseHeld:
        raise
    except RunbookError as second:
        cause = second.__cause__ if isinstance(second.__cause__, RunbookError) else second
        error = StepFailed(
            "rolling",
            f"{why}; and rolling back failed: {cause.subject}: {cause.observed}",
            state=f"stopped there: {_where(run)}",
            action="put that instance right and run again: it continues to roll back",
        )
        error.add_note(str(second))
        return error
    run.journal.set_state(run.run_id, "rolled_back")  # the next attempt is another run
    state = f"{_rolled_back(run, record)}: {_where(run)}"
    return StepFailed("rolling", why, state=state, action="put it right, then run again")


def _rolled_back(run: RunContext, record: RollbackRecord) -> str:
    undone = {item.name for item in record.items}
    made = [step for step in reversed(rollout_steps(run)) if isinstance(step, UpgradeInstances) and step.name in undone]
    names = [name for step in made for name in reversed(step.instances)]
    return f"rolled back and verified, in this order: {', '.join(names)}" if names else "nothing was upgraded"


def _where(run: RunContext) -> str:
    controls = [FleetControl(run, goal.service) for goal in run.plan.rolling]
    for control in controls:
        control.look()
    return "; ".join(control.state() for control in controls)
