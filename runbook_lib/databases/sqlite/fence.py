"""Fence: BEFORE triggers that reject writes while a row in `runbook_fences` says so; the sync's session passes.

Raising it is one row written in a transaction that begins by taking the write lock: SQLite has one writer at a time,
so whoever was writing has then ended, and whoever comes later sees the row.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runbook_lib.databases.sqlite import quoting
from runbook_lib.databases.sqlite.own import require_free
from runbook_lib.databases.sqlite.own import tables as own_tables
from runbook_lib.databases.sqlite.triggers import NOT_OURS, ensure_session
from runbook_lib.errors import CutoverAborted, DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

FENCES = f"{quoting.OWN}fences"
EVENTS = ("INSERT", "UPDATE", "DELETE")


def prepare_fence(db: SQLitePort, tables: Sequence[str]) -> None:
    """Install the lowered fence on these tables; one that stands keeps its state. Idempotent.

    Raises:
        DatabaseError: a table does not exist, or another connection holds the write lock.
    """
    own = _own_names(db, tables)
    with db.writing("preparing the fence") as driver:
        require_free(driver, db.name, FENCES)
        driver.execute(f"CREATE TABLE IF NOT EXISTS {FENCES} (table_name TEXT PRIMARY KEY, since TEXT)")
        ensure_session(driver)
        for table in own:
            raised = (
                f"EXISTS (SELECT 1 FROM {FENCES} WHERE table_name = {quoting.literal(table)} AND since IS NOT NULL)"
            )
            message = quoting.literal(f"RB001: {table}: writes are fenced by a migration; retry")
            for event in () if _complete(driver, table) else EVENTS:
                driver.execute(f"DROP TRIGGER IF EXISTS {_trigger(table, event)}")  # it went with a renamed table
                driver.execute(
                    f"CREATE TRIGGER {_trigger(table, event)} BEFORE {event} ON {quoting.ident(table)} "
                    f"FOR EACH ROW WHEN {NOT_OURS} AND {raised} BEGIN SELECT RAISE(ABORT, {message}); END"
                )
            driver.execute(f"INSERT OR IGNORE INTO {FENCES} VALUES (?, NULL)", (table,))


def raise_fence(db: SQLitePort, tables: Sequence[str], *, timeout_s: float) -> float:
    """Turn writers of these tables away, all in one transaction; the seconds until the last one in flight had ended.

    Args:
        timeout_s: How long to wait for a writer in flight (seconds).
    Raises:
        CutoverAborted: the write lock was not granted in time; the fence is lowered, as before.
        DatabaseError: the fence was not prepared on one of the tables.
    """
    started = time.monotonic()
    own = _own_names(db, tables)
    with db.raw() as driver:
        there = _states(driver)
    if missing := [table for table in own if table not in there]:
        raise DatabaseError(
            f"fence of {', '.join(missing)}",
            "not installed",
            state="nothing was fenced",
            action="prepare the fence first",
        )
    try:
        with db.writing("raising the fence", wait_s=timeout_s) as driver:
            since = datetime.now(UTC).isoformat(" ", "milliseconds")
            sql = f"UPDATE {FENCES} SET since = ? WHERE table_name = ? AND since IS NULL"
            driver.executemany(sql, ((since, table) for table in own))
    except DatabaseError as error:
        raise CutoverAborted(
            f"fence of {', '.join(sorted(tables))}",
            f"the write lock was not granted within {time.monotonic() - started:.2f} s",
            state="the fence is lowered, writes continue",
            action="let that transaction end, then cut over again, or allow a longer write pause",
        ) from error
    return time.monotonic() - started


def lower_fence(db: SQLitePort, tables: Sequence[str]) -> None:
    """Resume writes, all tables in one transaction. Idempotent; a table without a fence is left alone."""
    own = _own_names(db, tables)
    with db.raw() as driver:
        standing = [table for table, since in _states(driver).items() if table in own and since]
    if standing:
        with db.writing("lowering the fence") as driver:
            driver.executemany(f"UPDATE {FENCES} SET since = NULL WHERE table_name = ?", ((t,) for t in standing))


def fenced(db: SQLitePort, tables: Sequence[str]) -> frozenset[str]:
    """The tables of these whose fence is raised and complete."""
    own = dict(zip(_own_names(db, tables), tables, strict=True))
    with db.raw() as driver:
        states = _states(driver)
        return frozenset(asked for table, asked in own.items() if states.get(table) and _complete(driver, table))


def remove_fence(db: SQLitePort) -> None:
    """Remove every fence of this database, raised or not. Idempotent."""
    with db.raw() as driver:
        there = _states(driver)
        if FENCES not in own_tables(driver):
            return
    with db.writing("removing the fence") as driver:
        for table in there:
            for event in EVENTS:
                driver.execute(f"DROP TRIGGER IF EXISTS {_trigger(table, event)}")
        driver.execute(f"DROP TABLE {FENCES}")


def _states(driver: sqlite3.Connection) -> dict[str, str | None]:
    if FENCES not in own_tables(driver):
        return {}
    return dict(driver.execute(f"SELECT table_name, since FROM {FENCES}").fetchall())


def _complete(driver: sqlite3.Connection, table: str) -> bool:
    wanted = [_trigger(table, event) for event in EVENTS]
    marks = ", ".join("?" * len(wanted))
    return bool(
        driver.execute(
            f"SELECT count(*) = {len(wanted)} FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
            f" AND name IN ({marks})",
            (table, *wanted),
        ).fetchone()[0]
    )


def _own_names(db: SQLitePort, tables: Sequence[str]) -> list[str]:
    found = db.catalog(tables)
    return [found[table].name for table in tables]


def _trigger(table: str, event: str) -> str:
    return quoting.own_name("fence", event.lower(), table)
