"""Take locks without queueing the users behind us: short waits, jittered retries, the blocker named at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import errors as pg

from runbook_lib.databases.adapter_helpers import patiently
from runbook_lib.databases.postgresql import connection
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import counted, one_line

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

Result = TypeVar("Result")

TRANSIENT = (pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure)

_BLOCKERS = """
SELECT pid, coalesce(usename, ''), extract(epoch FROM clock_timestamp() - xact_start)::int, coalesce(query, '')
FROM pg_catalog.pg_stat_activity WHERE pid = ANY (pg_catalog.pg_blocking_pids(%s))
"""


def in_transaction(db: PostgreSQLPort, work: Callable[[psycopg.Connection], Result], *, doing: str = "") -> Result:
    """Do work in one transaction with the short lock timeout; again, after a jittered pause, when a lock is refused.

    Args:
        work: Gets the connection, inside the transaction; runs once an attempt.
        doing: What messages say was being done.
    Raises:
        DatabaseError: a statement failed, or locks were not granted within `db.lock_wait_s` seconds; nothing is left.
    """

    def in_it(driver: psycopg.Connection) -> Result:
        driver.execute(f"SET LOCAL lock_timeout = {int(db.lock_timeout_s * 1000)}")
        return work(driver)

    return _attempts(db, db.raw, lambda driver: driver, in_it, doing)


def on_connection(db: PostgreSQLPort, work: Callable[[Connection], Result]) -> Result:
    """The same with an SQLAlchemy connection."""

    def in_it(connected: Connection) -> Result:
        connected.exec_driver_sql(f"SET LOCAL lock_timeout = {int(db.lock_timeout_s * 1000)}")
        return work(connected)

    return _attempts(db, db.engine.begin, _driver, in_it, "")


def _driver(connected: Connection) -> psycopg.Connection:
    driver: Any = connected.connection.driver_connection
    return driver  # type: ignore[no-any-return]  # the pool holds nothing else


Opened = TypeVar("Opened")


def _attempts(
    db: PostgreSQLPort,
    opened: Callable[[], AbstractContextManager[Opened]],
    driver_of: Callable[[Opened], psycopg.Connection],
    work: Callable[[Opened], Result],
    doing: str,
) -> Result:
    blockers = ""

    def attempt(number: int) -> Result:
        nonlocal blockers
        try:
            # Looks for who blocks only from the second attempt on, so that the ordinary case costs nothing.
            with opened() as session:
                watch = Watch(db, driver_of(session).info.backend_pid if number > 1 else 0)
                try:
                    with watch:
                        return work(session)
                finally:
                    blockers = watch.seen or blockers
        except Exception as error:
            driver_error = getattr(error, "orig", None)  # SQLAlchemy's errors hold it
            if isinstance(driver_error, psycopg.Error):
                raise driver_error from error
            raise

    try:
        return patiently(
            attempt,
            TRANSIENT,
            within_s=db.lock_wait_s,
            refused=lambda error, attempts: refused(db, error, attempts, blockers, doing),
        )
    except psycopg.Error as error:
        raise connection.explain(db.name, error, doing) from error


def refused(db: PostgreSQLPort, error: Exception, attempts: int, blockers: str, doing: str) -> DatabaseError:
    """The error for locks that were never granted, with who was in the way."""
    what = "deadlock" if isinstance(error, pg.DeadlockDetected) else "lock not granted"
    return DatabaseError(
        f"database {db.name}",
        f"{what} in {counted(attempts, 'attempt')} over {db.lock_wait_s:g} s{f' while {doing}' if doing else ''}"
        + (f", blocked by {blockers}" if blockers else ""),
        state="rolled back",
        action="end the blocking transaction, or try again at a quieter time",
    )


class Watch:
    """Sees who blocks a waiting connection: after the time-out the server no longer says.

    Looks only from the second attempt on (pid 0: not at all), so that the ordinary case costs nothing.
    """

    def __init__(self, db: PostgreSQLPort, pid: int) -> None:
        self.db, self.pid, self.seen = db, pid, ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True) if pid else None

    def __enter__(self) -> Watch:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread:
            self._thread.join()

    def _look(self) -> None:
        wait_s = min(0.1, self.db.lock_timeout_s / 3)
        while not self.seen and not self._done.wait(wait_s):
            try:
                with self.db.raw() as driver:
                    found = driver.execute(_BLOCKERS, (self.pid,)).fetchall()
            except (psycopg.Error, DatabaseError):
                return  # only the message is poorer
            self.seen = ", ".join(
                f"pid {pid} ({user}, {age} s: {one_line(query, 60)})" for pid, user, age, query in found
            )
