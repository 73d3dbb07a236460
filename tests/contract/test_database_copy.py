"""Ranges and bulk copy: every value arrives exactly, every row once, or nothing at all."""

from __future__ import annotations

import threading
from contextlib import suppress
from itertools import pairwise

import pytest
from contract_estate import TABLES, contents, copy_table, covered, selection

from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.postgresql import open_database
from runbook_lib.databases.postgresql.ranges import condition
from runbook_lib.errors import DatabaseError, KeyNotAdvancing, RowRejected, TransferError

UNITS = TABLES[0]


@pytest.fixture
def prepared(hostile, target):
    """The target with the tables of the source, without rows."""
    before, after = hostile.dump_schema(TABLES)
    target.run_script(before)
    target.run_script(after)
    return target


@pytest.mark.parametrize("table", TABLES)
def test_every_row_arrives_exactly(hostile, prepared, table):
    rows = copy_table(hostile, prepared, table)
    assert contents(prepared, table) == contents(hostile, table)
    assert rows == len(contents(hostile, table))


@pytest.mark.parametrize("table", ["lines", "parted", "keyless", "plain_default", "bound"])
@pytest.mark.parametrize("binary", [True, False])
def test_both_formats_are_exact(hostile, prepared, table, binary):
    copy_table(hostile, prepared, table, binary=binary)
    assert contents(prepared, table) == contents(hostile, table)


def test_types_that_carry_oids_are_not_binary_safe(hostile):
    safe = [
        "bigint",
        "character varying(40)",
        "numeric(12,4)",
        "mood",
        "positive",
        "integer[]",
        "int4range",
        "span",
        "jsonb",
    ]
    assert hostile.binary_safe(safe)
    for kind in ("mood[]", "place", "place[]", "regclass", "no_such_type"):
        assert not hostile.binary_safe(["bigint", kind]), kind


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("rows_per_range", [1_000_000, 100, 7])
def test_ranges_hold_every_row_once(hostile, table, rows_per_range):
    reading = selection(hostile, table)
    ranges = hostile.ranges(reading, rows_per_range)
    assert covered(hostile, reading, ranges) == hostile.rows(f"SELECT count(*) FROM {reading.relation}")[0][0]
    assert ranges[0].after is None
    assert ranges[-1].upto is None
    assert [r.ordinal for r in ranges] == list(range(len(ranges)))
    assert all(a.upto == b.after for a, b in pairwise(ranges))


