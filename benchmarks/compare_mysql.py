"""1.5 M equal rows, MariaDB ↔ PostgreSQL: `runbook compare --checks checksums` beside reladiff, whole processes."""

from __future__ import annotations

import os

from benchmarks import bench
from benchmarks.compare_postgresql import measure, reladiff

ROWS = int(os.environ.get("RUNBOOK_BENCH_ROWS", 3_000_000)) // 2
DDL = """CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, status varchar(20), amount decimal(12,2),
    created datetime(3), note varchar(60))"""
FILL = """INSERT INTO orders SELECT seq, seq * 7 % 100000, ELT(seq % 4 + 1, 'new', 'paid', 'sent', 'done'),
    (seq % 100000) / 100.0, timestamp '2026-01-01 00:00:00' + INTERVAL seq * 7 SECOND,
    IF(seq % 5 > 0, concat('note of order ', seq), NULL) FROM seq_1_to_{rows}"""
TARGET = """CREATE TABLE orders (id bigint PRIMARY KEY, customer integer NOT NULL, status varchar(20),
    amount numeric(12,2), created timestamp(3), note varchar(60))"""
SAME = """INSERT INTO orders SELECT i, i * 7 % 100000, (ARRAY['new', 'paid', 'sent', 'done'])[i % 4 + 1],
    (i % 100000) / 100.0, timestamp '2026-01-01' + i * interval '7 s',
    CASE WHEN i % 5 > 0 THEN 'note of order ' || i END FROM generate_series(1, {rows}) AS i"""


def main() -> None:
    reladiff()
    with bench.mariadb() as maria, bench.postgresql("target") as server:
        source, target = maria.fresh("t_shop"), server.fresh("shop")
        name = source.rpartition("/")[2]
        maria.admin(f"USE {name}", DDL, FILL.format(rows=ROWS), "COMMIT", "ANALYZE TABLE orders")
        server.sql(TARGET, "shop")
        server.sql(SAME.format(rows=ROWS), "shop")
        server.sql("VACUUM (FREEZE, ANALYZE) orders", "shop")
        times = measure(source, target)
    bench.report(
        bench.Outcome(
            "compare_mysql",
            f"compare {ROWS:,} equal rows, MariaDB and PostgreSQL",
            "reladiff",
            times["ours"],
            times["reladiff"],
            0.8,
            command="python -m benchmarks.compare_mysql",
        )
    )


if __name__ == "__main__":
    bench.start(main)
