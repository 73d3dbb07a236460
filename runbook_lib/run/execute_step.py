"""One step: intent, check, apply, verify, health, result. What is recorded is enough to resume it and to undo it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.port import Problem
from runbook_lib.errors import LeaseHeld, NotDue, OutOfOrder, RunbookError, StepFailed
from runbook_lib.journal import Entry, History, digest_of
from runbook_lib.journal.kinds import Intent, Result
from runbook_lib.journal.renamed_steps import spec_today
from runbook_lib.plan.phase_order import notebook_of, phases_of
from runbook_lib.plan.vocabulary import carried_out_by
from runbook_lib.run import schema_drift
from runbook_lib.run.approvals import require_approval, require_no_alarm
from runbook_lib.run.records import StepRecord, record_of, record_of_unit
from runbook_lib.run.schema_drift import require_no_drift
from runbook_lib.run.step import Step
from runbook_lib.run.step_spec import describe
from runbook_lib.util.redact import mask
from runbook_lib.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from runbook_lib.run.context import RunContext

BY_HAND = "put it right and run the cell again"


def execute(run: RunContext, step: Step) -> StepRecord:
    """Carry one step out, or return its recorded result when it has passed with the same inputs in this phase.

    A `standing` step whose state has ended since (a process that was killed) is carried out again.

    Raises:
        OutOfOrder: a step that it requires has not passed.
        StepFailed: check, apply, verify or the health check failed; recorded.
        GateFailed: it cannot be undone, and nobody approved that.
        NotDue: it waits for a time; its intent stays open, and the run is let go.
    """
    spec = describe(step, run.step_packages)
    inputs = digest_of({**spec_today(spec), "phase": run.phase})
    history = run.history()
    before = history.unit(step.name, inputs)
    if before is not None and before.passed and _stands(run, step, history):
        return record_of_unit(before, repeated=True)
    _require_steps(run, step, history)
    require_no_alarm(run, history)
    if not step.reversible:
        units = [history.unit(name) for name in step.requires]
        grounds = [unit.result.hash for unit in units if unit is not None and unit.result is not None]
        subject = digest_of({**spec, "plan": run.plan.digest, "stands_on": grounds})
        require_approval(run, history, f"irreversible: {step.name}", subject)
    attempt = _Attempt(run, step, inputs, resumed=before is not None and before.outcome == "interrupted")
    if not attempt.resumed:  # else its own half may be there
        require_no_drift(run, history, attempt.reshapes)
    attempt.begin(spec)
    return attempt.carry_out()


def _stands(run: RunContext, step: Step, history: History) -> bool:
    """Whether what was done is still so; asked only of steps that say their state can end by itself (a process).

    What a later step has ended on purpose is not begun again.
    """
    if not getattr(step, "standing", False) or any(map(history.step_passed, getattr(step, "ended_by", ()))):
        return True
    return step.verify(run).passed


class _Attempt:
    """One try at a step; `stage` and `applied` say how far it came."""

    def __init__(self, run: RunContext, step: Step, inputs: str, *, resumed: bool) -> None:
        self.run, self.step, self.inputs, self.resumed = run, step, inputs, resumed
        self.applied = False
        self.reshapes = schema_drift.reshaped(run, step)
        self._begun = time.monotonic()

    def begin(self, spec: Mapping[str, Any]) -> None:
        about = (spec["class"], spec["fields"], self.inputs)
        intent = Intent(*about, reversible=self.step.reversible, resumed=self.resumed, reshapes=self.reshapes)
        self.run.write(intent, step=self.step.name)
        self.run.current = self.step.name
        if self.resumed:
            self.run.progress(0, None, unit="", reason="resuming: an earlier attempt was interrupted")

    def carry_out(self) -> StepRecord:
        run, step = self.run, self.step
        with self._stage("check"):
            problems = step.check(run)
        if blocking := [problem for problem in problems if problem.blocking]:
            raise self._refused(blocking)
        self.applied = True  # from here on something may be in place
        with self._stage("apply"):
            result = run.just_applied[step.name] = step.apply(run)
        with self._stage("verify"):
            verdict = step.verify(run)
        with self._stage("health"):
            health = run.health() if verdict.passed else Verdict(Outcome.COULD_NOT_RUN, "not checked")
        worst = verdict if not verdict.passed or health.passed else health
        entry = self._close(worst.outcome, result.text, result.data, verdict=verdict, health=health, problems=problems)
        if not worst.passed:
            raise self._failed("verify" if worst is verdict else "health", worst.text)
        return record_of(entry)

    @contextmanager
    def _stage(self, stage: str) -> Iterator[None]:
        """Record what a stage raises; an interrupt leaves the intent open, so that the step is resumed."""
        try:
            yield
        except LeaseHeld:
            raise  # the run is somebody else's now: nothing may be recorded
        except NotDue:
            self.run.release()
            raise
        except Exception as error:
            outcome = Outcome.COULD_NOT_RUN if stage != "apply" else Outcome.FAIL
            text = f"{stage}: {_words(error)}"
            self._close(outcome, text, {"error": type(error).__name__, "stage": stage})
            if isinstance(error, RunbookError):
                raise
            raise self._failed(stage, _words(error)) from error

    def _close(self, outcome: str, text: str, data: Mapping[str, Any], **more: Any) -> Entry:
        result = Result(
            self.inputs,
            outcome,
            text,
            data,
            applied=self.applied,
            resumed=self.resumed,
            duration_s=round(time.monotonic() - self._begun, 3),
            shapes=schema_drift.renewed(self.run, self.reshapes) if self.applied else {},
            **more,
        )
        self.run.current = ""
        return self.run.write(result, step=self.step.name)

    def _refused(self, blocking: list[Problem]) -> StepFailed:
        listed = "; ".join(f"{problem.subject}: {problem.text}" for problem in blocking)
        self._close(Outcome.FAIL, f"check: {listed}", {}, problems=blocking)
        acts = " · ".join(dict.fromkeys(problem.action for problem in blocking if problem.action))
        return StepFailed(self.step.name, listed, state="nothing was applied", action=acts or "put it right, run again")

    def _failed(self, stage: str, text: str) -> StepFailed:
        state = "nothing was applied" if not self.applied else "it was applied, at least in part"
        action = f"{BY_HAND}, or undo with {notebook_of('rollback')}"
        return StepFailed(f"{self.step.name} ({stage})", text, state=state, action=action)


def _words(error: BaseException) -> str:
    return mask(str(error) if isinstance(error, RunbookError) else f"{type(error).__name__}: {error}")


def _require_steps(run: RunContext, step: Step, history: History) -> None:
    for name in step.requires:
        if not history.step_passed(name):
            raise OutOfOrder(
                step.name,
                f"{name} has not passed in this run",
                state="nothing was applied",
                action=f"run {name} in {_place(run, history, name)} first",
            )


def _place(run: RunContext, history: History, name: str) -> str:
    """The notebook that a step belongs to: where it was tried, or where the plan lists it, or this one."""
    tried = history.unit(name)
    if tried is not None:
        return notebook_of(tried.phase)
    for phase in phases_of(run.plan):
        described = run.plan.phase(phase)
        listed = [*described.steps, *(task.carried_out_by for task in described.tasks)]
        if name in map(carried_out_by, listed):
            return notebook_of(phase)
    return f"{notebook_of(run.phase)}, or one before it,"
