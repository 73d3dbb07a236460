"""What the comparison of one table's rows holds: both sides, their columns, their snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runbook_lib.databases.port import Selection

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Compared:
    """One table on both sides, column by column: a flow's columns, and the generated ones that both sides have.

    Attributes:
        types: In which the columns are compared.
        stored: The types of the source's columns that are read as they are; "" of an expression.
    """

    reading: Selection
    writing: Selection
    key: tuple[str, ...]
    columns: tuple[str, ...]
    types: tuple[str, ...]
    stored: tuple[str, ...]

    @property
    def key_types(self) -> tuple[str, ...]:
        """The written types of the key's columns."""
        return tuple(self.types[self.columns.index(column)] for column in self.key)


@dataclass(frozen=True)
class RowPair:
    """The row of one key on both sides, in comparable form; None where there is none."""

    key: Key
    source: tuple[str | None, ...] | None
    target: tuple[str | None, ...] | None

    @property
    def equal(self) -> bool:
        return self.source == self.target
