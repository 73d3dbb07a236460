"""Rollback: what a run has applied, undone in reverse order, each undo proven, past failures to the end.

With one exception: what a step depends on is not taken away while that step is still in force. An undo that failed
holds everything that the step requires, and a step that says it is a `barrier` (the cutover: the targets may hold
writes that are nowhere else) holds everything before it.
"""

from __future__ import annotations

import sys
from collections.abc import Container
from typing import TYPE_CHECKING

from runbook_lib.errors import GateFailed, LeaseHeld, OutOfOrder, RollbackFailed, RunbookError
from runbook_lib.journal import Unit
from runbook_lib.journal.kinds import Intent, Item, Result, RollbackIntent, RollbackResult
from runbook_lib.journal.renamed_steps import name_today
from runbook_lib.plan.phase_order import phases_of
from runbook_lib.run import schema_drift
from runbook_lib.run.approvals import require_approval
from runbook_lib.run.records import RollbackRecord
from runbook_lib.run.step import Step
from runbook_lib.run.step_spec import rebuild
from runbook_lib.util.redact import mask
from runbook_lib.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from runbook_lib.run.context import RunContext


def rollback(run: RunContext, to_phase: str = "", *, steps: Container[str] | None = None) -> RollbackRecord:
    """Undo the run's steps, the last one first; those undone before are skipped.

    Args:
        to_phase: The last phase that stays in force; empty: none, the whole run is undone.
        steps: Names of the only steps to undo; None: all of them.
    Raises:
        RollbackFailed: something could not be undone, or cannot be; each is named, with why it had to be undone.
    """
    units = run.history().to_undo(_phases_after(run, to_phase))
    units = [unit for unit in units if steps is None or unit.name in steps]
    kept = [unit for unit in units if not unit.intent.read(Intent).reversible]
    try:
        _require_consent(run, kept)
    except RollbackFailed:
        _leave_as_it_was(run)
        raise
    before = run.journal.run(run.run_id).state
    run.journal.set_state(run.run_id, "rolling_back")
    items: list[Item] = []
    errors: list[BaseException] = []
    held = _Held()
    for number, unit in enumerate(unit for unit in units if unit not in kept):
        run.progress(number, len(units) - len(kept), unit="steps", reason=f"undoing {unit.name}")
        items.append(held.item(unit) or _undo(run, unit, errors))
        if not items[-1].passed:
            held.by(unit, rebuild(unit.intent.read(Intent).spec, run.step_packages))
    run.progress(len(items), len(items), unit="steps", reason="every one checked")
    record = RollbackRecord(tuple(items), tuple(unit.name for unit in kept))
    if not record.passed:
        raise _failed(run, record, units, errors)
    after = "open" if to_phase else "rolled_back"
    if steps is not None:  # beside everything else, which stays what it was
        after = "open" if before == "rolling_back" else before
    run.journal.set_state(run.run_id, after)
    return record


