"""From where to where each thing of a source goes: of a copy's implicit plan, or of a plan with several services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from runbook_lib.assessment.account import Account
from runbook_lib.assessment.fates import Route, comparable_name, measure, predict
from runbook_lib.databases.port import Database, Inventory, Table
from runbook_lib.plan.model import Plan, Service, TableMapping
from runbook_lib.schema.convert.service_tables import target_schema
from runbook_lib.schema.convert.target_schema import TargetSchema

_CONSTRAINTS = {
    "primary": "primary key",
    "unique": "unique constraint",
    "foreign": "foreign key",
    "check": "check constraint",
    "exclusion": "exclusion constraint",
}


def route_of(
    service: Service,
    source: Database,
    target: Database,
    types: Mapping[str, str],
    *,
    whole: bool,
    kept: bool = False,
    schema: TargetSchema | None = None,
) -> Route:
    """From where to where a service's tables are moved.

    Args:
        types: As in a plan, for a target of another engine.
        whole: Whether all else that the source has is to be moved too.
        kept: Whether tables that the target has are left as they are.
        schema: What the tables become at a target of another engine, where that is worked out already.
    """
    tables = {mapping.source: mapping.target for mapping in service.tables if not mapping.derived}
    schema = schema or target_schema(service, source, target, types)
    if schema is None:
        return Route(source.dialect, target.dialect, tables, whole=whole, kept=kept)
    origin = {there: here for here, there in tables.items()}
    carried = frozenset(
        (kind, origin[name], own)
        for name, table in schema.catalog.items()
        if name in origin
        for kind, own in _parts(table)
    )
    return Route(
        source.dialect,
        target.dialect,
        tables,
        whole=whole,
        kept=kept,
        carried=carried,
        columns=tuple(_columns(schema, origin)),
        counters=_counters(schema, source, tables),
    )


def _columns(schema: TargetSchema, origin: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Table at the source, column, and how it is translated: those whose type is written otherwise, or was decided."""
    decided = dict[str, list[str]]()
    for each in schema.decisions:
        decided.setdefault(each.subject, []).append(f"{each.what}: {each.chosen or 'not decided'}")
    for name, table in schema.tables.items():
        for column, made in table.columns.items() if name in origin else ():
            said = decided.get(f"{name}.{column}", [])
            if said or (made.type and made.type.lower() != made.written.lower()):
                types = f"{made.written or 'no type'} → {made.type or 'no type'}"
                yield origin[name], column, "; ".join(said) or types


def _counters(schema: TargetSchema, source: Database, tables: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Table (or "", where no column owns it) and bare name of a sequence → the column that counts in its place."""
    counting = {
        (n, c) for n, table in schema.tables.items() for c, made in table.columns.items() if made.counter.clause
    }
    if not counting:
        return {}
    return {
        (owner, comparable_name(each.name)): f"{each.table}.{each.column}"
        for each in source.sequences(list(tables))
        if (tables.get(each.table), each.column) in counting
        for owner in (each.table, "")
    }


def _parts(table: Table) -> list[tuple[str, str]]:
    """Indexes and constraints by their names, and by their columns: an engine may know no name, or have its own."""
    listed = [("index", index.name, index.columns) for index in table.indexes]
    listed += [("unique constraint", index.name, ()) for index in table.indexes if index.unique]  # of expressions, too
    listed += [(_CONSTRAINTS[c.kind], c.name, c.columns) for c in table.constraints if c.kind in _CONSTRAINTS]
    return [(kind, name) for kind, named, columns in listed for name in (named, "\0".join(columns))]


def predicted(
    plan: Plan, source: Database, targets: Mapping[str, Database], schemas: Mapping[str, TargetSchema]
) -> Account:
    """How everything that the source has will be handled, by the plan.

    Args:
        targets: By name; of a service without one the source is checked as for its own engine.
        schemas: By service, what its tables become at a target of another engine.
    """
    there, here = source.inventory(), {name: target.inventory() for name, target in targets.items()}
    routes = [
        _planned(plan, s, source, targets.get(s.database, source), there, schemas.get(s.name if plan.phases else ""))
        for s in plan.services
    ]
    first, *more = zip(routes, (here.get(service.database) for service in plan.services), strict=True)
    return predict(there, first[1], first[0], *more)


def measured(plan: Plan, source: Database, targets: Mapping[str, Database]) -> Account:
    """How everything that the source has was handled, as the plan's targets show it."""
    there, here = source.inventory(), {name: target.inventory() for name, target in targets.items()}
    routes = [_planned(plan, service, source, targets[service.database], there) for service in plan.services]
    first, *more = zip(routes, (here[service.database] for service in plan.services), strict=True)
    return measure(there, first[1], first[0], *more)


def _planned(
    plan: Plan,
    service: Service,
    source: Database,
    target: Database,
    there: Inventory,
    schema: TargetSchema | None = None,
) -> Route:
    """A copy's implicit plan is of no file; of all tables it moves what stands beside them, and privileges, too."""
    implicit, every = not plan.path, {item.table for item in there.objects if item.kind == "table"}
    whole = implicit and every <= {mapping.source for mapping in service.tables}
    route = route_of(service, source, target, plan.types, whole=whole, schema=schema)
    mapped = frozenset(m.source for m in service.tables if m != _as_it_is(m) or (not implicit and m.derived))
    return replace(route, mapped=mapped if source.dialect == target.dialect else (), privileges=implicit)


def _as_it_is(mapping: TableMapping) -> TableMapping:
    return TableMapping(mapping.source, mapping.source, where=mapping.where, line=mapping.line)
