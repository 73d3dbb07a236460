"""Watch the rollback triggers for as long as the plan says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.plan.model import Phase
from runbook_lib.plan.units import duration
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.steps.traffic_watch import watch_traffic
from runbook_lib.verdict import Outcome, StepResult, Verdict


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

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        planned, duration_s = self._duration_s(run.plan.phase), self._duration_s(run.effective)
        result = watch_traffic(run, duration_s, look_into_data=True)
        note = (
            ""
            if duration_s == planned
            else f" (the plan says {duration(planned)}; the options say {duration(duration_s)})"
        )
        return StepResult(result.text + note, result.as_dict())

    def _duration_s(self, phase: Callable[[str], Phase]) -> float:
        return phase("cutover").watch_s if self.after == "cutover" else phase("cleanup").after_s

    def verify(self, run: RunContext) -> Verdict:
        data = run.applied(self.name).data
        return Verdict(Outcome(data["outcome"]), data["text"])

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("watching changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing to undo")
