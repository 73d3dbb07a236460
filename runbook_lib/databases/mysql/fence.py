"""Fence: BEFORE triggers that read a flag with a shared lock, so that raising the flag drains the writers.

A writer's trigger reads the row of its table in `runbook_fences` FOR SHARE and keeps that lock until it commits.
Raising takes these rows FOR UPDATE: it waits for every writer in flight, new ones queue behind it for that moment, and
read the raised flag then, whatever their snapshot: a locking read sees the latest. No DDL, no table lock, readers pass.
Sessions of the sync pass by `@runbook_sync`. TRUNCATE and DDL fire no trigger: they are not rejected.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pymysql

from runbook_lib.databases.identifiers import own_name
from runbook_lib.databases.mysql import catalog, lock_retry, own, quoting
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.errors import CutoverAborted, DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

SQLSTATE = "RB001"
EVENTS = ("INSERT", "UPDATE", "DELETE")
FENCES = "runbook_fences"
SLICE_S = 0.3  # how long writers may queue behind an attempt; MySQL itself waits whole seconds only
_TOO_LONG = 1969  # MariaDB: max_statement_time passed

_FENCES = f"""
CREATE TABLE IF NOT EXISTS {FENCES} (relation VARCHAR(64) NOT NULL PRIMARY KEY, raised TINYINT(1) NOT NULL DEFAULT 0,
  since TIMESTAMP(6) NULL) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
"""
# With the table that each is on: a trigger goes with its table when that is renamed.
_TRIGGERS = "SELECT trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = database()"


def prepare_fence(db: MySQLPort, tables: Sequence[str]) -> None:
    """Install the lowered fence on these tables; a fence that stands keeps its state. Idempotent.

    Raises:
        DatabaseError: a table does not exist, or locks were not granted.
    """
    found = catalog.catalog(db, sorted(set(tables)))
    missing = sorted(set(tables) - set(found))
    if missing:
        raise DatabaseError(f"table {missing[0]}", "does not exist", action="check the plan's table names")
    own.table(db, "fences")
    db.execute(_FENCES)
    there = _installed(db)
    for table in found:
        relation = quoting.text(table)
        lacking = [event for event in EVENTS if (_trigger(table, event), table) not in there]
        created = [
            statement
            for event in lacking
            for statement in (f"DROP TRIGGER IF EXISTS {quoting.ident(_trigger(table, event))}", _create(table, event))
        ]
        flag = f"INSERT INTO {FENCES} (relation) SELECT {relation} FROM (SELECT 1) AS one WHERE NOT EXISTS"
        db.execute(f"{flag} (SELECT 1 FROM {FENCES} WHERE relation = {relation})", *created)


def _trigger(table: str, event: str) -> str:
    return own_name(f"runbook_fence_{event[:3].lower()}", table)


def _create(table: str, event: str) -> str:
    message = f"{table[:60]}: writes are fenced by a migration; retry".replace("\\", "\\\\").replace("'", "''")
    return (
        f"CREATE TRIGGER {quoting.ident(_trigger(table, event))} BEFORE {event} ON {quoting.ident(table)} FOR EACH ROW"
        f" IF @runbook_sync IS NULL THEN IF (SELECT raised FROM {FENCES} WHERE relation = {quoting.text(table)}"
        f" LOCK IN SHARE MODE) THEN SIGNAL SQLSTATE '{SQLSTATE}' SET MESSAGE_TEXT = '{message}'; END IF; END IF"
    )


def raise_fence(db: MySQLPort, tables: Sequence[str], *, timeout_s: float) -> float:
    """Turn writers of these tables away, all in one transaction; the seconds until the last one in flight had ended.

    Args:
        timeout_s: How long to try (seconds); at least one attempt is made.
    Raises:
        CutoverAborted: the locks were not granted in time; the fence is lowered, as before.
        DatabaseError: the fence was not prepared on one of the tables.
    """
    started, attempts = time.monotonic(), 0
    if missing := sorted(set(tables) - _prepared(db)):
        text = quoting.listed(missing)
        raise DatabaseError(f"fence of {text}", "not installed", state="nothing was fenced", action="prepare it first")
    while True:
        attempts += 1
        try:
            _raise_once(db, sorted(set(tables)))
            return time.monotonic() - started
        except pymysql.MySQLError as error:
            if not lock_retry.passing(error) and error.args[0] != _TOO_LONG:
                raise db.explain(error, "raising the fence") from error
            elapsed_s = time.monotonic() - started
            if elapsed_s >= timeout_s:
                raise CutoverAborted(
                    f"fence of {quoting.listed(sorted(tables))}",
                    f"locks were not granted within {elapsed_s:.2f} s ({attempts} attempts){lock_retry.oldest(db)}",
                    state="the fence is lowered, writes continue",
                    action="let that transaction end, then cut over again, or allow a longer write pause",
                ) from error
        time.sleep(random.uniform(0.01, 0.06))  # noqa: S311  jitter


def _raise_once(db: MySQLPort, tables: Sequence[str]) -> None:
    """Read before it writes: in a deadlock the transaction with fewer changes, ours, is the one to give way."""
    where = f"relation IN ({quoting.listed([quoting.text(table) for table in tables])})"
    bound = f"SET STATEMENT max_statement_time = {SLICE_S} FOR " if db.flavour[0] == "MariaDB" else ""
    with db.raw() as driver:
        lock_retry.set_timeouts(driver, 1)
        try:
            lock_retry.run(driver, f"{bound}SELECT relation FROM {FENCES} WHERE {where} ORDER BY relation FOR UPDATE")
            changes = "since = IF(raised, since, now(6)), raised = 1"
            lock_retry.run(driver, f"UPDATE {FENCES} SET {changes} WHERE {where}")
        finally:
            if driver.open:
                lock_retry.set_timeouts(driver, 30)


def lower_fence(db: MySQLPort, tables: Sequence[str]) -> None:
    """Resume writes, all tables in one transaction. Idempotent; a table without a fence is left alone."""
    if tables and _known(db):
        listed = quoting.listed([quoting.text(table) for table in tables])

        def lower(driver: Connection) -> None:
            lock_retry.run(driver, f"UPDATE {FENCES} SET raised = 0, since = NULL WHERE relation IN ({listed})")

        lock_retry.in_transaction(db, lower, doing="lowering the fence")


def fenced(db: MySQLPort, tables: Sequence[str]) -> frozenset[str]:
    """The tables of these whose fence is raised."""
    if not _known(db):
        return frozenset()
    raised = {str(name) for (name,) in db.rows(f"SELECT relation FROM {FENCES} WHERE raised")}
    return frozenset(set(tables) & raised & _prepared(db))


def remove_fence(db: MySQLPort) -> None:
    """Remove every fence of this database, raised or not. Idempotent."""
    gone = [name for name in sorted(own.triggers(db)) if name.startswith("runbook_fence_")]
    for trigger in gone:
        db.execute(f"DROP TRIGGER IF EXISTS {quoting.ident(trigger)}")
    if _known(db):
        db.execute(f"DROP TABLE IF EXISTS {FENCES}")


def _installed(db: MySQLPort) -> set[tuple[str, str]]:
    return {(str(name), str(table)) for name, table in db.rows(_TRIGGERS)}


def _prepared(db: MySQLPort) -> set[str]:
    if not _known(db):
        return set()
    there = _installed(db)
    known = [str(name) for (name,) in db.rows(f"SELECT relation FROM {FENCES}")]
    return {name for name in known if {(_trigger(name, event), name) for event in EVENTS} <= there}


def _known(db: MySQLPort) -> bool:
    return own.there(db, "fences")
