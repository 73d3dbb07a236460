"""Build indexes, constraints and triggers at the targets, after the load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run import Run
from runbook_lib.schema.target import build_indexes
from runbook_lib.step import StepResult, Verdict
from runbook_lib.steps.common import verdict


@dataclass(frozen=True)
class BuildIndexes:
    """After the load it is faster, and every constraint is proven over all rows at once; ANALYZE follows (trap 34)."""

    name: str = "build_indexes"
    reversible: bool = True
    requires: Sequence[str] = ("copy_history",)

    def check(self, run: Run) -> list[Problem]:
        return []

    def apply(self, run: Run) -> StepResult:
        counts = {s.database: build_indexes(s, run.databases[s.database]) for s in run.plan.services}
        return StepResult(f"{sum(counts.values())} indexes, with constraints and triggers", {"indexes": counts})

    def verify(self, run: Run) -> Verdict:
        bad = [
            f"{service.database}.{thing.name}"
            for service in run.plan.services
            for table in run.databases[service.database].catalog([m.target for m in service.tables]).values()
            for thing in (
                *(index for index in table.indexes if not index.valid),
                *(constraint for constraint in table.constraints if not constraint.validated),
            )
        ]
        return verdict(not bad, f"not valid: {', '.join(bad)}" if bad else "every index and constraint is valid")

    def rollback(self, run: Run) -> StepResult:
        return StepResult("they go with their tables, in the undo of create_target_schemas")

    def undone(self, run: Run) -> Verdict:
        return verdict(True, "nothing of its own to undo")
