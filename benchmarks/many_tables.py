"""Many tables: what a database costs by the number of its objects, beside pgcopydb and pg_dump | pg_restore.

pgcopydb 0.10 speaks to PostgreSQL up to 15, so both servers are Debian's. RUNBOOK_BENCH_TABLES: 1,000 by default; the
larger database has five times as many.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bench import ROOT, Outcome, PostgreSQLServer, best, installed, need, postgresql, report, run, runbook

TABLES = int(os.environ.get("RUNBOOK_BENCH_TABLES", "1000"))
TIMES, ROUNDS = 5, 2
COMMAND = "python -m benchmarks.many_tables"


def tables(count: int) -> list[str]:
    """Tables of 20 rows, each with a key, an index and a foreign key to the one before it."""
    return [
        f"CREATE TABLE t{i} (id int PRIMARY KEY, parent int REFERENCES t{max(0, i - 1)}, a int, b text);"
        f"INSERT INTO t{i} SELECT g, g, g, md5(g::text) FROM generate_series(1, 20) g; CREATE INDEX ON t{i} (a)"
        for i in range(count)
    ]


def empty() -> list[str]:
    """290 empty tables with 1,600 indexes in all, and foreign keys."""
    indexes = [f"CREATE INDEX ON e{i} (c{n})" for i in range(290) for n in range(5 if i % 2 else 4)]
    columns = ", ".join(f"c{n} int" for n in range(8))
    made = [f"CREATE TABLE e{i} (id int PRIMARY KEY, {columns}, b text)" for i in range(290)]
    keys = [f"ALTER TABLE e{i} ADD FOREIGN KEY (c0) REFERENCES e{i - 1}" for i in range(1, 290)]
    return [*made, *indexes, *keys]


def partitions(count: int) -> list[str]:
    """One table of so many partitions, a row in each."""
    parts = [f"CREATE TABLE p{i} PARTITION OF p FOR VALUES FROM ({i}) TO ({i + 1})" for i in range(count)]
    rows = f"INSERT INTO p SELECT g, md5(g::text) FROM generate_series(0, {count - 1}) g"
    return ["CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)", *parts, rows]


def main() -> None:
    programs = need("pgcopydb", "pg_dump", "pg_restore")
    with postgresql("source", system=True) as source, postgresql("target", system=True) as target:
        _fill(source, "many", tables(TABLES))
        _fill(source, "more", tables(TIMES * TABLES))
        _fill(source, "empty", empty())
        _copies(programs, source, target)
        _compares(source, target)
        _partitions(source, target)
        _pause(source, target)


def _fill(server: PostgreSQLServer, database: str, statements: list[str]) -> None:
    server.fresh(database)
    for start in range(0, len(statements), 100):
        server.sql(";".join(statements[start : start + 100]), database)
    server.sql("VACUUM ANALYZE", database)


def _copies(programs: dict[str, str], source: PostgreSQLServer, target: PostgreSQLServer) -> None:
    def ready() -> None:
        target.clear("ours", "theirs")

    def ours(database: str) -> None:
        runbook("copy", source.url(database), target.url("ours"), "--jobs", "2")

    whole = best(ROUNDS, ready, pgcopydb=lambda: _pgcopydb(programs, source, target), runbook=lambda: ours("many"))
    work = f"copy of {TABLES:,} tables of 20 rows, with key, index and foreign key"
    report(
        Outcome("many_tables", work, "pgcopydb 0.10, 2 jobs", whole["runbook"], whole["pgcopydb"], 0.5, command=COMMAND)
    )
    bare = best(ROUNDS, ready, restore=lambda: _restore(programs, source, target), runbook=lambda: ours("empty"))
    work, peer = "copy of 290 empty tables, 1,600 indexes", "pg_dump \\| pg_restore"
    report(Outcome("many_tables_empty", work, peer, bare["runbook"], bare["restore"], 2.0, command=COMMAND))
    more = best(1, ready, runbook=lambda: ours("more"))["runbook"]
    work, peer = f"copy of {TIMES * TABLES:,} such tables", f"of {TABLES:,}"
    report(Outcome("many_tables_more", work, peer, more, whole["runbook"], 5.5, command=COMMAND))


def _timed(verb: str, database: str, source: PostgreSQLServer, target: PostgreSQLServer, rounds: int = 1) -> float:
    """`runbook copy` into an empty database, or `compare` with what it left there (seconds)."""
    urls = source.url(database), target.url("ours")
    ready = (lambda: target.clear("ours")) if verb == "copy" else (lambda: None)
    return best(rounds, ready, runbook=lambda: runbook(verb, *urls))["runbook"]


def _compares(source: PostgreSQLServer, target: PostgreSQLServer) -> None:
    took = []
    for database in ("many", "more"):
        _timed("copy", database, source, target)
        took.append(_timed("compare", database, source, target, ROUNDS))
    first, more = took
    work = f"compare {TABLES:,} such tables"
    report(Outcome("many_tables_compare", work, "five seconds", first, 5.0, 1, command=COMMAND))
    work = f"compare {TIMES * TABLES:,} such tables"
    report(Outcome("many_tables_compare_more", work, f"{TABLES:,}", more, first, 5.5, command=COMMAND))


def _partitions(source: PostgreSQLServer, target: PostgreSQLServer) -> None:
    took = []
    for count in (TABLES, 2 * TABLES):
        _fill(source, "parts", partitions(count))
        took.append([_timed(verb, "parts", source, target) for verb in ("copy", "compare")])
    for verb, first, more in zip(("copy", "compare"), *took, strict=True):
        work = f"{verb} a table of {2 * TABLES:,} partitions"
        report(Outcome(f"many_partitions_{verb}", work, f"of {TABLES:,}", more, first, 2.2, command=COMMAND))


def _pause(source: PostgreSQLServer, target: PostgreSQLServer) -> None:
    """The write pause of a cutover with all tables followed, none of them written to."""
    target.clear("ours")
    with tempfile.TemporaryDirectory(prefix="runbook-bench-") as folder:
        log = Path(folder, "follow.log")
        words = [sys.executable, "-m", "runbook_lib.cli"]
        urls = [source.url("many"), target.url("ours")]
        environment = {**installed(), "PYTHONPATH": str(ROOT)}
        with log.open("w") as output:
            follower = subprocess.Popen([*words, "copy", *urls, "--follow"], stdout=output, cwd=folder, env=environment)
        while "syncing" not in log.read_text() and follower.poll() is None:
            time.sleep(0.1)
        for way in ("cutover", "return"):
            run([*words, way, *urls, "--switch", "true", "--max-write-pause", "10s"], cwd=folder, **environment)
        follower.send_signal(signal.SIGINT)
        follower.wait()
        with sqlite3.connect(Path(folder, ".runbook/copies.sqlite")) as journal:
            moves = journal.execute("SELECT payload FROM entries WHERE kind = 'writers_moved'").fetchall()
    pauses = [json.loads(payload)["data"]["write_pause_ms"] for (payload,) in moves]
    work = f"write pause of a cutover and a return, {TABLES:,} idle tables followed, the longer"
    report(Outcome("many_tables_pause", work, "500 ms", max(pauses), 500.0, 1, unit="ms", command=COMMAND))


def _pgcopydb(programs: dict[str, str], source: PostgreSQLServer, target: PostgreSQLServer) -> None:
    with tempfile.TemporaryDirectory(prefix="runbook-bench-") as folder:
        jobs = ["--table-jobs", "2", "--index-jobs", "2"]
        urls = ["--source", source.url("many"), "--target", target.url("theirs")]
        run([programs["pgcopydb"], "clone", *urls, "--dir", f"{folder}/pgcopydb", *jobs])


def _restore(programs: dict[str, str], source: PostgreSQLServer, target: PostgreSQLServer) -> None:
    dump = f"{programs['pg_dump']} -Fc -d {source.url('empty')}"
    run(f"{dump} | {programs['pg_restore']} -d {target.url('theirs')}")


if __name__ == "__main__":
    main()
