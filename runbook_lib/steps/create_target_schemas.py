"""Create the services' tables at their databases, without indexes and constraints yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.databases.port import Problem
from runbook_lib.run.context import RunContext
from runbook_lib.schema.convert.service_tables import UNMATCHED_OVERRIDE, decisions, strays, target_schema
from runbook_lib.schema.create_target import accepted_scripts, create_tables, drop_tables
from runbook_lib.steps.routes_and_links import verdict
from runbook_lib.verdict import StepResult, Verdict


@dataclass(frozen=True)
class CreateTargetSchemas:
    """Tables, types and functions first; indexes, constraints and triggers follow the bulk load."""

    name: str = "create_target_schemas"
    reversible: bool = True
    requires: Sequence[str] = ("backup_source",)
    reshapes: Sequence[str] = ("targets",)

    def check(self, run: RunContext) -> list[Problem]:
        missing = [p for s in run.plan.services for p in run.databases[s.database].privileges_missing("target")]
        schemas = [target_schema(s, run.source, run.databases[s.database], run.plan.types) for s in run.plan.services]
        missing += [
            Problem(f"types: {name}", UNMATCHED_OVERRIDE, "correct the name in the plan", blocking=True)
            for name in strays(schemas)
        ]
        return missing + [
            Problem(d.subject, f"{d.what}: {d.chosen or 'not decided'}", ", ".join(d.alternatives), blocking=d.blocking)
            for schema in schemas
            for d in decisions(schema)
        ]

    def apply(self, run: RunContext) -> StepResult:
        types, services = run.plan.types, run.plan.services
        targets = {s.name: run.databases[s.database] for s in services}
        # All of them before the first is made.
        tried = {s.name: accepted_scripts(s, run.source, targets[s.name], types) for s in services}
        made = {s.name: create_tables(s, run.source, targets[s.name], types, scripts=tried[s.name]) for s in services}
        tables = sum(len(names) for names in made.values())
        return StepResult(
            f"{tables} tables in {len(made)} databases", {"tables": {k: list(v) for k, v in made.items()}}
        )

    def verify(self, run: RunContext) -> Verdict:
        missing = [
            f"{service.database}.{mapping.target}"
            for service in run.plan.services
            for catalog in [run.databases[service.database].catalog()]
            for mapping in service.tables
            if mapping.target not in catalog
        ]
        return verdict(not missing, f"missing: {', '.join(missing)}" if missing else "every planned table is there")

    def rollback(self, run: RunContext) -> StepResult:
        gone = [t for s in run.plan.services for t in drop_tables(s, run.databases[s.database])]
        return StepResult(f"{len(gone)} tables dropped at the targets", {"tables": gone})
