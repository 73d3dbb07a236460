"""What the performance verdict says of an equal pair and of one 15 % slower: on recorded rounds, and live.

`python -m benchmarks.performance_verdict record FILE PAIRS` records rounds of an equal pair of servers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import bench

RATE, ROUND_S, WARMUP_S = 100.0, 1.0, 0.0
ROWS, STEPS = 200_000, 12_000
SLOWER = 1.15


@contextmanager
def pair(work: float = 1.0) -> Iterator[tuple[dict[str, object], object]]:
    """Two servers with the same rows and a workload of the same queries; the second does `work` times as much."""
    from runbook_lib.databases.postgresql import open_database
    from runbook_lib.performance.load_generator import Side
    from runbook_lib.performance.statements import StatementTemplate, draw
    from runbook_lib.performance.workload import Load, Workload

    template = StatementTemplate(
        "SELECT count(*) FROM t WHERE part = :part UNION ALL SELECT sum(i) FROM generate_series(1, %d) AS i" % STEPS,
        "sum",
        target="SELECT count(*) FROM t WHERE part = :part UNION ALL SELECT sum(i) FROM generate_series(1, %d) AS i"
        % round(STEPS * work),
        params={"part": "SELECT DISTINCT part FROM t"},
    )
    with ExitStack() as stack:
        sides, first = {}, None
        for name in ("old", "new"):
            server = stack.enter_context(bench.postgresql(name, shared_buffers="64MB", max_wal_size="256MB"))
            url = server.fresh("load")
            server.sql(f"CREATE TABLE t AS SELECT i AS id, i % 1000 AS part FROM generate_series(1, {ROWS}) AS i", "load")
            server.sql("CREATE INDEX ON t (part)", "load")
            server.sql("VACUUM ANALYZE t", "load")
            database = open_database(name, url, "bench", {"read_only": True, "pool_size": 8})
            stack.callback(database.close)
            first = first or database
            text = "sql" if name == "old" else "target"
            pid = int(Path(str(server.sql("SHOW data_directory")[0][0]), "postmaster.pid").read_text().split()[0])
            query = lambda one, db=database, text=text: db.rows(getattr(one, text), one.params)  # noqa: E731
            sides[name] = Side(lambda path: path, query, pids=(pid,))
        load = Load(RATE, ROUND_S, WARMUP_S, turn_s=0.1)
        yield sides, Workload((), statements=(draw(template, first),), load=load)


def record(file: Path, pairs: int) -> None:
    from runbook_lib.performance.measure import measure_pair

    with pair() as (sides, workload), file.open("w") as out:
        for number in range(pairs):
            found = measure_pair(sides, workload, workload.load, number)
            out.write(json.dumps({name: one.as_dict() for name, (one, _) in found.items()}) + "\n")
            out.flush()


if __name__ == "__main__":
    record(Path(sys.argv[2]), int(sys.argv[3]))
