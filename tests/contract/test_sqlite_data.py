"""SQLite: ranges, copy, capture, apply, fence, checksums; values that do not keep their column's promise."""

from __future__ import annotations

import importlib.util
import sqlite3
import subprocess
import sys
import threading

import pytest
from estate_sqlite import (
    HOSTILE,
    HOSTILE_ROWS,
    TABLES,
    UNITS,
    application,
    copy_table,
    new_database,
    selection,
    stored,
)

from runbook_lib.databases import copy_text
from runbook_lib.databases.port import Applied, KeyRange, Selection
from runbook_lib.databases.sqlite import row_blocks
from runbook_lib.databases.sqlite.types import renderer
from runbook_lib.errors import CutoverAborted, DatabaseError, RowRejected, TransferError

WHOLE = KeyRange(0)
PEOPLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT UNIQUE, n INTEGER CHECK (n < 100))"
ITEMS = "CREATE TABLE items (id INTEGER PRIMARY KEY, v TEXT)"


@pytest.fixture(params=[False, True], ids=["rollback", "wal"])
def database(tmp_path, request):
    made = new_database(tmp_path, "source", wal=request.param)
    yield made
    made.close()


@pytest.fixture
def target(tmp_path):
    made = new_database(tmp_path, "target")
    yield made
    made.close()


def changed(database, table="items", channel="ch"):
    changes = database.read_changes(channel, table, 1000)
    database.forget_changes(channel, changes)
    return list(changes.keys)


def test_hostile_rows_come_out_of_a_copy_exactly_and_the_checksums_agree(database, target):
    for each in (database, target):
        each.run_script(HOSTILE)
    database.run_script(HOSTILE_ROWS)
    for table in TABLES:
        assert copy_table(database, target, table) == database.count(selection(database, table))
        assert stored(target, table) == stored(database, table)
        reading = selection(database, table)
        types = [c.type for c in target.catalog([table])[table].columns if not c.generated]
        cuts = database.ranges(reading, 90)
        for canonical in (True, False):
            sums = database.range_sums(reading, types, cuts, canonical=canonical)
            assert sums == target.range_sums(reading, types, cuts, canonical=canonical)
            assert sum(each.rows for each in sums) == database.count(reading)
    assert target.rows("SELECT count(*) FROM lines WHERE what = 'touched; twice'") == [(0,)]  # its trigger was silent
    assert len(target.catalog([UNITS])[UNITS].triggers) == 1  # and is still there


@pytest.mark.parametrize("table", TABLES)
def test_ranges_cover_every_row_once(database, table):
    database.run_script(HOSTILE)
    database.run_script(HOSTILE_ROWS)
    reading = selection(database, table)
    cuts = database.ranges(reading, 90)
    lines = [
        line for each in cuts for line in b"".join(database.copy_out(reading, each, binary=False)).split(b"\n")[:-1]
    ]
    assert len(lines) == database.count(reading) and len(cuts) > 3
    keys = database.row_sums(reading, ["x"] * len(reading.columns), WHOLE, canonical=False)
    assert sum(map(int, keys.values())) == len(lines) if not reading.key else len(keys) == len(lines)


def test_rows_that_share_a_key_share_a_range(database):
    database.execute("CREATE TABLE t (k TEXT NOT NULL)", "INSERT INTO t VALUES ('a'), ('a'), ('a'), ('b')")
    reading = Selection("t", ("k",), ("k",))
    cuts = database.ranges(reading, 1)
    lines = [b"".join(database.copy_out(reading, each, binary=False)) for each in cuts]
    assert lines == [b"a\na\na\n", b"b\n", b""]


def test_exact_decimals_are_cut_by_value_not_by_digits(database):
    database.execute("CREATE TABLE t (k DECIMAL TEXT(30,1) NOT NULL PRIMARY KEY)")
    database.execute("INSERT INTO t VALUES ('10.0'), ('9.0'), ('-3.0'), ('100.0')")
    cuts = database.ranges(selection(database, "t"), 1)
    assert [each.upto for each in cuts] == [("-3.0",), ("9.0",), ("10.0",), ("100.0",), None]
    assert database.count(selection(database, "t")) == 4


