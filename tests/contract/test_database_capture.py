"""Capture: every change of a row logs its key, in whatever way it was made, and nothing is lost or looped."""

from __future__ import annotations

import threading

import psycopg
import pytest

from runbook_lib.errors import DatabaseError, TransferError


@pytest.fixture(params=["triggers", "wal"])
def database(request, new_database):
    """A database captured in each of the two ways."""
    return new_database("source", capture=request.param)


TABLE = "CREATE TABLE items (id integer PRIMARY KEY, v text)"


def changed(database, table="items", channel="ch"):
    changes = database.read_changes(channel, table, 1000)
    database.forget_changes(channel, changes)
    return list(changes.keys)


def tamper(database, table, member, channel="ch"):
    """Let somebody switch the capture of a table off."""
    if database.capture == "triggers":
        database.execute(f"ALTER TABLE {member} DISABLE TRIGGER USER")
    else:
        [(publication,)] = database.rows("SELECT pubname FROM pg_publication")
        database.execute(f"ALTER PUBLICATION {database.quote(publication)} DROP TABLE {table}")


def test_insert_update_delete_and_a_changed_key_are_logged(database):
    database.execute(TABLE, "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    database.install_capture("ch", {"items": ["id"]})
    assert database.capture_installed("ch") == {"items"}
    database.execute("INSERT INTO items VALUES (3, 'c')")
    assert changed(database) == [(3,)]
    database.execute("UPDATE items SET v = 'x' WHERE id = 1")
    assert changed(database) == [(1,)]
    database.execute("UPDATE items SET id = 20 WHERE id = 2")
    assert sorted(changed(database)) == [(2,), (20,)]
    database.execute("DELETE FROM items WHERE id = 3")
    assert changed(database) == [(3,)]
    assert database.pending("ch")["items"].keys == 0


def test_reading_consumes_nothing_and_forgetting_only_what_was_read(database):
    database.execute(TABLE)
    database.install_capture("ch", {"items": ["id"]})
    database.execute("INSERT INTO items SELECT i FROM generate_series(1, 10) AS i")
    first = database.read_changes("ch", "items", 4)
    assert first.keys == ((1,), (2,), (3,), (4,)) == database.read_changes("ch", "items", 4).keys
    database.forget_changes("ch", first)
    database.forget_changes("ch", first)
    pending = database.pending("ch")["items"]
    assert pending.keys == 6 and 0 <= pending.oldest_s < 60
    assert database.read_changes("ch", "items", 100).keys[0] == (5,)


def test_a_change_that_commits_late_is_not_skipped(database, server):
    database.execute(TABLE, "INSERT INTO items VALUES (1), (2)")
    database.install_capture("ch", {"items": ["id"]})
    with database.raw() as late:
        late.execute("UPDATE items SET v = 'late' WHERE id = 1")
        database.execute("UPDATE items SET v = 'soon' WHERE id = 2")
        assert changed(database) == [(2,)]
    assert changed(database) == [(1,)]


def test_truncate_is_a_marker(database):
    database.execute(TABLE)
    database.install_capture("ch", {"items": ["id"]})
    database.execute("INSERT INTO items VALUES (1)", "TRUNCATE items")
    changes = database.read_changes("ch", "items", 10)
    assert changes.truncated and changes.keys == ((1,),) and len(changes.seqs) == 2


def test_keys_of_any_type_come_back_exactly(database):
    database.execute(
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "CREATE DOMAIN code AS varchar(20) CHECK (value <> '')",
        'CREATE TABLE "Ünï ""x"" %s" (d date, "Num %" numeric, m mood, c code, b bytea, r int[], '
        'PRIMARY KEY (d, "Num %", m, c, b, r))',
    )
    name = '"Ünï ""x"" %s"'
    database.install_capture("ch", {name: ["d", "Num %", "m", "c", "b", "r"]})
    database.execute(
        f"INSERT INTO {name} VALUES ('infinity', 'NaN', 'sad', 'Q''ß ', '\\x00ff', '{{1,NULL}}'), "
        "('0044-03-15 BC', 1.50, 'glad', 'x', '', '{}')"
    )
    assert changed(database, name) == [
        ("infinity", "NaN", "sad", "Q'ß ", "\\x00ff", "{1,NULL}"),
        ("0044-03-15 BC", "1.50", "glad", "x", "\\x", "{}"),
    ]


def test_partitions_log_direct_writes_row_movement_and_truncation(database):
    database.execute(
        "CREATE TABLE parts (id integer, region text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
        "CREATE TABLE parts_n PARTITION OF parts FOR VALUES IN ('n')",
        "CREATE TABLE parts_s PARTITION OF parts FOR VALUES IN ('s')",
    )
    database.install_capture("ch", {"parts": ["id", "region"]})
    assert database.capture_installed("ch") == {"parts"}
    database.execute("INSERT INTO parts_n VALUES (1, 'n')")
    assert changed(database, "parts") == [(1, "n")]
    database.execute("UPDATE parts SET region = 's' WHERE id = 1")
    assert sorted(changed(database, "parts")) == [(1, "n"), (1, "s")]
    database.execute("TRUNCATE parts_s")
    assert database.read_changes("ch", "parts", 10).truncated
    tamper(database, "parts", "parts_s")
    assert database.capture_installed("ch") == frozenset()


def test_partitions_made_or_attached_since_are_taken_in_with_what_happened_before(database):
    if database.capture == "wal":
        return  # the log itself has the new partition's changes
    database.execute(
        "CREATE TABLE m (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10)",
    )
    database.install_capture("c", {"m": ("id", "at")})
    database.execute(
        "CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20)",
        "CREATE TABLE m3 (id int NOT NULL, at int NOT NULL)",
        "INSERT INTO m3 VALUES (7, 25)",
        "ALTER TABLE m ATTACH PARTITION m3 FOR VALUES FROM (20) TO (30)",
    )
    assert database.capture_installed("c") == frozenset()
    database.install_capture("c", {"m": ("id", "at")})
    assert database.capture_installed("c") == {"m"}
    changes = database.read_changes("c", "m", 100)
    assert changes.truncated and changes.keys == ((7, 25),)
    database.forget_changes("c", changes)
    database.install_capture("c", {"m": ("id", "at")})
    assert not database.read_changes("c", "m", 100).seqs
    database.execute("TRUNCATE m3")
    assert database.read_changes("c", "m", 100).truncated


def test_the_sync_itself_is_not_logged(database):
    database.execute(TABLE)
    database.install_capture("ch", {"items": ["id"]})
    database.apply_rows("items", ["id"], ["id", "v"], [(1,)], [(1, "a")])
    assert changed(database) == []
    assert database.rows("SELECT * FROM items") == [(1, "a")]


def test_an_application_without_rights_on_the_log_may_write(database, server):
    database.execute(TABLE, "GRANT INSERT, UPDATE, DELETE, SELECT ON items TO app")
    database.install_capture("ch", {"items": ["id"]})
    place = server.url(database.masked_url.rpartition("/")[2], "app")
    with psycopg.connect(place, password="app") as app:
        app.execute("SET search_path = pg_temp")
        app.execute("INSERT INTO public.items VALUES (7)")
        app.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("SELECT * FROM runbook.captures")
    assert changed(database) == [(7,)]


def test_two_channels_log_the_same_table_apart(database):
    database.execute(TABLE, "ALTER TABLE items REPLICA IDENTITY FULL")  # v, which is logged too, is no key
    database.install_capture("a_b", {"items": ["id"]})
    database.install_capture("a", {"items": ["id", "v"]})
    database.execute("INSERT INTO items VALUES (1, 'x')")
    assert changed(database, channel="a") == [(1, "x")]
    database.remove_capture("a")
    assert changed(database, channel="a_b") == [(1,)]


def test_installing_again_keeps_the_log_and_other_keys_are_refused(database):
    database.execute(TABLE)
    for _ in range(2):
        database.install_capture("ch", {"items": ["id"]})
        database.execute("INSERT INTO items SELECT count(*) FROM items")
    assert changed(database) == [(0,), (1,)]
    with pytest.raises(TransferError, match="logs the key"):
        database.install_capture("ch", {"items": ["v"]})


def test_a_capture_that_somebody_switched_off_is_healed_by_taking_all_of_the_table_in(database):
    database.execute(TABLE, "INSERT INTO items VALUES (1), (2)")
    database.install_capture("ch", {"items": ["id"]})
    tamper(database, "items", "items")
    database.execute("INSERT INTO items VALUES (3)", "DELETE FROM items WHERE id = 1")
    assert database.capture_gaps("ch").keys() == {"items"}
    for _ in range(2):
        database.install_capture("ch", {"items": ["id"]})
        found = database.read_changes("ch", "items", 10)
        assert (found.truncated, sorted(found.keys), database.capture_gaps("ch")) == (True, [(2,), (3,)], {})
    database.forget_changes("ch", found)
    database.execute("INSERT INTO items VALUES (4)")
    assert changed(database) == [(4,)]


def test_what_a_capture_makes_is_none_of_the_databases_objects(database):
    database.execute("CREATE TABLE m (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    before = database.inventory().objects
    database.install_capture("ch", {"m": ["id"]})
    assert database.inventory().objects == before


def test_removing_leaves_nothing_and_may_be_repeated(database):
    database.execute(TABLE)
    database.install_capture("ch", {"items": ["id"]})
    for _ in range(2):
        database.remove_capture("ch")
    assert database.capture_installed("ch") == frozenset() and database.pending("ch") == {}
    assert database.rows("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == []
    assert database.rows("SELECT relname FROM pg_class WHERE relname LIKE 'log%'") == []
    with pytest.raises(TransferError, match="not installed"):
        database.read_changes("ch", "items", 1)


def test_a_missing_table_is_one_clear_line(database):
    with pytest.raises(DatabaseError, match="table nowhere: does not exist"):
        database.install_capture("ch", {"nowhere": ["id"]})


def test_installing_waits_for_an_older_writer_and_names_it_when_it_does_not_end(database, new_database):
    impatient = type(database)(database.name, database.login, {"lock_wait_s": 0.3, "capture": database.capture})
    database.execute(TABLE, "CREATE TABLE elsewhere (id integer)")
    with database.raw() as writer:
        writer.execute("INSERT INTO elsewhere VALUES (1)")
        with pytest.raises(DatabaseError, match=rf"pid {writer.info.backend_pid} of migrator"):
            impatient.install_capture("ch", {"items": ["id"]})
        waiting = threading.Thread(target=database.install_capture, args=("ch", {"items": ["id"]}))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(10)
    impatient.close()
    assert not waiting.is_alive()
