"""`runbook copy`, `cutover`, `return` as a user calls them: real servers and processes, a writer that never stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fix_sandbox import wait_for
from nightly import at_night

from runbook_lib.config.database_url import open_endpoint
from runbook_lib.operations.pair import pair_of
from runbook_lib.validation import validate

SCHEMA = """
CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE SEQUENCE loose START 500; SELECT nextval('loose');
CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT x * 2';
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, mood mood DEFAULT 'glad');
CREATE TABLE orders (id serial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users (id), total numeric(10,2));
CREATE TABLE "Odd ""name" (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE odd_1 PARTITION OF "Odd ""name" FOR VALUES FROM ('2020-01-01') TO ('2020-07-01');
CREATE TABLE odd_2 PARTITION OF "Odd ""name" DEFAULT;
CREATE VIEW totals AS SELECT u.id, u.name, sum(o.total) AS total
  FROM users u JOIN orders o ON o.user_id = u.id GROUP BY u.id;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM users; CREATE INDEX counted_n ON counted (n);
COMMENT ON VIEW totals IS 'what they spent';
INSERT INTO users (name) SELECT E'u\\t\\\\' || g FROM generate_series(1, 3000) g;
INSERT INTO orders (user_id, total) SELECT 1 + g % 3000, g / 3.0 FROM generate_series(1, 5000) g;
INSERT INTO "Odd ""name" SELECT g, date '2020-01-01' + g % 300, 'x' FROM generate_series(1, 1000) g;
CREATE INDEX ON orders (user_id); CREATE INDEX ON "Odd ""name" (v);
"""
OBJECTS = """
SELECT c.relkind::text, c.relname::text, obj_description(c.oid) FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace UNION ALL
SELECT 'f', proname::text, NULL FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2
"""


class Pair:
    """Two databases, a folder, and `runbook` in it."""

    def __init__(self, server: Any, source: Any, target: Any, folder: Path) -> None:
        self.source, self.target, self.folder = source, target, folder
        secret = folder / "secret"
        secret.write_text(server.password)
        secret.chmod(0o600)
        keys = ("RUNBOOK_SOURCE_PASSWORD", "RUNBOOK_TARGET_PASSWORD")
        self.environment = {**os.environ, **dict.fromkeys(keys, f"file:{secret}")}
        self.urls = [database.masked_url for database in (source, target)]
        self.started: list[subprocess.Popen[str]] = []

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "runbook_lib.cli", words[0], *self.urls, *words[1:]]

    def run(self, *words: str, status: int = 0, output: bool = False) -> str:
        ran = subprocess.run(
            self.command(*words), capture_output=True, text=True, env=self.environment, cwd=self.folder, timeout=180
        )
        assert ran.returncode == status, ran.stdout + ran.stderr
        return ran.stdout if status == 0 or output else ran.stderr

    def start(self, *words: str) -> tuple[subprocess.Popen[str], Path]:
        log = self.folder / f"log{len(self.started)}"
        with log.open("w") as output:
            process = subprocess.Popen(
                self.command(*words), stdout=output, stderr=output, env=self.environment, cwd=self.folder, text=True
            )
        self.started.append(process)
        return process, log

    def end(self, follower: subprocess.Popen[str], log: Path) -> None:
        follower.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            follower.wait(60)
        assert follower.returncode == 0 and "stopped; " in log.read_text(), log.read_text()

    def slots(self) -> list[str]:
        of_ours = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        return [name for database in (self.source, self.target) for (name,) in database.rows(of_ours)]

    def equal(self, *checks: str) -> None:
        report = validate([pair_of(self.source, self.target).forward], checks=checks, under_writes=False)
        assert report.passed, report.text


@pytest.fixture
def pair(postgresql_server: Any, new_on: Callable[..., Any], tmp_path: Path) -> Iterator[Pair]:
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(SCHEMA)
    source.analyze(["users", "orders"])
    made = Pair(postgresql_server, source, target, tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()


ALL = ("row_counts", "schemas", "indexes", "constraints", "data_sample", "checksums")


def test_a_copied_database_has_every_object_row_and_sequence_and_copying_again_does_nothing(pair: Pair):
    said = pair.run("copy", "--chunk-rows", "700")
    assert "3 tables, 9,000 rows (9,000 now)" in said
    pair.equal(*ALL)
    assert pair.target.rows(OBJECTS) == pair.source.rows(OBJECTS)
    assert pair.target.rows("SELECT n FROM counted") == [(3000,)]
    assert pair.target.rows("SELECT nextval('loose')") == [(501,)]
    assert pair.target.rows("SELECT nextval('users_id_seq'), nextval('orders_id_seq')") == [(3001, 5001)]
    assert "9,000 rows (0 now)" in pair.run("copy")
    assert not list(pair.folder.rglob("copies.sqlite"))
    refused = pair.run("copy", "--follow", status=2)
    assert "copied without --follow: changes since then are not logged; nothing was done" in refused
    assert "9,000 rows (9,000 now)" in pair.run("copy", "--on-existing", "drop")
    pair.equal(*ALL)


def test_tables_that_are_there_are_refused_unless_told(pair: Pair):
    pair.target.run_script(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, mood text); INSERT INTO users VALUES (1)"
    )
    line = pair.run("copy", "--tables", "users", status=2)
    assert "target: users: 1 tables are there already, and this copy did not make them" in line
    assert "nothing was done. Next: --on-existing keep (empty tables of the right shape), empty, or drop" in line
    assert pair.target.rows("SELECT id FROM users") == [(1,)]
    line = pair.run("copy", "--tables", "users", "--on-existing", "keep", status=2)
    assert "has rows that this migration did not copy" in line
    assert "3,000 rows" in pair.run("copy", "--tables", "users", "--on-existing", "empty")
    assert pair.target.rows("SELECT count(*), max(id) FROM users") == [(3000, 3000)]


@pytest.mark.parametrize("words", [(), ("--on-existing", "drop"), ("--on-existing", "empty", "--follow")])
def test_a_database_is_not_copied_onto_itself_whatever_name_it_is_given(pair: Pair, words: tuple[str, ...]):
    pair.urls = [pair.urls[0], pair.urls[0].replace("127.0.0.1", "localhost")]
    line = pair.run("copy", *words, status=2)
    assert line.startswith(f"runbook: source and target: both are {pair.urls[0]}; expected two databases; nothing was")
    assert pair.source.rows("SELECT count(*) FROM users") == [(3000,)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--tables", "user"), "table user: not in"),
        (("--type", "mood"), "--type mood: has no `=`"),
        (("--on-existing", "ask"), "'ask' is not one of"),
        (("--replicas", "standby"), "--replicas: names of an inventory; -f says which"),
    ],
)
def test_a_wrong_word_is_one_line_and_status_2(pair: Pair, words: tuple[str, ...], says: str):
    line = pair.run("copy", *words, status=2)
    assert says in line and len(line.splitlines()) == 1
    assert pair.target.catalog() == {}


def test_a_copy_waits_for_a_file_and_one_that_was_killed_goes_on_where_it_was(pair: Pair):
    pair.source.run_script(
        "INSERT INTO orders (user_id, total) SELECT 1 + g % 3000, g FROM generate_series(1, 60000) AS g"
    )
    hold = pair.folder / "hold"
    hold.touch()
    process, log = pair.start("copy", "--chunk-rows", "500", "--jobs", "1", "--throttle-file", "hold")
    done = "SELECT count(*) FROM runbook.ranges WHERE rows_done IS NOT NULL"

    wait_for(lambda: "hold exists" in log.read_text() or process.poll() is not None, "the throttle", 120)
    assert pair.target.rows(done) == [(0,)]
    hold.unlink()
    wait_for(lambda: pair.target.rows(done)[0][0] > 5, "the first ranges", 120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = pair.target.rows("SELECT sum(rows_done) FROM runbook.ranges")[0][0]
    assert before < 69_000
    assert "3 tables, 69,000 rows" in pair.run("copy")
    pair.equal(*ALL)


class Writer(threading.Thread):
    """Inserts, updates and deletes where writes are let in, and notes what was acknowledged."""

    def __init__(self, pair: Pair, server: Any) -> None:
        super().__init__(daemon=True)
        names = [database.masked_url.rpartition("/")[2] for database in (pair.source, pair.target)]
        self.places = [f"{server.superuser} dbname={name}" for name in names]
        self.acknowledged: dict[int, str | None] = {}
        self.refused = 0
        self.unexpected: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        number, side = 0, 0
        connections = [psycopg.connect(place, autocommit=True) for place in self.places]
        while not self.stop.is_set():
            number += 1
            try:
                self.write(connections[side], number)
                self.stop.wait(0.002)  # a rate that two cores shared with other tests keep up with
            except psycopg.errors.Error as error:
                self.refused += 1
                if "fenced" not in str(error):
                    self.unexpected.append(str(error))
                    return
                side = 1 - side
                self.stop.wait(0.005)
        for connection in connections:
            connection.close()

    def write(self, connection: Any, number: int) -> None:
        name = f"w{number}"
        sql = "INSERT INTO users (name) VALUES (%s) RETURNING id"
        (key,) = connection.execute(sql, (name,)).fetchone()
        self.acknowledged[key] = name
        if number % 3 == 0:
            connection.execute("UPDATE users SET name = %s WHERE id = %s", (name + "!", key))
            self.acknowledged[key] = name + "!"
        if number % 5 == 0:
            connection.execute("DELETE FROM users WHERE id = %s", (key,))
            self.acknowledged[key] = None

    def lost(self, database: Any) -> list[tuple[int, Any, Any]]:
        found = dict(database.rows("SELECT id, name FROM users"))
        return [(key, name, found.get(key)) for key, name in self.acknowledged.items() if found.get(key) != name]


@at_night
def test_writers_move_to_the_target_and_back_without_a_lost_write(pair: Pair, postgresql_server: Any):
    """The source is captured through its log, the target by triggers."""
    writer = Writer(pair, postgresql_server)
    writer.start()
    follower, log = pair.start("copy", "--follow", "--chunk-rows", "500", "--capture", "wal")
    wait_for(lambda: "syncing source → target" in log.read_text() or follower.poll() is not None, "the sync", 180)
    assert follower.poll() is None, log.read_text()
    there = pair.run("cutover", "--switch", "none")
    assert "the target has the writes; the source is fenced" in there
    wait_for(lambda: "syncing target → source" in log.read_text(), "the reverse sync", 120)
    assert "the target has the writes already" in pair.run("cutover", "--switch", "none")
    follower.kill()
    refused = pair.run("copy", "--follow", "--on-existing", "drop", status=2)
    assert "the source is fenced: its writers were moved away" in refused and "nothing was done" in refused
    follower, log = pair.start("copy", "--follow")  # as the cutover says
    wait_for(
        lambda: "syncing target → source" in log.read_text() or follower.poll() is not None, "the reverse sync", 120
    )
    assert "nothing is copied, and the source is kept current" in log.read_text()
    seen = len(writer.acknowledged)
    wait_for(lambda: len(writer.acknowledged) > seen + 50, "writes at the target", 120)
    assert "to be synced back" in pair.run("return", "--dry-run")
    assert "the source has the writes again" in pair.run("return", "--switch", "none")
    seen = len(writer.acknowledged)
    wait_for(lambda: len(writer.acknowledged) > seen + 50, "writes at the source", 120)
    writer.stop.set()
    writer.join()
    assert writer.unexpected == [] and writer.refused
    assert writer.lost(pair.source) == []
    wait_for(lambda: writer.lost(pair.target) == [], "the last changes at the target", 120)
    pair.end(follower, log)
    pair.equal("row_counts", "data_sample", "checksums")
    assert len(pair.slots()) == 1
    assert "nothing is captured any more; the source has the writes" in pair.run("unfollow")
    assert pair.slots() == [] and pair.source.rows("SELECT pubname FROM pg_publication") == []
    assert "no copy between them is being followed" in pair.run("cutover", "--switch", "none", status=2)


@at_night
def test_a_switch_that_fails_puts_everything_back_and_a_lost_session_is_taken_up_again(pair: Pair):
    follower, log = pair.start("copy", "--follow")
    wait_for(lambda: "syncing source → target" in log.read_text() or follower.poll() is not None, "the sync", 180)
    line = pair.run("cutover", "--switch", "false", status=1)
    assert "switch `false`: status 1" in line and "the state before the cutover is restored" in line
    pair.source.execute("INSERT INTO users (name) VALUES ('still here')")
    wait_for(lambda: log.read_text().count("syncing source → target") == 2, "the sync again", 120)
    arrived = "SELECT 1 FROM users WHERE name = 'still here'"
    wait_for(lambda: pair.target.rows(arrived) != [], "the row at the target: the sync holds its session", 120)
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    pair.source.rows(f"SELECT pg_terminate_backend(pid) {others}")  # as a server does that is restarted
    wait_for(lambda: "sync forward: resumes" in log.read_text(), "the sync after that", 120)
    assert "trying again in 0.5 s" in log.read_text()
    pair.end(follower, log)


def test_a_cutover_between_strangers_is_refused(pair: Pair):
    line = pair.run("cutover", "--switch", "none", status=2)
    assert "there is none in this folder. Next: runbook copy … --follow" in line
    assert open_endpoint(pair.urls[0], "source").masked_url == pair.source.masked_url


def test_rows_that_the_target_refuses_stop_the_copy_or_are_set_aside(pair: Pair):
    columns = "id bigint PRIMARY KEY, name text CHECK (name NOT LIKE '%77'), mood text"
    pair.target.run_script(f"CREATE TABLE users ({columns})")
    words = ("copy", "--tables", "users", "--on-existing", "keep", "--chunk-rows", "500")
    line = pair.run(*words, status=2)
    assert re.search(r"target\.users, key \(id = \d*77\)", line) and "users_name_check" in line
    said = pair.run(*words, "--on-bad-row", "quarantine", status=1, output=True)
    assert "30 rows were rejected, and are quarantined" in said
    assert pair.target.rows("SELECT count(*) FROM users") == [(2970,)]


@at_night
def test_a_comparison_beside_a_follower_that_was_killed_says_that_no_sync_runs(pair: Pair):
    follower, log = pair.start("copy", "--follow")
    wait_for(lambda: "syncing source → target" in log.read_text() or follower.poll() is not None, "the sync", 180)
    pair.source.execute("INSERT INTO users (name) VALUES ('followed')")
    assert "no sync runs" not in pair.run("compare")
    follower.kill()
    follower.wait()
    pair.source.execute("UPDATE users SET name = 'left behind' WHERE id IN (7, 8)")
    for words in ((), ("--tables", "users")):
        said = pair.run("compare", *words, "--settle", "0.2", status=1, output=True).splitlines()
        assert said[-1].startswith("different: 2 rows wait for a sync, and none runs; otherwise 6 checks over ")
        told = "! no sync runs between source and target: changes are logged and not carried over; 2 keys wait"
        assert any(line.startswith(told) for line in said), said
    follower, log = pair.start("copy", "--follow")
    wait_for(lambda: "syncing source → target" in log.read_text() or follower.poll() is not None, "the sync", 180)
    assert "no sync runs" not in pair.run("compare")
    pair.end(follower, log)
    stopped = pair.run("compare")  # nothing waits: the same, but nobody keeps it so
    assert "no sync runs" in stopped and "; 0 keys wait." in stopped
    assert stopped.splitlines()[-1].startswith("same: ")
    pair.run("unfollow")
    assert "no sync runs" not in pair.run("compare")


@at_night
def test_a_return_says_which_rows_the_source_would_refuse_and_moves_nobody(pair: Pair):
    follower, log = pair.start("copy", "--follow")
    wait_for(lambda: "syncing source → target" in log.read_text() or follower.poll() is not None, "the sync", 180)
    pair.run("cutover", "--switch", "none")
    pair.end(follower, log)
    pair.target.execute("INSERT INTO users (name) VALUES ('fits'), (repeat('too long', 5))")
    for side in (pair.source, pair.target):
        side.execute("ALTER TABLE users ADD CHECK (length(name) < 20) NOT VALID")
    said = pair.run("return", "--dry-run", status=1, output=True)
    assert "1 row would not fit the source" in said and "users_name_check" in said
    line = pair.run("return", "--switch", "none", status=2)
    assert "1 rows would be refused there" in line and "nothing was moved" in line
    pair.target.execute("UPDATE users SET name = 'short' WHERE length(name) > 20")
    assert "the source has the writes again" in pair.run("return", "--switch", "none")
    assert pair.source.rows("SELECT name FROM users WHERE id > 3000 ORDER BY id") == [("fits",), ("short",)]


def test_signals_after_the_follower_has_said_that_it_stopped_change_nothing(pair: Pair):
    follower, log = pair.start("copy", "--follow")
    wait_for(lambda: "syncing" in log.read_text(), "syncing", 60)
    follower.send_signal(signal.SIGINT)
    while follower.poll() is None:
        if "stopped; " in log.read_text():
            for number in (signal.SIGTERM, signal.SIGINT):
                follower.send_signal(number)
        time.sleep(0.001)
    said = log.read_text()
    assert (follower.returncode, said.splitlines()[-1].partition(";")[0]) == (0, "stopped"), said
