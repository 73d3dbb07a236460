"""Undo `dump_schema`: drop tables, and the types and functions that came with them and nobody else uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors as pg

from runbook_lib.databases.postgresql import lock_retry, quoting, schema_sql
from runbook_lib.databases.postgresql.catalog import find

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# The server does not know that a PL/pgSQL body calls a function: one that others name is kept.
_NAMED_ELSEWHERE = """
SELECT EXISTS (SELECT FROM pg_proc other, pg_proc f WHERE f.oid = %(oid)s AND other.oid <> ALL (%(ours)s)
               AND other.oid >= 16384 AND strpos(other.prosrc, f.proname) > 0)
"""


def drop_tables(db: PostgreSQLPort, tables: Sequence[str]) -> None:
    """Drop these tables with their types, functions and sequences, in one transaction; missing ones are passed over.

    Extensions and schemas stay, and so does whatever another object depends on.

    Raises:
        DatabaseError: another object (a view, a foreign key) depends on one of the tables; nothing was dropped.
    """
    oids = find(db, tables)
    if not oids:
        return
    listed = ", ".join(quoting.quote(table) for table in oids)
    lock_retry.in_transaction(db, lambda driver: drop(driver, oids), doing=f"dropping {listed}")


def drop(driver: psycopg.Connection, tables: Mapping[str, int], how: str = "") -> None:
    """Drop these tables (names and OIDs) and what came with them within a transaction; `how` may be CASCADE."""
    companions = driver.execute(schema_sql.DROPPABLE, {"oids": list(tables.values())}).fetchall()
    driver.execute(f"DROP TABLE {', '.join(map(quoting.quote, tables))} {how}".encode())
    ours = [oid for _, oid, _ in companions]
    left = [(f"DROP {kind} IF EXISTS {name}", oid) for kind, oid, name in companions]
    while left != (left := [item for item in left if not _dropped(driver, *item, ours)]):
        pass  # each round frees what the next one can drop


def _dropped(driver: psycopg.Connection, statement: str, oid: int, ours: Sequence[int]) -> bool:
    named = driver.execute(_NAMED_ELSEWHERE, {"oid": oid, "ours": list(ours)}).fetchone()
    if named and named[0]:
        return False
    try:
        with driver.transaction():  # a savepoint
            driver.execute(statement)
    except (pg.DependentObjectsStillExist, pg.InsufficientPrivilege):
        return False
    return True
