"""What a performance comparison asks of a database: plans, and the slowest statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from runbook_lib.databases.query_plan import QueryPlan, StatementTimes


class Queries(Protocol):
    """How queries are answered; nothing is written."""

    def query_plan(self, sql: str, params: Mapping[str, Any]) -> QueryPlan:
        """The plan of one query, with what it found where the engine tells: the query is run for that.

        Raises:
            DatabaseError: the server refuses it.
        """
        ...

    def slowest_statements(self, limit: int) -> StatementTimes:
        """Queries of this database by their mean time, the longest first, at most so many (count)."""
        ...
