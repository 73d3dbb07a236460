"""What every engine's adapter promises, in SQL that all of them understand."""

from __future__ import annotations

import pytest

from runbook_lib.databases import copy_text
from runbook_lib.databases.port import Applied, KeyRange, Selection
from runbook_lib.errors import DatabaseError, KeyNotAdvancing, TransferError

ENGINES = ["mysql", "postgresql"]
PEOPLE = "CREATE TABLE people (id integer PRIMARY KEY, email varchar(40) NOT NULL UNIQUE, n integer, half numeric(9,2))"


@pytest.fixture(params=ENGINES)
def database(request, new_on):
    """An empty database of each engine."""
    made = new_on(request.param, "source")
    made.execute(PEOPLE)
    return made


def people(database, count=200, step=1):
    rows = ", ".join(f"({i * step}, 'p{i}@example.org', {i % 7}, {i}.25)" for i in range(1, count + 1))
    database.execute(f"INSERT INTO people VALUES {rows}")
    database.analyze(["people"])


def chosen(database, where=""):
    columns = tuple(map(database.quote, ("id", "email", "n", "half")))
    return Selection(database.quote("people"), columns[:1], columns, where)


def copied(database, reading, key_range):
    return list(copy_text.decode(database.copy_out(reading, key_range, binary=False)))


def test_the_catalog_describes_columns_key_and_rules(database):
    table = database.catalog(["people", "missing"])["people"]
    assert [column.name for column in table.columns] == ["id", "email", "n", "half"]
    assert table.key == ("id",) and [c.nullable for c in table.columns] == [False, False, True, True]
    assert table.column("half").type == ("numeric(9,2)" if database.dialect == "postgresql" else "decimal(9,2)")
    assert {c.kind for c in table.constraints} >= {"primary", "unique"}
    with pytest.raises(DatabaseError, match="no table missing"):
        database.catalog(["missing"])["missing"]


@pytest.mark.parametrize("step", [1, 1000])
def test_ranges_cover_every_row_once_in_order(database, step):
    people(database, 200, step)
    ranges = database.ranges(chosen(database), 30)
    assert len(ranges) > 3 and ranges[0].after is None and ranges[-1].upto is None
    seen = [int(row[0] or 0) for each in ranges for row in copied(database, chosen(database), each)]
    assert sorted(seen) == [i * step for i in range(1, 201)]


def test_ranges_of_a_key_that_is_not_unique_are_refused(database):
    people(database)
    twice = Selection(database.quote("people"), (database.quote("n"), database.quote("n")), (database.quote("n"),))
    with pytest.raises(KeyNotAdvancing):
        database.ranges(twice, 10)


def test_a_range_copied_out_goes_in_with_its_progress_once(database):
    people(database, 20)
    own = database.own_table("progress")
    database.execute(f"CREATE TABLE {own} (done integer)", f"INSERT INTO {own} VALUES (NULL)")
    mark = (f"UPDATE {own} SET done = :rows WHERE done IS NULL AND :who <> ''", {"who": "me"})
    blocks = list(database.copy_out(chosen(database), KeyRange(0, (5,), (15,)), binary=False))
    database.execute("DELETE FROM people")
    columns = ["id", "email", "n", "half"]
    assert database.copy_in("people", columns, iter(blocks), binary=False, progress=[mark]) == 10
    assert database.rows(f"SELECT done FROM {own}") == [(10,)]
    database.execute("DELETE FROM people")
    with pytest.raises(TransferError, match="done by somebody else"):
        database.copy_in("people", columns, iter(blocks), binary=False, progress=[mark])
    assert database.rows("SELECT count(*) FROM people") == [(0,)]


def test_rows_travel_as_neutral_text(database):
    database.execute("INSERT INTO people VALUES (1, 'tab\t', NULL, 1.5)")
    reading = chosen(database)
    assert copied(database, reading, KeyRange(0)) == [("1", "tab\t", None, "1.50")]
    assert database.read_rows(reading, [(1,), (2,)]) == [("1", "tab\t", None, "1.50")]


def test_rows_of_keys_are_made_equal(database):
    people(database, 3)
    rows = [("1", "p2@example.org", "0", "1.00"), ("2", "p1@example.org", None, "2.00"), ("9", "new", "1", None)]
    done = database.apply_rows("people", ["id"], ["id", "email", "n", "half"], [(1,), (2,), (3,), (9,)], rows)
    assert done == Applied(3, 1)
    assert sorted(database.read_rows(chosen(database), [(1,), (2,), (3,), (9,)])) == rows


def test_changes_are_a_queue_of_keys(database):
    database.install_capture("shop", {"people": ["id"]})
    people(database, 3)
    database.execute("UPDATE people SET id = 30 WHERE id = 3", "DELETE FROM people WHERE id = 1")
    assert database.pending("shop")["people"].keys == 6
    first = database.read_changes("shop", "people", 4)
    assert first.keys == ((1,), (2,), (3,)) or len(first.seqs) == 4
    database.forget_changes("shop", first)
    rest = database.read_changes("shop", "people", 100)
    assert set(first.keys) | set(rest.keys) == {(1,), (2,), (3,), (30,)}
    database.apply_rows("people", ["id"], ["id", "email"], [(50,)], [(50, "sync")])
    assert database.pending("shop")["people"].keys == 2  # what the sync writes is not captured
    database.remove_capture("shop")
    assert database.pending("shop") == {} and database.capture_installed("shop") == frozenset()


def test_the_fence_is_up_for_users_and_open_for_the_sync(database):
    database.prepare_fence(["people"])
    assert database.fenced(["people"]) == frozenset()
    database.raise_fence(["people"], timeout_s=5)
    assert database.fenced(["people"]) == {"people"}
    with pytest.raises(DatabaseError, match="people: writes are fenced by a migration"):
        database.execute("INSERT INTO people VALUES (1, 'a', 1, 1)")
    database.apply_rows("people", ["id"], ["id", "email"], [(1,)], [(1, "sync")])
    database.lower_fence(["people"])
    database.execute("DELETE FROM people")
    database.remove_fence()


@pytest.mark.parametrize("canonical", [True, False])
def test_sums_find_a_swap_and_do_not_depend_on_the_cut(database, canonical):
    people(database)
    reading = chosen(database)
    types = tuple(column.type for column in database.catalog(["people"])["people"].columns)
    many = database.range_sums(reading, types, database.ranges(reading, 30), canonical=canonical)
    [one] = database.range_sums(reading, types, [KeyRange(0)], canonical=canonical)
    assert sum(each.rows for each in many) == one.rows == 200
    before = database.row_sums(reading, types, KeyRange(0, None, (10,)), canonical=canonical)
    database.execute("UPDATE people SET n = 5 - n WHERE id IN (2, 3)")
    after = database.row_sums(reading, types, KeyRange(0, None, (10,)), canonical=canonical)
    assert {int(key[0]) for key in before if before[key] != after[key]} == {2, 3}
    assert database.range_sums(reading, types, [KeyRange(0)], canonical=canonical) != [one]
    assert database.count(chosen(database, "id <= 7")) == 7


def test_canonical_sums_are_the_same_on_all_engines(new_on):
    sums = []
    for engine in ENGINES:
        made = new_on(engine, "source")
        made.execute(PEOPLE)
        people(made)
        types = ("integer", "character varying(40)", "integer", "numeric(9,2)")
        sums.append(made.range_sums(chosen(made), types, [KeyRange(0), KeyRange(1, (5,), (17,))], canonical=True))
    assert all(each == sums[0] for each in sums)
