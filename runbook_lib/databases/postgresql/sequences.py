"""Sequences that feed columns: identity, serial and plain defaults; moved forwards only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from runbook_lib.databases.port import Sequence_
from runbook_lib.databases.postgresql import catalog_sql as sql
from runbook_lib.databases.postgresql import lock_retry, quoting
from runbook_lib.databases.postgresql.catalog import find

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_TOGETHER = 500  # parts of a query


def sequences(db: PostgreSQLPort, tables: Sequence[str]) -> list[Sequence_]:
    """Every sequence that feeds a column of these tables, with the last value it gave.

    `last` counts values that a connection has cached (CACHE) as given. None: the next value is the start value.
    """
    oids = find(db, tables)
    asked = {oid: table for table, oid in oids.items()}
    if not asked:
        return []
    found = [
        (quoting.readable(name) if visible else quoting.readable(schema, name), asked[oid], column, increment, start)
        for oid, column, schema, name, visible, increment, start in db.rows(sql.SEQUENCES, {"oids": list(asked)})
    ]
    return sorted(_with_last(db, found), key=lambda s: (s.table, s.column, s.name))


def standalone_sequences(db: PostgreSQLPort) -> list[Sequence_]:
    """Sequences that feed no column: the application calls them itself."""
    found = [
        (quoting.readable(name) if visible else quoting.readable(schema, name), "", "", increment, start)
        for schema, name, visible, increment, start in db.rows(sql.ALL_SEQUENCES)
    ]
    return _with_last(db, found)


def _with_last(db: PostgreSQLPort, found: Sequence[tuple[str, str, str, int, int]]) -> list[Sequence_]:
    """With the last value of each, in few queries: a cutover asks for all of them inside the write pause."""
    values: dict[int, tuple[int, bool]] = {}
    asked = [f"SELECT {i}, last_value, is_called FROM {quoting.quote(name)}" for i, (name, *_) in enumerate(found)]
    for at in range(0, len(asked), _TOGETHER):
        listed = " UNION ALL ".join(asked[at : at + _TOGETHER])
        values |= {i: (value, called) for i, value, called in db.rows(listed)}
    return [
        Sequence_(name, table, column, _last(*values[i], increment, start), increment, start)
        for i, (name, table, column, increment, start) in enumerate(found)
    ]


def _last(value: int, called: bool, increment: int, start: int) -> int | None:
    if called:
        return value
    return None if value == start else value - increment  # setval(…, false): the next value is `value`


def set_sequence(db: PostgreSQLPort, sequence: Sequence_, last: int) -> None:
    """Make the next value the one after `last` in the sequence's direction; never backwards.

    Raises:
        DatabaseError: `last` lies outside the sequence's range.
    """
    name = quoting.quote(sequence.name)

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

    lock_retry.in_transaction(db, move, doing=f"moving sequence {sequence.name} to {last}")
