"""SQLite's SQL."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.databases.capabilities import Capabilities
from runbook_lib.databases.dialect import BLIND, EXACT, Counter, Dialect
from runbook_lib.databases.dialects.sqlite import types
from runbook_lib.databases.dialects.sqlite.repair import SQLiteRepair
from runbook_lib.databases.dialects.sqlite.values import SQLiteValues
from runbook_lib.databases.neutral_type import MappedType, Neutral


class SQLiteDialect(SQLiteValues, Dialect):
    """SQLite 3.35 and newer."""

    name = "sqlite"
    driver = "sqlite"
    in_file = True
    keeps_journal = True
    default_port = 0
    longest_name = (10_000, "bytes")
    capabilities = Capabilities.of("sqlite", "transactional_ddl", "binary_copy", "joined_loads")
    repair = SQLiteRepair
    random_uuid = (
        "(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || "
        "substr('89ab', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))"
    )
    shows_index_expressions = False
    table_comments = False
    alters_constraints = False
    keys_take_null = True
    checks_references = False
    join_power = 8
    tables_by_case = False

    def drop_column(self, table: str, column: str, indexes: Sequence[str]) -> list[str]:
        return [*(f"DROP INDEX {index}" for index in indexes), f"ALTER TABLE {table} DROP COLUMN {column}"]

    def overlooks(self, collation: str, *, padded: bool) -> tuple[bool, bool, bool]:
        return collation == "nocase", False, collation == "rtrim"

    def without_case(self, sql: str, *, accents: bool) -> str:
        return f"runbook_folded({sql})" if accents else f"lower({sql})"

    def same_bytes(self, one: str, other: str, *, text: bool) -> str:
        return f"{one} = {other} COLLATE BINARY" if text else f"{one} = {other}"

    def read_kind(self, declared: str, name: str, kind: str, modifiers: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        return "bigint" if kind in ("smallint", "integer") else kind, modifiers  # it keeps 64 bits whatever is declared

    def write_type(self, neutral: Neutral, key_parts: int) -> MappedType:
        return types.written(neutral)

    def key_type(self, kind: str) -> str:  # an INTEGER would be the row's number, and be given when it is left out
        return "int" if kind.lower() == "integer" else kind

    def collation(self, name: str) -> str:
        return EXACT if name.upper() in ("", "BINARY") else BLIND

    def now(self, *, zone: bool, digits: int) -> str:
        return f"(strftime('%Y-%m-%d %H:%M:%f{'+00' if zone else ''}', 'now'))"

    def first_part(self, column: str, length: int, *, binary: bool) -> str:
        return f"substr({column}, 1, {length})"

    def counter(self, *, alone: bool, first: bool) -> Counter:
        if alone:
            return Counter("INTEGER PRIMARY KEY AUTOINCREMENT", "auto_increment", whole=True)
        return Counter(missing="SQLite counts only a single primary key")

    def append_only(self, table: str, refusal: str) -> list[str]:
        return [
            f"""CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb} ON {table}
            BEGIN SELECT RAISE(ABORT, {self.string(refusal)}); END"""
            for verb in ("UPDATE", "DELETE")
        ]


DIALECT = SQLiteDialect()
