"""Sessions that are kept between uses: without them each statement would log in again.

Neither SQLAlchemy nor its pool is loaded for it: that took a third of the time before a command's first statement
(docs/decisions/0055). Where its Core is wanted, its engine takes its connections from here (`engine`), so there is one
limit for both. psycopg_pool logs in in threads of its own and repeats what fails: a wrong password would be told as a
time-out.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ExecStatus, TransactionStatus

from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy import Engine

WAIT_S = 60.0  # for a session while all are in use
FRESH_S = 0.2  # a session that was used so short a time ago is not asked whether it answers: that is a round trip


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose `close` gives it back to where it is kept; `end` ends it."""

    keeper: Sessions | None = None
    leaving = False  # it is not kept any more
    given_at = 0.0  # when it was last given back (seconds, monotonic)

    def close(self) -> None:
        """Give it back."""
        if self.keeper is None:
            super().close()
        else:
            self.keeper.give(self)

    def end(self) -> None:
        """Log out."""
        super().close()

    def add_notice_handler(self, callback: Callable[[psycopg.errors.Diagnostic], None]) -> None:
        """SQLAlchemy adds its own each time that it is given a connection: once is enough."""
        with suppress(ValueError):
            self.remove_notice_handler(callback)
        super().add_notice_handler(callback)


class One(threading.local):
    """The session whose transaction this thread's loads share, if any."""

    session: psycopg.Connection | None = None


class Sessions:
    """The sessions of one database.

    Args:
        name: The database's, for messages.
        log_in: Makes a session, in no transaction; raises DatabaseError.
        kept: Idle sessions that are kept (count); twice as many may be in use.
    """

    def __init__(self, name: str, log_in: Callable[[], Session], kept: int) -> None:
        self.name, self._log_in, self._kept = name, log_in, kept
        self._free = threading.BoundedSemaphore(2 * kept)
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._used: set[Session] = set()

    def take(self) -> Session:
        """A session that answers, in no transaction; `give` it back.

        Raises:
            DatabaseError: it cannot log in, or all sessions were in use for a minute.
        """
        if not self._free.acquire(timeout=WAIT_S):
            raise DatabaseError(
                f"database {self.name}",
                f"all {2 * self._kept} sessions were in use for {WAIT_S:.0f} s",
                action="raise the database's `pool_size`, or lower `jobs`",
            )
        try:
            session = self._alive() or self._log_in()
            session.keeper = self
            with self._lock:
                self._used.add(session)
            return session
        except BaseException:
            self._free.release()
            raise

    def _alive(self) -> Session | None:
        """An idle one that still answers: a restarted server costs a log-in, not a failed step."""
        while True:
            with self._lock:
                session = self._idle.pop() if self._idle else None
            if session is None or _fresh(session) or _answers(session):
                return session
            session.end()

    def give(self, session: Session) -> None:
        """Take a session back: what is open in it is rolled back; one that cannot be used again is ended."""
        with self._lock:
            if session not in self._used:  # given back already
                return
            self._used.remove(session)
        usable = _rolled_back(session)
        with self._lock:
            kept = usable and not session.leaving and len(self._idle) < self._kept
            if kept:
                session.given_at = time.monotonic()
                self._idle.append(session)
        if not kept:
            session.end()
        self._free.release()

    @contextmanager
    def borrowed(self) -> Iterator[Session]:
        """A session for a while; ended where anything goes wrong, for then nobody knows what it is in the middle of."""
        session = self.take()
        try:
            yield session
        except BaseException:
            session.end()
            raise
        finally:
            self.give(session)

    def close(self) -> None:
        """Log out all that are idle; those in use are, when they are given back. New ones may be taken."""
        with self._lock:
            idle, self._idle = self._idle, []
            for session in self._used:
                session.leaving = True
        for session in idle:
            session.end()


def _fresh(session: Session) -> bool:
    """Whether it was used a moment ago, and nothing has come from the server since: an end would have."""
    if session.closed or time.monotonic() - session.given_at > FRESH_S:
        return False
    poll = select.poll()
    poll.register(session.pgconn.socket, select.POLLIN)
    return not poll.poll(0)


def _answers(session: Session) -> bool:
    if session.closed:
        return False
    try:
        return session.pgconn.exec_(b"").status == ExecStatus.EMPTY_QUERY
    except psycopg.Error:
        return False


def _rolled_back(session: Session) -> bool:
    """Whether it may be used again: it is in no transaction now, and as it was after its log-in."""
    with suppress(psycopg.Error):
        if session.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            session.rollback()
        if session.info.transaction_status == TransactionStatus.IDLE:
            session.autocommit = False
            return not session.closed
    return False


def engine(sessions: Sessions) -> Engine:
    """SQLAlchemy's engine over the same sessions; parameters never appear in its errors."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    class Kept(NullPool):
        """Closing a connection gives the session back, so this pool has nothing to hold."""

        def dispose(self) -> None:
            sessions.close()

    return create_engine(
        "postgresql+psycopg://",
        creator=sessions.take,
        poolclass=Kept,
        hide_parameters=True,
        use_native_hstore=False,  # spares a look-up
    )
