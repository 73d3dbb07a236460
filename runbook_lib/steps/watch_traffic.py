"""Watch the rollback triggers for as long as the plan says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.plan.quantities import duration
from runbook_lib.run import Run
from runbook_lib.step import Outcome, StepResult, Verdict
from runbook_lib.steps.common import verdict
from runbook_lib.steps.watching import watch_traffic


@dataclass(frozen=True)
class WatchTraffic:
    """Error rate, response time, data and critical features; a trigger that fires fails the phase.

    Attributes:
        after: "cutover" watches as long as that phase's `watch`, "stability" as long as the clean-up's `after`.
    """

    after: str
    requires: Sequence[str] = ("cutover",)
    reversible: bool = True

    @property
    def name(self) -> str:
        return f"watch_traffic:{self.after}"

    def check(self, run: Run) -> list[Problem]:
        return []

    def apply(self, run: Run) -> StepResult:
        phase, name = ("cutover", "watch_s") if self.after == "cutover" else ("cleanup", "after_s")
        planned, duration_s = getattr(run.plan.phase(phase), name), run.effective(name, phase)
        result = watch_traffic(run, duration_s, look_into_data=True)
        note = (
            ""
            if duration_s == planned
            else f" (the plan says {duration(planned)}; the options say {duration(duration_s)})"
        )
        return StepResult(result.text + note, result.as_dict())

    def verify(self, run: Run) -> Verdict:
        data = run.applied(self.name).data
        return Verdict(Outcome(data["outcome"]), data["text"])

    def rollback(self, run: Run) -> StepResult:
        return StepResult("watching changed nothing")

    def undone(self, run: Run) -> Verdict:
        return verdict(True, "nothing to undo")
