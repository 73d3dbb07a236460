"""The end of a phase: verdicts, sign-offs and approvals; what is missing is named, with the command that gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runbook_lib import drift
from runbook_lib.errors import GateFailed, JournalError
from runbook_lib.journal import Ask, Entry, History, Journal, digest_of
from runbook_lib.phases import phases_of
from runbook_lib.plan.grammar import CARRIED_OUT_BY
from runbook_lib.plan.nodes import shown
from runbook_lib.records import GateRecord, Item

if TYPE_CHECKING:
    from runbook_lib.run import Run


def gate(run: Run, approval: str = "") -> GateRecord:
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
    items = [*_results(run, history), *_drift(run, history, schemas), *_signoffs(run, history)]
    subject = subject_of(run, history)
    if approval and all(item.passed for item in items):
        items.append(_approved(run, history, approval, subject))
    elif approval:
        items.append(Item(approval, "could_not_run", "approval: asked for when everything else has passed"))
    record = GateRecord(run.phase, all(item.passed for item in items), items, subject, approval)
    settled = [each for each in schemas if each.database not in _halfway(history)]
    renewal = {each.database: each.renewal for each in settled if not each.known or each.words}
    if record.passed and renewal:
        run.write("note", payload={"text": f"schema approved: {', '.join(renewal)}", drift.KEY: renewal})
    run.write("gate", payload={"passed": record.passed, "items": items, "subject": subject, "approval": approval})
    if not record.passed:
        raise _failed(record)
    _end_run(run)
    return record


def _replay(run: Run, gate: Entry) -> GateRecord:
    """What the gate recorded; what a kill may have kept from following it follows now."""
    recorded = gate.payload
    items = [Item(**item) for item in recorded["items"]]
    if not run.history().phase_passed(run.phase):  # a later gate, which judged anew, must not outlive it
        run.write("gate", payload=recorded)
    _end_run(run)
    return GateRecord(run.phase, True, items, recorded["subject"], recorded["approval"])


def _end_run(run: Run) -> None:
    """The last phase ends the run."""
    last = phases_of(run.plan)[-1] if run.plan.phases else run.phase  # without phases the one notebook is all of it
    if run.phase == last and run.journal.run(run.run_id).state == "open":
        run.journal.set_state(run.run_id, "done")


def subject_of(run: Run, history: History) -> str:
    """Digest of what an approval of this phase is bound to: the plan, each step's result so far, each verdict.

    A step's result is bound by its entry's hash. A free-standing verdict is bound by its outcome: it is looked at
    afresh each time the notebook runs, so that its entry is another one when the approver has answered.
    """
    steps = {unit.name: unit.result.hash for unit in history.latest() if unit.result is not None and not unit.undone}
    verdicts = {name: e.payload["outcome"] for (phase, name), e in history.verdicts.items() if phase == run.phase}
    return digest_of({"plan": run.plan.digest, "phase": run.phase, "steps": steps, "verdicts": verdicts})


def _results(run: Run, history: History) -> list[Item]:
    items = [Item(unit.name, unit.outcome, _text(unit.result)) for unit in history.latest(run.phase)]
    items += [
        _stood_alone(name, entry.payload) for (phase, name), entry in history.verdicts.items() if phase == run.phase
    ]
    if not items:
        items.append(Item(run.phase, "fail", "nothing was run in this phase"))
    described = run.plan.phase(run.phase)
    listed = dict.fromkeys([*described.steps, *(task.step for task in described.tasks if task.step)])
    known = {item.name for item in items} | {item.name.partition(":")[0] for item in items}
    missing = [name for name in listed if not _has_run(CARRIED_OUT_BY.get(name, name), known, history)]
    return items + [Item(name, "fail", "the plan lists it for this phase, and it has not run") for name in missing]


def _stood_alone(name: str, verdict: Mapping[str, Any]) -> Item:
    """The item of a check that is no step's."""
    waived = bool((verdict.get("data") or {}).get("waived"))
    return Item(name, str(verdict["outcome"]), str(verdict.get("text", "")), waived=waived)


def _text(result: Entry | None) -> str:
    if result is None:
        return "no result: run it again"
    verdict = result.payload.get("verdict") or {}
    return str(verdict.get("text") or result.payload.get("text", ""))


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


def _looks(run: Run, history: History) -> list[drift.Look]:
    """The plan's databases; after the end of a run their schemas are no more its affair."""
    return [] if run.journal.run(run.run_id).state == "done" else drift.look(run, history, tuple(run.databases))


def _drift(run: Run, history: History, schemas: Sequence[drift.Look]) -> list[Item]:
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
            given = _approved(run, history, each.approval, each.subject, waivable=False)
            text = given.text if given.passed else f"put it back, or: {_command(run, each.approval)}"
            items.append(Item(name, "pass" if given.passed else "fail", f"{each.words}; {text}"))
    same = [each.database for each in schemas if each.known and not each.words and not each.error]
    return [*items, Item("schemas", "pass", f"as approved: {', '.join(same)}")] if same else items


