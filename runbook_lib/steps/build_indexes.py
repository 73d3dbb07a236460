"""Build indexes, constraints and triggers at the targets, after the load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.errors import DatabaseError
from runbook_lib.plan.model import Service
from runbook_lib.run import Run
from runbook_lib.schema.target import add_foreign_keys, build_indexes
from runbook_lib.step import StepResult, Verdict
from runbook_lib.steps.common import links, verdict
from runbook_lib.transfer.flow import Link
from runbook_lib.transfer.sync import drain
from runbook_lib.transfer.worker import exclusive

_ROUNDS = 20  # one round takes milliseconds; a few are enough on a busy source


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
        for link in links(run):
            with exclusive([link]):
                _add_foreign_keys(run.plan.service(link.service), link, run.options.batch_keys)
        return StepResult(f"{sum(counts.values())} indexes, with constraints and triggers", {"indexes": counts})

    def verify(self, run: Run) -> Verdict:
        bad = [
            f"{service.database}.{name}"
            for service in run.plan.services
            for table in run.databases[service.database].catalog([m.target for m in service.tables]).values()
            for name in (
                *(index.name for index in table.indexes if not index.valid),
                *(constraint.name for constraint in table.constraints if not constraint.validated),
            )
        ]
        return verdict(not bad, f"not valid: {', '.join(bad)}" if bad else "every index and constraint is valid")

    def rollback(self, run: Run) -> StepResult:
        return StepResult("they go with their tables, in the undo of create_target_schemas")

    def undone(self, run: Run) -> Verdict:
        return verdict(True, "nothing of its own to undo")


def _add_foreign_keys(service: Service, link: Link, batch_keys: int) -> None:
    """Add the foreign keys between two rounds of the sync, when parents and children agree.

    The tables were copied one after the other while writes went on, so a child may have come before its parent. What
    is missing is in the log: it is drained first. A child logged after its parents' table was drained can still be
    ahead; the next round brings the parent. A key that keeps failing is broken at the source too.
    """
    for attempt in range(_ROUNDS):
        drain([link], batch_keys=batch_keys)
        try:
            add_foreign_keys(service, link.writer)
            return
        except DatabaseError:
            if attempt == _ROUNDS - 1:
                raise
