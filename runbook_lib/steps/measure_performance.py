"""Old against new under the plan's workload, as a step: what comes after it waits for its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.performance.against import old_against_new
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.verdict import Outcome, StepResult, Verdict


@dataclass(frozen=True)
class MeasurePerformance:
    """Paired rounds of both sides until every metric is fine or one is degraded; inconclusive does not pass.

    `compare_performance` is the same as a look, for a notebook that stands aside.
    """

    name: str = "measure_performance"
    reversible: bool = True
    requires: Sequence[str] = ("smoke_test:target:start",)

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        found = old_against_new(run.environment, lambda done, of: run.progress(done, of, "pairs of rounds")).verdict()
        return StepResult(found.text, {"outcome": str(found.outcome), **found.data})

    def verify(self, run: RunContext) -> Verdict:
        result = run.applied(self.name)
        return Verdict(Outcome(result.data["outcome"]), result.text)

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("measuring changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing to undo")
