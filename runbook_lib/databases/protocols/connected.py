"""What every part of the library asks of a database: where it is, what it can, statements, names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from runbook_lib.databases.capabilities import Capabilities
from runbook_lib.databases.model import Problem, ServerFacts

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

Result = TypeVar("Result")


class Connected(Protocol):
    """One database of the inventory. Methods open and close their own short transactions unless they say otherwise."""

    name: str  # its name in the inventory
    dialect: str  # postgresql | mysql | sqlite
    masked_url: str  # never holds a password

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do; false ones have the words of a refusal."""
        ...

    @property
    def engine(self) -> Engine:
        """SQLAlchemy engine with the pinned session settings (UTC, ISO dates, strict), parameters hidden in errors."""
        ...

    def facts(self) -> ServerFacts:
        """Connect once and describe the server. Raises DatabaseError in one clear line (unreachable, password, …)."""
        ...

    def privileges_missing(self, role: str) -> list[Problem]:
        """What `role` ("source" or "target" of a migration, or "reader") needs and the login does not have."""
        ...

    def pitfalls(self, tables: Sequence[str], open_s: float) -> list[Problem]:
        """What is no row of these tables and stands in a migration's way: `detail` has its `finding`, an `example`.

        Transactions count that have been open for longer than `open_s` (seconds).
        """

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one read-only statement (SQLAlchemy `:name` parameters) in its own transaction."""
        ...

    def execute(self, *statements: str) -> None:
        """Run statements in one transaction with the lock timeout, retried with jitter when a lock is not granted."""
        ...

    def transaction(self, work: Callable[[Connection], Result]) -> Result:
        """Do work on a connection in one transaction, with the lock timeout, again when a lock is not granted.

        `work` runs once an attempt. MySQL commits each DDL statement by itself.
        """
        ...

    def quote(self, identifier: str) -> str:
        """Quote one identifier, or each part of `schema.table`."""
        ...

    def ident(self, name: str) -> str:
        """Quote one identifier, whatever it holds: a column's dot belongs to its name."""
        ...

    def own_table(self, name: str) -> str:
        """Quoted name of one of the library's own tables, kept where the user's tables are not (PostgreSQL: a schema
        `runbook`, created when missing); such tables never appear in `catalog`."""
        ...

    def close(self) -> None: ...
