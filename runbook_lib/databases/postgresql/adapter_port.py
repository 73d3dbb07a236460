"""What the adapter's modules know of a PostgreSQL database: the port, its login and its sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from runbook_lib.databases.adapter import AdapterPort

if TYPE_CHECKING:
    import psycopg

    from runbook_lib.databases.postgresql.connection import Login
    from runbook_lib.databases.postgresql.connection_pool import One, Sessions


class PostgreSQLPort(AdapterPort, Protocol):
    """`PostgreSQL` of this package's `__init__`, as its own modules see it."""

    login: Login
    lock_timeout_s: float  # how long a statement waits for a lock
    pool_size: int
    capture: str  # triggers | wal
    wal_limit_mb: int
    wal_over_limit: str  # warn | give_up
    settings: dict[str, str]
    sessions: Sessions
    one: One

    def __init__(self, name: str, login: Login, options: Mapping[str, Any]) -> None: ...

    def raw(self) -> AbstractContextManager[psycopg.Connection]:
        """A kept connection in a transaction: committed at the end, rolled back on an error."""

    def rows_of_each(self, statements: Sequence[str], params: Mapping[str, Any]) -> list[list[tuple[Any, ...]]]:
        """What each of these finds with the same parameters, in one transaction."""
