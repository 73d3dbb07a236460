"""The sample monolith's schema and rows, generated in SQL: seconds, and the same rows on every machine."""

from __future__ import annotations

import re
from importlib.resources import files

import psycopg

BASE_ROWS = {"users": 15_000, "orders": 45_000, "payments": 40_000}
TABLES = ("users", "profiles", "orders", "order_items", "payments", "transactions")


def seeded(scale: float) -> dict[str, int]:
    """How many users, orders and payments there are before the first request; their ids are 1 to that number.

    Args:
        scale: 1.0 gives about 260,000 rows in all; 0.01 is enough for tests.
    """
    return {table: max(50, round(rows * scale)) for table, rows in BASE_ROWS.items()}


def load(connection: psycopg.Connection, scale: float) -> dict[str, int]:
    """Create the monolith's schema in an empty database and fill it; returns rows (count) by table."""
    text = files(__package__).joinpath("monolith.sql").read_text(encoding="utf-8")
    counts = seeded(scale)
    script = re.sub(r"(?<!:):(users|orders|payments)\b", lambda match: str(counts[match[1]]), text)
    with connection.transaction():
        connection.execute(script.encode())
    connection.commit()
    connection.autocommit = True
    connection.execute("ANALYZE")
    return {table: _count(connection, table) for table in TABLES}


def _count(connection: psycopg.Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    return int(row[0]) if row else 0
