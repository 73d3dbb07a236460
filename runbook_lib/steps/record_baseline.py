"""Measure how the source answers today: what "twice as slow" will be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.monitoring.watch import measure_baseline
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class RecordBaseline:
    """Response times at the router's edge, over `options.baseline_s` seconds of live traffic."""

    name: str = "record_baseline"
    reversible: bool = True
    requires: Sequence[str] = ()

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        found = measure_baseline(run.router.metrics, duration_s=run.options.baseline_s)
        told = [(name.removesuffix("_ms"), ms) for name, ms in asdict(found).items() if isinstance(ms, float)]
        text = ", ".join(f"{name} {ms} ms" for name, ms in told) or "nothing"
        return StepResult(f"{text} at the edge", asdict(found))

    def verify(self, run: RunContext) -> Verdict:
        measured = any(ms is not None for name, ms in run.applied(self.name).data.items() if name.endswith("_ms"))
        return verdict(measured, "measured" if measured else "no traffic was seen at the edge")

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("measuring changed nothing")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing to undo")
