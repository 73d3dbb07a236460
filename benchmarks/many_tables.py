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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.bench import (
    ROOT,
    Outcome,
    PostgreSQLServer,
    best,
    installed,
    mariadb,
    need,
    postgresql,
    report,
    run,
    runbook,
    start,
)

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


def main(*parts: Callable[[], None]) -> None:
    for part in parts:
        part()


@contextmanager
def _servers(**databases: list[str]) -> Iterator[tuple[PostgreSQLServer, PostgreSQLServer]]:
    """Two servers, the first with these databases, made by these statements."""
    with postgresql("source", system=True) as source, postgresql("target", system=True) as target:
        for database, statements in databases.items():
            _fill(source, database, statements)
        yield source, target


def copies() -> None:
    """PostgreSQL: copies of many tables, beside pgcopydb and pg_restore."""
    programs = need("pgcopydb", "pg_dump", "pg_restore")
    with _servers(many=tables(TABLES), more=tables(TIMES * TABLES), empty=empty()) as servers:
        _copies(programs, *servers)


def compares() -> None:
    """PostgreSQL: comparisons of many tables."""
    with _servers(many=tables(TABLES), more=tables(TIMES * TABLES)) as servers:
        _compares(*servers)


def partitioned() -> None:
    """PostgreSQL: a table of many partitions, beside its statements by psql."""
    psql = need("psql")["psql"]
    with _servers() as servers:
        _partitions(psql, *servers)


def pause() -> None:
    """PostgreSQL: the write pause of a cutover of many tables."""
    with _servers(many=tables(TABLES)) as servers:
        _pause(*servers)


def other_mariadb() -> None:
    """MariaDB: copy and compare of a fifth of the tables, then of all."""
    with mariadb() as server:

        def fill(count: int) -> tuple[str, str]:
            source, target = server.fresh("t_many"), server.fresh("t_ours")
            server.admin("USE t_many", *_portable(count))
            return source, target

        _scaling("MariaDB", "mariadb", fill)


def other_sqlite() -> None:
    """SQLite: copy and compare of a fifth of the tables, then of all."""
    with tempfile.TemporaryDirectory(prefix="runbook-bench-") as folder:

        def fill(count: int) -> tuple[str, str]:
            source, target = (Path(folder, f"{name}{count}.db") for name in ("many", "ours"))
            with closing(sqlite3.connect(source)) as driver:
                driver.executescript(f"BEGIN; {'; '.join(_portable(count))}; COMMIT")
            return f"sqlite:///{source}", f"sqlite:///{target}"

        _scaling("SQLite", "sqlite", fill)


def _portable(count: int) -> list[str]:
    """The tables of `tables`, in words that MariaDB and SQLite have in common."""
    rows = ", ".join(f"({n}, {n}, {n}, '{n:032x}')" for n in range(1, 21))
    return [
        statement
        for i in range(count)
        for statement in (
            f"CREATE TABLE t{i} (id int NOT NULL PRIMARY KEY, parent int, a int, b varchar(40),"
            f" FOREIGN KEY (parent) REFERENCES t{max(0, i - 1)} (id))",
            f"INSERT INTO t{i} VALUES {rows}",
            f"CREATE INDEX i{i} ON t{i} (a)",
        )
    ]


def _scaling(engine: str, name: str, fill: Callable[[int], tuple[str, str]]) -> None:
    """Copy and compare of all tables against a fifth of them: at most a tenth more than five times the time."""
    took = dict[int, dict[str, float]]()
    for count in (TABLES // TIMES, TABLES):
        urls = fill(count)
        runs = {verb: partial(runbook, verb, *urls) for verb in ("copy", "compare")}
        took[count] = best(1, **runs)
    few, many = took.values()
    for verb in few:
        work, peer = f"{engine} → {engine}: {verb} of {TABLES:,} tables of 20 rows", f"of {TABLES // TIMES:,}"
        report(Outcome(f"many_{name}_{verb}", work, peer, many[verb], few[verb], 1.1 * TIMES, command=COMMAND))


def _fill(server: PostgreSQLServer, database: str, statements: list[str]) -> None:
    server.fresh(database)
    for at in range(0, len(statements), 100):
        server.sql(";".join(statements[at : at + 100]), database)
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


def _partitions(psql: str, source: PostgreSQLServer, target: PostgreSQLServer) -> None:
    """The server's own time for a partition grows with their number: what psql needs for the same is the floor."""
    took = []
    for count in (TABLES, 2 * TABLES):
        _fill(source, "parts", partitions(count))
        took.append({verb: _timed(verb, "parts", source, target) for verb in ("copy", "compare")})
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(";\n".join([*partitions(count), "ANALYZE p"]))
            script.flush()
            bare = [psql, "-q", "-v", "ON_ERROR_STOP=1", "-d", target.url("theirs"), "-f", script.name]
            took[-1] |= best(1, lambda: target.clear("theirs"), psql=partial(run, bare))
    first, more = took
    for verb, figure in more.items():
        said = f"{verb} a table of {2 * TABLES:,} partitions"
        work = said if verb != "psql" else f"CREATE TABLE … PARTITION OF, {2 * TABLES:,} times, and rows, by psql alone"
        report(Outcome(f"many_partitions_{verb}", work, f"of {TABLES:,}", figure, first[verb], 2.2, command=COMMAND))
    work, before = f"copy {2 * TABLES:,} partitions, beside the server", first["copy"] / first["psql"]
    peer, limit = f"psql alone ({TABLES:,}: {before:.2f})", round(1.1 * before, 2)
    report(Outcome("many_partitions_floor", work, peer, more["copy"], more["psql"], limit, command=COMMAND))


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


PARTS = {
    "copy": copies,
    "compare": compares,
    "partitions": partitioned,
    "pause": pause,
    "mariadb": other_mariadb,
    "sqlite": other_sqlite,
}

if __name__ == "__main__":
    start(main, **PARTS)
