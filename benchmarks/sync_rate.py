"""Sync: changes applied per second, single table, beside the rate at which pgbench makes them at the source.

pgbench updates random rows of one table as fast as the source lets it, first with nobody draining, then beside the
sync into a second server. The first run's changes are the backlog that the second begins with: without one, a sync
that keeps up could never be seen to be faster than what it waits for. A ratio above 1 means that the backlog shrinks.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench import Outcome, PostgreSQLServer, postgresql, report, start
from benchmarks.capture_cost import pgbench
from runbook_lib.databases.postgresql import open_database
from runbook_lib.plan.model import Plan, Service, TableMapping
from runbook_lib.transfer.build_links import forward_links
from runbook_lib.transfer.bulk_copy import copy_link
from runbook_lib.transfer.capture import enable_capture, pending
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.sync import drain_once

ROWS, SECONDS, CLIENTS = 1_000_000, 20, 4
TABLE = "CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL, filler text)"
FILL = f"INSERT INTO accounts SELECT i, 0, repeat('x', 84) FROM generate_series(1, {ROWS}) AS i"
SCRIPT = f"\\set id random(1, {ROWS})\nUPDATE accounts SET balance = balance + 1 WHERE id = :id;\n"


def main() -> None:
    """Copy a table, sync it under pgbench, and say how far behind it was when pgbench ended."""
    with postgresql("source", system=True) as source, postgresql("target", system=True) as target:
        link = linked(source, target)
        copy_link(link)
        with TemporaryDirectory(prefix="runbook-bench-") as folder:
            script = Path(folder) / "update.sql"
            script.write_text(SCRIPT)
            alone = pgbench(source, "bench", SECONDS, CLIENTS, script)
            measure(link, source, script, alone)


def linked(source: PostgreSQLServer, target: PostgreSQLServer) -> Link:
    """One table on both sides, captured at the source."""
    databases = []
    for name, server in (("source", source), ("target", target)):
        server.fresh("bench")
        server.sql(TABLE, "bench")
        databases.append(open_database(name, server.url("bench").replace(":bench@", "@"), "bench"))
    source.sql(FILL, "bench")
    source.sql("VACUUM ANALYZE accounts", "bench")
    service = Service("bench", "target", tables=(TableMapping("accounts", "accounts"),))
    plan = Plan("bench", "move", "source", (service,), phases=())
    [link] = forward_links(plan, databases[0], {"target": databases[1]})
    enable_capture(link)
    return link


def measure(link: Link, source: PostgreSQLServer, script: Path, alone: float) -> None:
    """Drain while pgbench runs; the changes applied per second of it, and what was left."""
    made = [0.0]
    writers = threading.Thread(target=lambda: made.append(pgbench(source, "bench", SECONDS, CLIENTS, script)))
    started, applied = time.perf_counter(), 0
    writers.start()
    while writers.is_alive():
        keys = drain_once(link).keys
        applied += keys
        if not keys:
            time.sleep(0.02)  # as the sync process does
    elapsed, left = time.perf_counter() - started, pending([link])
    started_rest, rest = time.perf_counter(), 0
    while keys := drain_once(link).keys:
        rest += keys
    drained = rest / max(time.perf_counter() - started_rest, 1e-9)
    print(f"  pgbench {made[-1]:,.0f}/s beside the sync, {alone:,.0f}/s without anybody draining (capture on)")
    print(f"  at its end {left.keys:,} keys pending, the oldest {left.oldest_s:.1f} s old; then {drained:,.0f} keys/s")
    work = f"sync: log rows applied per second while pgbench updates one table of {ROWS:,} rows, {CLIENTS} clients"
    report(
        Outcome(
            "sync_rate", work, "pgbench beside it", applied / elapsed, made[-1], 1.0, at_least=True, unit="/s",
            command="python -m benchmarks.sync_rate",
        )
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(start(main))
