"""What a database has: tables, sequences, grants, objects, and marks of what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from runbook_lib.databases.model import (
    Inventory,
    Sequence_,
    Table,
)


class Catalog(Protocol):
    """The catalog's part of the port."""

    def catalog(self, tables: Sequence[str] | None = None) -> dict[str, Table]:
        """Tables (all user tables, or these) with columns, indexes, constraints, triggers, estimates."""
        ...

    def describe_again(self, relation: str) -> None:
        """Forget what is kept of a table or relation between calls: it was altered, or another is in its place."""

    def tables(self) -> list[str]:
        """The names of all user tables, as `catalog` calls them; no lock is waited for."""

    def small_tables(self, tables: Sequence[str], most_bytes: int) -> list[str]:
        """Those of these tables, and of their partitions, whose rows take no more than so much (bytes)."""

    def expression_types(self, relation: str, expressions: Sequence[str]) -> tuple[str, ...]:
        """The engine's type of each expression over the relation, found without reading rows."""

    def sequences(self, tables: Sequence[str]) -> list[Sequence_]: ...

    def standalone_sequences(self) -> list[Sequence_]:
        """Sequences that feed no column: only a copy of a whole database brings them along."""

    def set_sequence(self, sequence: Sequence_, last: int) -> None:
        """Make the next value the one after `last` in the sequence's direction; never moves it backwards."""

    def grants(self, tables: Sequence[str]) -> dict[str, frozenset[tuple[str, str]]]:
        """Table → (role as SQL, privilege) that somebody other than its owner was given on it."""

    def fingerprint(self, tables: Sequence[str], known: Mapping[str, Table] | None = None) -> str:
        """SHA-256 over the description of these tables (read now, or `known`) and types: drift is another value."""

    def definitions(self) -> dict[str, str]:
        """What stands beside the tables: the user's views, routines and types (`view name`), with their texts."""

    def inventory(self) -> Inventory:
        """Everything that the database has but our own objects, counted by the whole catalog; a handful of queries."""

    def schema_marks(self) -> dict[str, str]:
        """Kind and name of each table, partition, view and sequence → a text that is another when it was changed.

        Cheap, for being asked every few seconds: no lock, a query or two for all of them.
        """
