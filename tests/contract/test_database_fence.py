"""Fence: no write is acknowledged after it is up, every refused one says so, and readers never notice."""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg
import pytest

from runbook_lib.errors import CutoverAborted, DatabaseError

TABLES = ["accounts", "history"]
DDL = (
    "CREATE TABLE accounts (id integer PRIMARY KEY, n integer NOT NULL DEFAULT 0)",
    "CREATE TABLE history (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account integer)",
    "INSERT INTO accounts SELECT i FROM generate_series(1, 100) AS i",
)


@pytest.fixture
def fenced_database(database):
    database.execute(*DDL)
    database.prepare_fence(TABLES)
    return database


@pytest.fixture
def connect(server, database):
    with contextlib.ExitStack() as stack:

        def make(**options):
            url = server.url(database.masked_url.rpartition("/")[2])
            return stack.enter_context(contextlib.closing(psycopg.connect(url, password=server.password, **options)))

        yield make


def test_a_prepared_fence_lets_writers_in(fenced_database):
    fenced_database.prepare_fence(TABLES)
    fenced_database.execute("UPDATE accounts SET n = 1")
    assert fenced_database.fenced(TABLES) == frozenset()


@pytest.mark.parametrize(
    "write",
    [
        "INSERT INTO accounts VALUES (0)",
        "UPDATE accounts SET n = 1 WHERE false",
        "DELETE FROM accounts",
        "TRUNCATE accounts",
        "COPY accounts FROM STDIN",
        "WITH w AS (DELETE FROM accounts RETURNING id) SELECT * FROM w",
        "MERGE INTO accounts AS a USING accounts AS b ON a.id = b.id WHEN MATCHED THEN DELETE",
    ],
)
def test_every_kind_of_write_is_refused_with_its_own_state(fenced_database, connect, write):
    if write.startswith("MERGE") and fenced_database.facts().version[0] < 15:
        pytest.skip("MERGE needs PostgreSQL 15")
    fenced_database.raise_fence(TABLES, timeout_s=5)
    with pytest.raises(psycopg.Error, match="accounts: writes are fenced by a migration since 20") as caught:
        cursor = connect().cursor()
        if write.startswith("COPY"):
            with cursor.copy(write) as copy:
                copy.write(b"0\t0\n")
        else:
            cursor.execute(write)
    assert caught.value.sqlstate == "RB001"


def test_writers_lose_nothing_and_get_no_acknowledgement_after_the_fence(fenced_database, connect):
    """Four writers without pause: what they were acknowledged is what the table has, and none after the fence."""
    ready, done = threading.Barrier(5), threading.Event()
    acknowledged: list[float] = []
    refused: list[str] = []
    other: list[str] = []

    def write(number):
        connection = connect()
        ready.wait()
        while not done.is_set():
            try:
                connection.execute("UPDATE accounts SET n = n + 1 WHERE id = %s", (number,))
                connection.execute("INSERT INTO history (account) VALUES (%s)", (number,))
                connection.commit()
                acknowledged.append(time.monotonic())
            except psycopg.Error as error:
                (refused if error.sqlstate == "RB001" else other).append(str(error.sqlstate))
                connection.rollback()

    threads = [threading.Thread(target=write, args=(i,)) for i in range(1, 5)]
    for thread in threads:
        thread.start()
    ready.wait()
    took_s = []
    for _ in range(5):
        before = len(acknowledged)
        while len(acknowledged) < before + 50:
            time.sleep(0.001)
        took_s.append(fenced_database.raise_fence(TABLES, timeout_s=10))
        count = "SELECT (SELECT sum(n) FROM accounts), (SELECT count(*) FROM history)"
        frozen = fenced_database.rows(count)
        seen = len(refused)
        while len(refused) < seen + 200:
            time.sleep(0.001)
        assert fenced_database.rows(count) == frozen
        assert fenced_database.fenced(TABLES) == set(TABLES)
        fenced_database.lower_fence(TABLES)
    done.set()
    for thread in threads:
        thread.join(10)
    [(updates, inserts)] = fenced_database.rows(count)
    assert updates == inserts == len(acknowledged)
    assert set(refused) == {"RB001"} and other == []
    assert max(took_s) < 5, took_s  # 8 to 56 ms on two busy cores


def test_an_old_snapshot_does_not_get_past_the_fence(fenced_database, connect):
    writer = connect()
    writer.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    writer.execute("SELECT count(*) FROM accounts")
    fenced_database.raise_fence(TABLES, timeout_s=5)
    with pytest.raises(psycopg.Error) as caught:
        writer.execute("UPDATE accounts SET n = 5")
    assert caught.value.sqlstate == "RB001"


def test_a_writer_in_flight_is_waited_for_and_its_write_counts(fenced_database, connect):
    writer = connect()
    writer.execute("UPDATE accounts SET n = 77 WHERE id = 1")
    found: list[float] = []
    raising = threading.Thread(target=lambda: found.append(fenced_database.raise_fence(TABLES, timeout_s=10)))
    raising.start()
    raising.join(0.5)
    assert raising.is_alive()
    writer.commit()
    raising.join(10)
    assert found and found[0] >= 0.4
    assert fenced_database.rows("SELECT n FROM accounts WHERE id = 1") == [(77,)]