@pytest.mark.parametrize(
    ("declared", "value", "why"),
    [
        ("INTEGER", "'ten'", "not an integer"),
        ("BIGINT", "1.5", "not an integer"),
        ("TEXT", "x'ff'", "bytes where text"),
        ("TEXT", "CAST(x'ff' AS TEXT)", "no UTF-8"),
        ("DATE", "'2026-02-30'", "no such day"),
        ("DATE", "0", "not a date"),
        ("DATETIME", "'0000-00-00 00:00:00'", "no such day"),
        ("DATETIME", "'2026-01-01 00:00:00+01'", "a time zone where"),
        ("TIMESTAMPTZ", "'2026-01-01 00:00:00'", "no time zone where"),
        ("BOOLEAN", "2", "neither 0 nor 1"),
        ("BLOB", "'text'", "text where bytes"),
        ("UUID", "'xyz'", "not a UUID"),
        ("DECIMAL(5,2)", "'12,5'", "not a number"),
        ("DOUBLE", "'much'", "not a number"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_table_key_column_and_value(database, declared, value, why):
    database.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    database.execute(f"INSERT INTO t VALUES (1, NULL), (42, {value})")
    reading = selection(database, "t")
    with pytest.raises(RowRejected, match=rf'"t", key 42, column "v": .*{why}'):
        list(database.copy_out(reading, WHOLE, binary=False))
    with pytest.raises(RowRejected, match=why):
        database.range_sums(reading, ["bigint", "text"], [WHOLE], canonical=True)
    with pytest.raises(RowRejected, match=why):
        database.read_rows(reading, [(42,)])


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        ("DATETIME", "'2026-01-01T10:00:00.500Z'", None),
        ("DATETIME", "'2026-01-01T10:00:00.500'", "2026-01-01 10:00:00.5"),
        ("DATETIME", "'2026-01-01'", "2026-01-01 00:00:00"),
        ("TIMESTAMPTZ", "'2026-01-01T10:00:00+05:30'", "2026-01-01 04:30:00+00"),
        ("BOOLEAN", "'true'", "t"),
        ("UUID", "x'0123456789abcdef0123456789abcdef'", "01234567-89ab-cdef-0123-456789abcdef"),
        ("DECIMAL(10,2)", "1.5", "1.50"),
        ("DECIMAL(10,2)", "2", "2.00"),
        ("REAL", "1e15", "1e+15"),
        ("REAL", "1e-7", "1e-07"),
        ("REAL", "9e999", "Infinity"),
        ("FLOAT4", "0.10000000149011612", "0.1"),
        ("INTEGER", "3", "3"),
        ("", "1.5", "1.5"),
    ],
)
def test_values_are_rendered_as_postgresql_prints_them(database, declared, value, text):
    database.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})", f"INSERT INTO t VALUES (1, {value})")
    if text is None:
        with pytest.raises(RowRejected, match="time zone"):
            list(database.copy_out(selection(database, "t"), WHOLE, binary=False))
        return
    assert b"".join(database.copy_out(selection(database, "t"), WHOLE, binary=False)).decode() == f"1\t{text}\n"
    assert str(database.read_rows(selection(database, "t"), [(1,)])[0][1]) == text


KEYED = {
    "dense": "(k INTEGER PRIMARY KEY, n DECIMAL(8,2), t TEXT, d DATETIME)",
    "paired": "(k INTEGER NOT NULL, l INTEGER NOT NULL, n DECIMAL(8,2), t TEXT, d DATETIME, PRIMARY KEY (k, l))",
    "worded": "(k TEXT PRIMARY KEY, n DECIMAL(8,2), t TEXT, d DATETIME)",
    "mixed": "(k NOT NULL PRIMARY KEY, n DECIMAL(8,2), t TEXT, d DATETIME)",
    "keyless": "(n DECIMAL(8,2), t TEXT, d DATETIME)",
    "unsearched": "(k INTEGER NOT NULL, n DECIMAL(8,2), t TEXT, d DATETIME)",
}
HOSTILE_TEXTS = ("", "\\N", "\\", "tab\tnl\ncr\r", "nul\0behind", None, "x" * 3_000, "ünïcödé 👩‍👩‍👧", "\x1f\x0b\x0c")
HOSTILE_NUMBERS = (0, -0.0, 1.5, 12.34, -0.01, 1e15, 99999999999999.99, 0.1 + 0.2, None, 7, -3, 1e-7)


