"""Approvals and sign-offs: asked for, given, waived by the policy, required."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runbook_lib.errors import GateFailed, JournalError
from runbook_lib.journal import Ask, Entry, History, Journal
from runbook_lib.journal.kinds import Alarm, Approval, ApprovalRequested, Item, Signoff, SignoffRequested
from runbook_lib.plan.phase_order import LOOKS, ROLLBACK
from runbook_lib.plan.yaml_value import shown

if TYPE_CHECKING:
    from runbook_lib.run.context import RunContext


def signoff(run: RunContext, text: str) -> Item:
    """A person's task: signed off by somebody, or waived by the policy, or asked for."""
    history = run.history()
    given = history.granted(Signoff, text)
    if given is None and run.policy.signoffs == "auto":
        given = run.write(Signoff(waived="policy signoffs: auto"), step=text)
    if given is None:
        _ask(run, history, Ask(Signoff, text, run.phase, ""))
        return Item(text, "could_not_run", f"not signed off; {command_for(run, text)}")
    return _given(given)


def granted(run: RunContext, history: History, name: str, subject: str, *, waivable: bool = True) -> Item:
    """An approval as a gate counts it: given for exactly this subject, waived by the policy, or missing."""
    given = history.granted(Approval, name, subject)
    if given is None and waivable and run.policy.approvals == "auto":
        given = run.write(Approval(subject, waived="policy approvals: auto"), step=name)
    if given is not None:
        return _given(given)
    _ask(run, history, Ask(Approval, name, run.phase, subject))
    stale = "approved before, but what was approved has changed since; " if history.granted(Approval, name) else ""
    return Item(name, "could_not_run", f"{stale}not approved; {command_for(run, name)}")


def require_approval(run: RunContext, history: History, name: str, subject: str, *, waivable: bool = True) -> None:
    """An approval in the middle of a phase: of what cannot be undone.

    Args:
        waivable: False: a person has to give it, whatever the policy says.
    Raises:
        GateFailed: not approved; says which command does.
    """
    item = granted(run, history, name, subject, waivable=waivable)
    if not item.passed:
        raise GateFailed(name, item.text, state="nothing was done", action="have it approved, then run the cell again")


def latched(run: RunContext, history: History) -> list[Item]:
    """The rollback triggers that fired: each stays so until its step is undone, or somebody continues by name."""
    if run.phase == ROLLBACK or run.phase in LOOKS:
        return []
    return [_latched(run, history, alarm) for alarm in history.alarms]


def _latched(run: RunContext, history: History, alarm: Entry) -> Item:
    """Bound to this alarm: the same trigger that fires once more is asked about once more."""
    fired, name = alarm.read(Alarm), _go_on_after(alarm)
    item = granted(run, history, name, alarm.hash, waivable=False)
    return item if item.passed else replace(item, text=f"{fired.text} (fired {alarm.at[:16]} UTC); {item.text}")


def unanswered(history: History) -> list[Entry]:
    """The triggers that fired in steps that stand, and after which nobody has said to go on; asks nobody."""
    return [one for one in history.alarms if history.granted(Approval, _go_on_after(one), one.hash) is None]


def _go_on_after(alarm: Entry) -> str:
    return f"go on after {alarm.read(Alarm).data.get('metric') or alarm.step}"


def require_no_alarm(run: RunContext, history: History) -> None:
    """Refuse what would follow a trigger that fired.

    Raises:
        GateFailed: says what it fired on, and the command that continues all the same.
    """
    if missing := [item.text for item in latched(run, history) if not item.passed]:
        action = "go back with notebooks/90_rollback.ipynb, or have it approved and run the cell again"
        raise GateFailed("rollback trigger", "; ".join(missing), state="nothing was done", action=action)


def _ask(run: RunContext, history: History, ask: Ask) -> None:
    if ask not in history.asks:
        asked = ApprovalRequested(ask.subject) if ask.answer is Approval else SignoffRequested()
        run.write(asked, step=ask.name)


def command_for(run: RunContext, name: str) -> str:
    """The command that gives an approval or a sign-off, to be shown where it is missing."""
    return f'runbook approve {run.run_id} "{name}" -f {shown(run.environment.parameter_file)} --comment …'


def _given(entry: Entry) -> Item:
    """The item of what was given, or waived."""
    given = entry.read(Approval) if isinstance(entry.content, Approval) else entry.read(Signoff)
    by = f"{entry.actor}, {entry.at[:16]} UTC" + (f": {given.comment}" if given.comment else "")
    return Item(entry.step, "pass", f"waived by {given.waived}" if given.waived else by, waived=bool(given.waived))


def approve(journal: Journal, run_id: str, what: str, *, comment: str, actor: str) -> Entry:
    """Give what a run asks for: an approval, bound to the digest it was asked for, or a sign-off.

    Args:
        what: The words of the approval or sign-off, or the phase whose gate waits for its only approval.
    Raises:
        JournalError: nothing of the kind is asked for; names what is.
    """
    history = History(journal.entries(run_id))
    waiting = history.waiting
    named = [ask for ask in waiting if ask.name == what]
    named = named or [ask for ask in waiting if ask.answer is Approval and ask.phase == what]
    if len(named) != 1:
        asked = ", ".join(f'"{ask.name}"' for ask in waiting) or "nothing"
        raise JournalError(f"run {run_id}", f'nothing named "{what}" is asked for', expected=f"one of: {asked}")
    ask = named[0]
    answer = Approval(ask.subject, comment) if ask.answer is Approval else Signoff(comment)
    return journal.append(run_id, answer, phase=ask.phase, step=ask.name, actor=actor)
