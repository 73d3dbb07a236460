"""Rehearse the fence at the source: raise it under live traffic, measure, and lower it at once.

Writes at the source end for good at the cutover, when the targets can take them. Here the fence is installed and
proven: how long until the last writer in flight has ended is the first term of the predicted write pause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.steps.routes_and_links import links, origin, shares, verdict, writes
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class RehearseFence:
    """The fence, proven on the live source for some milliseconds."""

    name: str = "rehearse_fence"
    reversible: bool = True
    requires: Sequence[str] = ("start_sync:forward",)

    def check(self, run: RunContext) -> list[Problem]:
        routes = run.router.routes()
        moved = [name for s in run.plan.services if shares(routes[name := writes(s)]) != {origin(run): 100}]
        return run.source.privileges_missing("source") + [
            Problem(name, "the writes have left the source: the cutover's fence is up", "nothing to rehearse any more")
            for name in moved
        ]

    def apply(self, run: RunContext) -> StepResult:
        tables = self._tables(run)
        run.source.prepare_fence(tables)
        try:
            fence_s = run.source.raise_fence(tables, timeout_s=run.effective("cutover").max_write_pause_s)
        finally:
            run.source.lower_fence(tables)
        text = f"the fence stood after {fence_s * 1000:.0f} ms over {len(tables)} tables, and is lowered again"
        return StepResult(text, {"fence_s": fence_s, "tables": tables})

    def verify(self, run: RunContext) -> Verdict:
        up = run.source.fenced(self._tables(run))
        return verdict(not up, f"still fenced: {', '.join(sorted(up))}" if up else "writers may write, as before")

    def rollback(self, run: RunContext) -> StepResult:
        run.source.remove_fence()
        return StepResult("fence removed from the source")

    def undone(self, run: RunContext) -> Verdict:
        return self.verify(run)

    def _tables(self, run: RunContext) -> list[str]:
        return sorted({table for link in links(run) for table in link.captured})