@pytest.mark.parametrize("table", KEYED)
@pytest.mark.parametrize(("step_rows", "step_bytes"), [(1_000, 2**24), (7, 2_000)])
def test_lines_joined_by_sqlite_are_those_rendered_value_by_value(database, table, step_rows, step_bytes, monkeypatch):
    monkeypatch.setattr(row_blocks, "STEP_ROWS", step_rows)
    monkeypatch.setattr(row_blocks, "STEP_BYTES", step_bytes)
    keys = [-(2**40), *range(-5, 5), *range(100, 160), 2**62]
    shown = {"paired": lambda k: (k // 3, k % 3), "keyless": lambda k: (), "worded": lambda k: (f"{k}é",)}
    shown["mixed"] = lambda k: (k if k % 2 else f"{k}",)
    rows = [
        (*shown.get(table, lambda k: (k,))(k), HOSTILE_NUMBERS[i % 12], HOSTILE_TEXTS[i % 9], "2024-02-29 12:00:00")
        for i, k in enumerate(keys)
    ]
    database.execute(f"CREATE TABLE {table} {KEYED[table]}")
    with database.writing("filling") as driver:
        driver.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    columns = [column.name for column in database.catalog([table])[table].columns]
    kinds = [column.type for column in database.catalog([table])[table].columns]
    key = {"keyless": (), "paired": ("k", "l")}.get(table, ("k",))
    for where in ("", "t IS NOT NULL OR n > 1"):
        reading = Selection(table, key, tuple(columns), where)
        kept = database.rows(f"SELECT {', '.join(columns)} FROM {table} WHERE {where or 1}")
        wanted = sorted(repr(tuple(renderer(kind)(v) for v, kind in zip(row, kinds, strict=True))) for row in kept)
        for rows_per_range in (1_000, 20):
            ranges = [KeyRange(0)] if table == "mixed" else database.ranges(reading, rows_per_range)
            found = b"".join(b"".join(database.copy_out(reading, each, binary=False)) for each in ranges)
            assert sorted(map(repr, map(tuple, copy_text.decode([found])))) == wanted


@pytest.mark.parametrize(
    ("declared", "text", "why"),
    [
        ("BIGINT", "18446744073709551615", "64 bits"),
        ("REAL", "NaN", "NaN as NULL"),
        ("DECIMAL(30,10)", "12345678901234567890.1", "15 digits"),
        ("DECIMAL(10,2)", "NaN", "no such number"),
        ("BOOLEAN", "2", "neither true nor false"),
        ("INTEGER", "1.5", "not an integer"),
        ("DATE", "007", "affinity"),
    ],
)
def test_a_value_that_sqlite_cannot_hold_is_refused_and_named(target, declared, text, why):
    target.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    with pytest.raises(RowRejected, match=rf"target.t, row with id = '7', column v: '{text}': .*{why}"):
        target.copy_in("t", ["id", "v"], iter([b"6\t\\N\n7\t" + text.encode() + b"\n"]), binary=False)
    assert target.rows("SELECT count(*) FROM t") == [(0,)]


def test_a_constraint_declared_to_replace_does_not_lose_a_row(target):
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE ON CONFLICT REPLACE)")
    with pytest.raises(RowRejected, match="UNIQUE constraint failed"):
        target.copy_in("t", ["id", "v"], iter([b"1\tx\n2\tx\n"]), binary=False)
    assert target.rows("SELECT count(*) FROM t") == [(0,)]


def test_progress_is_written_with_the_rows_or_neither(target):
    target.execute(ITEMS, "CREATE TABLE p (done INTEGER)", "INSERT INTO p VALUES (NULL)")
    mark = [("UPDATE p SET done = :rows WHERE done IS NULL AND :x = 'x'", {"x": "x"})]
    assert target.copy_in("items", ["id", "v"], iter([b"1\ta\n2\t", b"b\n"]), binary=False, progress=mark) == 2
    with pytest.raises(TransferError, match="somebody else"):
        target.copy_in("items", ["id", "v"], iter([b"3\tc\n"]), binary=False, progress=mark)
    assert target.rows("SELECT (SELECT done FROM p), count(*) FROM items") == [(2, 2)]


def test_changes_of_every_kind_are_logged(database):
    database.execute(ITEMS, "INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    database.install_capture("ch", {"items": ["id"]})
    assert database.capture_installed("ch") == {"items"}
    with application(database) as app:
        app.execute("INSERT INTO items VALUES (3, 'c')")
        assert changed(database) == [(3,)]
        app.execute("UPDATE items SET id = 20 WHERE id = 2")
        assert sorted(changed(database)) == [(2,), (20,)]
        app.execute("INSERT INTO items VALUES (1, 'z') ON CONFLICT (id) DO UPDATE SET v = excluded.v")
        assert changed(database) == [(1,)]
        app.execute("DELETE FROM items")
        assert sorted(changed(database)) == [(1,), (3,), (20,)]
    assert database.pending("ch")["items"].keys == 0


def test_a_row_that_a_replace_pushes_out_is_logged_too(database):
    database.execute(PEOPLE, "INSERT INTO people VALUES (1, 'a', 1), (2, 'b', 2)")
    database.install_capture("ch", {"people": ["id"]})
    with application(database) as app:
        app.execute("INSERT OR REPLACE INTO people VALUES (3, 'a', 3)")
        assert sorted(changed(database, "people")) == [(1,), (3,)]
        app.execute("UPDATE OR REPLACE people SET email = 'b' WHERE id = 3")
        assert (2,) in changed(database, "people")
        assert app.execute("SELECT id FROM people").fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("index", "statement"),
    [
        ("t (mail COLLATE NOCASE)", "INSERT OR REPLACE INTO t VALUES (9, 'ANN', 9, 'x')"),
        ("t (mail COLLATE RTRIM)", "INSERT OR REPLACE INTO t VALUES (9, 'ann  ', 9, 'x')"),
        ("t (mail COLLATE NOCASE, a)", "REPLACE INTO t VALUES (9, 'aNn', 1, 'x')"),
        ("t (kind) WHERE (kind <> 'many')", "INSERT OR REPLACE INTO t VALUES (9, 'x', 9, 'one')"),
        ("t (mail COLLATE NOCASE)", "UPDATE OR REPLACE t SET mail = 'ANN' WHERE id = 2"),
        ("t (low)", "UPDATE OR REPLACE t SET mail = 'Ann' WHERE id = 2"),
        (
            "t (mail COLLATE NOCASE)",
            "INSERT INTO t VALUES (2, 'ANN', 2, '') ON CONFLICT (id) DO UPDATE SET mail = 'q'",
        ),
        ("t (mail COLLATE NOCASE)", "INSERT OR REPLACE INTO twice VALUES ('ANN')"),
    ],
)
def test_whatever_a_replace_removes_by_a_unique_index_is_logged(database, index, statement):
    database.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, mail TEXT, a INT, kind TEXT, low TEXT AS (lower(mail)))",
        "INSERT INTO t VALUES (1, 'ann', 1, 'one'), (2, 'bob', 2, 'many'), (3, 'cy', 3, 'many')",
        f"CREATE UNIQUE INDEX u ON {index}",
        "CREATE TABLE twice (mail TEXT)",
        "CREATE TRIGGER more AFTER INSERT ON twice BEGIN INSERT OR REPLACE INTO t VALUES (8, NEW.mail, 8, 'x'); END",
    )
    before = set(database.rows("SELECT * FROM t"))
    database.install_capture("c", {"t": ("id",)})
    database.execute(statement)
    changed = {row[0] for row in before ^ set(database.rows("SELECT * FROM t"))}
    assert changed and changed <= {key for (key,) in database.read_changes("c", "t", 100).keys}


