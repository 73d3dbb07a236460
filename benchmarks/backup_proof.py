"""Proving a backup, against pg_restore of it by hand: what the proof costs beyond the restore that it is.

Ours restores into a scratch database, counts every row on both sides, compares the schema, and drops it again. The
peer is createdb, pg_restore with as many jobs, dropdb.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.bench import Outcome, best, postgresql, report, run, start

ROWS = 2_000_000
MAKE = (
    f"CREATE TABLE items AS SELECT i AS id, md5(i::text) AS code, i % 1000 AS kind, now() AS at FROM"
    f" generate_series(1, {ROWS}) AS i",
    "ALTER TABLE items ADD PRIMARY KEY (id)",
    "CREATE INDEX ON items (kind, at)",
    f"CREATE TABLE lines AS SELECT i AS id, i / 4 + 1 AS item, repeat('x', 60) AS what"
    f" FROM generate_series(1, {ROWS}) AS i",
    "ALTER TABLE lines ADD PRIMARY KEY (id)",
    "ALTER TABLE lines ADD FOREIGN KEY (item) REFERENCES items (id)",
    "VACUUM ANALYZE",
)


def main() -> None:
    """Measure and report."""
    from runbook_lib.backup.backup import counts, prove
    from runbook_lib.databases.postgresql import open_database
    from runbook_lib.schema.snapshot import shape_of

    with postgresql("backup") as server, tempfile.TemporaryDirectory() as directory:
        url = server.fresh("shop")
        for statement in MAKE:
            server.sql(statement, "shop")
        database = open_database("shop", url, "bench")
        info = database.backup(Path(directory) / "shop")
        before, shape = counts(database), shape_of(database)
        login = {**os.environ, "PGPASSWORD": "bench"}

        def ours() -> None:
            assert prove(database, info, before, shape).problems == ()

        def theirs() -> None:
            server.sql('CREATE DATABASE "scratch"')
            command = [
                str(server.binaries / "pg_restore"),
                "--jobs=2",
                f"--dbname={server.url('scratch')}",
                str(info.path),
            ]
            run(command, **login)
            server.sql('DROP DATABASE "scratch"')

        times = best(3, ours=ours, pg_restore=theirs)
        database.close()
    work = f"{2 * ROWS:,} rows, {info.size_bytes / 1e6:.0f} MB dumped, 2 jobs"
    report(Outcome("backup_proof", work, "pg_restore", times["ours"], times["pg_restore"], 1.0,
                   command="python -m benchmarks.backup_proof"))  # fmt: skip


if __name__ == "__main__":
    start(main)
