"""SQLite's SQL."""

from __future__ import annotations

from runbook_lib.databases.dialect import Dialect
from runbook_lib.databases.dialects.sqlite.repair import SQLiteRepair


class SQLiteDialect(Dialect):
    """SQLite 3.35 and newer."""

    name = "sqlite"
    longest_name = (10_000, "bytes")
    repair = SQLiteRepair


DIALECT = SQLiteDialect()