def test_a_replace_by_the_rowid_is_logged_where_the_key_is_another(database):
    database.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE)", "INSERT INTO t VALUES (1, 'a')"
    )
    database.install_capture("c", {"t": ("code",)})
    database.execute("REPLACE INTO t VALUES (1, 'b')")
    assert set(database.read_changes("c", "t", 100).keys) == {("a",), ("b",)}


def test_cascades_are_logged(database):
    database.execute(
        PEOPLE, "CREATE TABLE pets (id INTEGER PRIMARY KEY, o INTEGER REFERENCES people ON DELETE CASCADE)"
    )
    database.execute("INSERT INTO people VALUES (1, 'a', 1)", "INSERT INTO pets VALUES (5, 1)")
    database.install_capture("ch", {"people": ["id"], "pets": ["id"]})
    with application(database) as app:
        app.execute("DELETE FROM people")
    assert changed(database, "pets") == [(5,)]


def test_reading_consumes_nothing_and_forgetting_only_what_was_read(database):
    database.execute(ITEMS)
    database.install_capture("ch", {"items": ["id"]})
    database.execute(*(f"INSERT INTO items (id) VALUES ({i})" for i in range(1, 11)))
    first = database.read_changes("ch", "items", 4)
    assert first.keys == ((1,), (2,), (3,), (4,)) == database.read_changes("ch", "items", 4).keys
    database.forget_changes("ch", first)
    pending = database.pending("ch")["items"]
    assert pending.keys == 6 and 0 <= pending.oldest_s < 60


