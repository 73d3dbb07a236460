"""How a server answers a query: its plan as plain data, and which statements take it longest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PlanNode:
    """One operation.

    Attributes:
        kind: In the engine's words, e.g. "Index Scan", "ALL", "SEARCH".
        table: What it reads; "" where it works on what others found.
        index: By which it finds it; "" where by none.
        estimated: Rows that the server expected, of one loop; None where it does not say.
        actual: Rows that there were, of one loop.
    """

    kind: str
    table: str = ""
    index: str = ""
    estimated: float | None = None
    actual: float | None = None


@dataclass(frozen=True)
class QueryPlan:
    """The operations of a query, each before those that it asks."""

    nodes: tuple[PlanNode, ...]


@dataclass(frozen=True)
class StatementTimes:
    """The statements that take the server longest, as it counts them.

    Attributes:
        mean_ms: Text of a statement, its literals taken out, → mean time (milliseconds).
        missing: Why there are none; "" when they are counted.
    """

    mean_ms: Mapping[str, float]
    missing: str = ""
