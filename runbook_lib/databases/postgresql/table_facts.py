"""What capture, apply and fence ask about tables: members of a partition tree, types, and names for our own objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from runbook_lib.databases import identifiers
from runbook_lib.databases.postgresql import own, quoting
from runbook_lib.errors import DatabaseError

SCHEMA = "runbook"
INTEGERS = frozenset({"smallint", "integer", "bigint"})

_MEMBERS_OF = """
SELECT DISTINCT a.name, pg_catalog.format('%%I.%%I', n.nspname, c.relname)
FROM pg_catalog.unnest(%(tables)s::text[]) AS a(name)
CROSS JOIN LATERAL (SELECT pg_catalog.to_regclass(a.name)::oid AS relid
                    UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass(a.name))) AS m
JOIN pg_catalog.pg_class AS c ON c.oid = m.relid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') ORDER BY 1, 2
"""
_TYPES = """
SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attidentity = 'a', attgenerated <> '',
       (SELECT relkind = 'r' FROM pg_catalog.pg_class AS c WHERE c.oid = attrelid)
FROM pg_catalog.pg_attribute
WHERE attrelid = pg_catalog.to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
# What a log has of a column: all integers as the widest, no length or precision, a domain as what it is made of, and
# types that are not the server's own as text. So a column that is widened still fits, and no DDL waits for the log.
_LOGGED = """
WITH RECURSIVE based(attname, oid) AS (
  SELECT attname, atttypid FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass(%s) AND attnum > 0 AND NOT attisdropped
  UNION ALL SELECT b.attname, t.typbasetype FROM based AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.oid
    WHERE t.typtype = 'd')
SELECT b.attname, CASE WHEN t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace THEN 'pg_catalog.text'
  WHEN t.oid IN (21, 23) THEN 'pg_catalog.int8' ELSE pg_catalog.format('pg_catalog.%%I', t.typname) END
FROM based AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.oid WHERE t.typtype <> 'd'
"""
TEXT = "pg_catalog.text"


def members(driver: psycopg.Connection[Any], table: str) -> list[str]:
    """The table and all its partitions, quoted with their schema, sorted; statement triggers fire on each by itself.

    Raises:
        DatabaseError: there is no such table.
    """
    return members_of(driver, [table])[table]


def members_of(driver: psycopg.Connection[Any], tables: Sequence[str]) -> dict[str, list[str]]:
    """The same of many tables, by one query: writers wait for it inside a cutover.

    Raises:
        DatabaseError: one of them does not exist.
    """
    asked = {quoting.quote(table): table for table in tables}
    found: dict[str, list[str]] = {table: [] for table in tables}
    for quoted, member in driver.execute(_MEMBERS_OF, {"tables": list(asked)}):
        found[asked[quoted]].append(member)
    if missing := [table for table, listed_ in found.items() if not listed_]:
        raise DatabaseError(f"table {missing[0]}", "does not exist", action="check the plan's table names")
    return found


def qualified(driver: psycopg.Connection[Any], table: str) -> str:
    """The table's quoted name with its schema: the search path may differ later."""
    sql = (
        "SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c "
        "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass(%s)"
    )
    [(name,)] = driver.execute(sql.encode(), (quoting.quote(table),)).fetchall()
    return str(name)


def ensure_schema(driver: psycopg.Connection[Any]) -> None:
    """Make our own schema when missing: IF NOT EXISTS alone would ask for the right to create schemas each time."""
    state = driver.execute(own.STATE.encode()).fetchone()
    if state and own.must_make(driver.info.dbname, state):
        for statement in own.CREATE:
            driver.execute(statement.encode())


def own_name(kind: str, *parts: str) -> str:
    """A quoted identifier for one of our objects: readable, at most 63 bytes, different for different parts."""
    return quoting.ident(identifiers.own_name(kind, *parts))


def column_facts(driver: psycopg.Connection[Any], table: str) -> dict[str, tuple[str, bool, bool]]:
    """Column → (type with its modifiers, GENERATED ALWAYS AS IDENTITY, computed), in the table's order.

    Raises:
        DatabaseError: there is no such table.
    """
    return facts_and_only(driver, table)[0]


def facts_and_only(driver: psycopg.Connection[Any], table: str) -> tuple[dict[str, tuple[str, bool, bool]], str]:
    """The same, and `ONLY ` where a statement must say so to leave the rows of children by inheritance alone.

    Raises:
        DatabaseError: there is no such table.
    """
    rows = _facts(driver, table)
    if not rows:
        raise DatabaseError(f"table {table}", "does not exist", action="check the plan's table names")
    found = {name: (kind, always, computed) for name, kind, always, computed, _ in rows}
    return found, "ONLY " if rows[0][4] else ""


def _facts(driver: psycopg.Connection[Any], table: str) -> list[tuple[Any, ...]]:
    return driver.execute(_TYPES, (quoting.quote(table),)).fetchall()


def logged_types(driver: psycopg.Connection[Any], table: str) -> dict[str, str]:
    """Column → the type that a log has for it."""
    return dict(driver.execute(_LOGGED, (quoting.quote(table),)).fetchall())


def as_key(expression: str, kind: str) -> str:
    """A key value as the port wants it: an integer, or the text form that is cast back, as rows are read in it.

    A cast makes `true` of a boolean's t, 10.0.0.1/32 of an inet, and takes the spaces off char(n).
    IS DISTINCT FROM: a composite value with a NULL in it is neither NULL nor NOT NULL.
    """
    if kind in INTEGERS:
        return expression
    return f"CASE WHEN {expression} IS DISTINCT FROM NULL THEN concat({expression}) END"


def listed(texts: Sequence[str]) -> str:
    """Joined by commas."""
    return ", ".join(texts)
