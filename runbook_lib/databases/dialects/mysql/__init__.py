"""The SQL of MySQL and MariaDB."""

from __future__ import annotations

from runbook_lib.databases.dialect import Dialect
from runbook_lib.databases.dialects.mysql.repair import MySQLRepair
from runbook_lib.databases.identifiers import ident
from runbook_lib.databases.model import Sequence_


class MySQLDialect(Dialect):
    """MySQL 8 and MariaDB 10.6 and newer."""

    name = "mysql"
    longest_name = (64, "characters")
    repair = MySQLRepair
    loud_triggers = True
    states_columns_whole = True
    no_default = "SET DEFAULT NULL"  # once it is dropped, no row may leave the column out (error 1364)
    long_text = "LONGTEXT"  # TEXT ends after 64 KiB

    def ident(self, name: str) -> str:
        return ident(name, "`")

    def parts(self, name: str) -> tuple[str, ...]:
        return (name,)  # a table is one of the connected database: a dot belongs to its name

    def create_index(self, index: str, table: str, columns: str, *, unique: bool = False, method: str = "") -> str:
        if method in ("fulltext", "spatial"):
            return f"CREATE {method.upper()} INDEX {index} ON {table} {columns}"
        return super().create_index(index, table, columns, unique=unique)

    def drop_index(self, index: str, table: str) -> str:
        return f"DROP INDEX {index} ON {table}"

    def set_not_null(self, table: str, column: str, kind: str, check: str) -> list[str]:
        return [f"ALTER TABLE {table} MODIFY {column} {kind} NOT NULL"]

    def drop_not_null(self, table: str, column: str, kind: str, check: str) -> list[str]:
        return [f"ALTER TABLE {table} MODIFY {column} {kind} NULL"]

    def same(self, one: str, other: str) -> str:  # 'a' and 'A' are two values in every collation
        return f"CAST({one} AS BINARY) <=> CAST(({other}) AS BINARY)"

    def advance(self, sequence: Sequence_, last: int) -> str:
        return "" if sequence.column else f"SELECT setval({self.ident(sequence.name)}, {last})"


DIALECT = MySQLDialect()
