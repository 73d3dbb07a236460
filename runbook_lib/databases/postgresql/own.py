"""Our own schema in a PostgreSQL database: ours by the comment that we give it, or by a table of ours that is in it.

A user's schema called `runbook` is theirs, is read like any other, and keeps the library from making its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook_lib.databases import own_objects
from runbook_lib.databases.own_objects import REGISTERED, SCHEMA

if TYPE_CHECKING:
    import psycopg

MADE = "made by runbook-lib: its own tables; runbook needs them while a migration lasts"
_COLUMNS = """(SELECT pg_catalog.string_agg(x.attname::text, ',' ORDER BY x.attnum) FROM pg_catalog.pg_attribute AS x
  WHERE x.attrelid = {0}.oid AND x.attnum > 0 AND NOT x.attisdropped)"""
_SHAPES = ", ".join(f"'{name} {','.join(columns)}'" for name, shapes in REGISTERED.items() for columns in shapes)


def table(alias: str) -> str:
    """An SQL condition: a table (a row of pg_class called `alias`) has the shape of one of ours."""
    columns = _COLUMNS.format(alias)
    return (
        f"({alias}.relname::text || ' ' || {columns} IN ({_SHAPES})"
        f" OR {alias}.relname ~ '^log_' AND {columns} ~ '^seq,at,truncated,k0'"
        f" OR {alias}.relname = 'archive_proof' AND {columns} ~ '^{own_objects.PROOF}')"
    )


# An SQL expression: the OID of our schema, or NULL.
OURS = f"""(SELECT o.oid FROM pg_catalog.pg_namespace AS o WHERE o.nspname = '{SCHEMA}' AND (
  pg_catalog.obj_description(o.oid, 'pg_namespace') = '{MADE}' OR EXISTS (
    SELECT FROM pg_catalog.pg_class AS t WHERE t.relnamespace = o.oid AND t.relkind = 'r' AND {table("t")})))"""
# There, ours, and whether anything is in it.
STATE = f"""
SELECT n.oid IS NOT NULL, {OURS} IS NOT NULL,
  EXISTS (SELECT FROM pg_catalog.pg_depend AS d
          WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid)
FROM (SELECT pg_catalog.to_regnamespace('{SCHEMA}')::oid AS oid) AS n
"""
CREATE = (f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}", f"COMMENT ON SCHEMA {SCHEMA} IS '{MADE}'")


def must_make(database: str, state: tuple[Any, ...]) -> bool:
    """Whether our schema is still to be made, by a row of `STATE`; an empty one of that name becomes ours.

    Raises:
        DatabaseError: a user's schema has that name; nothing was made.
    """
    there, ours, filled = state
    if there and not ours and filled:
        raise own_objects.taken_schema(database)
    return not ours


def there(driver: psycopg.Connection[Any], name: str) -> bool:
    """Whether our own table of this name is there."""
    asked = f"SELECT {OURS} IS NOT NULL AND pg_catalog.to_regclass('{SCHEMA}.{name}') IS NOT NULL"
    return driver.execute(asked.encode()).fetchone() == (True,)
