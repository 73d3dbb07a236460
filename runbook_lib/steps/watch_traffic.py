"""Watch the rollback triggers for as long as the plan says; days are not slept through, a watcher works meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.errors import NotDue
from runbook_lib.journal.kinds import WatchOpened
from runbook_lib.monitoring.long_watch import LEASE, LongWatch, standing, when
from runbook_lib.plan.model import Phase
from runbook_lib.plan.units import duration
from runbook_lib.plan.yaml_value import shown
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.steps.traffic_watch import watch_traffic
from runbook_lib.verdict import Outcome, StepResult, Verdict

LONGEST_CELL_S = 300.0  # a stability period that is longer is watched by `runbook watch`


@dataclass(frozen=True)
class WatchTraffic:
    """Error rate, response time, data and critical features; a trigger that fires fails the phase.

    Attributes:
        after: "cutover" watches as long as the plan says for the time after it, "stability" as long as the clean-up's
            `after`.
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
        """Watch; a stability period of more than five minutes is recorded, and judged from what its watcher recorded.

        Raises:
            NotDue: less than the period has been measured.
        """
        planned, duration_s = self._duration_s(run.plan.phase), self._duration_s(run.effective)
        if self.after == "stability" and duration_s > LONGEST_CELL_S:
            return self._recorded(run, round(duration_s * 1000))
        result = watch_traffic(run, duration_s, look_into_data=True)
        note = (
            ""
            if duration_s == planned
            else f" (the plan says {duration(planned)}; the options say {duration(duration_s)})"
        )
        return StepResult(result.text + note, result.as_dict())

    def _recorded(self, run: RunContext, period_ms: int) -> StepResult:
        found = standing(run.journal, run.run_id, self.name)
        if found is None or found.period_ms != period_ms:
            run.write(WatchOpened(period_ms), step=self.name)
            found = standing(run.journal, run.run_id, self.name)
        if found is None or not found.over:
            raise _not_due(run, self.name, found)
        text = found.text(time.time())
        return StepResult(text, {"outcome": str(Outcome.PASS), "text": text, **found.figures()})

    def _duration_s(self, phase: Callable[[str], Phase]) -> float:
        return phase("watch").watch_s if self.after == "cutover" else phase("cleanup").after_s

    def verify(self, run: RunContext) -> Verdict:
        data = run.applied(self.name).data
        return Verdict(Outcome(data["outcome"]), data["text"])

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("watching changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing to undo")


def _not_due(run: RunContext, name: str, found: LongWatch | None) -> NotDue:
    now = time.time()
    seen = f"{found.text(now)}; due {when(found.due(now))} at the earliest" if found else "nothing is recorded"
    watcher = run.journal.holder(run.run_id, LEASE)
    file = shown(run.environment.parameter_file)
    alone = f"no watcher runs, and what nobody watches does not count. Next: runbook watch -f {file}"
    action = f"open the notebook again then, or: runbook run -f {file}" if watcher else ""
    return NotDue(name, seen, state=f"watcher: {watcher}" if watcher else alone, action=action)
