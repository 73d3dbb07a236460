"""Give each service its future tables as read-only views in the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.schema.extraction_views import create_views, drop_views
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class CreateExtractionViews:
    """The services' code is proven on the source's data first, so that code and data fail apart."""

    name: str = "create_extraction_views"
    reversible: bool = True
    requires: Sequence[str] = ("create_target_schemas",)
    reshapes: Sequence[str] = ("source",)

    def check(self, run: RunContext) -> list[Problem]:
        if dialect_of(run.source.dialect).schemas:
            return []
        text = f"{run.source.name} has no schemas for the views"
        return [Problem(run.source.name, text, "leave this step out: move data and code together")]

    def apply(self, run: RunContext) -> StepResult:
        views = [view for service in run.plan.services for view in create_views(service, run.source)]
        return StepResult(f"{len(views)} views in {run.source.name}", {"views": views})

    def verify(self, run: RunContext) -> Verdict:
        names = [(service.name, mapping.target) for service in run.plan.services for mapping in service.tables]
        present = set(run.source.rows("SELECT table_schema, table_name FROM information_schema.views"))
        missing = [f"{schema}.{view}" for schema, view in names if (schema, view) not in present]
        for schema, view in names:
            if not missing:
                run.source.rows(f"SELECT 1 FROM {run.source.quote(schema)}.{run.source.quote(view)} LIMIT 1")
        return verdict(not missing, f"missing: {', '.join(missing)}" if missing else "every view was read")

    def rollback(self, run: RunContext) -> StepResult:
        for service in run.plan.services:
            drop_views(service, run.source)
        return StepResult("views dropped")
