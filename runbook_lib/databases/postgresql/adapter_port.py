"""What the adapter's modules know of a PostgreSQL database: the port, its login and its sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from runbook_lib.databases.port import Database

if TYPE_CHECKING:
    import psycopg

    from runbook_lib.databases.adapter_helpers import Rehearsal
    from runbook_lib.databases.postgresql.connection import Login
    from runbook_lib.databases.postgresql.connection_pool import One, Sessions
    from runbook_lib.errors import DatabaseError


class PostgreSQLPort(Database, Protocol):
    """`PostgreSQL` of this package's `__init__`, as its own modules see it."""

    login: Login
    lock_timeout_s: float  # how long a statement waits for a lock
    lock_wait_s: float  # in all, with retries
    pool_size: int
    capture: str  # triggers | wal
    wal_limit_mb: int
    wal_over_limit: str  # warn | give_up
    rehearsal: Rehearsal
    memo: dict[Any, Any]
    settings: dict[str, str]
    sessions: Sessions
    one: One

    def __init__(self, name: str, login: Login, options: Mapping[str, Any]) -> None: ...

    def raw(self) -> AbstractContextManager[psycopg.Connection]:
        """A kept connection in a transaction: committed at the end, rolled back on an error."""

    def rows_of_each(self, statements: Sequence[str], params: Mapping[str, Any]) -> list[list[tuple[Any, ...]]]:
        """What each of these finds with the same parameters, in one transaction."""

    def explain(self, error: Exception, doing: str = "") -> DatabaseError:
        """One clear line about a driver's error."""
