"""A table without a key, ten rows different and named: the time and the peak memory of 3 M rows beside 300 k.

Ten times the rows may take ten times the time (both sides are read), and no more memory.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks import bench
from benchmarks.compare_postgresql import ROWS, fill
from benchmarks.copy_memory import MEASURE

COMMAND = "python -m benchmarks.compare_keyless"
FAULTS = """ALTER TABLE orders DROP CONSTRAINT orders_pkey;
    DELETE FROM orders WHERE id IN (1, 20, 300);
    INSERT INTO orders SELECT * FROM orders WHERE id IN (4, 5, 6);
    INSERT INTO orders SELECT -id, customer, status, amount, created, note, active, reference FROM orders
    WHERE id BETWEEN 7 AND 10;
    VACUUM ANALYZE orders"""


def main() -> None:
    with bench.postgresql("source") as source, bench.postgresql("target") as target:
        (few_s, few_mb), (many_s, many_mb) = [_measure(source, target, rows) for rows in (ROWS // 10, ROWS)]
    few, work = f"of {ROWS // 10:,} rows", f"a table without a key, {ROWS:,} rows, ten different and named"
    bench.report(bench.Outcome("compare_keyless", work, few, many_s, few_s, 10, command=COMMAND))
    work = f"peak memory of that, {ROWS:,} rows"
    bench.report(bench.Outcome("compare_keyless_memory", work, few, many_mb, few_mb, 1.2, unit="MB", command=COMMAND))


def _measure(source: bench.PostgreSQLServer, target: bench.PostgreSQLServer, rows: int) -> tuple[float, float]:
    """Seconds and peak memory (MB) of the best of three."""
    urls = [fill(server, rows) for server in (source, target)]
    source.sql("ALTER TABLE orders DROP CONSTRAINT orders_pkey", "shop")
    for statement in FAULTS.split(";"):
        target.sql(statement, "shop")
    compare = [sys.executable, "-m", "runbook_lib.cli", "compare", *urls, "--checks", "checksums", "--settle", "0"]
    measured = []
    for _ in range(3):
        started = time.perf_counter()
        ran = subprocess.run(
            [sys.executable, "-c", MEASURE, *compare],
            capture_output=True,
            text=True,
            cwd=bench.ROOT,
            env=bench.installed(),
        )
        if ran.returncode != 1:
            raise SystemExit(f"status {ran.returncode}; 1 expected\n{ran.stderr}")
        measured.append((time.perf_counter() - started, int(ran.stdout.split()[-1]) / 1024))
        print(f"  {rows:,} rows: {measured[-1][0]:.2f} s, {measured[-1][1]:.1f} MB", flush=True)
    return min(measured)


if __name__ == "__main__":
    bench.start(main)
