"""Sequences that feed columns: identity, serial and plain defaults; moved forwards only (trap 20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from runbook_lib.databases.port import Sequence_
from runbook_lib.databases.postgresql import catalog_sql as sql
from runbook_lib.databases.postgresql import names, retry
from runbook_lib.databases.postgresql.catalog import find

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql import PostgreSQL


def sequences(db: PostgreSQL, tables: Sequence[str]) -> list[Sequence_]:
    """Every sequence that feeds a column of these tables, with the last value it gave.

    `last` counts values that a connection has cached (CACHE) as given. None: the next value is the start value.
    """
    oids = find(db, tables)
    asked = {oid: table for table, oid in oids.items()}
    if not asked:
        return []
    found = []
    for oid, column, schema, name, visible, increment, start in db.rows(sql.SEQUENCES, {"oids": list(asked)}):
        readable = names.readable(name) if visible else names.readable(schema, name)
        value, called = db.rows(f"SELECT last_value, is_called FROM {names.quote(readable)}")[0]
        last = _last(value, called, increment, start)
        found.append(Sequence_(readable, asked[oid], column, last, increment, start))
    return sorted(found, key=lambda s: (s.table, s.column, s.name))


def loose_sequences(db: PostgreSQL) -> list[Sequence_]:
    """Sequences that feed no column: the application calls them itself."""
    known = {sequence.name for sequence in sequences(db, list(db.catalog()))}
    found = []
    for schema, name, visible, increment, start in db.rows(sql.ALL_SEQUENCES):
        readable = names.readable(name) if visible else names.readable(schema, name)
        if readable not in known:
            value, called = db.rows(f"SELECT last_value, is_called FROM {names.quote(readable)}")[0]
            found.append(Sequence_(readable, "", "", _last(value, called, increment, start), increment, start))
    return found


def _last(value: int, called: bool, increment: int, start: int) -> int | None:
    if called:
        return value
    return None if value == start else value - increment  # setval(…, false): the next value is `value`


def set_sequence(db: PostgreSQL, sequence: Sequence_, last: int) -> None:
    """Make the next value the one after `last` in the sequence's direction; never backwards.

    Raises:
        DatabaseError: `last` lies outside the sequence's range.
    """
    name = names.quote(sequence.name)

    def move(driver: psycopg.Connection) -> None:
        row = driver.execute(
            f"SELECT q.last_value, q.is_called, s.seqincrement FROM {name} q, pg_sequence s"
            " WHERE s.seqrelid = %s::regclass",
            (name,),
        ).fetchone()
        value, called, increment = row or (0, False, 1)
        current = value if called else value - increment
        if (last - current) * increment > 0:
            driver.execute("SELECT setval(%s::regclass, %s, true)", (name, last))

    retry.in_transaction(db, move, doing=f"moving sequence {sequence.name} to {last}")