def test_an_empty_table_is_one_range(database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    for key in (("id",), ("name",), ()):
        (only,) = database.ranges(Selection("t", key, ("id",)), 10)
        assert (only.after, only.upto) == (None, None)


def test_bounds_survive_json(database):
    import json

    database.run_script("""
        CREATE TABLE t (u uuid, tz timestamptz, n numeric, b bytea, s text, PRIMARY KEY (tz, n, b, s));
        INSERT INTO t SELECT gen_random_uuid(), v, 'NaN',
          '\\x5c00', E'it''s \\\\ "' || g
          FROM generate_series(1, 20) AS g,
          unnest('{-infinity,infinity,0044-03-15 BC,2024-01-01 00:00:00.123456}'::timestamptz[]) AS v;
    """)
    reading = Selection("t", ("tz", "n", "b", "s"), ("u",))
    ranges = database.ranges(reading, 7)
    assert len(ranges) > 5
    thawed = [
        KeyRange(r.ordinal, *(tuple(json.loads(json.dumps(bound))) if bound else None for bound in (r.after, r.upto)))
        for r in ranges
    ]
    assert covered(database, reading, thawed) == 80


def test_sparse_integer_keys_give_even_ranges(database):
    database.execute(
        "CREATE TABLE t (id bigint PRIMARY KEY)",
        "INSERT INTO t SELECT g FROM generate_series(1, 1000) AS g UNION ALL SELECT 9000000000000000000 - g"
        " FROM generate_series(1, 1000) AS g UNION ALL SELECT -9000000000000000000",
    )
    database.analyze(["t"])
    reading = Selection("t", ("id",), ("id",))
    sizes = [covered(database, reading, [r]) for r in database.ranges(reading, 100)]
    assert sum(sizes) == 2001
    assert max(sizes) <= 200


def test_text_keys_are_cut_in_binary_order(database):
    database.execute(
        "CREATE TABLE t (k text PRIMARY KEY)", "INSERT INTO t SELECT chr(g) FROM generate_series(33, 1000) AS g"
    )
    reading = Selection("t", ("k",), ("k",))
    bounds = [r.upto[0] for r in database.ranges(reading, 50) if r.upto]
    assert bounds == sorted(bounds, key=lambda text: text.encode())
    assert len(bounds) > 10


def test_a_collation_that_is_not_bytewise_does_not_change_the_cut(database, monkeypatch):
    rows = "SELECT chr(g) FROM generate_series(65, 900) AS g"
    database.execute("CREATE TABLE a (k text PRIMARY KEY)", f"INSERT INTO a {rows}", "ANALYZE a")
    reading = Selection("a", ("k",), ("k",))
    bytewise = database.ranges(reading, 60)
    database.memo.clear()
    # No locale but C is sure to be on the machine: what matters is that C is asked for where the default is another.
    monkeypatch.setattr("runbook_lib.databases.postgresql.ranges._default_is_bytewise", lambda db: False)
    sorted_ = database.ranges(reading, 60)
    assert 'COLLATE "C"' in condition(database, reading, sorted_[1])
    assert [r.upto for r in sorted_] == [r.upto for r in bytewise]
    assert covered(database, reading, sorted_) == 836


def test_a_where_and_expressions_are_obeyed(hostile, database):
    reading = Selection(
        "lines AS s", ("s.unit", 's."no"'), ("s.unit + 1", "upper(s.what)"), "s.unit < 150 OR s.unit = 160"
    )
    ranges = hostile.ranges(reading, 20)
    assert len(ranges) > 3
    assert (
        covered(hostile, reading, ranges)
        == hostile.rows("SELECT count(*) FROM lines WHERE unit < 150 OR unit = 160")[0][0]
    )


def test_a_key_that_is_not_unique_is_refused(hostile):
    reading = Selection("keyless", ("a",), ("a", "b"))
    with pytest.raises(KeyNotAdvancing, match="more than once"):
        hostile.ranges(Selection("keyless", ("a::numeric",), ("a", "b")), 50)
    assert reading.key == ("a",)


def test_a_join_without_a_key_is_one_range(hostile):
    ranges = hostile.ranges(Selection('lines AS l JOIN outside AS o ON o.id = l."no"', (), ("l.what",)), 10)
    assert len(ranges) == 1


def _target_table(database):
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, age smallint NOT NULL CHECK (age < 100), name varchar(5))",
        f"CREATE TABLE {database.own_table('done')} (n int, rows bigint)",
        f"INSERT INTO {database.own_table('done')} VALUES (1, NULL)",
    )
    return f"UPDATE {database.own_table('done')} SET rows = :rows WHERE n = :n AND rows IS NULL"


def test_progress_is_committed_with_the_rows_and_only_once(database):
    mark = _target_table(database)
    assert (
        database.copy_in("t", ["id", "age"], iter([b"1\t5\n", b"2\t6\n"]), binary=False, progress=[(mark, {"n": 1})])
        == 2
    )
    assert database.rows("SELECT rows FROM runbook.done") == [(2,)]
    with pytest.raises(TransferError, match="done by somebody else"):
        database.copy_in("t", ["id", "age"], iter([b"3\t5\n"]), binary=False, progress=[(mark, {"n": 1})])
    assert database.rows("SELECT id FROM t ORDER BY 1") == [(1,), (2,)]


def test_an_interrupted_copy_leaves_neither_rows_nor_progress(database):
    mark = _target_table(database)

    def blocks():
        yield b"1\t5\n" * 1
        yield b"".join(b"%d\t5\n" % n for n in range(2, 20_000))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.copy_in("t", ["id", "age"], blocks(), binary=False, progress=[(mark, {"n": 1})])
    assert database.rows("SELECT count(*) FROM t") == [(0,)]
    assert database.rows("SELECT rows FROM runbook.done") == [(None,)]
    assert database.copy_in("t", ["id", "age"], iter([b"1\t5\n"]), binary=False, progress=[(mark, {"n": 1})]) == 1


def _across(source, target, table, expressions=None, mark=None, encrypted=False):
    """One table by the engine's own way; `encrypted` sessions cannot be relayed and go through psql."""
    source.memo["encrypted"] = encrypted
    reading = selection(source, table)
    names = [c.name for c in target.catalog([table])[table].columns if not c.generated]
    if expressions:
        reading = Selection(reading.relation, reading.key, expressions)
    target.execute(
        f"CREATE TABLE IF NOT EXISTS {target.own_table('done')} (n int, rows bigint)",
        f"INSERT INTO {target.own_table('done')} VALUES (1, NULL)",
    )
    sql = f"UPDATE {target.own_table('done')} SET rows = :rows WHERE n = :n AND rows IS NULL"
    return target.copy_across(source, reading, KeyRange(0), table, names, mark or (sql, {"n": 1}))


