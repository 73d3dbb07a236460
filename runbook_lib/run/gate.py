"""The end of a phase: verdicts, sign-offs and approvals; what is missing is named, with the command that gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runbook_lib.errors import GateFailed
from runbook_lib.journal import Entry, History, digest_of
from runbook_lib.journal.kinds import Gate, Intent, Item, Result, SchemaApproved, Signoff, StandaloneVerdict
from runbook_lib.plan.phase_order import phases_of
from runbook_lib.plan.vocabulary import carried_out_by
from runbook_lib.run import schema_drift
from runbook_lib.run.approvals import command_for, granted, latched, signoff
from runbook_lib.run.records import GateRecord

if TYPE_CHECKING:
    from runbook_lib.run.context import RunContext


def gate(run: RunContext, approval: str = "") -> GateRecord:
    """End the phase: everything passed, is signed off and approved, or GateFailed names each that is not.

    Args:
        approval: What has to be approved, in words; empty: nothing.
    A phase that has passed already stays passed: its gate is shown as it was recorded.

    Raises:
        GateFailed: recorded as well.
    """
    if (passed := run.replayed) is not None:
        return _replay(run, passed)
    for task in run.plan.phase(run.phase).tasks:
        if task.text:
            signoff(run, task.text)
    history = run.history()
    schemas = _looks(run, history)
    items = [*_results(run, history), *_drift(run, history, schemas), *latched(run, history)]
    items += _signoffs(run, history)
    subject = subject_of(run, history)
    if approval and all(item.passed for item in items):
        items.append(granted(run, history, approval, subject))
    elif approval:
        items.append(Item(approval, "could_not_run", "approval: asked for when everything else has passed"))
    record = GateRecord(run.phase, all(item.passed for item in items), items, subject, approval)
    settled = [each for each in schemas if each.database not in _halfway(history)]
    renewal = {each.database: each.renewal for each in settled if not each.known or each.words}
    if record.passed and renewal:
        run.write(SchemaApproved(renewal))
    run.write(Gate(record.passed, tuple(items), subject, approval))
    if not record.passed:
        raise _failed(record)
    _end_run(run)
    return record


def _replay(run: RunContext, gate: Entry) -> GateRecord:
    """What the gate recorded; what a kill may have kept from following it follows now."""
    recorded = gate.read(Gate)
    if not run.history().phase_passed(run.phase):  # a later gate, which judged again, must not outlive it
        run.write(recorded)
    _end_run(run)
    return GateRecord(run.phase, True, recorded.items, recorded.subject, recorded.approval)


def _end_run(run: RunContext) -> None:
    """The last phase ends the run."""
    last = phases_of(run.plan)[-1] if run.plan.phases else run.phase  # without phases the one notebook is all of it
    if run.phase == last and run.journal.run(run.run_id).state == "open":
        run.journal.set_state(run.run_id, "done")


def subject_of(run: RunContext, history: History) -> str:
    """Digest of what an approval of this phase is bound to: the plan, each step's result so far, each verdict.

    A step's result is bound by its entry's hash. A standalone verdict is bound by its outcome: it is checked
    afresh each time the notebook runs, so that its entry is another one when the approver has answered.
    """
    steps = {unit.name: unit.result.hash for unit in history.latest() if unit.result is not None and not unit.undone}
    verdicts = {name: verdict.outcome for name, verdict in _verdicts(run, history)}
    return digest_of({"plan": run.plan.digest, "phase": run.phase, "steps": steps, "verdicts": verdicts})


def _results(run: RunContext, history: History) -> list[Item]:
    items = [Item(unit.name, unit.outcome, _text(unit.result)) for unit in history.latest(run.phase)]
    items += [
        Item(name, verdict.outcome, verdict.text, waived=bool(verdict.data.get("waived")))
        for name, verdict in _verdicts(run, history)
    ]
    if not items:
        items.append(Item(run.phase, "fail", "nothing was run in this phase"))
    described = run.plan.phase(run.phase)
    listed = dict.fromkeys([*described.steps, *(task.carried_out_by for task in described.tasks if not task.text)])
    known = {item.name for item in items} | {item.name.partition(":")[0] for item in items}
    missing = [name for name in listed if not _has_run(carried_out_by(name), known, history)]
    return items + [Item(name, "fail", "the plan lists it for this phase, and it has not run") for name in missing]


def _verdicts(run: RunContext, history: History) -> list[tuple[str, StandaloneVerdict]]:
    """The checks of this phase that are no step's."""
    found = history.verdicts.items()
    return [(name, entry.read(StandaloneVerdict)) for (phase, name), entry in found if phase == run.phase]


def _text(entry: Entry | None) -> str:
    if entry is None:
        return "no result: run it again"
    result = entry.read(Result)
    return (result.verdict.text if result.verdict else "") or result.text


def _failed(record: GateRecord) -> GateFailed:
    missing = [item for item in record.items if not item.passed]
    listed = "; ".join(f"{item.name} ({item.outcome}): {item.text}" for item in missing)
    error = GateFailed(
        f"gate {record.phase}",
        f"{len(missing)} of {len(record.items)} not passed: {listed}",
        state="the phase stays open",
        action="put it right, or have it approved, and run the notebook again: what has passed is not repeated",
    )
    error.record = record  # type: ignore[attr-defined]  # for displays; the message says it all
    return error


# -- schemas ---


def _looks(run: RunContext, history: History) -> list[schema_drift.Look]:
    """The plan's databases; after the end of a run their schemas are no more its affair."""
    return [] if run.journal.run(run.run_id).state == "done" else schema_drift.look(run, history, tuple(run.databases))


def _drift(run: RunContext, history: History, schemas: Sequence[schema_drift.Look]) -> list[Item]:
    """What changed at a database without a step of this run.

    While a step that changes it is interrupted nobody can say: that step's result, and its own gate, are still to come.
    """
    halfway, items = _halfway(history), []
    for each in schemas:
        name = f"schema of {each.database}"
        if each.error:
            items.append(Item(name, "could_not_run", each.error))
        elif each.words and each.database in halfway:
            items.append(Item(name, "pass", f"{halfway[each.database]} changes it, and was interrupted: run it again"))
        elif each.words:
            given = granted(run, history, each.approval, each.subject, waivable=False)
            text = given.text if given.passed else f"put it back, or: {command_for(run, each.approval)}"
            items.append(Item(name, "pass" if given.passed else "fail", f"{each.words}; {text}"))
    same = [each.database for each in schemas if each.known and not each.words and not each.error]
    return [*items, Item("schemas", "pass", f"as approved: {', '.join(same)}")] if same else items


def _halfway(history: History) -> dict[str, str]:
    """Databases whose schema an interrupted step was changing, with the step."""
    interrupted = [unit for unit in history.latest() if unit.outcome == "interrupted"]
    return {name: unit.name for unit in interrupted for name in unit.intent.read(Intent).reshapes}


# -- people ---


def _has_run(step: str, known: set[str], history: History) -> bool:
    return step in known or history.step_passed(step)


def _signoffs(run: RunContext, history: History) -> list[Item]:
    asked = [ask.name for ask in history.asks if ask.answer is Signoff and ask.phase == run.phase]
    given = [one.step for one in history.entries if isinstance(one.content, Signoff) and one.phase == run.phase]
    return [signoff(run, text) for text in dict.fromkeys([*given, *asked])]
