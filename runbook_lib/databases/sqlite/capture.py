"""Capture by triggers: every change logs its key, nothing else; the log is consumed as a queue.

See docs/correctness.md#late-commits.
SQLite has one writer at a time, so a log's order is the order of commits, and a trigger that has been committed has no
older writer to wait for (docs/correctness.md#start-of-capture). REPLACE deletes a row that is in its way without firing
the delete trigger, so the keys of rows that conflict with a new one in a unique index are logged before it is written.
There is no TRUNCATE; a DELETE of all rows fires the trigger for each. DROP TABLE takes the triggers with it: named as
a gap, and logged as a marker when the capture is installed again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.port import Changes, Index, Pending, Table
from runbook_lib.databases.sqlite import own, quoting
from runbook_lib.databases.sqlite.catalog import catalog
from runbook_lib.databases.sqlite.copy import column_kinds
from runbook_lib.databases.sqlite.ranges import key_text
from runbook_lib.databases.sqlite.triggers import NOT_OURS, ensure_session
from runbook_lib.errors import TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

CAPTURES = f"{quoting.OWN}captures"
_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {CAPTURES} (channel TEXT, table_name TEXT, own_name TEXT NOT NULL, log TEXT NOT NULL,"
    " key_columns TEXT NOT NULL, triggers INTEGER NOT NULL, PRIMARY KEY (channel, table_name))"
)
_THERE = "SELECT 1 FROM sqlite_master WHERE name = ?"
_LOGLESS = f"""
SELECT t.name FROM {CAPTURES} AS c JOIN sqlite_master AS t ON t.type = 'trigger' AND t.tbl_name = c.own_name
WHERE instr(t.sql, 'INSERT INTO ' || c.log || ' ') > 0
AND NOT EXISTS (SELECT 1 FROM sqlite_master AS l WHERE l.type = 'table' AND l.name = c.log)
"""
NOW = "((julianday('now') - 2440587.5) * 86400.0)"  # seconds since 1970, to about a millisecond


def install_capture(db: SQLitePort, channel: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Log the keys of every change of these tables (table → key columns). Idempotent.

    Where the triggers of a captured table are gone, since it is another table than it was, they are made again, and a
    marker (a row of the log without a key) says that any row may differ.

    Raises:
        TransferError: the table is captured with other key columns.
        DatabaseError: no such table, or another connection writes for longer than the lock may take.
    """
    described = catalog(db, list(tables))
    wanted = [(table, described[table], tuple(key)) for table, key in tables.items()]  # a missing one is named
    with db.writing("installing the capture") as driver:
        own.require_free(driver, db.name, CAPTURES)
        driver.execute(_TABLE)
        ensure_session(driver)
        for table, facts, key in wanted:
            _install(driver, channel, table, facts, key)


def _install(driver: sqlite3.Connection, channel: str, table: str, described: Table, key: tuple[str, ...]) -> None:
    known = _lookup(driver, channel, table)
    if known is not None:
        _require_key(channel, table, key, known)
        if _complete(driver, known):
            return
    if missing := [column for column in key if column not in {c.name for c in described.columns}]:
        raise TransferError(f"capture of {table}", f"no column {', '.join(missing)}", action="correct the plan's key")
    log, name = quoting.own_name("log", channel, table), described.name
    columns = "".join(f", k{i}" for i in range(len(key)))  # no type: a value is kept as it is
    driver.execute(
        f"CREATE TABLE IF NOT EXISTS {log} (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL{columns})"
    )
    if known is not None:
        driver.execute(f"INSERT INTO {log} (at) VALUES ({NOW})")
    made = 0
    for suffix, sql in _triggers(log, name, key, _conflicts(driver, described, key)):
        driver.execute(f"DROP TRIGGER IF EXISTS {quoting.own_name(suffix, channel, table)}")
        driver.execute(f"CREATE TRIGGER {quoting.own_name(suffix, channel, table)} {sql}")
        made += 1
    driver.execute(
        f"REPLACE INTO {CAPTURES} VALUES (?, ?, ?, ?, ?, ?)", (channel, table, name, log, "\0".join(key), made)
    )


