"""One schema change that holds no writer up: short locks tried again, indexes built beside writers and proven valid.

What PostgreSQL refuses inside a transaction (CONCURRENTLY, VACUUM) runs outside one, everything else in one of its own:
VALIDATE CONSTRAINT then holds only the light lock of its own. Building an index beside writers blocks nobody however
long it waits for older transactions, so it may wait for all of `lock_wait_s` at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from runbook_lib.databases.adapter_helpers import patiently, without_comments
from runbook_lib.databases.postgresql import connection, lock_retry, quoting
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_NAME = r'((?:"(?:[^"]|"")+"|[\w$]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[\w$]+))?)'
ALONE = re.compile(
    r"(?:CREATE\s+(?:UNIQUE\s+)?INDEX|DROP\s+INDEX|REFRESH\s+MATERIALIZED\s+VIEW)\s+CONCURRENTLY\b|REINDEX\b|VACUUM\b"
    r"|ALTER\s+TABLE\b.*\bDETACH\s+PARTITION\b.*\bCONCURRENTLY\b",
    re.IGNORECASE | re.DOTALL,
)
_CREATE = re.compile(
    rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(IF\s+NOT\s+EXISTS\s+)?(?:{_NAME}\s+)?ON\s+(?:ONLY\s+)?{_NAME}",
    re.IGNORECASE,
)
_VALID = """
SELECT i.indisvalid AND i.indisready, n.nspname FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.indrelid = pg_catalog.to_regclass(:table) AND c.relname = :name
"""
# Who has written to the table and is still open: a build would wait for them with a half-made index behind it.
_WRITERS = """
SELECT 'pid ' || a.pid || ' (' || coalesce(a.usename, '') || ', '
       || coalesce(extract(epoch FROM clock_timestamp() - a.xact_start)::int, 0) || ' s: '
       || left(coalesce(a.query, ''), 60) || ')', l.virtualtransaction
FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE l.relation = pg_catalog.to_regclass(:table) AND l.granted AND a.pid <> pg_catalog.pg_backend_pid()
  AND l.mode IN ('RowExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
# Autovacuum gives way to whoever waits for it, but only after deadlock_timeout (1 s), which is longer than our waits.
_VACUUM = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.relation = pg_catalog.to_regclass(%s) AND l.granted
               AND l.mode = 'ShareUpdateExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid())
"""
_GIVES_WAY_S = 3.0
_TABLE = re.compile(
    rf"(?:ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?|CREATE\s+(?:OR\s+REPLACE\s+)?TRIGGER\b.*?\bON\s+){_NAME}",
    re.IGNORECASE | re.DOTALL,
)
# What blocks nobody while it waits, and so may wait for long.
_PATIENT = re.compile(r".*\bCONCURRENTLY\b|VACUUM\b(?!.*\bFULL\b)", re.IGNORECASE | re.DOTALL)


def run_online(db: PostgreSQLPort, statement: str, *, again: bool = False) -> None:
    """Carry out one statement without holding writers up for longer than the lock timeout.

    Args:
        again: An attempt before was cut off after it had changed the schema: an index of this name that is invalid
            is rebuilt, everything else is taken for done.
    Raises:
        DatabaseError: it failed, or a lock was never granted; nothing of it is left, or the message says what.
    """
    bare = without_comments(statement)
    if found := _CREATE.match(bare):
        if not found[2]:
            action = "name it: what is left of a build that failed is found by its name"
            raise DatabaseError(f"`{one_line(bare, 80)}`", "the index has no name", state="not run", action=action)
        _build(db, statement, found[2], found[3], done=again or bool(found[1]))
    elif again:
        return
    elif ALONE.match(bare):
        _alone(db, statement)
    else:
        lock_retry.in_transaction(db, partial(_change, db=db, statement=statement, bare=bare), doing=one_line(bare, 60))


def _change(driver: psycopg.Connection, db: PostgreSQLPort, statement: str, bare: str) -> None:
    """One statement in its transaction; a vacuum in its way is met with a lock that no writer queues behind."""
    table = _TABLE.match(bare)
    held = driver.execute(_VACUUM, (table[1],)).fetchone() if table else None
    if table and held == (True,):
        driver.execute(f"SET LOCAL lock_timeout = {int(max(_GIVES_WAY_S, db.lock_timeout_s) * 1000)}")
        driver.execute(f"LOCK TABLE {table[1]} IN SHARE UPDATE EXCLUSIVE MODE".encode())
        driver.execute(f"SET LOCAL lock_timeout = {int(db.lock_timeout_s * 1000)}")
    driver.execute(statement.encode())


def _build(db: PostgreSQLPort, statement: str, name: str, table: str, *, done: bool) -> None:
    """Build the index; an invalid one of that name, from an attempt before, is dropped first."""
    index = quoting.split(name)[0] if name.startswith('"') else name.lower()
    valid = _drop_invalid(db, index, table)
    if valid and done:
        return
    if not valid:
        _await_writers(db, table, index)
    try:
        _alone(db, statement, clear=lambda: _drop_invalid(db, index, table))
    except DatabaseError as error:
        raise _left(db, error, index, table) from error
    if not _is_valid(db, index, table):
        _drop_invalid(db, index, table)
        raise DatabaseError(f"index {index}", f"invalid on {table}", state="dropped again", action="run again")


def _is_valid(db: PostgreSQLPort, index: str, table: str) -> bool | None:
    """None: there is no such index."""
    found = db.rows(_VALID, {"table": table, "name": index})
    return bool(found[0][0]) if found else None


def _drop_invalid(db: PostgreSQLPort, index: str, table: str) -> bool:
    """Drop the index where it is invalid; whether a valid one is there."""
    found = db.rows(_VALID, {"table": table, "name": index})
    if found and not found[0][0]:
        _alone(db, f"DROP INDEX CONCURRENTLY IF EXISTS {quoting.ident(found[0][1])}.{quoting.ident(index)}")
        return False
    return bool(found)


def _left(db: PostgreSQLPort, error: DatabaseError, index: str, table: str) -> DatabaseError:
    """The build's error, with the state it leaves: nothing, once the half-made index is dropped."""
    try:
        _drop_invalid(db, index, table)
        state = "nothing of the index is left" if not _is_valid(db, index, table) else error.state
    except DatabaseError as second:
        state = f"an invalid index {index} is left, which the next attempt drops ({second.observed})"
    return DatabaseError(error.subject, error.observed, state=state, action=error.action)


def _await_writers(db: PostgreSQLPort, table: str, index: str) -> None:
    """Wait for the transactions that have written to the table by now, before anything is made.

    Raises:
        DatabaseError: one of them does not end within `db.lock_wait_s`; nothing was made.
    """
    deadline = time.monotonic() + db.lock_wait_s
    older = {transaction for _, transaction in db.rows(_WRITERS, {"table": table})}
    while older:
        left = [who for who, transaction in db.rows(_WRITERS, {"table": table}) if transaction in older]
        if not left:
            return
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"database {db.name}",
                f"lock not granted over {db.lock_wait_s:g} s while building {index}, blocked by {left[0]}",
                state="nothing was made",
                action="end the blocking transaction, or try again at a quieter time",
            )
        time.sleep(0.02)


def _alone(db: PostgreSQLPort, statement: str, *, clear: Callable[[], object] = lambda: None) -> None:
    """Run a statement outside a transaction; again after a deadlock, for the server chose us to give way.

    Args:
        clear: Takes away what an attempt left, before the next one.
    """
    bare = without_comments(statement)
    doing = one_line(bare, 60)
    deadline, blockers = time.monotonic() + db.lock_wait_s, ""

    def attempt(number: int) -> None:
        nonlocal blockers
        if number > 1:
            clear()
        wait_s = deadline - time.monotonic() if _PATIENT.match(bare) else db.lock_timeout_s
        with _outside(db, max(int(wait_s * 1000), 1)) as driver, lock_retry.Watch(db, driver.info.backend_pid) as watch:
            try:
                driver.execute(statement.encode())
            finally:
                blockers = watch.seen or blockers

    try:
        patiently(
            attempt,
            lock_retry.TRANSIENT,
            within_s=db.lock_wait_s,
            refused=lambda error, attempts: lock_retry.refused(db, error, attempts, blockers, doing),
        )
    except psycopg.Error as error:
        raise connection.explain(db.name, error, doing) from error


@contextmanager
def _outside(db: PostgreSQLPort, lock_timeout_ms: int) -> Iterator[psycopg.Connection]:
    """A connection whose statements are no transactions, with this lock timeout."""
    with db.raw() as driver:
        driver.autocommit = True
        driver.execute(f"SET lock_timeout = {lock_timeout_ms}")
        try:
            yield driver
        finally:
            if not driver.closed:
                driver.execute(f"SET lock_timeout = '{connection.SETTINGS['lock_timeout']}'")
                driver.autocommit = False
