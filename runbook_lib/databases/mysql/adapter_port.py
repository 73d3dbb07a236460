"""What the adapter's modules know of a MySQL or MariaDB database: the port, its login and its connections."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from runbook_lib.databases.adapter import AdapterPort
from runbook_lib.databases.port import Table

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.connection import Login
    from runbook_lib.databases.mysql.streaming import Connection


class MySQLPort(AdapterPort, Protocol):
    """`MySQL` of this package's `__init__`, as its own modules see it."""

    login: Login
    lock_timeout_s: float  # how long a statement waits for a lock
    pool_size: int

    def __init__(self, name: str, login: Login, options: Mapping[str, Any]) -> None: ...

    @property
    def flavour(self) -> tuple[str, tuple[int, ...]]:
        """MySQL or MariaDB, and the version's numbers."""

    def raw(self) -> AbstractContextManager[Connection]:
        """A pooled connection in a transaction: committed at the end, rolled back on an error."""

    def described(self, table: str) -> Table:
        """One table's description, at most a few seconds old."""