class _Held:
    """Steps that must stay in force because a later one, which depends on them, could not be undone."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._barrier = ""

    def by(self, unit: Unit, step: Step) -> None:
        """A step was not undone: hold what it requires, or everything."""
        if getattr(step, "barrier", False):
            self._barrier = self._barrier or unit.name
        for name in step.requires:
            self._reasons.setdefault(name_today(name), unit.name)

    def item(self, unit: Unit) -> Item | None:
        """The reason not to undo this one; None when there is none."""
        reason = self._barrier or self._reasons.get(unit.name, "")
        if not reason:
            return None
        return Item(unit.name, Outcome.COULD_NOT_RUN, f"held: {reason} is still in force")


def _phases_after(run: RunContext, to_phase: str) -> tuple[str, ...] | None:
    order = phases_of(run.plan)
    if not to_phase:
        return None
    if to_phase not in order:
        raise OutOfOrder(
            f"phase {to_phase}", "unknown", expected=f"one of {', '.join(order)}", state="nothing was undone"
        )
    kept = order[: order.index(to_phase) + 1]  # a phase that the plan does not describe may have run as well
    return tuple({unit.phase for unit in run.history().to_undo()} - set(kept))


def _leave_as_it_was(run: RunContext) -> None:
    """Opening the notebook closed the run to its phases; a rollback that may not begin must not leave it so."""
    history = run.history()
    if run.journal.run(run.run_id).state != "rolling_back" or any(unit.undone for unit in history.units.values()):
        return
    passed = all(history.phase_passed(phase) for phase in phases_of(run.plan))
    run.journal.set_state(run.run_id, "done" if passed else "open")


def _require_consent(run: RunContext, kept: list[Unit]) -> None:
    """Everything that cannot be undone is named before anything is undone, and asked for at once."""
    missing = []
    for unit in kept:
        try:
            require_approval(run, run.history(), f"rollback past {unit.name}", unit.intent.hash, waivable=False)
        except GateFailed as refusal:
            missing.append(f"{unit.name} ({refusal.observed})")
    if missing:
        listed = "; ".join(missing)
        raise RollbackFailed(
            f"run {run.run_id}",
            f"cannot be undone: {listed}",
            state="nothing was undone",
            action="have each approved, or restore the backup of the pre-flight",
        )


def _undo(run: RunContext, unit: Unit, errors: list[BaseException]) -> Item:
    run.write(RollbackIntent(unit.inputs, unit.phase), step=unit.name)
    intent = unit.intent.read(Intent)
    run.current = unit.name
    text, data = "", {}
    try:
        step = rebuild(intent.spec, run.step_packages)
        result = step.rollback(run)
        text, data = result.text, dict(result.data)
        verdict = _gone(run, step)
    except LeaseHeld:
        raise  # the run is somebody else's now
    except Exception as error:  # whatever one undo raises, the others are still to be done
        errors.append(error)
        words = str(error) if isinstance(error, RunbookError) else f"{type(error).__name__}: {error}"
        verdict = Verdict(Outcome.FAIL, mask(words))
    finally:
        run.current = ""
    text = (text if verdict.passed else "") or verdict.text
    shapes = schema_drift.renewed(run, intent.reshapes)
    ended = RollbackResult(unit.inputs, verdict.outcome, text, unit.phase, data, verdict=verdict, shapes=shapes)
    run.write(ended, step=unit.name)
    return Item(unit.name, verdict.outcome, text)


def _gone(run: RunContext, step: Step) -> Verdict:
    """Proof of an undo: the step says so itself (`undone`), or its `verify` does not pass any more."""
    undone = getattr(step, "undone", None)
    if undone is not None:
        verdict: Verdict = undone(run)
        return verdict
    return gone(step.verify(run))


def gone(after: Verdict) -> Verdict:
    """What a step's `verify` proves after its rollback."""
    if after.passed:
        return Verdict(Outcome.FAIL, f"still in force after its rollback: {after.text}", after.data)
    if after.outcome is Outcome.COULD_NOT_RUN:
        return Verdict(Outcome.COULD_NOT_RUN, f"not proven undone: {after.text}", after.data)
    return Verdict(Outcome.PASS, f"gone: {after.text}", after.data)


def _failed(run: RunContext, record: RollbackRecord, units: list[Unit], errors: list[BaseException]) -> RollbackFailed:
    missing = [item for item in record.items if not item.passed]
    listed = "; ".join(f"{item.name} ({item.outcome}): {item.text}" for item in missing)
    error = RollbackFailed(
        f"run {run.run_id}",
        f"{len(missing)} of {len(record.items)} not undone: {listed}",
        state="what is not named is undone; writes that were fenced stay fenced",
        action="put it right and run the rollback again: it resumes with what is left",
    )
    for unit in units:
        if unit.result is not None and unit.outcome not in ("pass", "undone"):
            error.add_note(f"{unit.name} had failed before: {unit.result.read(Result).text}")
    if (cause := sys.exc_info()[1]) is not None:
        error.add_note(f"the rollback was begun because of {type(cause).__name__}: {mask(str(cause))}")
    error.__cause__ = errors[0] if errors else None
    return error