def test_a_key_that_is_written_in_another_form_is_refused_rather_than_lost(database):
    database.execute("CREATE TABLE t (k DATETIME NOT NULL PRIMARY KEY)")
    database.install_capture("ch", {"t": ["k"]})
    database.execute("INSERT INTO t VALUES ('2026-01-01T00:00:00')")
    with pytest.raises(RowRejected, match="not in the form 2026-01-01 00:00:00"):
        database.read_changes("ch", "t", 10)


def test_installing_again_keeps_the_log_refuses_other_keys_and_marks_missing_triggers(database):
    database.execute(ITEMS)
    for i in range(2):
        database.install_capture("ch", {"items": ["id"]})
        database.execute(f"INSERT INTO items (id) VALUES ({i})")
    assert changed(database) == [(0,), (1,)]
    with pytest.raises(TransferError, match="logs the key"):
        database.install_capture("ch", {"items": ["v"]})
    [(trigger,)] = database.rows("SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%AFTER DELETE%'")
    database.execute(f"DROP TRIGGER {trigger}")
    assert database.capture_installed("ch") == frozenset()
    database.execute("DELETE FROM items")
    database.install_capture("ch", {"items": ["id"]})
    changes = database.read_changes("ch", "items", 10)
    assert changes.truncated and changes.keys == () and database.capture_installed("ch") == {"items"}


def test_removing_leaves_nothing_and_channels_are_apart(database):
    database.execute(ITEMS)
    database.install_capture("a", {"items": ["id"]})
    database.install_capture("a_b", {"items": ["id", "v"]})
    database.execute("INSERT INTO items VALUES (1, 'x')")
    for _ in range(2):
        database.remove_capture("a")
    assert database.capture_installed("a") == frozenset() and database.pending("a") == {}
    assert changed(database, channel="a_b") == [(1, "x")]
    database.remove_capture("a_b")
    assert database.rows("SELECT name FROM sqlite_master WHERE type = 'trigger' OR name LIKE 'runbook_log%'") == []
    with pytest.raises(TransferError, match="not installed"):
        database.read_changes("a", "items", 1)


def sync(source, target, table, key, columns, keys):
    reading = Selection(source.quote(table), tuple(map(source.quote, key)), tuple(map(source.quote, columns)))
    return target.apply_rows(table, key, columns, keys, source.read_rows(reading, keys))


def test_rows_are_inserted_updated_and_deleted_and_the_sync_is_not_logged(database, target):
    for each in (database, target):
        each.execute(PEOPLE)
    target.install_capture("back", {"people": ["id"]})
    database.execute("INSERT INTO people VALUES (1, 'a', 1), (2, 'b', 2)")
    target.execute("INSERT INTO people VALUES (2, 'old', 0), (3, 'gone', 0), (4, 'not asked for', 0)")
    changed(target, "people", "back")
    done = sync(database, target, "people", ["id"], ["id", "email", "n"], [(1,), (2,), (3,), (9,)])
    assert done == Applied(2, 1)
    assert target.rows("SELECT * FROM people ORDER BY id") == [(1, "a", 1), (2, "b", 2), (4, "not asked for", 0)]
    assert changed(target, "people", "back") == []
    target.execute("UPDATE people SET n = 5 WHERE id = 1")
    assert changed(target, "people", "back") == [(1,)]


def test_hostile_rows_survive_an_apply_exactly(database, target):
    for each in (database, target):
        each.run_script(HOSTILE)
    database.run_script(HOSTILE_ROWS)
    columns = [c.name for c in database.catalog([UNITS])[UNITS].columns if not c.generated]
    keys = [(i,) for (i,) in database.rows(f"SELECT id FROM {database.quote(UNITS)}")]
    for _ in range(2):  # replaying is harmless
        assert sync(database, target, UNITS, ["id"], columns, keys) == Applied(len(keys), 0)
    assert stored(target, UNITS) == stored(database, UNITS)


