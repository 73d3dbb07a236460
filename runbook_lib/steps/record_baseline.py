"""Measure how the source answers today: what "twice as slow" will be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.monitor import measure_baseline
from runbook_lib.run import Run
from runbook_lib.step import StepResult, Verdict
from runbook_lib.steps.common import verdict


@dataclass(frozen=True)
class RecordBaseline:
    """Response times at the router's edge, over `options.baseline_s` seconds of live traffic."""

    name: str = "record_baseline"
    reversible: bool = True
    requires: Sequence[str] = ()

    def check(self, run: Run) -> list[Problem]:
        return []

    def apply(self, run: Run) -> StepResult:
        found = measure_baseline(run.router.metrics, duration_s=run.options.baseline_s)
        return StepResult(f"p50 {found.p50_ms} ms, p99 {found.p99_ms} ms at the edge", asdict(found))

    def verify(self, run: Run) -> Verdict:
        data = run.applied(self.name).data
        return verdict(data["p99_ms"] is not None, "measured" if data["p99_ms"] else "no traffic was seen at the edge")

    def rollback(self, run: Run) -> StepResult:
        return StepResult("measuring changed nothing")

    def undone(self, run: Run) -> Verdict:
        return verdict(True, "nothing to undo")
