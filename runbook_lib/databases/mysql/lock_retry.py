"""Take locks without queueing the users behind us: short waits, jittered retries, a likely blocker named at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pymysql
import sqlalchemy
from sqlalchemy.exc import DBAPIError

from runbook_lib.databases.adapter_helpers import patiently
from runbook_lib.databases.mysql import connection
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import counted, one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

Result = TypeVar("Result")

LOCK_WAIT, DEADLOCK, CHANGED = 1205, 1213, 1020  # 1020: MariaDB's snapshot isolation
TRANSIENT = (LOCK_WAIT, DEADLOCK, CHANGED)

_OLDEST = """
SELECT t.trx_mysql_thread_id, coalesce(p.user, ''), timestampdiff(SECOND, t.trx_started, now()),
       coalesce(t.trx_query, p.info, 'idle')
FROM information_schema.innodb_trx AS t LEFT JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id
WHERE t.trx_mysql_thread_id NOT IN (0, connection_id()) ORDER BY t.trx_started LIMIT 1
"""


def passing(error: Exception) -> bool:
    """Whether the same work may succeed a moment later."""
    return connection.code(error) in TRANSIENT


def set_timeouts(driver: Connection, seconds: float) -> None:
    """How long this session waits for a table's or a row's lock; MySQL knows whole seconds only."""
    whole = max(1, math.ceil(seconds))
    run(driver, f"SET SESSION lock_wait_timeout = {whole}, innodb_lock_wait_timeout = {whole}")


def run(driver: Connection, *statements: str) -> int:
    """Run statements; the rows that the last one changed."""
    with driver.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return int(cursor.rowcount)


def in_transaction(db: MySQLPort, work: Callable[[Connection], Result], *, doing: str = "") -> Result:
    """Do work in one transaction with the short lock timeout; again, after a jittered pause, when a lock is refused.

    DDL commits implicitly (docs/correctness.md#ddl-that-commits-by-itself): `work` must be repeatable from its
    beginning.

    Raises:
        DatabaseError: a statement failed, or locks were not granted within `db.lock_wait_s` seconds.
    """

    def attempt(_: int) -> Result:
        with db.raw() as driver, _short_waits(db, driver):
            return work(driver)

    return _attempts(db, attempt, doing)


def on_connection(db: MySQLPort, work: Callable[[sqlalchemy.Connection], Result]) -> Result:
    """The same with an SQLAlchemy connection."""

    def attempt(_: int) -> Result:
        try:
            with db.engine.begin() as connected, _short_waits(db, _driver(connected)):
                return work(connected)
        except DBAPIError as error:
            raise (error.orig or error) from error

    return _attempts(db, attempt, "")


def _driver(connected: sqlalchemy.Connection) -> Connection:
    driver: Any = connected.connection.driver_connection
    return driver  # type: ignore[no-any-return]  # the pool holds nothing else


@contextmanager
def _short_waits(db: MySQLPort, driver: Connection) -> Iterator[None]:
    set_timeouts(driver, db.lock_timeout_s)
    try:
        yield
    finally:
        if driver.open:
            set_timeouts(driver, 30)


def _attempts(db: MySQLPort, attempt: Callable[[int], Result], doing: str) -> Result:

    def refused(error: Exception, attempts: int) -> DatabaseError:
        what = "deadlock" if connection.code(error) == DEADLOCK else "lock not granted"
        return DatabaseError(
            f"database {db.name}",
            f"{what} in {counted(attempts, 'attempt')} over {db.lock_wait_s:g} s"
            + (f" while {doing}" if doing else "")
            + oldest(db),
            state="rolled back",
            action="end the blocking transaction, or try again at a quieter time",
        )

    try:
        return patiently(attempt, pymysql.MySQLError, within_s=db.lock_wait_s, refused=refused, passing=passing)
    except pymysql.MySQLError as error:
        raise connection.explain(db.name, error, doing) from error


def oldest(db: MySQLPort) -> str:
    """The oldest open transaction in words, which may be the one in the way; "" when the login may not see it."""
    try:
        found = db.rows(_OLDEST)
    except DatabaseError:
        return ""  # only the message is poorer
    return "".join(
        f"; the oldest open transaction is connection {thread} ({user}, {age} s: {one_line(query, 60)})"
        for thread, user, age, query in found
    )