def _halfway(history: History) -> dict[str, str]:
    """Databases whose schema an interrupted step was changing, with the step."""
    interrupted = [unit for unit in history.latest() if unit.outcome == "interrupted"]
    return {str(name): unit.name for unit in interrupted for name in unit.intent.payload.get("reshapes", ())}


def require_no_drift(run: Run, history: History, databases: Sequence[str]) -> None:
    """Before a step changes these schemas: what it would build on is what was approved.

    Raises:
        GateFailed: names what changed, and how to approve it.
    """
    for each in drift.look(run, history, databases):
        if each.words:
            try:
                require_approval(run, history, each.approval, each.subject, waivable=False)
            except GateFailed as refusal:
                raise GateFailed(
                    f"schema of {each.database}",
                    each.words,
                    expected="what the run approved",
                    state="nothing was done",
                    action=f"put it back, or: {_command(run, each.approval)}",
                ) from refusal


# -- people ---


def signoff(run: Run, text: str) -> Item:
    """A person's task: signed off by somebody, or waived by the policy, or asked for."""
    history = run.history()
    given = history.granted("signoff", text)
    if given is None and run.policy.signoffs == "auto":
        given = run.write("signoff", step=text, payload={"waived": "policy signoffs: auto", "comment": ""})
    if given is None:
        _ask(run, history, Ask("signoff", text, run.phase, ""))
        return Item(text, "could_not_run", f"not signed off; {_command(run, text)}")
    return Item(text, "pass", _given(given), waived=bool(given.payload.get("waived")))


def _has_run(step: str, known: set[str], history: History) -> bool:
    return step in known or history.step_passed(step)


def _signoffs(run: Run, history: History) -> list[Item]:
    asked = [ask.name for ask in history.asks if ask.kind == "signoff" and ask.phase == run.phase]
    given = [entry.step for entry in history.entries if entry.kind == "signoff" and entry.phase == run.phase]
    return [signoff(run, text) for text in dict.fromkeys([*given, *asked])]


def _approved(run: Run, history: History, name: str, subject: str, *, waivable: bool = True) -> Item:
    given = history.granted("approval", name, subject)
    if given is None and waivable and run.policy.approvals == "auto":
        payload = {"subject": subject, "waived": "policy approvals: auto", "comment": ""}
        given = run.write("approval", step=name, payload=payload)
    if given is not None:
        return Item(name, "pass", _given(given), waived=bool(given.payload.get("waived")))
    _ask(run, history, Ask("approval", name, run.phase, subject))
    stale = "approved before, but what was approved has changed since; " if history.granted("approval", name) else ""
    return Item(name, "could_not_run", f"{stale}not approved; {_command(run, name)}")


def require_approval(run: Run, history: History, name: str, subject: str, *, waivable: bool = True) -> None:
    """An approval in the middle of a phase: of what cannot be undone.

    Args:
        waivable: False: a person has to give it, whatever the policy says.
    Raises:
        GateFailed: not approved; says which command does.
    """
    item = _approved(run, history, name, subject, waivable=waivable)
    if not item.passed:
        raise GateFailed(name, item.text, state="nothing was done", action="have it approved, then run the cell again")


def _ask(run: Run, history: History, ask: Ask) -> None:
    if ask not in history.asks:
        run.write("note", step=ask.name, payload={"asked": ask.kind, "subject": ask.subject})


def _command(run: Run, name: str) -> str:
    return f'runbook approve {run.run_id} "{name}" -f {shown(run.environment.parameter_file)} --comment …'


def _given(entry: Entry) -> str:
    waived, comment = entry.payload.get("waived"), entry.payload.get("comment")
    return (
        f"waived by {waived}" if waived else f"{entry.actor}, {entry.at[:16]} UTC" + (f": {comment}" if comment else "")
    )


def approve(journal: Journal, run_id: str, what: str, *, comment: str, actor: str) -> Entry:
    """Give what a run asks for: an approval, bound to the digest it was asked for, or a sign-off.

    Args:
        what: The words of the approval or sign-off, or the phase whose gate waits for its only approval.
    Raises:
        JournalError: nothing of the kind is asked for; names what is.
    """
    history = History(journal.entries(run_id))
    waiting = [ask for ask in history.asks if history.granted(ask.kind, ask.name, ask.subject) is None]
    named = [ask for ask in waiting if ask.name == what]
    named = named or [ask for ask in waiting if ask.kind == "approval" and ask.phase == what]
    if len(named) != 1:
        asked = ", ".join(f'"{ask.name}"' for ask in waiting) or "nothing"
        raise JournalError(f"run {run_id}", f'nothing named "{what}" is asked for', expected=f"one of: {asked}")
    ask = named[0]
    payload = {"subject": ask.subject, "comment": comment, "waived": ""}
    return journal.append(run_id, ask.kind, phase=ask.phase, step=ask.name, payload=payload, actor=actor)
