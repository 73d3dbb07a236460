"""A script carried out and undone: what the server refuses of it, before anything is made.

PostgreSQL's DDL is transactional: the trial is a transaction on the database itself, always rolled back, so names
that are taken there show too, and nothing is left behind by a kill. Many objects are tried in portions, a transaction
each: each object takes locks, and the server's are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import psycopg

from runbook_lib.databases.port import Refusal
from runbook_lib.databases.postgresql import drop_schema, lock_retry
from runbook_lib.databases.postgresql.catalog import find
from runbook_lib.databases.postgresql.portions import LOCKS, PORTION, portions
from runbook_lib.databases.statement_names import named, pieces
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort


# Undefined relation, column, function, type or object, schema: in a portion it may be what another portion makes.
_ABSENT = ("42P01", "42703", "42883", "42704", "3F000")


def try_scripts(
    db: PostgreSQLPort,
    scripts: Sequence[str],
    gone: Sequence[str] = (),
    undo: str = "",
    tell: Callable[[str], object] = lambda text: None,
) -> list[Refusal]:
    """See Database.try_scripts."""
    tables, cut = find(db, gone) if gone else {}, portions(scripts, _most(db))
    found: list[Refusal] = []
    for portion in cut:
        tried = _try(db, portion, tables, undo)
        if isinstance(tried, str):
            tell(f"{db.name}: the schema was not tried beforehand: {tried}")
            return []
        found += [one for one in tried if len(cut) == 1 or not one.why.endswith(tuple(f"({s})" for s in _ABSENT))]
    return list(dict.fromkeys(found))


def _most(db: PostgreSQLPort) -> int:
    """Objects of a portion (count): no more than a server with fewer locks than most has for them."""
    [(locks,)] = db.rows(
        "SELECT current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int"
    )
    return min(PORTION, int(locks) // LOCKS)


def _try(db: PostgreSQLPort, scripts: Sequence[str], tables: Mapping[str, int], undo: str) -> list[Refusal] | str:
    def run(driver: psycopg.Connection) -> list[Refusal] | str:
        try:
            if tables:
                driver.execute(undo.encode())
                drop_schema.drop(driver, tables, "CASCADE")  # with their types and functions, as the real one does
            return [refusal for script in scripts if script.strip() for refusal in _tried(driver, script)]
        except psycopg.errors.OutOfMemory as error:  # says nothing of the object that it came to
            return f"{one_line(str(error))} ({error.sqlstate}): the objects that hang together need more locks at once"
        finally:
            driver.rollback()

    return lock_retry.in_transaction(db, run, doing="trying the schema")


def _tried(driver: psycopg.Connection, script: str) -> list[Refusal]:
    head, objects = pieces(script)
    try:
        with driver.transaction():
            driver.execute(script.encode())
    except (*lock_retry.TRANSIENT, psycopg.errors.OutOfMemory):
        raise
    except psycopg.Error as error:
        if len(objects) > 1:  # which of them
            return [refusal for text in objects for refusal in _tried(driver, head + text)]
        what = named(script)
        why = f"{error.diag.message_primary or one_line(str(error))} ({error.sqlstate})"
        return [Refusal(*what, why) if what else Refusal("script", one_line(script, 60), "", why)]
    return []
