"""What the performance verdict says of an equal pair of servers, and of one where the new does 15 % more: live.

`python -m benchmarks.performance_verdict record FILE PAIRS` records rounds of an equal pair, for
tests/unit/test_performance_noise.py.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import bench

REPETITIONS = 5
ROWS, STEPS, MORE = 200_000, 12_000, 1.15
QUERY = "SELECT count(*) FROM t WHERE part = :part UNION ALL SELECT sum(i) FROM generate_series(1, {}) AS i"
FIELDS = ("p50_ms", "p95_ms", "p99_ms", "throughput_per_s", "cpu_share")


@contextmanager
def pair(work: float) -> Iterator[tuple[dict[str, Any], Any]]:
    """Two servers with the same rows, and a workload of which the second does `work` times as much."""
    from runbook_lib.databases.postgresql import open_database
    from runbook_lib.performance.load_generator import Side
    from runbook_lib.performance.statements import StatementTemplate, draw
    from runbook_lib.performance.workload import Load, Workload

    target, params = QUERY.format(round(STEPS * work)), {"part": "SELECT DISTINCT part FROM t"}
    template = StatementTemplate(QUERY.format(STEPS), "sum", target=target, params=params)
    with ExitStack() as stack:
        sides, databases = {}, []
        for name in ("old", "new"):
            server = stack.enter_context(bench.postgresql(name, shared_buffers="64MB", max_wal_size="256MB"))
            url = server.fresh("load")
            rows = f"SELECT i AS id, i % 1000 AS part FROM generate_series(1, {ROWS}) AS i"
            for statement in (f"CREATE TABLE t AS {rows}", "CREATE INDEX ON t (part)", "VACUUM ANALYZE t"):
                server.sql(statement, "load")
            databases.append(open_database(name, url, "bench", {"read_only": True, "pool_size": 8}))
            stack.callback(databases[-1].close)
            folder = Path(str(server.sql("SHOW data_directory")[0][0]))
            pid = int((folder / "postmaster.pid").read_text().split()[0])
            sides[name] = Side(str, _asking(databases[-1], name), pids=(pid,))
        load = Load(rate_per_s=100, duration_s=1.0, warmup_s=0.0, turn_s=0.1)
        yield sides, Workload((), statements=(draw(template, databases[0]),), load=load)


def _asking(database: Any, side: str) -> Any:
    return lambda one: database.rows(one.sql if side == "old" else one.target, one.params)


def record(file: Path, pairs: int) -> None:
    """Rounds of an equal pair, as they come."""
    from runbook_lib.performance.measure import measure_pair

    with pair(1.0) as (sides, workload), file.open("w") as out:
        writer = csv.writer(out)
        writer.writerow([f"{side}.{name}" for name in FIELDS for side in ("one", "other")])
        for number in range(pairs):
            found = measure_pair(sides, workload, workload.load, number)
            writer.writerow([f"{getattr(one, name):.3g}" for name in FIELDS for one, _ in found.values()])
            out.flush()


def verdicts(work: float, repetitions: int) -> list[Any]:
    """The verdict of each repetition, on servers of its own."""
    from runbook_lib.performance.rounds import measure_until_clear
    from runbook_lib.plan.model import PerformanceGoal

    found = []
    for _ in range(repetitions):
        with pair(work) as (sides, workload):
            found.append(measure_until_clear(sides, workload, PerformanceGoal(metrics=FIELDS)))
        print(f"  {work:g} times the work: {found[-1].comparison.text}, {len(found[-1].before)} pairs", flush=True)
    return found


def main(repetitions: int) -> None:
    """Both kinds, and a line for each."""
    from runbook_lib.verdict import Outcome

    kinds = (("equal", 1.0, Outcome.PASS, "fine"), ("slower", MORE, Outcome.FAIL, "degraded"))
    for name, work, outcome, word in kinds:
        right = sum(one.comparison.outcome is outcome for one in verdicts(work, repetitions))
        text = f"performance verdict, live: {'an equal server' if work == 1 else '15 % more work'} is {word}"
        command = "python -m benchmarks.performance_verdict"
        outcome_line = bench.Outcome(
            f"performance_verdict_{name}", text, "repetitions", right, repetitions, 0.95, True, "verdicts", command
        )
        bench.report(outcome_line)


if __name__ == "__main__":
    if sys.argv[1:2] == ["record"]:
        record(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else REPETITIONS)
