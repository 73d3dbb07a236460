"""What system steps have in common: done only where it is not so already, and undone only if it was this run's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from runbook_lib.databases.port import Problem
from runbook_lib.journal.kinds import ActBegun, RollbackResult
from runbook_lib.run.context import RunContext
from runbook_lib.run.rollback import gone
from runbook_lib.run.step import Step
from runbook_lib.util.points import passed
from runbook_lib.verdict import Outcome, StepResult, Verdict


def act(run: RunContext, step: Step, do: Callable[[], str]) -> StepResult:
    """Do it, unless it is so already. From the entry in the journal on, what is there counts as this run's own."""
    seen = step.verify(run)
    if seen.passed:
        return StepResult(f"was so already: {seen.text}")
    run.write(ActBegun(), step=step.name)
    passed("system-step:begun")
    text = do()
    passed("system-step:done")
    return StepResult(text)


def acted(run: RunContext, name: str) -> bool:
    """Whether this run has begun to act, and has not undone it since."""
    ours = False
    for entry in run.journal.entries(run.run_id, ActBegun, RollbackResult):
        if entry.step == name:
            ours = isinstance(entry.content, ActBegun) or (ours and entry.read(RollbackResult).outcome != Outcome.PASS)
    return ours


def unmet(run: RunContext, step: Step, condition: Callable[[], Verdict]) -> list[Problem]:
    """What stands in the way of a step that has still to act."""
    if step.verify(run).passed:
        return []
    seen = condition()
    return [] if seen.passed else [Problem("check", seen.text, "see what the plan's `check` asks for")]


def take_back(run: RunContext, step: Step, undo: Callable[[], str]) -> StepResult:
    """Undo it, half of it too; what was so before this run stays."""
    return StepResult(undo()) if acted(run, step.name) else StepResult("it was so before this run, and stays")


def undone(run: RunContext, step: Step) -> Verdict:
    """Proof of the undo: `verify` does not pass any more."""
    if acted(run, step.name):
        return gone(step.verify(run))
    return Verdict(Outcome.PASS, "nothing of its own was there")


def filled(run: RunContext, service: str) -> Mapping[str, str]:
    """What the placeholders of a command and of an address stand for; `service`: the one that `on` names, or empty."""
    known = {"python": sys.executable, "root": str(run.environment.root), "run_id": run.run_id}
    return known | ({"name": service, "url": run.service(service).url} if service else {})
