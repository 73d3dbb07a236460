"""A service's tables for a target of another engine: the plan's mappings applied to the catalog, then translated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from runbook_lib.databases.port import Column, Constraint, Database, Table
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.convert.ddl import Scripts
from runbook_lib.schema.convert.ddl import scripts as rendered
from runbook_lib.schema.convert.decisions import Decision, Policies, user_types, without_columns
from runbook_lib.schema.convert.probed_types import as_measured
from runbook_lib.schema.convert.target_schema import TargetSchema
from runbook_lib.schema.convert.translate import translate
from runbook_lib.schema.mapped_columns import forward_expressions

UNMATCHED_OVERRIDE = "names no column of these tables, and none of their columns has this type"


def target_schema(
    service: Service,
    source: Database,
    target: Database,
    types: Mapping[str, str],
    origin: Mapping[str, Table] | None = None,
) -> TargetSchema | None:
    """What a service's tables become at a target of another engine, with every decision; None for one of the same.

    Nothing is created. Tables whose values decide between two types are read once.

    Args:
        types: The plan's `types:`: column or source type → target type, and the policies by their names.
        origin: The source's tables, where they were read a moment ago.
    """
    if source.dialect == target.dialect:
        return None
    policies = Policies.from_plan(types)
    if origin is None:
        origin = source.catalog(list(dict.fromkeys(mapping.source for mapping in service.tables)))
    measured, decided = as_measured(origin, source, policies)
    tables = _applied(service, source, measured)
    found = translate(tables, source.dialect, target.dialect, policies, user_types(source))
    known = {column.type for table in origin.values() for column in table.columns}
    known |= {f"{name}.{column.name}" for name, table in tables.items() for column in table.columns}
    strays = tuple(name for name in policies.types if name not in known)
    return replace(found, decisions=(*decided, *found.decisions), strays=strays)


def strays(schemas: Sequence[TargetSchema | None]) -> list[str]:
    """Names in the plan's `types:` that are STRAY for all services; none where all stay in the source's engine."""
    named = [schema.strays for schema in schemas if schema]
    return [name for name in named[0] if all(name in each for each in named)] if named else []


def decisions(schema: TargetSchema | None) -> tuple[Decision, ...]:
    """What will not be the same at the target; nothing where the engine is the same."""
    return schema.decisions if schema else ()


def scripts(service: Service, schema: TargetSchema) -> Scripts:
    """What makes a service's tables.

    Raises:
        PlanError: something must be decided in the plan first, or a name is too long for the target.
    """
    schema.require_decided()
    schema.require_names(service.name)
    return rendered(schema)


def _applied(service: Service, source: Database, origin: Mapping[str, Table]) -> dict[str, Table]:
    """The plan's mappings applied to the source's tables."""
    renamed = {m.source: m.target for m in service.tables if not m.derived}
    return {
        m.target: _derived(m, source, origin[m.source], renamed) if m.derived else _plain(m, origin[m.source], renamed)
        for m in service.tables
    }


def _plain(mapping: TableMapping, table: Table, renamed: Mapping[str, str]) -> Table:
    kept = without_columns(table, mapping.omit, mapping.target)
    constraints = tuple(
        replace(c, referenced_table=renamed.get(c.referenced_table, c.referenced_table)) for c in kept.constraints
    )
    return replace(kept, constraints=constraints)


def _derived(mapping: TableMapping, source: Database, origin: Table, renamed: Mapping[str, str]) -> Table:
    """Types from its expressions; its key refers to the table it was taken from, if that moves too."""
    expressions = forward_expressions(mapping, source, origin)
    types = source.expression_types(source.quote(mapping.source), tuple(expressions.values()))
    key = tuple(mapping.key) or origin.key
    columns = tuple(Column(name, kind, name not in key) for name, kind in zip(expressions, types, strict=True))
    constraints = [Constraint("", "primary", key, f"PRIMARY KEY ({', '.join(key)})")]
    referenced = tuple(mapping.key.get(column, column) for column in key)
    if mapping.source in renamed and set(referenced) == set(origin.key):
        there = ", ".join(source.ident(column) for column in referenced)
        text = f"FOREIGN KEY () REFERENCES {renamed[mapping.source]} ({there}) ON DELETE CASCADE"
        constraints.append(Constraint("", "foreign", key, text, referenced_table=renamed[mapping.source]))
    return Table(mapping.target, "", columns, key, constraints=tuple(constraints))