def test_unique_values_swapped_between_rows_are_applied_in_a_second_pass(database, target):
    for each in (database, target):
        each.execute(PEOPLE, "INSERT INTO people VALUES (1, 'a', 1), (2, 'b', 2)")
    target.execute("ALTER TABLE people ADD extra TEXT DEFAULT 'none'", "UPDATE people SET extra = 'kept ' || id")
    database.execute(
        "UPDATE people SET email = 'x' WHERE id = 1",
        "UPDATE people SET email = 'a' WHERE id = 2",
        "UPDATE people SET email = 'b' WHERE id = 1",
        "INSERT INTO people VALUES (3, 'c', 3)",
    )
    assert sync(database, target, "people", ["id"], ["id", "email", "n"], [(1,), (2,), (3,)]) == Applied(3, 0)
    assert target.rows("SELECT * FROM people") == [(1, "b", 1, "kept 1"), (2, "a", 2, "kept 2"), (3, "c", 3, "none")]


def test_conflicts_outside_the_batch_and_refused_values_are_named_and_change_nothing(target):
    target.execute(PEOPLE, "INSERT INTO people VALUES (1, 'a', 1)")
    with pytest.raises(RowRejected, match=r"unique \(email\) = \('a'\).*the key \(id\) \(1,\)") as caught:
        target.apply_rows("people", ["id"], ["id", "email", "n"], [(2,)], [(2, "a", 0)])
    assert caught.value.keys == ((1,),)
    for n, name in ((100, "CHECK constraint failed"), ("many", "column n: 'many'")):
        with pytest.raises(RowRejected, match=name):
            target.apply_rows("people", ["id"], ["id", "email", "n"], [(1,), (2,)], [(2, "b", n)])
    with pytest.raises(TransferError, match="no unique index"):
        target.apply_rows("people", ["n"], ["n", "email"], [(1,)], [])
    assert target.rows("SELECT * FROM people") == [(1, "a", 1)]


FENCED = ["people", "items"]


@pytest.fixture
def fenced(database):
    database.execute(PEOPLE, ITEMS, "INSERT INTO people VALUES (1, 'a', 1)", "INSERT INTO items VALUES (1, 'x')")
    database.prepare_fence(FENCED)
    return database


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO items VALUES (2, 'y')",
        "INSERT OR IGNORE INTO items VALUES (2, 'y')",
        "INSERT OR REPLACE INTO items VALUES (1, 'y')",
        "UPDATE items SET v = 'y'",
        "DELETE FROM items",
    ],
)
def test_writers_are_turned_away_while_the_fence_is_up_and_let_in_afterwards(fenced, statement):
    with application(fenced) as app:
        fenced.raise_fence(FENCED, timeout_s=5)
        assert fenced.fenced(FENCED) == set(FENCED)
        with pytest.raises(sqlite3.IntegrityError, match="RB001: items: writes are fenced"):
            app.execute(statement)
        assert app.execute("SELECT v FROM items").fetchall() == [("x",)]
        fenced.lower_fence(FENCED)
        app.execute(statement)
    assert fenced.fenced(FENCED) == frozenset()


def test_the_sync_writes_through_the_fence(fenced):
    fenced.raise_fence(FENCED, timeout_s=5)
    assert fenced.apply_rows("items", ["id"], ["id", "v"], [(1,), (2,)], [(2, "new")]) == Applied(1, 1)
    assert fenced.copy_in("items", ["id", "v"], iter([b"3\tz\n"]), binary=False) == 1
    with application(fenced) as app, pytest.raises(sqlite3.IntegrityError, match="fenced"):
        app.execute("DELETE FROM items")


def test_a_writer_in_flight_is_waited_for_and_its_write_counts(fenced):
    found: list[float] = []
    with application(fenced) as app:
        app.execute("BEGIN IMMEDIATE")
        app.execute("UPDATE items SET v = 'late'")
        raising = threading.Thread(target=lambda: found.append(fenced.raise_fence(FENCED, timeout_s=10)))
        raising.start()
        raising.join(0.3)
        assert raising.is_alive()
        app.execute("COMMIT")
        raising.join(10)
    assert found[0] >= 0.25 and fenced.rows("SELECT v FROM items") == [("late",)]


def test_a_timeout_aborts_and_leaves_the_fence_lowered(fenced):
    with application(fenced) as app:
        app.execute("BEGIN IMMEDIATE")
        with pytest.raises(CutoverAborted, match=r"not granted within 0.*writes continue"):
            fenced.raise_fence(FENCED, timeout_s=0.2)
        app.execute("ROLLBACK")
        assert fenced.fenced(FENCED) == frozenset()
        app.execute("UPDATE items SET v = 'y'")


