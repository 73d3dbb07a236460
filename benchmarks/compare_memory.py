"""What a comparison costs those it reads: its peak memory over ten times the rows, its longest transaction.

All six checks, 1,000 rows different and named: that is the path that holds the most.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from benchmarks import bench
from benchmarks.compare_postgresql import ROWS, fill
from benchmarks.copy_memory import MEASURE

COMMAND = "python -m benchmarks.compare_memory"
LONGEST_S = 3.0
_OLDEST = """SELECT extract(epoch FROM max(clock_timestamp() - xact_start)) FROM pg_stat_activity
    WHERE application_name = 'runbook'"""


def main() -> None:
    longest = [0.0]
    with bench.postgresql("source") as source, bench.postgresql("target") as target, _watched(source, longest):
        peaks = [_peak(source, target, rows) for rows in (ROWS // 10, ROWS)]
    few = f"of {ROWS // 10:,} rows"
    work = f"peak memory of a comparison of {ROWS:,} rows, 1,000 different"
    bench.report(bench.Outcome("compare_memory", work, few, peaks[1], peaks[0], 1.2, unit="MB", command=COMMAND))
    work = f"longest transaction of a comparison at the source, {ROWS:,} rows"
    peer = "a few seconds"
    bench.report(bench.Outcome("compare_transaction", work, peer, longest[0], LONGEST_S, 1.0, command=COMMAND))


def _peak(source: bench.PostgreSQLServer, target: bench.PostgreSQLServer, rows: int) -> float:
    urls = [fill(server, rows) for server in (source, target)]
    target.sql(f"UPDATE orders SET note = 'x' WHERE id % {rows // 1000} = 1", "shop")
    target.sql("VACUUM ANALYZE orders", "shop")
    compare = [sys.executable, "-m", "runbook_lib.cli", "compare", *urls, "--settle", "0", "--again"]
    ran = subprocess.run([sys.executable, "-c", MEASURE, *compare], capture_output=True, text=True, cwd=bench.ROOT)
    if ran.returncode != 1:
        raise SystemExit(f"status {ran.returncode}; 1 expected\n{ran.stderr}")
    peak = int(ran.stdout.split()[-1]) / 1024
    print(f"  {rows:,} rows: {peak:.1f} MB", flush=True)
    return peak


@contextmanager
def _watched(server: bench.PostgreSQLServer, longest: list[float]) -> Iterator[None]:
    """Keep the age of the oldest transaction that a comparison has open there (seconds, read 50 times in each)."""
    done = threading.Event()

    def watch() -> None:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            while not done.wait(0.02):
                [(age,)] = connection.execute(_OLDEST).fetchall()
                longest[0] = max(longest[0], float(age or 0))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    bench.start(main)
