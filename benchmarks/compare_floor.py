"""3 M equal rows: our checksums beside the plainest sum that PostgreSQL can do, on both sides at once.

`SELECT count(*), sum(hash_record_extended(t, 0))` misses two rows that swap a value (docs/canonical-values.md), so it
is no comparison: it is what reading and hashing every row costs. Both in one process, without its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks import bench
from benchmarks.compare_postgresql import ROWS, two
from runbook_lib.config.database_url import open_endpoint
from runbook_lib.transfer.links import Link
from runbook_lib.validation import ValidationOptions, validate
from runbook_lib.validation.comparison import compared_pair

FLOOR = "SELECT count(*), sum(hash_record_extended(t, 0)) FROM orders AS t"


def main() -> None:
    with two() as (a, b, source, target):
        links = compared_pair(open_endpoint(source, "source"), open_endpoint(target, "target")).links
        times = bench.best(4, ours=lambda: compare(links), floor=lambda: floor(a, b))
        for link in links:
            link.reader.close()
            link.writer.close()
    bench.report(
        bench.Outcome(
            "compare_floor",
            f"checksums of {ROWS:,} equal rows, without the process's start",
            "sum(hash_record_extended) on both sides at once",
            times["ours"],
            times["floor"],
            1.5,
            command="python -m benchmarks.compare_floor",
        )
    )


def compare(links: Sequence[Link]) -> None:
    """Our check alone."""
    validate(links, ValidationOptions(checks=("checksums",), under_writes=False)).raise_for_failure()


def floor(*servers: bench.PostgreSQLServer) -> None:
    """The plain sums, one connection a side."""
    with ThreadPoolExecutor(2) as pool:
        there, here = pool.map(lambda server: server.sql(FLOOR, "shop"), servers)
    if there != here:
        raise SystemExit("the floor's sums differ")


if __name__ == "__main__":
    bench.start(main)
