"""The SQL of MySQL and MariaDB."""

from __future__ import annotations

import re
from collections.abc import Callable

from runbook_lib.databases.capabilities import Capabilities
from runbook_lib.databases.dialect import BLIND, EXACT, PADDED, Counter, Dialect
from runbook_lib.databases.dialects.mysql import types
from runbook_lib.databases.dialects.mysql.repair import MySQLRepair
from runbook_lib.databases.dialects.mysql.values import MySQLValues
from runbook_lib.databases.identifiers import ident
from runbook_lib.databases.model import Sequence_
from runbook_lib.databases.neutral_type import MappedType, Neutral


class MySQLDialect(MySQLValues, Dialect):
    """MySQL 8 and MariaDB 10.6 and newer."""

    name = "mysql"
    driver = "mysql+pymysql"
    default_port = 3306
    longest_name = (64, "characters")
    capabilities = Capabilities.of("mysql")
    repair = MySQLRepair
    firing_triggers = True
    states_columns_whole = True
    no_default = "SET DEFAULT NULL"  # once it is dropped, no row may leave the column out (error 1364)
    longest_row = 65_535
    text_collation = "utf8mb4_bin"
    today = "(CURRENT_DATE)"
    random_uuid = "(UUID())"
    types_by_values = True
    partial_indexes = False
    prefix_indexes = True
    indexes_foreign_keys = True
    on_update_defaults = True
    generates_from_counters = False
    shared_names = False
    references_indexes = True
    references_same_size = True
    backslash_escapes = True
    charset_introducers = True
    cascades_fire_triggers = False
    widest_number = "decimal(65,30)"
    most_digits = (65, 30)
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

    def overlooks(self, collation: str, *, padded: bool) -> tuple[bool, bool, bool]:
        case = collation.endswith("_ci") or "_ci_" in collation
        accents = "_ai_" in collation or (case and "_as_" not in collation)
        return case, accents, not re.search(r"0900|nopad|^binary$", collation)

    def without_case(self, sql: str, *, accents: bool) -> str:  # its own collation overlooks the accents
        return f"LOWER({sql})"

    def without_trailing(self, sql: str) -> str:
        return f"RTRIM({sql})"

    def recollated(self, sql: str, collation: str) -> str:
        return f"CONVERT({sql} USING utf8mb4) COLLATE {collation}"

    def same_bytes(self, one: str, other: str, *, text: bool) -> str:
        parts = [f"CAST(CONVERT({each} USING utf8mb4) AS BINARY)" for each in (one, other)]
        return f"{one} = {other} AND {parts[0]} = {parts[1]}" if text else f"{one} = {other}"

    def alike(self, one: str, other: str) -> str:
        return f"{one} = {other}"

    def read_kind(self, declared: str, name: str, kind: str, modifiers: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        if declared.replace(" ", "") == "tinyint(1)":
            return "boolean", ()
        if name == "timestamp":  # it holds moments; the session shows them in UTC
            kind = "timestamptz"
        return kind, modifiers or ((0,) if kind in ("time", "timestamp", "timestamptz") else ())

    def write_type(self, neutral: Neutral, key_parts: int) -> MappedType:
        return types.written(neutral, key_parts)

    def collation(self, name: str) -> str:
        exact = name == "binary" or name.endswith(("nopad_bin", "0900_bin")) or not name
        return EXACT if exact else PADDED if name.endswith("_bin") else BLIND

    def string(self, value: str) -> str:
        return super().string(value).replace("\\", "\\\\")

    def text_default(self, literal: str, kind: str) -> str:
        return f"({literal})" if kind in ("text", "json") else literal

    def now(self, *, zone: bool, digits: int) -> str:
        return f"CURRENT_TIMESTAMP({digits})" if digits else "CURRENT_TIMESTAMP"

    def bytewise(self, sql: str) -> str:  # its collations pad with spaces
        return f"CAST({sql} AS BINARY)"

    def joined(self, one: str, other: str, wrapped: Callable[[str], str]) -> str:
        return f"CONCAT({one}, {other})"

    def first_part(self, column: str, length: int, *, binary: bool) -> str:
        return f"{column}({length})"

    def table_options(self, comment: str) -> str:
        said = "'" + comment.replace("'", "''") + "'"
        return " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin" + (f" COMMENT={said}" if comment else "")

    def counter(self, *, alone: bool, first: bool) -> Counter:
        if first:
            return Counter("AUTO_INCREMENT", "auto_increment")
        return Counter(missing="AUTO_INCREMENT needs a key that begins with the column")

    def advance(self, sequence: Sequence_, last: int) -> str:
        return "" if sequence.column else f"SELECT setval({self.ident(sequence.name)}, {last})"


DIALECT = MySQLDialect()
