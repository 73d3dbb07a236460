"""SQLite databases for tests: a file a database, an application's own connection, an awkward schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runbook_lib.databases.port import Selection
from runbook_lib.databases.sqlite import SQLite, open_database


def new_database(directory: Path, name: str, *, wal: bool = False, **options: Any) -> SQLite:
    """A fresh database file."""
    file = directory / f"{name}.db"
    driver = sqlite3.connect(file)
    driver.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
    driver.close()
    return open_database(name, f"sqlite:///{file}", None, options)


@contextmanager
def application(database: SQLite, timeout_s: float = 5.0) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else: without our functions and settings."""
    driver = sqlite3.connect(database.path, timeout=timeout_s, isolation_level=None)
    driver.execute("PRAGMA foreign_keys = ON")
    try:
        yield driver
    finally:
        driver.close()


def selection(database: SQLite, table: str, *, keyless: bool = False) -> Selection:
    """A whole table as the copy reads it: without generated columns."""
    described = database.catalog([table])[table]
    columns = tuple(database.quote(column.name) for column in described.columns if not column.generated)
    key = () if keyless else tuple(database.quote(name) for name in described.key)
    return Selection(database.quote(table), key, columns)


def copy_table(source: Any, target: Any, table: str, rows_per_range: int = 90) -> int:
    """Copy one table by ranges; the rows written."""
    binary = source.dialect == target.dialect == "sqlite"
    columns = [column.name for column in target.catalog([table])[table].columns if not column.generated]
    described = source.catalog([table])[table]
    reading = Selection(
        source.quote(table),
        tuple(source.quote(c) for c in described.key),
        tuple(source.quote(column) for column in columns),
    )
    return sum(
        target.copy_in(table, columns, source.copy_out(reading, each, binary=binary), binary=binary)
        for each in source.ranges(reading, rows_per_range)
    )


def stored(database: SQLite, table: str) -> list[tuple[Any, ...]]:
    """Every row with the storage class of each value, sorted."""
    columns = [database.quote(c.name) for c in database.catalog([table])[table].columns]
    listed = ", ".join(f"quote({c}), typeof({c})" for c in columns)
    return sorted(database.rows(f"SELECT {listed} FROM {database.quote(table)}"))


HOSTILE = '''
CREATE TABLE "Order ""Ünits""" (
  id INTEGER PRIMARY KEY AUTOINCREMENT, "select" TEXT, "Mixed Case" VARCHAR(40) DEFAULT 'a;b', -- a, comment (
  f4 FLOAT4, f8 DOUBLE PRECISION, n DECIMAL TEXT(30,10), n2 DECIMAL(12,4) CHECK (n2 IS NULL OR n2 < 1000000), b BLOB,
  flag BOOLEAN NOT NULL DEFAULT 0, d DATE, ts TIMESTAMP(3), tz TIMESTAMP WITH TIME ZONE, t TIME, u UUID, j JSON TEXT,
  c CHAR(5) COLLATE NOCASE, big BIGINT, "any", doubled INTEGER GENERATED ALWAYS AS (id * 2) STORED,
  CONSTRAINT "odd check" CHECK (f8 <> 'x)'), UNIQUE ("select", big)
);
CREATE INDEX "odd index" ON "Order ""Ünits""" (lower("select") DESC, d) WHERE flag;
CREATE TRIGGER touch AFTER INSERT ON "Order ""Ünits""" BEGIN UPDATE lines SET what = 'touched; twice'; END;
CREATE TABLE lines (unit INTEGER NOT NULL REFERENCES "Order ""Ünits""" (id) ON DELETE CASCADE, "no" SMALLINT NOT NULL,
  what TEXT, PRIMARY KEY (unit, "no")) WITHOUT ROWID;
CREATE TABLE keyless (a INTEGER, b TEXT);
CREATE TABLE codes (code TEXT NOT NULL PRIMARY KEY, n INTEGER);
CREATE TABLE outside (id INTEGER PRIMARY KEY);
CREATE TABLE bound (id UUID NOT NULL UNIQUE, out_id INTEGER CONSTRAINT fk REFERENCES outside (id) ON DELETE SET NULL
  NOT NULL, n INTEGER DEFAULT (1 + 1), CONSTRAINT two FOREIGN KEY (out_id) REFERENCES outside (id) );
'''
UNITS = 'Order "Ünits"'

HOSTILE_ROWS = r'''
INSERT INTO "Order ""Ünits""" (id, "select", "Mixed Case", f4, f8, n, n2, b, flag, d, ts, tz, t, u, j, c, big, "any")
VALUES
(1, 'tab' || char(9) || ' nl' || char(10) || ' cr' || char(13) || ' bs\\ \N \. quote" apos''s', '', 0.10000000149011612,
 0.1, '12345678901234567890.0123456789', 0.0001, x'00ff5c270a', 1, '2020-02-29', '2020-01-01 00:00:00.123',
 '2020-01-01 00:00:00.123456+00', '24:00:00', '01234567-89ab-cdef-0123-456789abcdef', '{"a": 1.0, "b": null}', 'ab   ',
 9223372036854775807, 1.5),
(2, '', ' lead and trail  ', 0.5, 5e-324, '-0.0000000001', -99999.9999, x'', 0, 'infinity', '-infinity', 'infinity',
 '00:00:00.000001', NULL, '1.50', '', -9223372036854775808, x'00'),
(9223372036854775, '👩‍👩‍👧 עברית é é ﷽', 'x' || char(160), 1.0, 1.7976931348623157e308, '0.0000000000', 1.5,
 zeroblob(70000), 0,
 '5874897-12-31', '0044-03-15 12:00:00 BC', '0001-01-01 00:00:00+00 BC', NULL, NULL, '[]', NULL, NULL, 'x'),
(-5, replace(hex(zeroblob(9000)), '00', 'long ü '), NULL, NULL, 9e999, NULL, NULL, NULL, 1, NULL, NULL, NULL, NULL,
 NULL, NULL, NULL, 0, 7);
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 400)
INSERT INTO "Order ""Ünits""" (id, "select", f8) SELECT i + 100, 'row ' || i, 1.0 / i FROM g;
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 500)
INSERT INTO lines SELECT 101 + i / 3, i % 3, hex(i) FROM g;
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 3000)
INSERT INTO keyless SELECT i % 7, CASE WHEN i % 2 = 0 THEN 'twice' END FROM g;
WITH RECURSIVE g(i) AS (SELECT 33 UNION ALL SELECT i + 1 FROM g WHERE i < 400)
INSERT INTO codes SELECT char(i) || 'Ä' || i, i FROM g;
'''
TABLES = (UNITS, "lines", "keyless", "codes")
