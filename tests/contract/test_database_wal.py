"""Capture through the write-ahead log: what the log alone makes different from triggers, and where it must refuse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from fix_sandbox import wait_for

from runbook_lib.databases.postgresql import open_database
from runbook_lib.databases.postgresql.wal import changed_keys, slot_reader
from runbook_lib.errors import ConfigurationError, DatabaseError, TransferError

TABLE = "CREATE TABLE items (id integer PRIMARY KEY, v text)"
PARTS = (
    "CREATE TABLE parts (id integer, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
    "CREATE TABLE parts_n PARTITION OF parts FOR VALUES IN ('n')",
)
SLOTS = "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()"


@pytest.fixture
def database(postgresql_server, new_database):
    return new_database("source", capture="wal")


@pytest.fixture
def items(database):
    """A captured table."""
    database.execute(TABLE)
    database.install_capture("ch", {"items": ["id"]})
    return database


@pytest.fixture
def connect(postgresql_server, database) -> Iterator:
    """An application's own connection."""
    url = postgresql_server.url(database.masked_url.rpartition("/")[2])
    made = []

    def make(**options):
        made.append(psycopg.connect(url, password=postgresql_server.password, **options))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


@pytest.fixture
def again(database) -> Iterator:
    """The same database, as another process has it."""
    made = []

    def make(**options):
        given = {"capture": "wal", **options}
        made.append(open_database(database.name, database.masked_url, database.login.password, given))
        return made[-1]

    yield make
    for other in made:
        other.close()


def changed(database, table="items", channel="ch"):
    changes = database.read_changes(channel, table, 1_000_000)
    database.forget_changes(channel, changes)
    return sorted(changes.keys)


