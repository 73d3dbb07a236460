"""A service's tables for a target of another engine: the plan's mappings applied to the catalog, then translated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from runbook_lib.databases.port import Column, Constraint, Database, Table
from runbook_lib.errors import PlanError
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema.convert.ddl import translate
from runbook_lib.schema.convert.decisions import Decision, Policies, Translation, user_types, without_columns
from runbook_lib.schema.convert.expected_table import promise
from runbook_lib.schema.convert.probed_types import as_measured
from runbook_lib.schema.mapped_columns import forward_expressions


def translation(service: Service, source: Database, target: Database, types: Mapping[str, str]) -> Translation:
    """What a service's tables become at a target of another engine, with every decision; nothing is created.

    Args:
        types: The plan's `types:`: column or source type → target type, and the policies by their names.
    """
    policies = Policies.from_plan(types)
    tables, measured = _tables(service, source, policies)
    found = translate(tables, source.dialect, target.dialect, policies, user_types(source))
    return replace(found, decisions=(*measured, *found.decisions))


def foreseen(service: Service, source: Database, target: Database, types: Mapping[str, str]) -> dict[str, Table]:
    """A service's tables as a target of another engine will show them, by their names there."""
    policies = Policies.from_plan(types)
    tables, _ = _tables(service, source, policies)
    promised = promise(tables, source.dialect, target.dialect, policies, user_types(source))
    return {name: each.table for name, each in promised.items()}


def _tables(service: Service, source: Database, policies: Policies) -> tuple[dict[str, Table], Sequence[Decision]]:
    """The plan's mappings applied to the source's catalog, and what was decided by the values that are there."""
    origin, measured = as_measured(_origin(service, source), source, policies)
    return _applied(service, source, origin), measured


def _origin(service: Service, source: Database) -> dict[str, Table]:
    return source.catalog(list(dict.fromkeys(mapping.source for mapping in service.tables)))


def _applied(service: Service, source: Database, origin: Mapping[str, Table]) -> dict[str, Table]:
    """The plan's mappings applied to the source's tables."""
    renamed = {m.source: m.target for m in service.tables if not m.derived}
    return {
        m.target: _derived(m, source, origin[m.source], renamed) if m.derived else _plain(m, origin[m.source], renamed)
        for m in service.tables
    }


STRAY = "names no column of these tables, and none of their columns has this type"


def strays(
    services: Sequence[Service], source: Database, targets: Mapping[str, Database], types: Mapping[str, str]
) -> list[str]:
    """Names in the plan's `types:` that are STRAY; none where every target is of the source's engine."""
    given = Policies.from_plan(types).types
    if not given or all(targets[service.database].dialect == source.dialect for service in services):
        return []
    known = set[str]()
    for service in services:
        origin = _origin(service, source)
        known |= {column.type for table in origin.values() for column in table.columns}
        known |= {f"{n}.{c.name}" for n, table in _applied(service, source, origin).items() for c in table.columns}
    return [name for name in given if name not in known]


def decisions(service: Service, source: Database, target: Database, types: Mapping[str, str]) -> tuple[Decision, ...]:
    """What will not be the same at the target; nothing where the engine is the same."""
    return () if source.dialect == target.dialect else translation(service, source, target, types).decisions


def scripts(service: Service, source: Database, target: Database, types: Mapping[str, str]) -> tuple[str, str, str]:
    """The three scripts: tables, what comes after the load, foreign keys.

    Raises:
        PlanError: something must be decided in the plan first, or a name is too long for the target.
    """
    found = translation(service, source, target, types)
    found.require_decided()
    long = [f"{subject} → {name}" for subject, name in found.renamed.items() if " " not in subject]
    if long:
        raise PlanError(
            f"service {service.name}",
            f"names too long for the target: {', '.join(long)}",
            state="nothing was created",
            action="give the table or column another name by `from:` and `columns:` in the plan",
        )
    return found.before, found.after, found.references


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