def test_fences_may_be_repeated_removed_and_must_be_prepared(database):
    database.execute(PEOPLE, ITEMS)
    for _ in range(2):
        database.lower_fence(FENCED)
        database.remove_fence()
    database.prepare_fence(["people"])
    with pytest.raises(DatabaseError, match=r"items.*not installed; nothing was fenced"):
        database.raise_fence(FENCED, timeout_s=1)
    database.prepare_fence(FENCED)
    database.raise_fence(FENCED, timeout_s=1)
    database.remove_fence()
    database.execute("INSERT INTO items VALUES (1, 'x')")
    assert database.fenced(FENCED) == frozenset()


def test_each_kind_of_difference_moves_the_checksum(database):
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, n DECIMAL(9,2))")
    database.execute("INSERT INTO t VALUES (1, 'ab', 'c', 1.5), (2, 'x', NULL, 2)")
    reading, types = selection(database, "t"), ["bigint", "text", "text", "numeric(9,2)"]
    for canonical in (True, False):
        seen = {database.range_sums(reading, types, [WHOLE], canonical=canonical)[0]}
        changes = [
            "a = 'a', b = 'bc' WHERE id = 1",
            "b = '' WHERE id = 2",
            "n = 1.51 WHERE id = 1",
            "a = 'X' WHERE id = 2",
        ]
        for change in changes:
            database.execute(f"UPDATE t SET {change}")
            seen.add(database.range_sums(reading, types, [WHOLE], canonical=canonical)[0])
        assert len(seen) == 5
        database.execute("DELETE FROM t", "INSERT INTO t VALUES (1, 'ab', 'c', 1.5), (2, 'x', NULL, 2)")


def test_the_canonical_hash_is_the_reference(database):
    from runbook_lib.databases.canonical import digest_of, row_hash

    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, n DECIMAL(9,2), f REAL, b BLOB, j JSON TEXT)")
    database.execute("""INSERT INTO t VALUES (1, 'é', 1.5, -0.0, x'00', '{"b": 1.50, "a": [1]}')""")
    types = ["bigint", "text", "numeric(9,2)", "double precision", "bytea", "jsonb"]
    reference = row_hash([1, "é", "1.50", 0.0, b"\0", '{"a": [1], "b": 1.5}'], types)
    [found] = database.range_sums(selection(database, "t"), types, [WHOLE], canonical=True)
    assert found.digest == digest_of([reference])
    assert database.row_sums(selection(database, "t"), types, WHOLE, canonical=True) == {(1,): reference}
    sql = "SELECT runbook_canonical(n, 'numeric(9,2)', 'numeric(9,2)') FROM t"
    assert database.rows(sql) == [("n1.5;",)]


USED = """
import ctypes, importlib.util, sys
{first}
from runbook_lib.config.database_url import open_endpoint
rows = open_endpoint(sys.argv[1], "source").rows("SELECT count(*) FROM items")
library = ctypes.CDLL(importlib.util.find_spec("_sqlite3").origin)
library.sqlite3_memory_used.restype = ctypes.c_int64
print(rows[0][0], library.sqlite3_memory_used() > 0)
"""


@pytest.mark.parametrize(("first", "counted"), [("", False), ("import sqlite3", True)], ids=["first", "too late"])
def test_sqlite_does_not_count_its_memory_where_nobody_has_used_it_yet_and_works_where_somebody_has(
    tmp_path, first, counted
):
    """Counting is one lock for all threads: side by side they read slower than one after the other."""
    if importlib.util.find_spec("_sqlite3").origin == "built-in":
        pytest.skip("SQLite is built into this Python")
    file = tmp_path / "shop.db"
    sqlite3.connect(file).executescript(ITEMS + "; INSERT INTO items (v) VALUES ('a'), ('b')").connection.close()
    ran = subprocess.run(
        [sys.executable, "-c", USED.format(first=first), file], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["2", str(counted)]


def test_a_capture_whose_log_is_gone_is_withdrawn(target):
    target.run_script(ITEMS)
    target.install_capture("ch", {"items": ("id",)})
    [(log,)] = target.rows("SELECT log FROM runbook_captures")
    target.execute(f"DROP TABLE {log}")
    target.keep_up()
    target.execute("INSERT INTO items VALUES (1, 'written')")
    assert target.capture_gaps("ch") == {"items": "it was replaced, or a trigger of its capture is missing"}
    assert target.pending("ch") == {}
