"""PostgreSQL's SQL."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.databases.dialect import Dialect
from runbook_lib.databases.dialects.postgresql.repair import PostgreSQLRepair, advanced
from runbook_lib.databases.model import Sequence_


class PostgreSQLDialect(Dialect):
    """PostgreSQL 14 and newer."""

    name = "postgresql"
    longest_name = (63, "bytes")
    repair = PostgreSQLRepair
    trigger_functions = True
    own_schema = "runbook"

    def create_index(self, index: str, table: str, columns: str, *, unique: bool = False, method: str = "") -> str:
        using = f" USING {method}" if method else ""
        return f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {index} ON {table}{using} {columns}"

    def drop_index(self, index: str, table: str) -> str:
        return f"DROP INDEX CONCURRENTLY {index}"

    def add_constraint(self, table: str, name: str, definition: str) -> list[str]:
        [add] = super().add_constraint(table, name, definition)
        return [f"{add} NOT VALID", f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"]

    def emptied(self, tables: Sequence[str]) -> list[str]:
        return [f"TRUNCATE {', '.join(tables)}"]

    def advance(self, sequence: Sequence_, last: int) -> str:
        return advanced(sequence, last)


DIALECT = PostgreSQLDialect()
