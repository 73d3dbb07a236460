"""Apply: the rows of the given keys become exactly those of the reader, whatever the values and constraints."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from runbook_lib.databases.port import Applied, Selection
from runbook_lib.errors import DatabaseError, RowRejected, TransferError

PEOPLE = "CREATE TABLE people (id integer PRIMARY KEY, email text UNIQUE, n integer CHECK (n < 100))"


def sync(source, target, table, key, columns, keys):
    quoted = tuple(source.quote(column) for column in columns)
    selection = Selection(source.quote(table), tuple(source.quote(k) for k in key), quoted)
    return target.apply_rows(table, key, columns, keys, source.read_rows(selection, keys))


def texts(database, table):
    return sorted(row for (row,) in database.rows(f"SELECT whole::text FROM {database.quote(table)} AS whole"))


def test_rows_are_inserted_updated_and_deleted(database, target):
    for each in (database, target):
        each.execute(PEOPLE)
    database.execute("INSERT INTO people VALUES (1, 'a', 1), (2, 'b', 2)")
    target.execute("INSERT INTO people VALUES (2, 'old', 0), (3, 'gone', 0), (4, 'not asked for', 0)")
    done = sync(database, target, "people", ["id"], ["id", "email", "n"], [(1,), (2,), (3,), (9,)])
    assert done == Applied(2, 1)
    assert texts(target, "people") == ["(1,a,1)", "(2,b,2)", '(4,"not asked for",0)']


def test_hostile_values_survive_exactly(database, target):
    ddl = (
        "CREATE TYPE mood AS ENUM ('glad', 'Sad ''x'' ')",
        "CREATE TYPE pair AS (a integer, b text)",
        "CREATE DOMAIN short AS varchar(5)",
        'CREATE TABLE "Odd %s" (id integer GENERATED ALWAYS AS IDENTITY, "k %" char(4), d date, '
        "ts timestamptz, n numeric, f float8, t text, b bytea, m mood, ms mood[], grid int[], p pair, "
        "j json, jb jsonb, s short, iv interval, "
        'twice integer GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (id, "k %"))',
    )
    for each in (database, target):
        each.execute(*ddl)
    database.execute(
        """INSERT INTO "Odd %s" OVERRIDING SYSTEM VALUE VALUES
        (5, 'ab', 'infinity', '0044-03-15 12:00:00.123456+00 BC', 'NaN', '-0', E'tab\\t\\\\N "q" 🐘', '\\x0001ff',
         'Sad ''x'' ', '{glad,NULL}', '[0:1]={1,2}', ROW(1,'x,"y"'), '{"a":1, "a":2}', '{"b":1.50}', 'é',
         '1 mon -1 day'),
        (-6, '', '-infinity', 'infinity', 1.500, 'NaN', '', '', 'glad', '{}', '{{1},{2}}', ROW(NULL,NULL), '1e5',
         'null', '', '-00:00:01'),
        (7, 'z', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"""
    )
    table = database.catalog(["Odd %s"])["Odd %s"]
    columns = [column.name for column in table.columns if not column.generated]
    keys = [(5, "ab"), (-6, ""), (7, "z")]
    for _ in range(2):  # replaying is harmless
        assert sync(database, target, "Odd %s", ["id", "k %"], columns, keys).upserted == 3
    assert texts(target, "Odd %s") == texts(database, "Odd %s") and len(texts(target, "Odd %s")) == 3


def test_unique_values_swapped_between_rows_are_applied_in_a_second_pass(database, target):
    for each in (database, target):
        each.execute(PEOPLE, "INSERT INTO people VALUES (1, 'a', 1), (2, 'b', 2)")
    target.execute(
        "ALTER TABLE people ADD extra text NOT NULL DEFAULT 'none'", "UPDATE people SET extra = 'kept ' || id"
    )
    database.execute(
        "UPDATE people SET email = 'x' WHERE id = 1",
        "UPDATE people SET email = 'a' WHERE id = 2",
        "UPDATE people SET email = 'b' WHERE id = 1",
        "INSERT INTO people VALUES (3, 'c', 3)",
    )
    done = sync(database, target, "people", ["id"], ["id", "email", "n"], [(1,), (2,), (3,)])
    assert done == Applied(3, 0)
    assert texts(target, "people") == ['(1,b,1,"kept 1")', '(2,a,2,"kept 2")', "(3,c,3,none)"]


def test_a_unique_conflict_outside_the_batch_names_the_rows(target):
    target.execute(PEOPLE, "INSERT INTO people VALUES (1, 'a', 1)")
    with pytest.raises(
        RowRejected, match=r"people_email_key: Key \(email\)=\(a\).*under the key \(id\) \(1,\)"
    ) as caught:
        target.apply_rows("people", ["id"], ["id", "email", "n"], [(2,)], [(2, "a", 0)])
    assert caught.value.keys == ((1,),)
    assert texts(target, "people") == ["(1,a,1)"]


def test_a_refused_value_names_table_and_constraint_and_changes_nothing(target):
    target.execute(PEOPLE, "INSERT INTO people VALUES (1, 'a', 1)")
    for n, name in ((100, "people_n_check"), ("many", "people")):
        with pytest.raises(RowRejected, match=name):
            target.apply_rows("people", ["id"], ["id", "email", "n"], [(1,), (2,)], [(2, "b", n)])
    assert texts(target, "people") == ["(1,a,1)"]


def test_triggers_fences_and_foreign_keys_do_not_fire(target):
    target.execute(
        PEOPLE,
        "CREATE TABLE pets (id integer PRIMARY KEY, owner integer REFERENCES people ON DELETE CASCADE)",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$",
        "CREATE TRIGGER no BEFORE INSERT OR UPDATE OR DELETE ON pets EXECUTE FUNCTION no()",
    )
    target.prepare_fence(["people", "pets"])
    target.raise_fence(["people", "pets"], timeout_s=5)
    target.apply_rows("pets", ["id"], ["id", "owner"], [(1,)], [(1, 42)])
    target.apply_rows("people", ["id"], ["id", "email", "n"], [(42,)], [(42, "x", 1)])
    target.apply_rows("people", ["id"], ["id", "email", "n"], [(42,)], [])
    assert texts(target, "pets") == ["(1,42)"]


def test_the_key_may_be_a_unique_index_and_the_table_partitioned(target):
    target.execute(
        "CREATE TABLE u (a integer NOT NULL, b text NOT NULL, v text)",
        "CREATE UNIQUE INDEX ON u (b, a)",
        "CREATE TABLE p (a integer, r text, v text, PRIMARY KEY (a, r)) PARTITION BY LIST (r)",
        "CREATE TABLE p_n PARTITION OF p FOR VALUES IN ('n')",
        "CREATE TABLE p_s PARTITION OF p FOR VALUES IN ('s')",
    )
    for table, columns in (("u", ["a", "b", "v"]), ("p", ["a", "r", "v"])):
        key = columns[:2]
        target.apply_rows(table, key, columns, [(1, "n")], [(1, "n", "old")])
        done = target.apply_rows(table, key, columns, [(1, "n"), (1, "s")], [(1, "s", "new")])
        assert done == Applied(1, 1) and texts(target, table) == ["(1,s,new)"]


def test_a_key_without_a_unique_index_is_refused(target):
    target.execute("CREATE TABLE u (a integer, v text)")
    with pytest.raises(TransferError, match="no unique index"):
        target.apply_rows("u", ["a"], ["a", "v"], [(1,)], [(1, "x")])


def test_python_values_of_another_engine_are_taken_too(target):
    target.execute(
        "CREATE TABLE v (id bigint PRIMARY KEY, d date, t timestamptz, n numeric, f float8, b bytea, j jsonb, y bool)"
    )
    row = (
        1,
        dt.date(2026, 1, 2),
        dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC),
        Decimal("1.50"),
        0.1,
        b"\0\xff",
        {"a": "é"},
        True,
    )
    target.apply_rows("v", ["id"], ["id", "d", "t", "n", "f", "b", "j", "y"], [(1,)], [row])
    assert texts(target, "v") == ['(1,2026-01-02,"2026-01-02 03:00:00+00",1.50,0.1,"\\\\x00ff","{""a"": ""é""}",t)']


def test_a_login_that_may_not_silence_triggers_is_told_the_grant(target, server):
    from runbook_lib.databases.postgresql import open_database

    target.execute(PEOPLE, "GRANT ALL ON people TO app")
    login = open_database("target", server.url(target.masked_url.rpartition("/")[2], "app"), "app")
    with pytest.raises(DatabaseError, match="GRANT SET ON PARAMETER session_replication_role"):
        login.apply_rows("people", ["id"], ["id", "email", "n"], [(1,)], [])
    login.close()