@pytest.mark.parametrize("encrypted", [False, True], ids=["relayed", "by psql"])
@pytest.mark.parametrize("table", ["lines", "parted", "keyless", "bound"])
def test_the_engines_own_way_moves_a_range_with_its_mark(hostile, prepared, table, encrypted):
    hostile.execute(
        "INSERT INTO keyless SELECT g, repeat('c' || chr(1) || 'COPY 5', g % 900) FROM generate_series(1, 2000) g"
    )
    rows = _across(hostile, prepared, table, encrypted=encrypted)
    assert rows == len(contents(hostile, table))
    assert contents(prepared, table) == contents(hostile, table)
    assert prepared.rows("SELECT rows FROM runbook.done") == [(rows,)]
    assert hostile.rows("SELECT 1") == prepared.rows("SELECT 1")  # both sessions are as they were


@pytest.mark.parametrize("encrypted", [False, True], ids=["relayed", "by psql"])
def test_the_engines_own_way_leaves_nothing_when_it_fails(hostile, prepared, encrypted):
    failing = ("unit", '1 / ("no" - 2)', "what")
    assert _across(hostile, prepared, "lines", failing, encrypted=encrypted) is None
    prepared.execute("ALTER TABLE lines ADD CHECK (what <> md5('400'))")
    with suppress(RowRejected):  # the relay names it by itself
        assert _across(hostile, prepared, "lines", encrypted=encrypted) is None
    assert contents(prepared, "lines") == []
    assert prepared.rows("SELECT rows FROM runbook.done") == [(None,), (None,)]
    assert hostile.rows("SELECT 1") == prepared.rows("SELECT 1")


def test_a_failing_progress_statement_takes_the_rows_back(database):
    _target_table(database)
    with pytest.raises(DatabaseError, match="nowhere"):
        database.copy_in(
            "t", ["id", "age"], iter([b"1\t5\n"]), binary=False, progress=[("UPDATE nowhere SET a = 1", {})]
        )
    assert database.rows("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"1\t999999\tx", ["age", "999999", "line 2"]),
        (b"1\t5\tmuch too long a name", ["name", "much too long", "line 2"]),
        (b"0\t5\tdup", ["t_pkey", "(id)=(0)"]),
        (b"1\t\\N\tnull", ["age", "not-null"]),
        (b"1\t100\tcheck", ["t_age_check"]),
    ],
)
def test_a_rejected_row_is_named(database, line, words):
    _target_table(database)
    with pytest.raises(RowRejected) as caught:
        database.copy_in("t", ["id", "age", "name"], iter([b"0\t1\tok\n" + line + b"\n"]), binary=False)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
    assert database.rows("SELECT count(*) FROM t") == [(0,)]


def test_triggers_and_foreign_keys_of_the_target_do_not_fire(hostile, prepared):
    copy_table(hostile, prepared, "lines")
    assert contents(prepared, "lines") == contents(hostile, "lines")
    prepared.execute("SELECT set_config('x.y', '1', true)")
    assert prepared.rows("SHOW session_replication_role") == [("origin",)]


def test_without_the_grant_the_error_says_which(database, server):
    database.execute("CREATE TABLE t (id int)", "GRANT ALL ON t TO app")
    poor = open_database("poor", database.masked_url.replace("migrator@", "app@"), "app")
    with pytest.raises(DatabaseError, match="GRANT SET ON PARAMETER session_replication_role"):
        poor.copy_in("t", ["id"], iter([b"1\n"]), binary=False)
    poor.close()


def test_a_reader_that_stops_early_leaves_nothing_behind(hostile):
    hostile.execute("INSERT INTO keyless SELECT g, repeat('x', 100) FROM generate_series(1, 50000) AS g")
    blocks = hostile.copy_out(selection(hostile, "keyless"), KeyRange(0), binary=True)
    assert len(next(blocks)) >= 64 * 1024
    blocks.close()
    assert hostile.rows("SELECT 1") == [(1,)]
    copying = "datname = current_database() AND query LIKE 'COPY%' AND state = 'active'"
    while hostile.rows(f"SELECT 1 FROM pg_stat_activity WHERE {copying}"):
        pass


def test_an_error_while_reading_is_told(hostile):
    reading = Selection("lines", ("unit", '"no"'), ('1 / ("no" - 1)',))
    with pytest.raises(DatabaseError, match="division by zero"):
        list(hostile.copy_out(reading, KeyRange(0), binary=True))
    assert hostile.rows("SELECT 1") == [(1,)]


def test_other_threads_run_while_the_server_works(hostile):
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.01):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    list(hostile.copy_out(Selection("(SELECT 1 AS a, pg_sleep(0.5)) AS s", (), ("a",)), KeyRange(0), binary=True))
    done.set()
    thread.join()
    assert len(ticks) > 20