def _triggers(log: str, name: str, key: Sequence[str], conflicts: Sequence[str]) -> Iterator[tuple[str, str]]:
    table = quoting.ident(name)
    listed = "at, " + ", ".join(f"k{i}" for i in range(len(key)))

    def values(record: str) -> str:
        return f"{NOW}, " + ", ".join(f"{record}.{quoting.ident(column)}" for column in key)

    insert = f"INSERT INTO {log} ({listed})"
    changed = " OR ".join(
        f"OLD.{c} IS NOT NEW.{c} COLLATE BINARY OR typeof(OLD.{c}) <> typeof(NEW.{c})" for c in map(quoting.ident, key)
    )
    head = f"ON {table} FOR EACH ROW WHEN {NOT_OURS} BEGIN"
    yield "insert", f"AFTER INSERT {head} {insert} VALUES ({values('NEW')}); END"
    yield "delete", f"AFTER DELETE {head} {insert} VALUES ({values('OLD')}); END"
    old = f"{insert} SELECT {values('OLD')} WHERE {changed};"
    yield "update", f"AFTER UPDATE {head} {old} {insert} VALUES ({values('NEW')}); END"
    if conflicts:
        body = " ".join(f"{insert} SELECT {values('t')} FROM {table} AS t WHERE {each};" for each in conflicts)
        yield "replaced", f"BEFORE INSERT {head} {body} END"
        yield "displaced", f"BEFORE UPDATE {head} {body} END"


def _conflicts(driver: sqlite3.Connection, described: Table, key: Sequence[str]) -> list[str]:
    """Conditions on rows `t` that a new row may replace: those with its values in a unique index, or its rowid."""
    rowid = driver.execute(
        "SELECT name FROM pragma_table_info(?) WHERE pk = 1 AND upper(type) = 'INTEGER'", (described.name,)
    ).fetchall()
    others = [f"t.{quoting.ident(c)} = NEW.{quoting.ident(c)}" for (c,) in rowid if tuple(key) != (c,)]
    return [*(_conflict(driver, described.name, index) for index in described.indexes if index.unique), *others]


def _conflict(driver: sqlite3.Connection, name: str, index: Index) -> str:
    """The rows `t` that have the new row's values in a unique index, as that compares them: a column's own collation
    may be another than the index's.

    Raises:
        TransferError: the index is over an expression, whose value a trigger does not know.
    """
    parts = driver.execute(
        'SELECT name, coll FROM pragma_index_xinfo(?) WHERE "key" ORDER BY seqno', (index.name,)
    ).fetchall()
    if any(column is None for column, _ in parts):
        raise TransferError(
            f"capture of {name}",
            f"the unique index {index.name} is over an expression: a REPLACE could remove rows unseen",
            state="nothing was installed",
            action="drop that index for the time of the migration, or make it one over a generated column",
        )
    return " AND ".join(
        f"t.{quoting.ident(c)} = NEW.{quoting.ident(c)} COLLATE {quoting.ident(coll)}" for c, coll in parts
    )


def _require_key(channel: str, table: str, key: tuple[str, ...], known: tuple[Any, ...]) -> None:
    logged = tuple(known[2].split("\0"))
    if key != logged:
        raise TransferError(
            f"capture of {table}",
            f"channel {channel} logs the key ({', '.join(logged)})",
            expected=f"({', '.join(key)})",
            state="the capture was left as it is",
            action="remove the capture, then copy the table again",
        )


def _complete(driver: sqlite3.Connection, known: tuple[Any, ...]) -> bool:
    name, log, _, wanted = known
    count = driver.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? AND instr(sql, ?) > 0",
        (name, f"INSERT INTO {log} "),
    ).fetchone()[0]
    there = driver.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (log,)).fetchone()[0]
    return bool(there and count == wanted)


def capture_installed(db: SQLitePort, channel: str) -> frozenset[str]:
    """The tables whose log and triggers are all there."""
    with db.raw() as driver:
        return frozenset(table for table, *known in _all(driver, channel) if _complete(driver, tuple(known)))


def capture_gaps(db: SQLitePort, channel: str) -> dict[str, str]:
    """See Database.capture_gaps."""
    with db.raw() as driver:
        found = [table for table, *known in _all(driver, channel) if not _complete(driver, tuple(known))]
    return dict.fromkeys(found, "it was replaced, or a trigger of its capture is missing")