@contextmanager
def configured(server, **settings):
    """A server with other settings for a moment."""
    for name, value in settings.items():
        server.admin(f"ALTER SYSTEM SET {name} = '{value}'")
    server.admin("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        for name in settings:
            server.admin(f"ALTER SYSTEM RESET {name}")
        server.admin("SELECT pg_reload_conf()")


def test_there_is_no_trigger_on_a_captured_table(items):
    assert items.rows("SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass") == []
    assert items.capture_installed("ch") == {"items"}


def test_a_commit_that_is_in_the_log_but_not_visible_yet_is_waited_for(items, connect, postgresql_server, monkeypatch):
    items.execute("INSERT INTO items VALUES (1)")
    hanging = """SELECT 1 FROM pg_stat_activity
                 WHERE wait_event = 'SyncRep' AND query LIKE 'INSERT%' AND datname = current_database()"""
    monkeypatch.setattr(slot_reader, "VISIBLE_WITHIN_S", 0.2)
    done, enough, writer = [(1,)], threading.Event(), connect(autocommit=True)

    def write():  # until one hangs: only once the checkpointer has seen the setting does a commit wait for a standby
        while not enough.is_set():
            writer.execute("INSERT INTO items VALUES (%s)", (len(done) + 1,))
            done.append((len(done) + 1,))

    with configured(postgresql_server, synchronous_standby_names="nobody"):
        thread = threading.Thread(target=write)
        thread.start()
        try:
            wait_for(lambda: items.rows(hanging) != [], "a commit that waits for its standby")
        finally:
            enough.set()
        with pytest.raises(DatabaseError, match=r"transaction \d+ is committed, but not visible for 0.2 s"):
            items.pending("ch")
        with items.raw() as driver:
            log = driver.execute("SELECT log FROM runbook.captures").fetchone()[0]
            logged = driver.execute(f"SELECT k0 FROM {log} ORDER BY k0").fetchall()
            assert logged == done, "what came before it is logged"
    thread.join(10)
    assert changed(items) == done and len(done) == len(logged) + 1


def test_what_does_not_wait_for_the_disk_is_counted_at_once(items, connect):
    writer = connect(autocommit=True)
    writer.execute("SET synchronous_commit = off")
    for number in range(20):
        writer.execute("INSERT INTO items VALUES (%s)", (number,))
        assert items.pending("ch")["items"].keys == number + 1


def test_rolled_back_work_is_not_logged_and_what_savepoints_kept_is(items, connect):
    with connect() as writer:
        writer.execute("INSERT INTO items VALUES (1)")
        with pytest.raises(ZeroDivisionError), writer.transaction():
            writer.execute("INSERT INTO items VALUES (2)")
            raise ZeroDivisionError
        with writer.transaction():
            writer.execute("INSERT INTO items VALUES (3)")
        writer.commit()
        writer.execute("INSERT INTO items VALUES (4)")
        writer.rollback()
    assert changed(items) == [(1,), (3,)]


def test_a_prepared_transaction_is_logged_when_it_is_committed(items, connect):
    writer = connect(autocommit=True)
    for number, end in enumerate(("ROLLBACK", "COMMIT")):
        writer.execute("BEGIN")
        writer.execute("INSERT INTO items VALUES (%s)", (number,))
        writer.execute(f"PREPARE TRANSACTION 'two phases {items.masked_url[-8:]}'")
        assert changed(items) == []
        writer.execute(f"{end} PREPARED 'two phases {items.masked_url[-8:]}'")
    assert changed(items) == [(1,)]


def test_transactions_of_any_size_are_taken_in_pieces(items, connect, monkeypatch):
    for module, name, value in ((slot_reader, "CHANGES", 7), (slot_reader, "FETCHED", 3), (changed_keys, "KEYS", 4)):
        monkeypatch.setattr(module, name, value)
    writer = connect(autocommit=True)
    for first in range(0, 60, 10):
        writer.execute("INSERT INTO items SELECT generate_series(%s::int, %s)", (first, first + 9))
        writer.execute("UPDATE items SET v = 'again' WHERE id = %s", (first,))
    assert changed(items) == [(number,) for number in range(60)]


def test_a_long_key_that_was_not_touched_is_logged(database):
    database.execute(
        "CREATE TABLE wide (k text PRIMARY KEY, v text)",
        "ALTER TABLE wide ALTER k SET STORAGE EXTERNAL, ALTER v SET STORAGE EXTERNAL",
        "INSERT INTO wide SELECT repeat('k', 2300), repeat('v', 9000)",
    )
    database.install_capture("ch", {"wide": ["k"]})
    database.execute("UPDATE wide SET v = 'short'")
    assert changed(database, "wide") == [("k" * 2300,)]
    database.execute("ALTER TABLE wide REPLICA IDENTITY FULL", "UPDATE wide SET v = v || '!'")
    assert changed(database, "wide") == [("k" * 2300,)]
    database.execute("UPDATE wide SET k = E'tab\\t, line\\n, \\\\N'")
    assert changed(database, "wide") == [("k" * 2300,), ("tab\t, line\n, \\N",)]


def test_a_copy_into_a_captured_table_is_not_logged(items):
    items.copy_in("items", ["id", "v"], iter([b"1\ta\n2\tb\n"]), binary=False)
    assert changed(items) == [] and items.count is not None and items.rows("SELECT count(*) FROM items") == [(2,)]


def test_a_partition_made_later_is_captured_and_one_that_went_is_compared(database):
    database.execute(*PARTS)
    database.install_capture("ch", {"parts": ["id", "region"]})
    database.execute("CREATE TABLE parts_s PARTITION OF parts FOR VALUES IN ('s')", "INSERT INTO parts VALUES (1, 's')")
    assert database.capture_gaps("ch") == {"parts": "partition public.parts_s was attached or made"}
    database.install_capture("ch", {"parts": ["id", "region"]})
    assert database.capture_installed("ch") == {"parts"}
    assert changed(database, "parts") == [(1, "s")]
    database.execute("TRUNCATE parts_s")
    changes = database.read_changes("ch", "parts", 10)
    assert changes.truncated
    database.forget_changes("ch", changes)
    database.execute("INSERT INTO parts VALUES (2, 's')", "DROP TABLE parts_s")
    assert changed(database, "parts") == [(2, "s")]
    assert database.capture_gaps("ch") == {"parts": "1 of its partitions were detached or dropped"}
    database.install_capture("ch", {"parts": ["id", "region"]})
    assert database.read_changes("ch", "parts", 10).truncated, "nobody knows its rows: all keys are compared"


@pytest.mark.parametrize(
    ("ddl", "says", "mends"),
    [
        (
            "CREATE TABLE items (id integer NOT NULL UNIQUE)",
            r"does not hold the key \(id\)",
            'ALTER TABLE items REPLICA IDENTITY USING INDEX "items_id_key"',
        ),
        ("CREATE TABLE items (id integer)", r"does not hold the key \(id\)", "ALTER TABLE items REPLICA IDENTITY FULL"),
        (
            f"{TABLE}; ALTER TABLE items REPLICA IDENTITY NOTHING",
            r"does not hold the key \(id\)",
            "ALTER TABLE items REPLICA IDENTITY DEFAULT",
        ),
        ("CREATE UNLOGGED TABLE items (id integer PRIMARY KEY)", "is unlogged", "ALTER TABLE items SET LOGGED"),
        ("CREATE TABLE items (n integer, id integer GENERATED ALWAYS AS (n) STORED PRIMARY KEY)", "is generated", ""),
        ("CREATE TABLE items (id integer) PARTITION BY LIST (id)", r"partitioned, and \(id\) is not its primary", ""),
    ],
)
def test_a_table_whose_changes_would_not_name_their_key_is_refused_before_anything_is_made(database, ddl, says, mends):
    database.run_script(ddl)
    with pytest.raises(TransferError, match=f"capture of items: .*{says}.*nothing was captured") as refused:
        database.install_capture("ch", {"items": ["id"]})
    assert database.rows(SLOTS) == database.rows("SELECT pubname FROM pg_publication") == []
    assert database.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'runbook'") == []
    assert mends in refused.value.action
    if mends:
        database.execute(mends)
        database.install_capture("ch", {"items": ["id"]})
        database.execute("INSERT INTO items VALUES (1)", "UPDATE items SET id = 2", "DELETE FROM items")
        assert changed(database) == [(1,), (2,)]


def test_what_the_server_or_the_login_lacks_is_named_with_what_mends_it(database, postgresql_server, again):
    database.execute(TABLE)
    with (
        postgresql_server.without_free_slot(),
        pytest.raises(DatabaseError, match=r"all \d+ replication slots are taken; nothing was captured"),
    ):
        database.install_capture("ch", {"items": ["id"]})
    with postgresql_server.without_replication():
        with pytest.raises(DatabaseError, match='ALTER ROLE "migrator" REPLICATION'):
            database.install_capture("ch", {"items": ["id"]})
        found = [problem for problem in database.privileges_missing("source") if "session_repl" not in problem.text]
    assert [problem.blocking for problem in found] == [True, False]
    assert "max_slot_wal_keep_size is unlimited" in found[1].text
    with pytest.raises(ConfigurationError, match="option capture is `slots`; expected triggers or wal"):
        again(capture="slots")


LOSSES = {
    "dropped": "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    " WHERE database = current_database()",
    "taken from": "SELECT pg_replication_slot_advance(slot_name, pg_current_wal_flush_lsn())"
    " FROM pg_replication_slots WHERE database = current_database()",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_capture_with_a_gap_is_never_taken_for_a_complete_one(items, loss, again):
    items.execute("INSERT INTO items VALUES (1)", "INSERT INTO items VALUES (2)")
    items.run_script(LOSSES[loss])
    with pytest.raises(TransferError, match=r"changes may not have been logged.*remove the capture, then copy again"):
        items.pending("ch")
    assert items.capture_installed("ch") == frozenset()
    with pytest.raises(TransferError, match="changes may not have been logged"):
        items.read_changes("ch", "items", 10)
    with pytest.raises(TransferError, match="changes may not have been logged"):
        again().install_capture("ch", {"items": ["id"]})
    items.remove_capture("ch")
    assert items.rows(SLOTS) == items.rows("SELECT pubname FROM pg_publication") == []


OF_ONE = {
    "without identity": (
        "ALTER TABLE items REPLICA IDENTITY NOTHING; INSERT INTO items VALUES (3)",
        "the replica identity of public.items does not hold its key (id)",
        "ALTER TABLE items REPLICA IDENTITY DEFAULT",
    ),
    "renamed": (
        "ALTER TABLE items RENAME TO elsewhere; INSERT INTO elsewhere VALUES (3)",
        "it was dropped or renamed",
        "ALTER TABLE elsewhere RENAME TO items",
    ),
    "dropped": (
        "DROP TABLE items",
        "it was dropped or renamed",
        f"{TABLE}; INSERT INTO items VALUES (1), (3)",
    ),
}


@pytest.mark.parametrize("gap", OF_ONE)
def test_a_gap_of_one_table_leaves_the_others_their_capture_and_ends_when_all_of_it_is_taken_in(items, gap):
    ddl, why, corrected = OF_ONE[gap]
    items.execute("CREATE TABLE other (id integer PRIMARY KEY)")
    both = {"items": ["id"], "other": ["id"]}
    items.install_capture("ch", both)
    items.execute("INSERT INTO items VALUES (1)")
    items.run_script(ddl)
    items.execute("INSERT INTO other VALUES (7)")
    assert changed(items, "other") == [(7,)]
    assert items.capture_gaps("ch") == {"items": why} and items.capture_installed("ch") == {"other"}
    with pytest.raises(TransferError, match=r"does not hold the key|was dropped or renamed|does not exist"):
        items.install_capture("ch", both)
    assert items.capture_installed("ch") == {"other"}
    items.run_script(corrected)
    items.install_capture("ch", both)
    assert items.capture_installed("ch") == {"items", "other"}
    assert set(changed(items)) == set(items.rows("SELECT id FROM items")) == {(1,), (3,)}
    items.execute("INSERT INTO items VALUES (4)")
    assert changed(items) == [(4,)] and items.capture_gaps("ch") == {}


def test_a_slot_that_the_server_gave_up_is_a_gap(items, postgresql_server):
    with configured(postgresql_server, max_slot_wal_keep_size="1MB"):
        for _ in range(3):
            items.execute("INSERT INTO items SELECT coalesce(max(id), 0) + 1 FROM items")
            postgresql_server.admin("SELECT pg_switch_wal()")
        postgresql_server.admin("CHECKPOINT")
    assert items.rows("SELECT wal_status FROM pg_replication_slots WHERE database = current_database()") == [("lost",)]
    with pytest.raises(TransferError, match="its replication slot is gone, or was invalidated by the server"):
        items.pending("ch")


@pytest.mark.parametrize("then", ["warn", "give_up"])
def test_a_log_kept_beyond_the_limit_is_told_or_given_up(items, connect, capsys, then, again):
    bounded = again(wal_limit_mb=1, wal_over_limit=then)
    holder = connect()
    holder.execute("INSERT INTO items VALUES (1)")
    items.execute(
        "CREATE TABLE heavy (v text)", "INSERT INTO heavy SELECT repeat('x', 1000) FROM generate_series(1, 2500)"
    )
    says = r"keeps \d MB of its log for it, 1 MB are allowed; the oldest transaction: pid \d+ of migrator"
    if then == "give_up":
        with pytest.raises(TransferError, match=says):
            bounded.pending("ch")
        assert items.rows(SLOTS) == []
        with pytest.raises(TransferError, match=says):
            items.pending("ch")
    else:
        bounded.pending("ch")
        bounded.pending("ch")
        assert capsys.readouterr().err.count("1 MB are allowed") == 1
        holder.commit()
        assert changed(items) == [(1,)]


def test_the_server_may_let_go_of_its_log_while_nobody_reads_the_capture(items):
    ends = []
    for first in (1, 5001):
        items.execute(
            f"INSERT INTO items SELECT i, repeat('x', 200) FROM generate_series({first}, {first + 4999}) AS i"
        )
        ends += items.rows("SELECT pg_current_wal_lsn()")
        items.memo.pop("kept up", None)  # it does nothing for some seconds
        items.keep_up()
    kept = f"SELECT confirmed_flush_lsn >= '{ends[0][0]}' FROM pg_replication_slots WHERE slot_name IN ({SLOTS})"
    assert items.rows(kept) == [(True,)]
    assert items.pending("ch")["items"].keys == 10_000


def test_two_processes_that_ask_at_once_miss_nothing(items, connect, again):
    writer, other, stop = connect(autocommit=True), again(), threading.Event()
    seen: dict[str, set] = {"one": set(), "other": set()}

    def read(name, database):
        while not stop.is_set():
            seen[name] |= set(database.read_changes("ch", "items", 100_000).keys)

    threads = [threading.Thread(target=read, args=pair) for pair in (("one", items), ("other", other))]
    for thread in threads:
        thread.start()
    for number in range(200):
        writer.execute("INSERT INTO items VALUES (%s)", (number,))
    assert {key for (key,) in other.read_changes("ch", "items", 100_000).keys} == set(range(200))
    stop.set()
    for thread in threads:
        thread.join()
    assert changed(items) == [(number,) for number in range(200)] and changed(other) == []


def test_a_clone_of_a_captured_database_is_not_taken_for_captured(items, postgresql_server):
    name = items.masked_url.rpartition("/")[2]
    items.close()
    postgresql_server.admin(f'CREATE DATABASE "{name}_clone" TEMPLATE "{name}" OWNER migrator')
    clone = open_database("clone", postgresql_server.url(f"{name}_clone"), postgresql_server.password)
    try:
        assert clone.capture_installed("ch") == frozenset()
        with pytest.raises(TransferError, match="slot is gone"):
            clone.pending("ch")
        clone.remove_capture("ch")
        assert items.capture_installed("ch") == {"items"}, "the original keeps its own"
    finally:
        postgresql_server.drop(clone)
