"""Run the plan's tests of what is new: the command in the `tests` of its phase `validate`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.util import command
from runbook_lib.util.redact import mask
from runbook_lib.verdict import Outcome, StepResult, Verdict

_COULD_NOT_RUN = 126  # the shell's "not executable", "not found", "ended by a signal"
_LAST_LINES = 20  # of its output that are kept


@dataclass(frozen=True)
class RunTests:
    """The tests run in a process group of their own, which ends with us; exit status 0 is passed, 1 to 125 failed.

    Killed in the middle they are run again: tests change nothing that counts.
    """

    name: str = "run_tests"
    reversible: bool = True
    requires: Sequence[str] = ("smoke_test:target:start",)

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        phase, environment = run.plan.phase("validate"), run.environment
        known = {"python": sys.executable, "root": str(environment.root), "run_id": run.run_id}
        known["inventory"] = str(environment.inventory_path)
        begun = time.monotonic()
        ended = command.run(
            [part.format_map(known) for part in phase.tests], environment.root, phase.tests_timeout_s, dies_with_us=True
        )
        said = mask(ended.output + ended.complaint).strip().splitlines()[-_LAST_LINES:]
        text = f"passed in {time.monotonic() - begun:.1f} s: {said[-1] if said else 'no output'}"
        outcome = Outcome.PASS if ended.passed else Outcome.FAIL
        if ended.problem or ended.status < 0 or ended.status >= _COULD_NOT_RUN:
            outcome = Outcome.COULD_NOT_RUN
        return StepResult(text if ended.passed else ended.said(), {"outcome": str(outcome), "output": said})

    def verify(self, run: RunContext) -> Verdict:
        result = run.applied(self.name)
        return Verdict(Outcome(result.data["outcome"]), result.text)

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("testing changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing to undo")
