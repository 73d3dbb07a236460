"""What a capture costs the source's writers: pgbench's rate with it beside the rate without it.

Databases of one server take turns, round by round: none; captured by triggers with nobody consuming, and while a sync
drains the log; captured from the write-ahead log with nobody asking, with its keys brought into the logs each second,
and while a sync drains them. The median of the rounds counts: a rate swings more than a wall time does.
"""

from __future__ import annotations

import re
import statistics
import sys
import threading
from pathlib import Path

from benchmarks.bench import Outcome, PostgreSQLServer, postgresql, report, run, start
from runbook_lib.databases.postgresql import PostgreSQL, open_database

SCALE, SECONDS, CLIENTS, ROUNDS = 10, 8, 4, 5
KEYS = {"pgbench_accounts": ["aid"], "pgbench_tellers": ["tid"], "pgbench_branches": ["bid"]}
NAMES = ("none", "triggers", "triggers_drained", "wal", "wal_logged", "wal_drained")


def pgbench(server: PostgreSQLServer, database: str, seconds: int, clients: int, script: Path | None = None) -> float:
    """Transactions per second of one run (the built-in simple update, or a script)."""
    what = ["-f", str(script)] if script else ["-b", "simple-update"]
    command = [str(server.binaries / "pgbench"), "-n", "-T", str(seconds), "-c", str(clients), "-j", "1", *what]
    output = run([*command, server.url(database)])
    found = re.search(r"tps = ([\d.]+) \(without", output) or re.search(r"tps = ([\d.]+)", output)
    if found is None:
        raise SystemExit(f"pgbench told no rate:\n{output}")
    return float(found[1])


def main() -> None:
    """Measure the three in turn and report the cost with nobody consuming."""
    with postgresql("source", system=True) as server:
        opened = {name: prepared(server, name) for name in NAMES}
        rates: dict[str, list[float]] = {name: [] for name in NAMES}
        for number in range(ROUNDS):
            for name in NAMES[number % len(NAMES) :] + NAMES[: number % len(NAMES)]:
                rates[name].append(measure(server, name, opened[name]))
                print(f"  round {number + 1} {name:<17} {rates[name][-1]:8,.0f} transactions/s", flush=True)
        middle = {name: statistics.median(found) for name, found in rates.items()}
        for name in NAMES[1:]:
            print(f"  {name:<17} {middle[name] / middle['none']:.3f} of the rate without capture")
    for name, limit, how in (("triggers", 0.9, "triggers"), ("wal_logged", 0.97, "write-ahead log, read each second")):
        work = f"capture's cost to the source's writers: {how}, pgbench simple update, {CLIENTS} clients"
        report(
            Outcome(
                "capture_cost" + ("_wal" if name != "triggers" else ""), work, "pgbench without capture",
                middle[name], middle["none"], limit, at_least=True, unit="/s",
                command="python -m benchmarks.capture_cost",
            )
        )  # fmt: skip


def prepared(server: PostgreSQLServer, name: str) -> PostgreSQL:
    """A pgbench database, captured unless it is the one without."""
    url = server.fresh(name)
    run([str(server.binaries / "pgbench"), "-i", "-q", "-s", str(SCALE), url])
    options = {"capture": "wal" if name.startswith("wal") else "triggers"}
    database = open_database(name, url.replace(":bench@", "@"), "bench", options)
    if name != "none":
        database.install_capture("bench", KEYS)
    return database


def measure(server: PostgreSQLServer, name: str, database: PostgreSQL) -> float:
    """The rate of one round; `drained` has its log consumed meanwhile, with each changed row read again.

    What a round left in the write-ahead log is read after it, in nobody's time.
    """
    server.sql("CHECKPOINT")
    ended = threading.Event()
    work = {"drained": consume, "logged": ask}.get(name.rpartition("_")[2])
    beside = threading.Thread(target=work, args=(database, ended)) if work else None
    if beside:
        beside.start()
    try:
        return pgbench(server, name, SECONDS, CLIENTS)
    finally:
        ended.set()
        if beside:
            beside.join()
        database.pending("bench")


def ask(database: PostgreSQL, ended: threading.Event) -> None:
    """The lag, once a second, as the sync tells it: with it the keys come into the logs."""
    while not ended.wait(1.0):
        database.pending("bench")


def consume(database: PostgreSQL, ended: threading.Event) -> None:
    """The source's share of a sync: read the log, read the rows, forget the log."""
    from runbook_lib.databases.port import Selection

    while not ended.is_set():
        found = 0
        for table, key in KEYS.items():
            changes = database.read_changes("bench", table, 2_000)
            database.read_rows(Selection(database.quote(table), (key[0],), ("*",)), changes.keys)
            database.forget_changes("bench", changes)
            found += len(changes.seqs)
        if not found:
            ended.wait(0.02)


if __name__ == "__main__":
    sys.exit(start(main))