def remove_capture(db: SQLitePort, channel: str, tables: Collection[str] | None = None) -> None:
    """Remove triggers and logs of the channel, or of these tables. Idempotent."""
    with db.raw() as driver:
        if not _all(driver, channel):
            return
    with db.writing("removing the capture") as driver:
        for table, _, log, _, _ in _all(driver, channel):
            if tables is not None and table not in tables:
                continue
            found = driver.execute(  # on whatever table: a trigger goes with its own when that is renamed
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND instr(sql, ?) > 0", (f"INSERT INTO {log} ",)
            ).fetchall()
            for (trigger,) in found:
                driver.execute(f"DROP TRIGGER {quoting.ident(trigger)}")
            driver.execute(f"DROP TABLE IF EXISTS {log}")
            driver.execute(f"DELETE FROM {CAPTURES} WHERE channel = ? AND table_name = ?", (channel, table))


def keep_up(db: SQLitePort) -> None:
    """See Database.keep_up: a trigger whose log somebody dropped fails each write, so it is dropped, too."""
    with db.raw() as driver:
        if CAPTURES not in own.tables(driver):
            return
        found = driver.execute(_LOGLESS).fetchall()
    if not found:
        return
    with db.writing("withdrawing a capture") as driver:
        for (trigger,) in found:
            driver.execute(f"DROP TRIGGER IF EXISTS {quoting.ident(trigger)}")


def pending(db: SQLitePort, channel: str) -> dict[str, Pending]:
    """Log rows and the age of the oldest (seconds), by table, in a new transaction."""
    now = time.time()
    with db.raw() as driver:
        counted = {
            table: driver.execute(f"SELECT count(*), min(at) FROM {log}").fetchone()
            for table, _, log, _, _ in _all(driver, channel)
            if driver.execute(_THERE, (log,)).fetchone()
        }
    return {table: Pending(count, max(now - at, 0.0) if at else 0.0) for table, (count, at) in counted.items()}


def read_changes(
    db: SQLitePort,
    channel: str,
    table: str,
    limit: int,
    *,
    as_of: float | None = None,  # noqa: ARG001  the log is written with the change: it is all there
) -> Changes:
    """The `limit` oldest log rows of a table: their numbers, and their keys without repetition, oldest first.

    Raises:
        TransferError: the table is not captured under this channel.
        RowRejected: a key is not in its type's form, and could not be found again by it.
    """
    with db.reading(f"reading the capture log of {table}") as driver:
        name, log, key, _ = _require(driver, channel, table)
        declared = column_kinds(driver, quoting.ident(name))
        found = driver.execute(f"SELECT * FROM {log} ORDER BY seq LIMIT ?", (limit,)).fetchall()
    columns = [(column, declared[column]) for column in key.split("\0")]
    named = [row for row in found if any(value is not None for value in row[2:])]
    distinct = dict.fromkeys(
        tuple(
            None if value is None else key_text(value, kind, table, column)
            for value, (column, kind) in zip(row[2:], columns, strict=True)
        )
        for row in named
    )
    return Changes(table, tuple(row[0] for row in found), tuple(distinct), len(named) < len(found))


def forget_changes(db: SQLitePort, channel: str, changes: Changes) -> None:
    """Delete exactly these log rows."""
    if not changes.seqs:
        return
    with db.writing(f"consuming the capture log of {changes.table}") as driver:
        log = _require(driver, channel, changes.table)[1]
        driver.executemany(f"DELETE FROM {log} WHERE seq = ?", ((seq,) for seq in changes.seqs))


def _all(driver: sqlite3.Connection, channel: str) -> list[tuple[Any, ...]]:
    if CAPTURES not in own.tables(driver):
        return []
    sql = f"SELECT table_name, own_name, log, key_columns, triggers FROM {CAPTURES} WHERE channel = ? ORDER BY 1"
    return driver.execute(sql, (channel,)).fetchall()


def _lookup(driver: sqlite3.Connection, channel: str, table: str) -> tuple[Any, ...] | None:
    return next((tuple(known) for found, *known in _all(driver, channel) if found == table), None)


def _require(driver: sqlite3.Connection, channel: str, table: str) -> tuple[Any, ...]:
    found = _lookup(driver, channel, table)
    if found is None:
        raise TransferError(
            f"capture of {table}", f"not installed on channel {channel}", action="install the capture first"
        )
    return found
