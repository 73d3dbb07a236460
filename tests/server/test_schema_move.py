"""Columns move into a table of their own while two versions of an application write; what each write means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from estate_clients import Client, wait_for
from estate_expand import FAST, cut_off_after, go, written

from runbook_lib.databases.port import Database
from runbook_lib.databases.postgresql import open_database
from runbook_lib.errors import ConfigurationError, DatabaseError
from runbook_lib.schema.expand import Column, Move, out_of_step, revision_files
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import asks, revise, take_back
from runbook_lib.schema.revisions.batched_update import batches_of
from runbook_lib.schema.revisions.graph import DOWN, UP, Revision, Revisions
from runbook_lib.schema.revisions.lint import hazards

TEXT = {"postgresql": "text", "mysql": "varchar(40)"}
ROWS = 600


def move_of(dialect: str) -> Move:
    kind = TEXT[dialect]
    return Move(
        "users",
        into="preferences",
        reference="user_id",
        kind="bigint",
        old={
            "theme": Column(kind, "theme"),
            "notifications_enabled": Column("boolean", "notifications"),
            "visits": Column("int", "seen"),
        },
        new={
            "theme": Column(kind, "theme"),
            "notifications": Column("boolean", "notifications_enabled", default="true"),
            "seen": Column("int", "visits"),
        },
        rows=50,
    )


@pytest.fixture(params=["postgresql", "mysql"])
def shop(request: pytest.FixtureRequest, new_on: Any) -> Iterator[Database]:
    database = new_on(request.param, "shop", lock_timeout_s=0.5, lock_wait_s=10.0)
    kind = TEXT[request.param]
    said = {n: f"'t{n}', {n % 2 == 0}, 0" if n % 3 else "NULL, NULL, NULL" for n in range(ROWS)}
    rows = ", ".join(f"({n}, 'u{n}', {values})" for n, values in said.items())
    database.execute(
        f"CREATE TABLE users (id bigint PRIMARY KEY, email {kind} NOT NULL, theme {kind}, notifications_enabled"
        " boolean, visits int)",
        f"INSERT INTO users VALUES {rows}",
    )
    yield database


@pytest.fixture
def revisions(shop: Database, tmp_path: Path) -> Revisions:
    return written(move_of(shop.dialect), "settings", shop.dialect, tmp_path / "revisions")


def shape(database: Database, sql: str) -> dict[int, tuple[Any, ...]]:
    rows = database.rows(sql)
    return {int(key): (theme, None if told is None else bool(told), visits) for key, theme, told, visits in rows}


def old_shape(database: Database) -> dict[int, tuple[Any, ...]]:
    return shape(database, "SELECT id, theme, notifications_enabled, visits FROM users")


def new_shape(database: Database) -> dict[int, tuple[Any, ...]]:
    return shape(database, "SELECT user_id, theme, notifications, seen FROM preferences")


def test_up_down_up_and_down_again_with_the_same_rows(shop: Database, revisions: Revisions) -> None:
    def policies(version: str) -> set[str]:
        statements = revisions.render(revisions.by_id[version], UP, shop.dialect).statements
        return {one.policy for one in hazards(shop, version, statements, alone=True).findings}

    before, first = old_shape(shop), version_store.shape(shop)
    assert policies("settings_expand") == set()
    go(shop, revisions, "settings_expand", UP)
    assert "approve" in policies("settings_contract")
    assert "refuse" not in policies("settings_contract")
    expanded = version_store.shape(shop)
    assert new_shape(shop) == before
    go(shop, revisions, "settings_expand", DOWN)
    assert (old_shape(shop), version_store.shape(shop)) == (before, first)
    go(shop, revisions, "settings_expand", UP)
    go(shop, revisions, "settings_contract", UP)
    assert new_shape(shop) == before
    go(shop, revisions, "settings_contract", DOWN)
    assert (old_shape(shop), new_shape(shop), version_store.shape(shop)) == (before, before, expanded)
    go(shop, revisions, "settings_expand", DOWN)
    assert (old_shape(shop), version_store.shape(shop)) == (before, first)


def old_client(database: Database, start: int, rows: int = ROWS) -> Client:
    insert = "INSERT INTO users (id, email, theme, notifications_enabled) VALUES ({0}, 'e', '{1} {2}', true)"
    update = "UPDATE users SET theme = '{1} {2}' WHERE id = {0}"
    visited = "UPDATE users SET visits = coalesce(visits, 0) + 1 WHERE id = {0}"
    return Client(database, start, insert, update, visited, rows)


def new_client(database: Database, start: int, rows: int = ROWS, first: str = "") -> Client:
    insert = f"INSERT INTO users (id, email) VALUES ({{0}}, 'e'); {INSERT} ({{0}}, '{{1}} {{2}}', true)"
    update = "UPDATE preferences SET theme = '{1} {2}' WHERE user_id = {0}"
    visited = "UPDATE preferences SET seen = coalesce(seen, 0) + 1 WHERE user_id = {0}"
    return Client(database, start, insert, update, first + visited, rows)


INSERT = "INSERT INTO preferences (user_id, theme, notifications) VALUES"
FIRST = "SELECT 1 FROM users WHERE id = {0} FOR UPDATE; "
WRITES = [  # what is written, and what both shapes then hold for the users named
    ("INSERT INTO users VALUES (2000, 'e', 'dark', false, NULL)", {2000: ("dark", False)}, {2000: ("dark", False)}),
    ("INSERT INTO users (id, email) VALUES (2000, 'e')", {2000: (None, None)}, {}),
    (
        f"INSERT INTO users (id, email) VALUES (2000, 'e'); {INSERT} (2000, 'dark', true)",
        {2000: ("dark", True)},
        {2000: ("dark", True)},
    ),
    (
        "INSERT INTO users (id, email) VALUES (2000, 'e'); INSERT INTO preferences (user_id, theme) VALUES (2000, 'x')",
        {2000: ("x", True)},
        {2000: ("x", True)},
    ),
    ("UPDATE users SET theme = 'T1' WHERE id = 1", {1: ("T1", False)}, {1: ("T1", False)}),
    (
        "UPDATE users SET theme = NULL, notifications_enabled = NULL, visits = NULL WHERE id = 1",
        {1: (None, None)},
        {1: (None, None)},
    ),
    ("UPDATE users SET theme = theme WHERE id = 1", {1: ("t1", False)}, {1: ("t1", False)}),
    ("UPDATE preferences SET theme = 't1' WHERE user_id = 1", {1: ("t1", False)}, {1: ("t1", False)}),
    ("UPDATE preferences SET notifications = NULL WHERE user_id = 1", {1: ("t1", None)}, {1: ("t1", None)}),
    ("UPDATE users SET theme = 'z' WHERE id IN (1, 2, 3)", {3: ("z", None), 2: ("z", True)}, {1: ("z", False)}),
    ("DELETE FROM preferences WHERE user_id = 1", {1: (None, None)}, {1: None}),
    (
        "DELETE FROM preferences WHERE user_id = 1; UPDATE users SET theme = 'back' WHERE id = 1",
        {1: ("back", None)},
        {1: ("back", None)},
    ),
    ("DELETE FROM users WHERE id = 1", {1: None}, {1: None}),
    ("UPDATE users SET id = 3000 WHERE id = 1", {1: None, 3000: ("t1", False)}, {1: None, 3000: ("t1", False)}),
    (
        "UPDATE users SET id = 3000, theme = 'moved' WHERE id = 1",
        {1: None, 3000: ("moved", False)},
        {1: None, 3000: ("moved", False)},
    ),
    (
        "DELETE FROM preferences WHERE user_id = 1; UPDATE preferences SET user_id = 1 WHERE user_id = 2",
        {1: ("t2", True), 2: (None, None)},
        {1: ("t2", True), 2: None},
    ),
]


class Undone(Exception):
    """Ends a transaction that is only tried."""


def test_what_is_written_to_one_shape_is_in_the_other_before_the_transaction_ends(
    shop: Database, revisions: Revisions
) -> None:
    go(shop, revisions, "settings_expand", UP)
    asked = out_of_step(move_of(shop.dialect), shop.dialect)

    def within(connection: Any, columns: str, table: str, key: str, number: int) -> tuple[Any, ...] | None:
        sql = f"SELECT {columns} FROM {table} WHERE {key} = {number}"
        found = connection.exec_driver_sql(sql).fetchone()
        return found and (found[0], None if found[1] is None else bool(found[1]))

    for writes, old, new in WRITES:
        with pytest.raises(Undone), shop.engine.begin() as connection:
            for statement in writes.split("; "):
                connection.exec_driver_sql(statement)
            for key, expected in old.items():
                found = within(connection, "theme, notifications_enabled", "users", "id", key)
                assert found == expected, (writes, key)
            for key, expected in new.items():
                found = within(connection, "theme, notifications", "preferences", "user_id", key)
                assert found == expected, (writes, key)
            assert connection.exec_driver_sql(asked).fetchall() == [], writes
            raise Undone


def in_step(database: Database) -> None:
    assert database.rows(out_of_step(move_of(database.dialect), database.dialect)) == []


def visits_of(clients: list[Client], row: int) -> int:
    return sum(client.shared_writes[row] for client in clients)


def test_both_clients_write_the_same_rows_at_once_and_no_write_is_lost(shop: Database, revisions: Revisions) -> None:
    before, first = old_shape(shop), version_store.shape(shop)
    with old_client(shop, 10_000, 9) as old:
        go(shop, revisions, "settings_expand", UP)
        with new_client(shop, 20_000, 9) as new:
            count = old.writes
            wait_for(lambda: old.writes > count + 40 and new.writes > 40)
        with new_client(shop, 30_000, 9, FIRST) as polite:
            count = old.deadlocks
            wait_for(lambda: polite.writes > 40)
        assert (polite.deadlocks, old.deadlocks) == (0, count)  # it takes the rows in the old version's order
    clients = [old, new, polite]
    assert [client.errors for client in clients] == [[], [], []]
    in_step(shop)
    told, settings = old_shape(shop), new_shape(shop)
    for client in clients:
        for number, words in client.acknowledged.items():
            assert told[number] == settings[number] == (" ".join(words), True, None)
    assert {row: told[row][2] for row in range(9)} == {row: visits_of(clients, row) for row in range(9)}
    assert {key: told[key] for key in settings} == settings
    with old_client(shop, 40_000) as late:  # back, beside the old version
        go(shop, revisions, "settings_expand", DOWN)
    assert late.errors == []
    assert version_store.shape(shop) == first
    assert {key: row[:2] for key, row in old_shape(shop).items() if key in before} == {
        key: row[:2] for key, row in before.items()
    }


UPSERT = "INSERT INTO preferences (user_id, seen) VALUES ({0}, 1) "
UPSERTS = {
    "postgresql": UPSERT + "ON CONFLICT (user_id) DO UPDATE SET seen = coalesce(preferences.seen, 0) + 1",
    "mysql": UPSERT + "ON DUPLICATE KEY UPDATE seen = coalesce(seen, 0) + 1",
}


def test_two_old_clients_and_two_that_upsert_hammer_the_same_rows_without_a_deadlock(
    shop: Database, revisions: Revisions
) -> None:
    go(shop, revisions, "settings_expand", UP)
    clients = [old_client(shop, start, 2) for start in (10_000, 20_000)]
    clients += [new_client(shop, start, 2) for start in (30_000, 40_000)]
    for upserting in clients[2:]:
        upserting.shared = UPSERTS[shop.dialect]
    with ExitStack() as running:
        for client in clients:
            running.enter_context(client)
        wait_for(lambda: all(client.writes > 100 for client in clients))
    assert [(client.deadlocks, client.errors) for client in clients] == [(0, [])] * 4
    in_step(shop)
    told = old_shape(shop)
    assert {row: told[row][2] for row in range(2)} == {row: visits_of(clients, row) for row in range(2)}


def test_the_contract_and_its_undo_beside_the_new_client_lose_no_write(shop: Database, revisions: Revisions) -> None:
    go(shop, revisions, "settings_expand", UP)
    expanded = version_store.shape(shop)
    with new_client(shop, 20_000) as new:
        go(shop, revisions, "settings_contract", UP)
        count = new.writes
        wait_for(lambda: new.writes > count + 5 or bool(new.errors))
        assert [column.name for column in shop.catalog()["users"].columns] == ["id", "email"]
        shop.execute("DELETE FROM preferences WHERE user_id = 500")
        go(shop, revisions, "settings_contract", DOWN)
    assert (new.errors, version_store.shape(shop)) == ([], expanded)
    in_step(shop)
    with old_client(shop, 30_000) as old:
        go(shop, revisions, "settings_expand", DOWN)
    assert old.errors == []
    told = old_shape(shop)
    for number, words in {**new.acknowledged, **old.acknowledged}.items():
        assert told[number][:2] == (" ".join(words), True)
    assert told[500] == (None, None, None)
    assert len(told) == ROWS + len(new.acknowledged) + len(old.acknowledged)


SYNC = {
    "postgresql": ("SET LOCAL session_replication_role = replica", "SELECT 1"),
    "mysql": ("SET @runbook_sync = 1", "SET @runbook_sync = NULL"),
}


def test_the_sync_s_writes_are_left_alone_and_the_contract_refused_while_a_row_is_out_of_step(
    shop: Database, revisions: Revisions
) -> None:
    go(shop, revisions, "settings_expand", UP)
    begin, end = SYNC[shop.dialect]
    for write in (
        "UPDATE users SET theme = 'else' WHERE id = 7",
        "UPDATE preferences SET theme = 'else' WHERE user_id = 8",
        "DELETE FROM preferences WHERE user_id = 10",
    ):
        shop.execute(begin, write, end)
    (problem,) = revisions.problems(revisions.by_id["settings_expand"], shop)
    assert problem.endswith("finds 7, 8, 10")
    with pytest.raises(
        DatabaseError, match=r"statement 1 of \d+: finds 7, 8, 10, where nothing may be found.*nothing was"
    ):
        go(shop, revisions, "settings_contract", UP)
    take_back(shop, revisions, revisions.by_id["settings_contract"], UP)
    assert (old_shape(shop)[7][0], old_shape(shop)[8][0]) == ("else", "t8")
    shop.execute(
        "UPDATE users SET theme = 'mine' WHERE id = 7", "UPDATE preferences SET theme = 'ours' WHERE user_id = 8"
    )
    shop.execute("UPDATE users SET theme = 'made' WHERE id = 10")
    in_step(shop)  # whoever writes next settles it


# Every point was tried once; these are the ones where rows and triggers do not stand as they did. Giving a downgrade of
# the expansion up half-way is refused once its table is gone: it continues.
WAY = [
    ("settings_expand", UP, (-2,)),
    ("settings_contract", UP, (-2, -1)),
    ("settings_contract", DOWN, (-2,)),
    ("settings_expand", DOWN, ()),
]


def test_cut_off_in_any_stage_it_is_taken_back_or_goes_on_with_every_write(
    shop: Database, revisions: Revisions
) -> None:
    def cut(revision: Revision, direction: str, number: int) -> None:
        with cut_off_after(number):
            revise(shop, revisions, revision, direction, FAST)

    for version, direction, points in WAY:  # each stage continues to the next one's beginning
        revision, before = revisions.by_id[version], version_store.shape(shop)
        statements = revisions.render(revision, direction, shop.dialect).statements
        changes = [n for n, one in enumerate(statements, 1) if not asks(one) and batches_of(one) is None]
        for point in points:
            cut(revision, direction, changes[point])
            if version == "settings_contract":  # the new version continues meanwhile
                shop.execute("UPDATE preferences SET theme = concat(theme, '!') WHERE user_id = 1")
            take_back(shop, revisions, revision, direction)
            assert version_store.shape(shop) == before, (version, direction, point)
            if (version, direction) == ("settings_contract", UP):
                in_step(shop)
        cut(revision, direction, changes[-2])
        go(shop, revisions, version, direction)
    assert old_shape(shop)[1] == ("t1!!!", False, 0)
    assert len(old_shape(shop)) == ROWS


def test_a_column_that_may_not_be_null_needs_a_default_and_a_default_is_a_value(
    new_on: Any, tmp_path: Path, postgresql_server: Any
) -> None:
    words = {"old": {"name": Column("text", "first || ' ' || last", nullable=False, default="'A B'")}}
    halves = {"first": Column("text", "split_part(name, ' ', 1)"), "last": Column("text", "split_part(name, ' ', 2)")}
    with pytest.raises(ConfigurationError, match=r"people\.name: is NOT NULL without a default"):
        Move("people", "names", "person", "bigint", {"name": Column("text", "first", nullable=False)}, halves)
    names = Move("people", "names", "person", "bigint", new=halves, **words)
    database = new_on("postgresql", "people")
    database.execute(
        "CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL DEFAULT 'A B')",
        "INSERT INTO people VALUES (1, 'F L'), (2, 'three words here')",
        "GRANT ALL ON people TO app",
    )
    for name, text in revision_files(names, "names", "base", ["postgresql"]).items():
        (tmp_path / name).write_text(text)
    revisions = Revisions(tmp_path)
    go(database, revisions, "names_expand", UP)
    expanded = version_store.shape(database)
    database.execute(
        "INSERT INTO people (id) VALUES (4)",
        "UPDATE names SET last = 'changed' WHERE person = 1",
        "UPDATE people SET id = id WHERE id = 2",
        "DELETE FROM names WHERE person = 4",
    )
    url = postgresql_server.url(database.masked_url.rpartition("/")[2], "app")
    app = open_database("people", url, "app")  # the old version may write the old table, and knows no other
    app.execute("INSERT INTO people (id) VALUES (3)")
    app.close()
    told = "SELECT id, name, first, last FROM people LEFT JOIN names ON person = id ORDER BY id"
    expected = [
        (1, "F changed", "F", "changed"),
        (2, "three words here", "three", "words"),
        (3, "A B", "A", "B"),
        (4, "A B", None, None),
    ]
    assert database.rows(told) == expected
    go(database, revisions, "names_contract", UP)
    go(database, revisions, "names_contract", DOWN)
    assert database.rows(told) == [*expected[:1], (2, "three words", "three", "words"), *expected[2:]]
    assert version_store.shape(database) == expanded
