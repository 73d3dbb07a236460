"""3 M equal rows, PostgreSQL ↔ PostgreSQL: `runbook compare --checks checksums` beside reladiff, whole processes.

Between two servers of the embedded build (18) and two of Debian's (15, with OpenSSL): the peer's md5 takes half as long
in the first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator

from benchmarks import bench

ROWS = int(os.environ.get("RUNBOOK_BENCH_ROWS", 3_000_000))
DDL = """CREATE TABLE orders (id bigint PRIMARY KEY, customer integer NOT NULL, status varchar(20),
    amount numeric(12,2), created timestamptz(3), note varchar(60), active boolean, reference uuid)"""
FILL = """INSERT INTO orders SELECT i, i * 7 % 100000, (ARRAY['new', 'paid', 'sent', 'done'])[i % 4 + 1],
    (i % 100000) / 100.0, timestamptz '2026-01-01' + i * interval '7 s',
    CASE WHEN i % 5 > 0 THEN 'note of order ' || i END, i % 3 = 0, md5(i::text)::uuid
    FROM generate_series(1, {rows}) AS i"""


def reladiff() -> str:
    """The peer's program; ends the benchmark with its reason where there is none."""
    program = os.environ.get("RELADIFF") or shutil.which("reladiff")
    if not program:
        print("skipped: reladiff not found (pip install 'reladiff[postgresql,mysql]' elsewhere, and set RELADIFF)")
        sys.exit(0)
    return program


def fill(server: bench.PostgreSQLServer, rows: int = ROWS) -> str:
    """A fresh database with the orders; its URL."""
    url = server.fresh("shop")
    server.sql(DDL, "shop")
    server.sql(FILL.format(rows=rows), "shop")
    server.sql("VACUUM (FREEZE, ANALYZE) orders", "shop")
    return url


@contextlib.contextmanager
def two(*, system: bool = False) -> Iterator[tuple[bench.PostgreSQLServer, bench.PostgreSQLServer, str, str]]:
    """Two servers with the same rows, and the URLs of their databases."""
    with bench.postgresql("source", system=system) as source, bench.postgresql("target", system=system) as target:
        yield source, target, fill(source), fill(target)


def measure(source: str, target: str, rounds: int = 3) -> dict[str, float]:
    """Our command and the peer's in turn, the best of the rounds (seconds)."""
    program = reladiff()
    return bench.best(
        rounds,
        ours=lambda: bench.runbook("compare", source, target, "--checks", "checksums", "--settle", "0"),
        reladiff=lambda: bench.run([program, source, "orders", target, "orders", "-k", "id", "-c", "%", "-s"]),
    )


def main() -> None:
    reladiff()
    for system in (False, True):
        with two(system=system) as (server, _, source, target):
            [(version,)] = server.sql("SELECT split_part(current_setting('server_version'), ' ', 1)")
            times = measure(source, target, rounds=5)
        bench.report(
            bench.Outcome(
                f"compare_postgresql_{str(version).partition('.')[0]}",
                f"PostgreSQL {version}: compare {ROWS:,} equal rows",
                "reladiff",
                times["ours"],
                times["reladiff"],
                0.15,
                command="python -m benchmarks.compare_postgresql",
            )
        )


if __name__ == "__main__":
    bench.start(main)