def test_a_timeout_aborts_names_the_writer_and_leaves_the_fence_lowered(fenced_database, connect):
    writer = connect()
    writer.execute("INSERT INTO history (account) VALUES (1)")
    started = time.monotonic()
    with pytest.raises(
        CutoverAborted, match=rf"pid {writer.info.backend_pid} of .*INSERT INTO history.*writes continue"
    ):
        fenced_database.raise_fence(TABLES, timeout_s=0.5)
    assert time.monotonic() - started < 2
    assert fenced_database.fenced(TABLES) == frozenset()
    connect(autocommit=True).execute("UPDATE accounts SET n = 1")


def test_readers_are_not_blocked_while_the_fence_waits_nor_when_it_is_up(fenced_database, connect):
    writer, reader = connect(), connect(autocommit=True)
    writer.execute("UPDATE accounts SET n = 1")
    raising = threading.Thread(target=lambda: fenced_database.raise_fence(TABLES, timeout_s=10))
    raising.start()
    reader.execute("SET lock_timeout = '1ms'")  # whoever waits for a lock at all fails
    for _ in range(300):
        reader.execute("SELECT sum(n) FROM accounts")
    assert raising.is_alive()
    writer.commit()
    raising.join(10)
    assert reader.execute("SELECT count(*) FROM accounts").fetchone() == (100,)


def test_a_deadlock_costs_the_fence_an_attempt_never_the_writer(fenced_database, connect):
    writer = connect()
    writer.execute("UPDATE history SET account = 1")
    raising = threading.Thread(target=lambda: fenced_database.raise_fence(TABLES, timeout_s=10))
    raising.start()  # takes accounts, waits for history
    for _ in range(5):
        writer.execute("UPDATE accounts SET n = n + 1 WHERE id = 1")
    writer.commit()
    raising.join(10)
    assert fenced_database.fenced(TABLES) == set(TABLES)
    assert fenced_database.rows("SELECT n FROM accounts WHERE id = 1") == [(5,)]


def test_partitions_are_fenced_for_direct_writes_too(database, connect):
    database.execute(
        "CREATE TABLE p (a integer, r text) PARTITION BY LIST (r)",
        "CREATE TABLE p_n PARTITION OF p FOR VALUES IN ('n')",
    )
    database.prepare_fence(["p"])
    database.raise_fence(["p"], timeout_s=5)
    for table in ("p", "p_n"):
        with pytest.raises(psycopg.Error, match="fenced"):
            connect(autocommit=True).execute(f"INSERT INTO {table} VALUES (1, 'n')")
    database.lower_fence(["p"])
    database.execute("INSERT INTO p VALUES (1, 'n')", "INSERT INTO p_n VALUES (1, 'n')")


def test_lowering_and_removing_may_be_repeated_and_need_no_fence(database):
    database.execute(*DDL)
    for _ in range(2):
        database.lower_fence(TABLES)
        database.remove_fence()
    database.prepare_fence(TABLES)
    database.raise_fence(TABLES, timeout_s=5)
    database.raise_fence(TABLES, timeout_s=5)
    database.remove_fence()
    database.execute("UPDATE accounts SET n = 1")
    assert database.fenced(TABLES) == frozenset()


def test_raising_a_fence_that_was_not_prepared_fences_nothing(database):
    database.execute(*DDL)
    database.prepare_fence(["accounts"])
    with pytest.raises(DatabaseError, match=r"history.*not installed; nothing was fenced"):
        database.raise_fence(TABLES, timeout_s=1)
    assert database.fenced(TABLES) == frozenset()


def test_an_autovacuum_gives_way_though_the_login_may_not_shorten_the_deadlock_check(fenced_database, server):
    fenced_database.execute(
        "ALTER TABLE accounts SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, "
        "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)",
        "INSERT INTO accounts SELECT i FROM generate_series(101, 60000) AS i",
    )
    dbname = fenced_database.masked_url.rpartition("/")[2]
    server.admin("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    server.admin("SELECT pg_reload_conf()")
    at_work = f"SELECT 1 FROM pg_stat_progress_vacuum WHERE datname = '{dbname}' AND relid = 'accounts'::regclass"
    try:
        fenced_database.execute("UPDATE accounts SET n = 1")
        deadline = time.monotonic() + 90
        while not fenced_database.rows(at_work):
            assert time.monotonic() < deadline, "no autovacuum came"
            time.sleep(0.05)
        assert fenced_database.raise_fence(TABLES, timeout_s=10) < 8
    finally:
        server.admin("ALTER SYSTEM RESET autovacuum_naptime")
        server.admin("SELECT pg_reload_conf()")
        fenced_database.lower_fence(TABLES)
