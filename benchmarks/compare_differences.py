"""3 M rows with 1,000 scattered differences, all of them named by kind and columns, beside reladiff."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks import bench
from benchmarks.compare_postgresql import ROWS, measure, reladiff, two

EVERY = ROWS // 1000


def main() -> None:
    reladiff()
    with two() as (_, server, source, target):
        server.sql(f"UPDATE orders SET note = 'x', amount = amount + 1 WHERE id % {EVERY} = 1 AND id % 3 <> 0", "shop")
        server.sql(f"DELETE FROM orders WHERE id % {EVERY} = 1 AND id % 3 = 0", "shop")
        server.sql("VACUUM ANALYZE orders", "shop")
        named = count(source, target)
        times = measure(source, target, rounds=2)
    if named != 1000:
        raise SystemExit(f"{named} of 1000 differences named")
    bench.report(
        bench.Outcome(
            "compare_differences",
            f"compare {ROWS:,} rows, 1,000 of them different, all named",
            "reladiff",
            times["ours"],
            times["reladiff"],
            0.3,
            command="python -m benchmarks.compare_differences",
        )
    )


def count(source: str, target: str) -> int:
    """The rows that our report names, by key (count)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        bench.runbook("compare", source, target, "--checks", "checksums", "--json", str(path))
        [result] = json.loads(path.read_text())["results"]
    return len({tuple(each["key"]) for each in result["mismatches"] if each["key"]})


if __name__ == "__main__":
    bench.start(main)
