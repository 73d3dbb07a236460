"""A large table gets a column, filled, indexed and NOT NULL, under writers: how long does one wait, how many get by?

pgbench's simple-update runs all the time; its log says of each transaction when it ended and how long it took. The
writers' rate during the upgrade is compared with their rate before and after it.

    python -m benchmarks.upgrade_under_load [SCALE] [SHARE]

SCALE: 100,000 rows a unit (default 50: 5 M rows). SHARE: part of the time that the back-fill may work (default 0.2).
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Outcome, PostgreSQLServer, postgresql, report, run, start
from runbook_lib.databases.postgresql import open_database
from runbook_lib.schema.revisions.apply import revise
from runbook_lib.schema.revisions.batched_update import Pace
from runbook_lib.schema.revisions.graph import UP, Revisions
from runbook_lib.schema.revisions.lint import hazards

COMMAND = "python -m benchmarks.upgrade_under_load"
SCALE, SHARE, CLIENTS, ALONE_S, LOCK_TIMEOUT_S = 50, 0.2, 2, 20.0, 0.5
REVISION = """-- revision: 0001_band
-- revises: base
-- Accounts get a band
-- transaction: no

-- up
ALTER TABLE pgbench_accounts ADD COLUMN band text;
-- batches of pgbench_accounts by 2000
UPDATE pgbench_accounts SET band = 'b' || aid % 10 WHERE :range AND band IS NULL;
ALTER TABLE pgbench_accounts ADD CONSTRAINT band_here CHECK (band IS NOT NULL) NOT VALID;
ALTER TABLE pgbench_accounts VALIDATE CONSTRAINT band_here;
ALTER TABLE pgbench_accounts ALTER COLUMN band SET NOT NULL;
ALTER TABLE pgbench_accounts DROP CONSTRAINT band_here;
CREATE INDEX CONCURRENTLY accounts_band ON pgbench_accounts (band);

-- down
ALTER TABLE pgbench_accounts DROP COLUMN band;
"""


@dataclass(frozen=True)
class Written:
    """One transaction of a writer: when it ended (seconds since the epoch), how long it took (seconds)."""

    at: float
    took_s: float


@contextmanager
def writers(server: PostgreSQLServer, log: Path) -> Iterator[None]:
    """pgbench beside us, until the end."""
    command = [str(server.binaries / "pgbench"), "--no-vacuum", "--builtin=simple-update", f"--client={CLIENTS}"]
    command += ["--jobs=1", "--time=86400", "--log", f"--log-prefix={log}", server.url("bench")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def read_log(directory: Path) -> list[Written]:
    """The transactions, in the order in which they ended."""
    found = []
    for path in directory.glob("writer*"):
        for line in path.read_text().splitlines():
            fields = line.split()
            if len(fields) >= 6:  # the last line may be cut
                found.append(Written(int(fields[4]) + int(fields[5]) / 1e6, int(fields[2]) / 1e6))
    return sorted(found, key=lambda one: one.at)


def rate(found: list[Written], begun: float, ended: float) -> float:
    """Transactions a second."""
    return sum(begun <= one.at < ended for one in found) / (ended - begun)


def upgrade(server: PostgreSQLServer, share: float) -> dict[str, float]:
    """Carry the revision out; when each part of it ended."""
    database = open_database("bench", server.url("bench"), None, {"lock_timeout_s": LOCK_TIMEOUT_S})
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "0001_band.sql").write_text(REVISION)
        revisions = Revisions(Path(folder))
        revision = revisions.by_id["0001_band"]
        statements = revisions.render(revision, UP, "postgresql").statements
        if refused := hazards(database, revision.id, statements, alone=True).refused:
            raise SystemExit(f"refused: {refused}")
        ended = {"filled": 0.0}

        def tell(done: int, total: int) -> None:
            ended["filled"] = time.time()
            if done % max(total // 20, 1) == 0:
                print(f"  batch {done:,} of {total:,}", flush=True)

        revise(database, revisions, revision, UP, Pace(share, on_progress=tell))
    database.close()
    return ended


def main(scale: int = SCALE, share: float = SHARE) -> None:
    with postgresql("upgrade") as server, tempfile.TemporaryDirectory() as directory:
        server.fresh("bench")
        run([str(server.binaries / "pgbench"), "-i", "-q", "-s", str(scale), server.url("bench")])
        with writers(server, Path(directory, "writer")):
            time.sleep(3)
            started = time.time()
            time.sleep(ALONE_S)
            begun = time.time()
            ended = upgrade(server, share)
            done = time.time()
            time.sleep(3)
            after = time.time()
            time.sleep(ALONE_S)
            over = time.time()
        found = read_log(Path(directory))
        left = server.sql("SELECT count(*) FROM pgbench_accounts WHERE band IS NULL", "bench")
    alone = (rate(found, started, begun) + rate(found, after, over)) / 2
    during = rate(found, begun, done)
    longest = max(one.took_s for one in found if begun <= one.at < done + 3)
    usual = max(one.took_s for one in found if started <= one.at < begun)
    filled, rest = (rate(found, *window) for window in ((begun, ended["filled"]), (ended["filled"], done)))
    print(f"{scale * 100_000:,} rows in {done - begun:.0f} s; {left[0][0]} left NULL; back-fill's share {share:g}")
    print(f"writers alone {alone:,.0f}/s (longest wait {usual * 1000:.0f} ms), filling {filled:,.0f}/s")
    print(f"constraint and index {rest:,.0f}/s, over {done - ended['filled']:.0f} s")
    rows = f"{scale / 10:g} M rows"
    work = f"upgrade under writers: column, back-fill, index, NOT NULL, {rows}"
    report(Outcome("upgrade_rate", work, "the writers alone", during, alone, 0.85, True, "tx/s", COMMAND))
    wait = f"longest wait of a writer during that, {rows}"
    report(
        Outcome(
            "upgrade_wait", wait, "the lock timeout", longest * 1000, LOCK_TIMEOUT_S * 1000, 1.0, False, "ms", COMMAND
        )
    )


if __name__ == "__main__":
    start(main)
