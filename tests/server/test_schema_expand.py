"""Two versions of an application write at once while a table has both shapes; every stage is undone beside them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from estate_clients import Client, wait_for
from estate_expand import FAST, cut_off_after, go, written
from estate_schema import Place

from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError, GateFailed
from runbook_lib.schema.expand import Column, Split, out_of_step, revision_files
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import revise, take_back
from runbook_lib.schema.revisions.graph import DOWN, UP, Revisions
from runbook_lib.schema.revisions.lint import hazards

PLAIN = {
    "postgresql": "CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL DEFAULT 'A B', age int)",
    "mysql": "CREATE TABLE people (id bigint PRIMARY KEY, name varchar(200) NOT NULL DEFAULT 'A B', age int)",
}
HALVES = {
    "postgresql": ("first || ' ' || last", "split_part(name, ' ', 1)", "split_part(name, ' ', 2)", "text"),
    "mysql": (
        "concat(`first`, ' ', `last`)",
        "substring_index(name, ' ', 1)",
        "substring_index(name, ' ', -1)",
        "varchar(200)",
    ),
}
ROWS = 600


def split_of(dialect: str) -> Split:
    joined, first, last, kind = HALVES[dialect]
    return Split(
        "people",
        old={"name": Column(kind, joined, nullable=False, default="'A B'")},
        new={"first": Column(kind, first, nullable=False), "last": Column(kind, last)},
        rows=50,
    )


@pytest.fixture(params=["postgresql", "mysql"])
def people(request: pytest.FixtureRequest, new_on: Any) -> Iterator[Database]:
    database = new_on(request.param, "people", lock_timeout_s=0.5, lock_wait_s=10.0)
    rows = ", ".join(f"({n}, 'F{n} L{n}', {n})" for n in range(ROWS))
    database.execute(PLAIN[request.param], f"INSERT INTO people VALUES {rows}")
    yield database


@pytest.fixture
def revisions(people: Database, tmp_path: Path) -> Revisions:
    return written(split_of(people.dialect), "names", people.dialect, tmp_path / "revisions")


def old_client(database: Database, start: int) -> Client:
    insert = "INSERT INTO people (id, name, age) VALUES ({0}, '{1} {2}', 1)"
    update = "UPDATE people SET name = '{1} {2}' WHERE id = {0}"
    return Client(database, start, insert, update, update, ROWS)


def new_client(database: Database, start: int) -> Client:
    mark = "`" if database.dialect == "mysql" else '"'
    first, last = f"{mark}first{mark}", f"{mark}last{mark}"
    insert = f"INSERT INTO people (id, {first}, {last}, age) VALUES ({{0}}, '{{1}}', '{{2}}', 1)"
    update = f"UPDATE people SET {first} = '{{1}}', {last} = '{{2}}' WHERE id = {{0}}"
    shared = f"UPDATE people SET {last} = '{{2}}' WHERE id = {{0}}"  # half of the new shape
    return Client(database, start, insert, update, shared, ROWS)


def old_shape(database: Database) -> Mapping[int, str]:
    return {int(key): str(name) for key, name in database.rows("SELECT id, name FROM people")}


def new_shape(database: Database) -> Mapping[int, tuple[str, str]]:
    columns = ", ".join(database.quote(column) for column in ("id", "first", "last"))
    return {int(key): (str(a), str(b)) for key, a, b in database.rows(f"SELECT {columns} FROM people")}


def test_both_clients_write_at_once_and_every_write_is_in_both_shapes(people: Database, revisions: Revisions) -> None:
    before = version_store.shape(people)
    with old_client(people, 10_000) as old:
        go(people, revisions, "names_expand", UP)
        with new_client(people, 20_000) as new:
            count = old.writes
            wait_for(lambda: old.writes > count + 20 and new.writes > 20)
    assert old.errors == new.errors == []
    assert old.deadlocks == new.deadlocks == 0
    joined, halves = old_shape(people), new_shape(people)
    for number, (first, last) in {**old.acknowledged, **new.acknowledged}.items():
        assert (joined[number], halves[number]) == (f"{first} {last}", (first, last))
    assert {key: f"{a} {b}" for key, (a, b) in halves.items()} == joined
    assert people.rows(out_of_step(split_of(people.dialect), people.dialect)) == []
    with old_client(people, 30_000) as late:  # back, beside the old version
        go(people, revisions, "names_expand", DOWN)
    assert late.errors == []
    assert version_store.shape(people) == before
    joined = old_shape(people)
    for number, (first, last) in {**old.acknowledged, **new.acknowledged, **late.acknowledged}.items():
        assert joined[number] == f"{first} {last}"


def test_the_contract_and_its_undo_beside_the_new_client_lose_no_write(people: Database, revisions: Revisions) -> None:
    go(people, revisions, "names_expand", UP)
    expanded = version_store.shape(people)
    with new_client(people, 20_000) as new:
        go(people, revisions, "names_contract", UP)
        count = new.writes
        wait_for(lambda: new.writes > count + 5 or bool(new.errors))
        assert "name" not in [column.name for column in people.catalog()["people"].columns]
        go(people, revisions, "names_contract", DOWN)
    assert new.errors == []
    assert version_store.shape(people) == expanded
    with old_client(people, 30_000) as old:
        go(people, revisions, "names_expand", DOWN)
    assert old.errors == []
    joined = old_shape(people)
    for number, (first, last) in {**new.acknowledged, **old.acknowledged}.items():
        assert joined[number] == f"{first} {last}"
    assert len(joined) == ROWS + len(new.acknowledged) + len(old.acknowledged)


def test_the_contract_is_refused_while_a_row_is_out_of_step(people: Database, revisions: Revisions) -> None:
    go(people, revisions, "names_expand", UP)
    bypass = {
        "postgresql": "SET LOCAL session_replication_role = replica",
        "mysql": "SET @runbook_sync = 1",
    }[people.dialect]
    people.execute(
        bypass,
        "UPDATE people SET name = 'Else Who' WHERE id = 7",
        *(["SET @runbook_sync = NULL"] if people.dialect == "mysql" else []),
    )
    (problem,) = revisions.problems(revisions.by_id["names_expand"], people)
    assert problem.endswith("finds 7")
    with pytest.raises(DatabaseError, match=r"statement 1 of \d+: finds 7, where nothing may be found.*nothing was"):
        go(people, revisions, "names_contract", UP)
    take_back(people, revisions, revisions.by_id["names_contract"], UP)
    assert old_shape(people)[7] == "Else Who"


def test_the_contract_has_its_own_gate_and_the_expansion_needs_none(people: Database, revisions: Revisions) -> None:
    def policies(version: str) -> set[str]:
        statements = revisions.render(revisions.by_id[version], UP, people.dialect).statements
        return {one.policy for one in hazards(people, version, statements, alone=True).findings}

    assert policies("names_expand") == set()
    go(people, revisions, "names_expand", UP)
    assert "approve" in policies("names_contract")
    assert "refuse" not in policies("names_contract")


# Every point was tried once, in two minutes; these are the ones that were wrong at first, and the last moment.
@pytest.mark.parametrize(("version", "after"), [("names_expand", 1), ("names_contract", 2), ("names_contract", -1)])
def test_cut_off_after_a_statement_it_goes_on_or_is_taken_back(
    people: Database, revisions: Revisions, version: str, after: int
) -> None:
    if version == "names_contract":
        go(people, revisions, "names_expand", UP)
    names, shape, revision = old_shape(people), version_store.shape(people), revisions.by_id[version]
    total = len(revisions.render(revision, UP, people.dialect).statements)

    def cut() -> None:
        with cut_off_after(after if after > 0 else total):
            revise(people, revisions, revision, UP, FAST)

    cut()
    take_back(people, revisions, revision, UP)
    assert (old_shape(people), version_store.shape(people)) == (names, shape)
    cut()
    go(people, revisions, version, UP)
    go(people, revisions, version, DOWN)
    assert (old_shape(people), version_store.shape(people)) == (names, shape)


def test_the_whole_way_waits_for_the_throttle_and_for_the_gate_of_the_contract(
    new_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = new_on("postgresql", "practice")
    rows = ", ".join(f"({n}, 'F{n} L{n}', {n})" for n in range(ROWS))
    database.execute(PLAIN["postgresql"], f"INSERT INTO people VALUES {rows}")
    place = Place(tmp_path, database, monkeypatch)
    place.approvals("ask")
    for name, text in revision_files(split_of("postgresql"), "names", "base", ["postgresql"]).items():
        (place.folder / name).write_text(text)
    throttle = tmp_path / ".runbook/throttle"
    throttle.parent.mkdir(exist_ok=True)
    throttle.touch()
    moving = threading.Thread(target=lambda: place.go("names_expand"))
    moving.start()
    try:
        wait_for(lambda: bool(begun(database)))
        assert database.rows("SELECT DISTINCT first FROM people") == [(None,)]
    finally:
        throttle.unlink()
        moving.join()
    assert place.version() == "names_expand"
    assert database.rows("SELECT count(*) FROM people WHERE first IS NULL") == [(0,)]
    with pytest.raises(GateFailed, match="hazards: names_contract"):
        place.go("names_contract")
    assert place.version() == "names_expand"
    place.approvals("auto")
    place.go("names_contract")
    assert place.version() == "names_contract"


def begun(database: Database) -> list[Any]:
    """The ranges that a statement in batches was cut into."""
    there = database.rows("SELECT to_regclass('runbook.batches')")[0][0]
    return database.rows("SELECT * FROM runbook.batches") if there else []


def test_a_python_revision_splits_in_one_line_each(people: Database, tmp_path: Path) -> None:
    split = split_of(people.dialect)
    (tmp_path / "one.py").write_text(
        f"from runbook_lib.schema import expand\nfrom runbook_lib.schema.expand import Column, Split\n\n"
        f"revision, down_revision, transactional = 'one', None, False\nSPLIT = {split!r}\n\n"
        "def upgrade():\n    expand.expand(SPLIT)\n\ndef downgrade():\n    expand.take_back(SPLIT)\n"
    )
    revisions, before = Revisions(tmp_path), version_store.shape(people)
    revise(people, revisions, revisions.by_id["one"], UP, FAST)
    assert new_shape(people)[7] == ("F7", "L7")
    revise(people, revisions, revisions.by_id["one"], DOWN)
    assert version_store.shape(people) == before
