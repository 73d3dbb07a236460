"""Read tables from the catalog, a handful of queries for all of them, definitions without names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.port import Column, Constraint, Index, Table
from runbook_lib.databases.postgresql import catalog_sql as sql
from runbook_lib.databases.postgresql import quoting

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

Rows = dict[int, list[tuple[Any, ...]]]


def catalog(db: PostgreSQLPort, tables: Sequence[str] | None = None) -> dict[str, Table]:
    """Describe these tables, or all of the user's (without partitions, extensions' tables and our own).

    A table that does not exist is left out of the answer; asking the answer for it raises DatabaseError.
    """
    oids = find(db, tables)
    found = adapter_helpers.Catalog(db.name)
    if not oids:
        return found
    head_of = {row[0]: row[1:] for row in db.rows(sql.TABLES, {"oids": list(oids.values())})}
    columns, indexes, constraints, triggers = _parts(db, head_of)
    # After the foreign keys: one that is made between two questions has its parent here all the same.
    visible = defaultdict(lambda: True, db.rows(sql.PARENTS, {"oids": list(oids.values())}))
    for name, oid in oids.items():
        if oid not in head_of:
            continue  # dropped since it was found
        found[name] = _table(head_of[oid], columns[oid], indexes[oid], constraints[oid], triggers[oid], visible)
    return found


def _parts(db: PostgreSQLPort, heads: Mapping[int, tuple[Any, ...]]) -> list[Rows]:
    """Columns, indexes, constraints and triggers of the tables.

    The server prints a name without its schema where the search path finds it: with the table's own schema in front,
    definitions say nothing of where the table is, and no text has to be changed.
    """
    wanted = (sql.COLUMNS, sql.INDEXES, sql.CONSTRAINTS, sql.TRIGGERS)
    found: list[Rows] = [defaultdict(list) for _ in wanted]
    schemas = defaultdict(list)
    for oid, (schema, *_) in heads.items():
        schemas[schema].append(oid)
    for schema, oids in schemas.items():
        _, *parts = db.rows_of_each((sql.SEARCH_FIRST, *wanted), {"oids": oids, "schema": schema})
        for all_, part in zip(found, parts, strict=True):
            all_.update(_grouped(part))
    return found


def tables(db: PostgreSQLPort) -> list[str]:
    """The names of all user tables."""
    return list(find(db, None))


def small_tables(db: PostgreSQLPort, tables: Sequence[str], most_bytes: int) -> list[str]:
    """See Database.small_tables."""
    found = db.rows(sql.SMALL, {"oids": list(find(db, tables).values()), "most": most_bytes})
    return [called(schema, table, visible=visible) for schema, table, visible in found]


def find(db: PostgreSQLPort, tables: Sequence[str] | None) -> dict[str, int]:
    """Names → OIDs of the existing ones among them, in the order asked; all user tables for None."""
    if tables is None:
        return {called(schema, table, visible=visible): oid for oid, schema, table, visible in db.rows(sql.ALL_TABLES)}
    quoted = [quoting.quote(table) for table in tables]
    found = dict(db.rows(sql.RESOLVE, {"names": quoted}))
    return {table: found[full] for table, full in zip(tables, quoted, strict=True) if found.get(full)}


def called(schema: str, table: str, *, visible: bool) -> str:
    """What `catalog` calls a table."""
    if not visible:
        return quoting.readable(schema, table)
    return table if quoting.split(table) == (table,) else quoting.readable(table)


def _grouped(rows: Sequence[tuple[Any, ...]]) -> Rows:
    grouped: Rows = defaultdict(list)
    for oid, *rest in rows:
        grouped[oid].append(tuple(rest))
    return grouped


def _table(
    head: tuple[Any, ...],
    columns: Sequence[tuple[Any, ...]],
    indexes: Sequence[tuple[Any, ...]],
    constraints: Sequence[tuple[Any, ...]],
    triggers: Sequence[tuple[Any, ...]],
    visible: Mapping[int, bool],
) -> Table:
    schema, name, partitioned, rows, size, comment, incarnation, inherited = head
    described = tuple(
        Column(column, kind, nullable, default or None, generated, identity, collation, ordinal)
        for column, kind, nullable, default, generated, identity, collation, ordinal in columns
    )
    return Table(
        name=name,
        schema=schema,
        columns=described,
        key=_key(described, indexes),
        indexes=tuple(
            Index(index, tuple(parts), unique, _index_definition(definition, unique), valid, partial, constraint)
            for index, parts, unique, definition, valid, partial, constraint, *_ in indexes
        ),
        constraints=tuple(
            Constraint(
                c,
                kind,
                tuple(parts),
                definition.removesuffix(" NOT VALID"),
                validated,
                called(there, parent, visible=visible[oid]) if parent else "",
            )
            for c, kind, parts, definition, validated, there, parent, oid in constraints
        ),
        triggers=tuple(_trigger(definition, enabled) for definition, enabled in triggers),
        rows_estimate=int(rows),
        size_bytes=size,
        comment=comment or "",
        partitioned=partitioned,
        inherited=inherited,
        incarnation=incarnation,
    )


def _index_definition(definition: str, unique: bool) -> str:
    """`CREATE UNIQUE INDEX n ON t USING btree (a) WHERE …` → `UNIQUE btree (a) WHERE …` (the server sent ours cut)."""
    return f"{'UNIQUE ' if unique else ''}{definition}"


def _trigger(definition: str, enabled: str) -> str:
    state = {"D": " [disabled]", "A": " [always]", "R": " [replica]"}.get(enabled, "")
    return definition.removeprefix("CREATE ").removeprefix("CONSTRAINT ").removeprefix("TRIGGER ") + state


def _key(columns: Sequence[Column], indexes: Sequence[tuple[Any, ...]]) -> tuple[str, ...]:
    """The primary key, else the narrowest unique index that is complete, immediate and not null."""
    required = {column.name for column in columns if not column.nullable}
    usable = []
    for _, parts, unique, _, valid, partial, _, primary, immediate, plain_columns in indexes:
        if primary:
            return tuple(parts)
        if unique and valid and immediate and not partial and plain_columns and required.issuperset(parts):
            usable.append(tuple(parts))
    return min(usable, key=len, default=())


def expression_types(db: PostgreSQLPort, relation: str, expressions: Sequence[str]) -> tuple[str, ...]:
    """The server's type of each expression, from a query that returns no row.

    Raises:
        DatabaseError: names the first expression that the server does not understand.
    """
    if not expressions:
        return ()
    try:
        with db.raw() as driver:
            result = driver.execute(f"SELECT {', '.join(expressions)} FROM {relation} LIMIT 0").pgresult
            fields = [(result.ftype(i), result.fmod(i)) for i in range(result.nfields)] if result else []
            shown = driver.execute(sql.FORMAT_TYPES, ([oid for oid, _ in fields], [mod for _, mod in fields]))
            return tuple(row[0] for row in shown)
    except psycopg.Error as error:
        if len(expressions) > 1:
            for expression in expressions:
                expression_types(db, relation, [expression])
        raise db.explain(error, f"reading {expressions[0]} from {relation}") from error


def fingerprint(db: PostgreSQLPort, tables: Sequence[str], known: Mapping[str, Table] | None = None) -> str:
    """SHA-256 over columns, indexes, constraints, triggers and user types of these tables; names of indexes aside."""
    oids = list(find(db, tables).values())
    types = sorted(str(row) for row in db.rows(sql.USER_TYPES, {"oids": oids})) if oids else []
    return adapter_helpers.fingerprint(known or catalog(db, tables), tables, types)


def definitions(db: PostgreSQLPort) -> dict[str, str]:
    """See Database.definitions."""
    return dict(db.rows(sql.DEFINITIONS))


def grants(db: PostgreSQLPort, tables: Sequence[str]) -> dict[str, frozenset[tuple[str, str]]]:
    """See Database.grants."""
    oids = find(db, tables)
    given = _grouped(db.rows(sql.GRANTS, {"oids": list(oids.values())})) if oids else {}
    return {table: frozenset((role, what) for role, what in given.get(oid, ())) for table, oid in oids.items()}
