"""PgBouncer's console: its commands over PostgreSQL's protocol, each with a time limit.

libpq is used without waiting for ever: PAUSE answers when the last transaction has ended, which may be never.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from runbook_lib.errors import ConfigurationError
from runbook_lib.util.redact import mask

Row = dict[str, str]


class Refused(ConfigurationError):
    """PgBouncer answered with an error; `observed` has its words."""


class Silent(ConfigurationError):
    """PgBouncer did not answer in time, or at all."""


@dataclass(frozen=True)
class Session:
    """A connection to the console."""

    name: str
    driver: PGconn
    timeout_s: float = 5.0

    @property
    def user(self) -> str:
        """Who is logged in."""
        return (self.driver.user or b"").decode()

    def run(self, command: str, timeout_s: float | None = None) -> list[Row]:
        """The rows that a command answers.

        Args:
            timeout_s: How long to wait for them (seconds); None: as long as for any other question.
        Raises:
            ConfigurationError: `Refused` with PgBouncer's words, or `Silent`.
        """
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        deadline, rows = time.monotonic() + timeout_s, list[Row]()
        try:
            while self._result(command, deadline):
                pass  # the answer to the question before, which was not waited for
            self.driver.send_query(command.encode())
            while True:
                if (result := self._result(command, deadline)) is None:
                    return rows
                if result.status == ExecStatus.FATAL_ERROR:
                    words = " ".join((result.error_message or b"").decode(errors="replace").split())
                    raise Refused(self.name, f"{command}: {words}")
                names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
                for row in range(result.ntuples):
                    values = [(result.get_value(row, column) or b"").decode() for column in range(result.nfields)]
                    rows.append(dict(zip(names, values, strict=True)))
        except psycopg.Error as error:
            raise Silent(self.name, f"the connection broke: {' '.join(str(error).split())}") from error

    def _result(self, command: str, deadline: float) -> PGresult | None:
        """The next part of an answer; None after the last."""
        while self.driver.is_busy():
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.driver.socket], [], [], left)[0]:
                raise Silent(self.name, f"no answer to {command} in time", action="see whether it is stopped or busy")
            self.driver.consume_input()
        return self.driver.get_result()


@dataclass(frozen=True)
class Console:
    """Where the console is: `postgresql://user@host:port/pgbouncer`, and the password of its user."""

    address: str
    password: str | None = None
    timeout_s: float = 5.0

    @property
    def name(self) -> str:
        """For messages."""
        return f"pgbouncer {self.address.rpartition('@')[2].rpartition('/')[0]}"

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A connection, closed at the end; ConfigurationError when nobody answers or the user may not come in."""
        try:
            given = make_conninfo(self.address, **({"password": self.password} if self.password else {}))
            driver = psycopg.connect(given, autocommit=True, connect_timeout=max(2, round(self.timeout_s)))
        except psycopg.Error as error:
            words = mask(" ".join(str(error).split()))
            raise Silent(self.name, f"no answer: {words}", action="is it started, and is the user known?") from error
        with contextlib.closing(driver):
            yield Session(self.name, driver.pgconn, self.timeout_s)

    def ask(self, command: str) -> list[Row]:
        """The rows that one command answers, on a connection of its own."""
        with self.session() as session:
            return session.run(command)
