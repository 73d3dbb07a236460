"""Peak memory of `runbook copy` over 10 M rows beside 1 M rows: it must not grow with the data.

The peak is the largest resident set of the process and of the psql processes that it starts, as the kernel counts them.
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.bench import ROOT, Outcome, PostgreSQLServer, postgresql, report, start

ROWS = int(os.environ.get("RUNBOOK_BENCH_ROWS", "1000000"))
COMMAND = "python -m benchmarks.copy_memory"
# A process of its own, so that the peak of its children is this copy's.
MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def main() -> None:
    with postgresql("source") as source, postgresql("target") as target:
        peaks = [_peak(source, target, rows) for rows in (ROWS, 10 * ROWS)]
    work = f"peak memory of a copy of {10 * ROWS:,} rows"
    report(Outcome("copy_memory", work, f"of {ROWS:,} rows", peaks[1], peaks[0], 1.2, unit="MB", command=COMMAND))


def _peak(source: PostgreSQLServer, target: PostgreSQLServer, rows: int) -> float:
    source.fresh("bench")
    source.sql("CREATE TABLE t (id bigint PRIMARY KEY, a int, b text)", "bench")
    source.sql(f"INSERT INTO t SELECT g, g % 1000, md5(g::text) FROM generate_series(1, {rows}) g", "bench")
    source.sql("VACUUM ANALYZE", "bench")
    copy = [sys.executable, "-m", "runbook_lib.cli", "copy", source.url("bench"), target.fresh("ours")]
    ran = subprocess.run([sys.executable, "-c", MEASURE, *copy], capture_output=True, text=True, check=True, cwd=ROOT)
    peak = int(ran.stdout.split()[-1]) / 1024
    print(f"  {rows:,} rows: {peak:.1f} MB", flush=True)
    return peak


if __name__ == "__main__":
    start(main)
