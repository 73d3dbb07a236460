"""What the adapter's modules know of an SQLite database: the port, its file and its connections."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from runbook_lib.databases.adapter import AdapterPort

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import Connection

    from runbook_lib.databases.sqlite.connection import One
    from runbook_lib.errors import DatabaseError


class SQLitePort(AdapterPort, Protocol):
    """`SQLite` of this package's `__init__`, as its own modules see it."""

    path: Path
    options: dict[str, Any]
    one: One

    def __init__(self, name: str, path: Path, options: Mapping[str, Any]) -> None: ...

    @property
    def journal_mode(self) -> str:
        """`wal`, or one of the modes in which a reader holds writers up."""

    def raw(self) -> AbstractContextManager[sqlite3.Connection]:
        """A pooled connection in a deferred transaction: committed at the end, rolled back on an error."""

    def reading(self, doing: str) -> AbstractContextManager[sqlite3.Connection]:
        """Like `raw`, with the driver's errors in words."""

    def writing(self, doing: str, *, wait_s: float | None = None) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction that has the lock from its first moment."""

    def writing_session(self, doing: str) -> AbstractContextManager[Connection]:
        """The same as an SQLAlchemy connection, for statements with named parameters."""

    def explain(self, error: BaseException, doing: str = "") -> DatabaseError:
        """One clear line about a driver's error."""
