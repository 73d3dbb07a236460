"""What a command costs before its work: `runbook compare` of two databases with one small table, whole process."""

from __future__ import annotations

from benchmarks import bench

LIMIT_S = 0.5


def main() -> None:
    with bench.postgresql("source") as source, bench.postgresql("target") as target:
        urls = [server.fresh("small") for server in (source, target)]
        for server in (source, target):
            server.sql("CREATE TABLE t AS SELECT i AS id, i::text AS x FROM generate_series(1, 100) AS i", "small")
            server.sql("ALTER TABLE t ADD PRIMARY KEY (id)", "small")
        times = bench.best(8, ours=lambda: bench.runbook("compare", *urls))
    bench.report(
        bench.Outcome(
            "start",
            "all six checks of one small table, from start to end",
            "half a second",
            times["ours"],
            LIMIT_S,
            1.0,
            command="python -m benchmarks.start",
        )
    )


if __name__ == "__main__":
    bench.start(main)
