"""From a plan's tables to links: forward for copy and sync, reverse for the rollback path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Catalogs, Column, Database, Table
from runbook_lib.errors import PlanError
from runbook_lib.plan.model import Plan, Service, TableMapping
from runbook_lib.schema.convert.decisions import Policies
from runbook_lib.schema.convert.type_overrides import override_of, reading
from runbook_lib.schema.convert.types import read_type
from runbook_lib.schema.convert.value_limits import limits_of
from runbook_lib.schema.convert.value_policies import Rule, applied, plain_form, rules_of
from runbook_lib.schema.mapped_columns import forward_expressions
from runbook_lib.transfer.links import Feed, Flow, Link
from runbook_lib.transfer.quarantine import Quarantine

# Kinds of limits; but for what is asked of every text.
_LOOKED_FOR, _LEFT_TO_THE_LOAD = ("lengths", "numbers", "other_types", "nul", "encoding"), "NUL characters"


def forward_links(
    plan: Plan,
    source: Database,
    targets: Mapping[str, Database],
    quarantine: Path | None = None,
    known: Catalogs | None = None,
) -> list[Link]:
    """One link from the source to each service's database, in the plan's order.

    Args:
        quarantine: Folder for the rows that a target refuses, if the plan says so.
        known: The catalogs of the source and of the only target, where they are read already.
    """
    aside = _quarantine(plan, quarantine)
    return [replace(_forward(plan, s, source, targets[s.database], known), quarantine=aside) for s in plan.services]


def reverse_links(
    plan: Plan,
    source: Database,
    targets: Mapping[str, Database],
    quarantine: Path | None = None,
    known: Catalogs | None = None,
) -> list[Link]:
    """One link from each service's database back to the source: what keeps the rollback path open.

    Args:
        known: As of `forward_links`.
    """
    aside = _quarantine(plan, quarantine)
    return [replace(_reverse(plan, s, source, targets[s.database], known), quarantine=aside) for s in plan.services]


def _quarantine(plan: Plan, folder: Path | None) -> Quarantine | None:
    return Quarantine(folder, plan.quarantine_limit) if folder and plan.on_bad_row == "quarantine" else None


def _forward(
    plan: Plan,
    service: Service,
    source: Database,
    target: Database,
    known: Catalogs | None,
) -> Link:
    there, here = known or (
        source.catalog([mapping.source for mapping in service.tables]),
        target.catalog([mapping.target for mapping in service.tables]),
    )
    policies = Policies.from_plan(plan.types)
    flows = tuple(_forward_flow(m, source, there[m.source], target, here[m.target], policies) for m in service.tables)
    return Link(service.name, service.name, source, target, flows)


def _forward_flow(
    mapping: TableMapping, source: Database, read: Table, target: Database, written: Table, policies: Policies
) -> Flow:
    expressions = forward_expressions(mapping, source, read)
    writable = [column for column in written.columns if not column.generated and column.name in expressions]
    key = tuple(mapping.key) or read.key
    rules: list[Rule] = []
    for column in () if mapping.columns else writable:
        expressions[column.name], own = _ruled(column, read, key, (source, target), policies)
        rules += own
    flow = Flow(
        table=mapping.target,
        relation=read.only + source.quote(mapping.source),
        only=written.only,
        key=key,
        columns=tuple(column.name for column in writable),
        expressions=tuple(expressions[column.name] for column in writable),
        types=tuple(column.type for column in writable),
        where=mapping.where,
        feeds=(Feed(mapping.source, tuple(mapping.key.get(name, name) for name in key)),),
        mapped=bool(mapping.columns),
        promised=tuple(expressions),
        rules=tuple(rules),
    )
    return _cast(flow) if flow.mapped and source.dialect == target.dialect else flow


def _ruled(
    written: Column, read: Table, key: Sequence[str], sides: tuple[Database, Database], policies: Policies
) -> tuple[str, list[Rule]]:
    """A column of the source as the target gets it, and the rules behind it."""
    source, target = sides
    sql, kind, dialects = source.ident(written.name), read.column(written.name).type, (source.dialect, target.dialect)
    told = override_of(policies.types, read.name, written.name, kind) if source.dialect != target.dialect else ""
    if (as_told := reading(sql, written.type, told, source.dialect)) != sql:
        sql, kind = as_told, written.type
    rules = rules_of(written.name, sql, kind, written.type, dialects, policies, key=written.name in key)
    expression = applied(sql, plain_form(sql, kind, written.type, dialects), rules)
    changed = {rule.name for rule in rules if rule.instead}
    refused = _refused(sql, kind, read.column(written.name), written, dialects)
    return expression, [*rules, *(rule for rule in refused if rule.name not in changed)]


def _refused(sql: str, kind: str, read: Column, written: Column, dialects: tuple[str, str]) -> Iterator[Rule]:
    """Values that the written column cannot take, which SQLite lets in, or for which a type was told too narrow.

    A server's NUL characters are left to the load: it would read every text once more; in SQLite's file that is cheap.
    """
    if dialects[0] == dialects[1]:
        return
    for limit in limits_of(sql, kind, written.type, dialects):
        late = limit.name == _LEFT_TO_THE_LOAD and not dialect_of(dialects[0]).loose_types
        if limit.refused and limit.kind in _LOOKED_FOR and not late:
            yield Rule(written.name, limit.name, limit.found)
    if read.nullable and not written.nullable:
        yield Rule(written.name, "NULLs where the target takes none", f"{sql} IS NULL")


def _reverse(
    plan: Plan,
    service: Service,
    source: Database,
    target: Database,
    known: Catalogs | None,
) -> Link:
    written, read = known or (
        source.catalog([mapping.source for mapping in service.tables]),
        target.catalog([mapping.target for mapping in service.tables]),
    )
    flows = tuple(
        _reverse_flow(plan, service, mapping, target, read, source, written[mapping.source])
        for mapping in service.tables
        if not mapping.derived
    )
    _require_whole_rows(service, flows)
    return Link(f"{service.name}_back", service.name, target, source, flows, forward=False)


def _require_whole_rows(service: Service, flows: Sequence[Flow]) -> None:
    carried = {flow.table for flow in flows}
    for mapping in service.tables:
        if mapping.source not in carried and mapping.reverse:
            raise PlanError(
                f"{service.name}.{mapping.target}",
                f"no table of the service carries whole rows of {mapping.source}",
                expected="one table in short form beside the derived one",
                action=f"add `{mapping.source}` to the service's tables, or drop `reverse`",
            )


def _reverse_flow(
    plan: Plan,
    service: Service,
    main: TableMapping,
    target: Database,
    read: Mapping[str, Table],
    source: Database,
    written: Table,
) -> Flow:
    """The source table from its main table, joined with whatever the derived tables give back."""
    derived = [m for m in service.tables if m.derived and m.source == main.source and m.reverse]
    given = {column: (index, m) for index, m in enumerate(derived) for column in m.reverse}
    names = {column.name for column in read[main.target].columns}
    columns = [c for c in written.columns if not c.generated and (c.name in names or c.name in given)]
    relation = f"{read[main.target].only}{target.quote(main.target)} AS m"
    for index, mapping in enumerate(derived):
        relation += _derived_join(index, mapping, target, read[mapping.target])

    def expression(name: str) -> str:
        if name not in given:
            return f"m.{target.ident(name)}"
        index, mapping = given[name]
        position = list(mapping.reverse).index(name)
        default = written.column(name).default or "NULL"
        return f"CASE WHEN d{index}.k0 IS NULL THEN {default} ELSE d{index}.c{position} END"

    key = written.key
    there = {column.name: column for column in read[main.target].columns}
    policies, sides = Policies.from_plan(plan.types), (source, target)

    def as_it_went(column: Column) -> str:
        if column.name not in there or source.dialect == target.dialect:
            return source.ident(column.name)
        return _ruled(there[column.name], written, key, sides, policies)[0]

    def counted(column: Column) -> str:
        """A tinyint(1) that went into a number comes back as one."""
        number = (
            dialect_of(source.dialect).boolean_is_number and read_type(column.type, source.dialect).kind == "boolean"
        )
        if number and column.name in there and read_type(there[column.name].type, target.dialect).kind != "boolean":
            return "tinyint"
        return column.type

    flow = Flow(
        table=main.source,
        relation=relation,
        only=written.only,
        key=key,
        columns=tuple(column.name for column in columns),
        expressions=tuple(expression(column.name) for column in columns),
        types=tuple(counted(column) for column in columns),
        where="",
        feeds=(Feed(main.target, key), *(Feed(m.target, _key_of(m, key)) for m in derived)),
        mapped=bool(derived),
        within=main.where,
        written=tuple(as_it_went(column) for column in columns),
    )
    return _cast(flow) if flow.mapped and source.dialect == target.dialect else flow


def _key_of(derived: TableMapping, key: Sequence[str]) -> tuple[str, ...]:
    """The derived table's columns that are the source's key, in its order."""
    by_origin = {origin: column for column, origin in derived.key.items()}
    if set(by_origin) != set(key):
        raise PlanError(
            derived.target,
            f"its key is taken from ({', '.join(by_origin)})",
            expected=f"{derived.source}'s own key ({', '.join(key)}), so that a changed row finds its source row",
            action="correct `key`, or drop `reverse`",
        )
    return tuple(by_origin[column] for column in key)


def _derived_join(index: int, mapping: TableMapping, database: Database, table: Table) -> str:
    keys = ", ".join(f"{database.ident(column)} AS k{i}" for i, column in enumerate(mapping.key))
    values = ", ".join(f"{sql} AS c{i}" for i, sql in enumerate(mapping.reverse.values()))
    on = " AND ".join(f"d{index}.k{i} = m.{database.ident(origin)}" for i, origin in enumerate(mapping.key.values()))
    return f" LEFT JOIN (SELECT {keys}, {values} FROM {table.only}{database.quote(mapping.target)}) AS d{index} ON {on}"


def _cast(flow: Flow) -> Flow:
    """Expressions carry the written column's exact type: binary COPY and record hashes need it."""
    cast = tuple(f"CAST({sql} AS {kind})" for sql, kind in zip(flow.expressions, flow.types, strict=True))
    return replace(flow, expressions=cast)
