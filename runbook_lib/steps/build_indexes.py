"""Build indexes, constraints and triggers at the targets, after the load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from runbook_lib.databases.port import Problem
from runbook_lib.errors import DatabaseError
from runbook_lib.run.context import RunContext
from runbook_lib.schema.convert.left_behind import LeftBehind, make_one_by_one, require_all_made
from runbook_lib.schema.create_target import build_indexes
from runbook_lib.schema.kept_scripts import Part
from runbook_lib.steps.baseline import note_baseline
from runbook_lib.steps.routes_and_links import links, verdict
from runbook_lib.transfer.capture import kept_up
from runbook_lib.transfer.foreign_keys import add_keys, settle
from runbook_lib.transfer.sync_process import exclusive
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class BuildIndexes:
    """After the load it is faster, and every constraint is proven over all rows at once; ANALYZE follows."""

    name: str = "build_indexes"
    reversible: bool = True
    requires: Sequence[str] = ("copy_history",)
    reshapes: Sequence[str] = ("targets",)

    def check(self, run: RunContext) -> list[Problem]:
        return []

    def apply(self, run: RunContext) -> StepResult:
        services, databases = run.plan.services, run.databases
        with kept_up(run.source):
            over = {link.service: link for link in links(run)}
            settled = {name: partial(settle, link, batch_keys=run.options.batch_keys) for name, link in over.items()}
            counts, left = dict[str, int](), list[LeftBehind]()
            for s in services:
                refused = dict[Part, DatabaseError]()
                at = databases[s.database]
                counts[s.database] = build_indexes(s, at, run.options.jobs, settled[s.name], refused)
                left += make_one_by_one(s.name, at, refused)
            for link in over.values():
                with exclusive([link]):
                    left += add_keys(run.plan.service(link.service), link, batch_keys=run.options.batch_keys)
        require_all_made("indexes, constraints and triggers", left)
        note_baseline(run)
        return StepResult(f"{sum(counts.values())} indexes, with constraints and triggers", {"indexes": counts})

    def verify(self, run: RunContext) -> Verdict:
        unproven = _unproven(run)
        bad = [
            f"{service.database}.{name}"
            for service in run.plan.services
            for at, table in run.databases[service.database].catalog([m.target for m in service.tables]).items()
            for name in (
                *(index.name for index in table.indexes if not index.valid),
                *(
                    constraint.name
                    for constraint in table.constraints
                    if not constraint.validated and (service.database, at, constraint.name) not in unproven
                ),
            )
        ]
        return verdict(not bad, f"not valid: {', '.join(bad)}" if bad else "every index and constraint is valid")

    def rollback(self, run: RunContext) -> StepResult:
        return StepResult("they go with their tables, in the undo of create_target_schemas")

    def undone(self, run: RunContext) -> Verdict:
        return verdict(True, "nothing of its own to undo")


def _unproven(run: RunContext) -> set[tuple[str, str, str]]:
    """Constraints that the source has not proven either (NOT VALID): they go over as they are."""
    found = set()
    for service in run.plan.services:
        if run.databases[service.database].dialect == run.source.dialect:
            read = run.source.catalog([mapping.source for mapping in service.tables])
            names = {m.source: m.target for m in service.tables if not m.derived}
            found |= {
                (service.database, names[table.name], constraint.name)
                for table in read.values()
                for constraint in table.constraints
                if table.name in names and not constraint.validated
            }
    return found
