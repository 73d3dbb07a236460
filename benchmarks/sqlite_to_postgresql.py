"""SQLite to PostgreSQL, everything: schema, 1 M rows, indexes, constraints, sequences, statistics; pgloader beside us.

`python -m benchmarks.sqlite_to_postgresql [ROWS]`. The target of both is Debian's PostgreSQL, its password in the URL:
pgloader wants it there.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from benchmarks import bench

ROWS = 1_000_000

TABLES = """
CREATE TABLE customers (
  id INTEGER PRIMARY KEY AUTOINCREMENT, email VARCHAR(120) NOT NULL UNIQUE, name VARCHAR(80) NOT NULL,
  country CHAR(2) NOT NULL, credit DECIMAL(12,2) NOT NULL DEFAULT 0, created_at DATETIME NOT NULL, note TEXT);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY AUTOINCREMENT, customer_id INTEGER NOT NULL REFERENCES customers (id),
  status VARCHAR(20) NOT NULL, total DECIMAL(12,2) NOT NULL, placed_at DATETIME NOT NULL, comment TEXT);
CREATE TABLE order_lines (
  order_id INTEGER NOT NULL REFERENCES orders (id), line_no INTEGER NOT NULL, sku VARCHAR(40) NOT NULL,
  quantity INTEGER NOT NULL, price DECIMAL(10,2) NOT NULL, shipped_at DATETIME, PRIMARY KEY (order_id, line_no));
CREATE INDEX customers_country ON customers (country);
CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX orders_placed ON orders (placed_at);
CREATE INDEX order_lines_sku ON order_lines (sku);
"""
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {customers})
INSERT INTO customers SELECT i, 'user' || i || '@example.org', 'Name of ' || i, substr('defritusjp', i % 5 * 2 + 1, 2),
  (i * 7919) % 1000000 / 100.0, datetime('2020-01-01', (i * 61) || ' seconds'),
  CASE WHEN i % 3 = 0 THEN 'a note' || char(10) || 'with two lines, ' || i END FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {orders})
INSERT INTO orders SELECT i, i % {customers} + 1, CASE i % 3 WHEN 0 THEN 'new' WHEN 1 THEN 'paid' ELSE 'sent' END,
  (i * 104729) % 10000000 / 100.0, datetime('2021-01-01', (i * 17) || ' seconds'),
  CASE WHEN i % 4 = 0 THEN 'please ring twice; order ' || i END FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2 * {orders})
INSERT INTO order_lines SELECT (i - 1) / 2 + 1, i % 2, 'SKU-' || (i * 31 % 50000), i % 9 + 1, i * 13 % 100000 / 100.0,
  CASE WHEN i % 5 THEN datetime('2021-02-01', i || ' seconds') END FROM n;
ANALYZE;
"""


def main(rows: int = ROWS) -> None:
    pgloader = bench.need("pgloader")["pgloader"]
    with (
        tempfile.TemporaryDirectory(prefix="runbook-bench-") as directory,
        bench.postgresql("target", system=True) as target,
    ):
        file = Path(directory) / "shop.db"
        with contextlib.closing(sqlite3.connect(file)) as driver:
            driver.executescript(TABLES + FILL.format(customers=rows // 10, orders=rows * 3 // 10))
        times = bench.best(
            3,
            ready=lambda: target.clear("ours", "theirs"),
            ours=lambda: bench.runbook("copy", str(file), target.url("ours")),
            pgloader=lambda: bench.run([pgloader, str(file), target.url("theirs").replace("postgresql", "pgsql", 1)]),
        )
    bench.report(
        bench.Outcome(
            name="sqlite_to_postgresql",
            work=f"SQLite → PostgreSQL, all of it, {rows:,} rows",
            peer="pgloader",
            ours=times["ours"],
            theirs=times["pgloader"],
            limit=0.35,
            command="python -m benchmarks.sqlite_to_postgresql",
        )
    )


if __name__ == "__main__":
    bench.start(main)
