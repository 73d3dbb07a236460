"""Revisions on real databases: up, down and up again with rows in them, and what is left when something goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from estate_schema import EXAMPLE, HEAD, fill, new_sqlite, users, write

from runbook_lib.databases.port import Database
from runbook_lib.errors import ConfigurationError, DatabaseError, PlanError, StepFailed
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import revise, take_back
from runbook_lib.schema.revisions.graph import BASE, DOWN, UP, Revisions, current_version


@pytest.fixture(params=["postgresql", "mysql", "sqlite"])
def practice(request: pytest.FixtureRequest, new_on: Any, tmp_path: Path) -> Iterator[Database]:
    """A filled database of each engine."""
    if request.param == "sqlite":
        with new_sqlite(tmp_path) as database:
            yield database
    else:
        yield fill(new_on(request.param, "practice", lock_wait_s=1.0))


def go(database: Database, folder: Path, wanted: str) -> None:
    """Take the database along the path; each version's shape is recorded as the step does it."""
    revisions = Revisions(folder)
    path = revisions.path(current_version(database), wanted)
    for revision in path.revisions:
        revise(database, revisions, revision, path.direction)
        version_store.record(database, revision.after(path.direction))


def test_the_example_goes_up_down_and_up_again_with_the_same_rows(practice: Database) -> None:
    before, shape = users(practice), version_store.shape(practice)
    go(practice, EXAMPLE, "head")
    up = version_store.shape(practice)
    assert current_version(practice) == HEAD
    assert practice.rows("SELECT count(*) FROM preferences") == [(len(before),)]
    go(practice, EXAMPLE, "base")
    assert (current_version(practice), users(practice)) == (BASE, before)
    assert version_store.shape(practice) == shape
    go(practice, EXAMPLE, "head")
    assert version_store.shape(practice) == up
    revisions = Revisions(EXAMPLE)
    assert [revisions.problems(revision, practice) for revision in revisions.by_id.values()] == [[], [], []]


def test_the_way_down_keeps_what_was_changed_meanwhile(practice: Database) -> None:
    go(practice, EXAMPLE, "head")
    practice.execute(
        "UPDATE preferences SET theme = 'solarized', notifications = false WHERE user_id = 1",
        "INSERT INTO users (id, email) VALUES (5, 'new')",
        "INSERT INTO preferences (user_id, theme, notifications) VALUES (5, 'light', true)",
        "DELETE FROM preferences WHERE user_id = 3",
        "DELETE FROM users WHERE id = 3",
    )
    go(practice, EXAMPLE, "base")
    assert users(practice) == [
        (1, "a@b", "solarized", False),
        (2, "ü'%s:x", None, None),
        (5, "new", "light", True),
        (9007199254740993, "e@f", "a:b %", True),
    ]


def test_a_verification_that_finds_a_row_missing_says_which(practice: Database) -> None:
    go(practice, EXAMPLE, "head")
    practice.execute("DELETE FROM preferences WHERE user_id = 2")
    revisions = Revisions(EXAMPLE)
    (problem,) = revisions.problems(revisions.by_id["0002_preferences"], practice)
    assert problem == "ValueError: users without a row in preferences: 2"


def test_a_revision_that_fails_half_way_leaves_a_stated_state_and_is_taken_back(
    practice: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "revisions"
    down = "DROP TABLE extra;\nALTER TABLE users DROP COLUMN note;"
    up = "ALTER TABLE users ADD COLUMN note text;\nCREATE TABLE extra (id int);\nALTER TABLE nothing ADD x int;"
    write(folder, revision="one", up=up, down=down)
    before, shape = users(practice), version_store.shape(practice)
    revisions = Revisions(folder)
    with pytest.raises(DatabaseError, match=r"revision one \(up\), statement 3 of 3: .*nothing") as failed:
        revise(practice, revisions, revisions.by_id["one"], UP)
    whole = practice.capabilities.transactional_ddl
    assert ("rolled back: the database is at base" if whole else "2 of 3 statements are in") in str(failed.value)
    assert "Next: " in str(failed.value)
    take_back(practice, revisions, revisions.by_id["one"], UP)
    assert (current_version(practice), users(practice), version_store.shape(practice)) == (BASE, before, shape)
    assert version_store.begun(practice) == []


def test_a_verification_that_fails_leaves_nothing_where_one_transaction_holds_it_all(
    practice: Database, tmp_path: Path
) -> None:
    folder, shape = tmp_path / "revisions", version_store.shape(practice)
    verify = "SELECT id, email FROM users WHERE email NOT LIKE '%@%';"
    write(folder, revision="one", up="CREATE TABLE extra (id int);", verify=verify, down="DROP TABLE extra;")
    revisions = Revisions(folder)
    with pytest.raises(StepFailed, match=r"verification fails: .* finds 2/ü'%s:x; .*the database is at"):
        revise(practice, revisions, revisions.by_id["one"], UP)
    take_back(practice, revisions, revisions.by_id["one"], UP)
    assert (current_version(practice), version_store.shape(practice)) == (BASE, shape)


def test_a_revision_without_transaction_goes_on_after_what_stopped_it(practice: Database, tmp_path: Path) -> None:
    folder = tmp_path / "revisions"
    up = "CREATE TABLE extra (id bigint);\nINSERT INTO extra SELECT id FROM users;\nALTER TABLE late ADD COLUMN x int;"
    write(folder, revision="one", up=up, transaction="no", down="DROP TABLE extra;")
    revisions = Revisions(folder)
    if practice.dialect == "sqlite":  # nothing is refused inside its transactions: the marks work there too
        assert not revisions.by_id["one"].transactional
    with pytest.raises(DatabaseError, match="2 of 3 statements are in"):
        revise(practice, revisions, revisions.by_id["one"], UP)
    practice.execute("CREATE TABLE late (id int)")
    done = revise(practice, revisions, revisions.by_id["one"], UP)
    assert (done.statements, done.found_done, current_version(practice)) == (1, 2, "one")
    assert practice.rows("SELECT count(*) FROM extra") == [(4,)]
    assert version_store.begun(practice) == []


def test_rows_moved_in_part_are_never_undone_by_guessing(practice: Database, tmp_path: Path) -> None:
    folder = tmp_path / "revisions"
    moves = "UPDATE users SET theme = 'x';\nUPDATE missing SET y = 1;"
    write(folder, revision="one", up=moves, transaction="no", down="UPDATE users SET theme = NULL;")
    revisions = Revisions(folder)
    with pytest.raises(DatabaseError, match="1 of 2 statements are in"):
        revise(practice, revisions, revisions.by_id["one"], UP)
    with pytest.raises(StepFailed, match=r"1 of 2 of its moves of rows are in; the database is between base and one"):
        take_back(practice, revisions, revisions.by_id["one"], UP)
    assert practice.rows("SELECT DISTINCT theme FROM users") == [("x",)]


def test_a_column_that_is_gone_half_way_is_not_brought_back_empty(practice: Database, tmp_path: Path) -> None:
    folder = tmp_path / "revisions"
    up = "ALTER TABLE users DROP COLUMN theme;\nALTER TABLE missing ADD COLUMN x int;"
    down = "ALTER TABLE users ADD COLUMN theme text;\nUPDATE users SET theme = 'saved';"
    write(folder, revision="one", up=up, transaction="no", down=down)
    revisions = Revisions(folder)
    with pytest.raises(DatabaseError, match="1 of 2 statements are in"):
        revise(practice, revisions, revisions.by_id["one"], UP)
    with pytest.raises(StepFailed, match=r"some of what it takes away is gone.*between base and one"):
        take_back(practice, revisions, revisions.by_id["one"], UP)
    practice.execute("CREATE TABLE missing (id int)")
    revise(practice, revisions, revisions.by_id["one"], UP)
    assert current_version(practice) == "one"


def test_a_change_by_hand_is_named(practice: Database) -> None:
    go(practice, EXAMPLE, "0001")
    assert version_store.drift(practice, "0001_country") == []
    practice.execute("ALTER TABLE users ADD COLUMN hotfix int")
    (found,) = version_store.drift(practice, "0001_country") or []
    assert found[:2] == ("users", "+")
    assert found[2].startswith("column hotfix int")


def test_a_lock_that_is_never_granted_ends_it_and_nothing_is_changed(new_on: Any) -> None:
    database = fill(new_on("postgresql", "practice", lock_timeout_s=0.05, lock_wait_s=0.3))
    revisions = Revisions(EXAMPLE)
    locked, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with database.engine.begin() as connection:
            connection.exec_driver_sql("SELECT * FROM users FOR UPDATE")
            locked.set()
            ended.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(10)
    try:
        with pytest.raises(DatabaseError, match=r"lock not granted in \d+ attempts.*blocked by pid .*at base"):
            revise(database, revisions, revisions.by_id["0001_country"], UP)
    finally:
        ended.set()
        holder.join()
    assert current_version(database) == BASE


def test_a_login_without_the_right_is_told_so_and_nothing_is_changed(new_on: Any, postgresql_server: Any) -> None:
    database = fill(new_on("postgresql", "practice"))
    dbname = database.masked_url.rpartition("/")[2]
    postgresql_server.admin("ALTER TABLE users OWNER TO postgres", dbname)
    revisions = Revisions(EXAMPLE)
    with (
        postgresql_server.without_replication(),  # on PostgreSQL 14 no superuser then
        pytest.raises(DatabaseError, match=r"must be owner of table users .*rolled back: the database is at base"),
    ):
        revise(database, revisions, revisions.by_id["0001_country"], UP)


def test_two_migrations_of_one_schema_are_never_under_way_at_once(practice: Database) -> None:
    revisions = Revisions(EXAMPLE)
    with (
        practice.advisory_lock("schema revisions") as granted,
        pytest.raises(DatabaseError, match="another process migrates its schema"),
    ):
        assert granted
        revise(practice, revisions, revisions.by_id["0001_country"], UP)


def test_a_database_at_another_version_is_left_alone(practice: Database) -> None:
    revisions = Revisions(EXAMPLE)
    with pytest.raises(StepFailed, match="is at base; expected 0002_preferences; nothing was run"):
        revise(practice, revisions, revisions.by_id["0003_latest_orders"], UP)
    with pytest.raises(StepFailed, match="is at base; expected 0001_country"):
        take_back(practice, revisions, revisions.by_id["0002_preferences"], DOWN)


def test_a_database_with_two_versions_is_refused(new_on: Any) -> None:
    database = fill(new_on("postgresql", "practice"))
    go(database, EXAMPLE, "0001")
    database.execute("INSERT INTO alembic_version VALUES ('0002_preferences')")
    with pytest.raises(ConfigurationError, match="has two versions: 0001_country, 0002_preferences"):
        current_version(database)


def test_the_graph_refuses_what_is_not_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "revisions"
    write(folder, revision="a", up="SELECT 1;")
    write(folder, revision="b", revises="a", up="SELECT 1;", down="SELECT 1;")
    write(folder, revision="c", revises="a", up="SELECT 1;", down="SELECT 1;")
    revisions = Revisions(folder)
    with pytest.raises(ConfigurationError, match="two heads: b, c; expected one line"):
        revisions.path("a")
    with pytest.raises(ConfigurationError, match="b and c lie on two branches"):
        revisions.path("b", "c")
    with pytest.raises(ConfigurationError, match="revision a: has no down"):
        revisions.path("b", "base")
    with pytest.raises(ConfigurationError, match="database practice: unknown version z"):
        revisions.path("z", "b", database="practice")
    write(folder, revision="b_longer", revises="b", up="SELECT 1;", down="SELECT 1;")
    with pytest.raises(ConfigurationError, match="database practice: unknown version b_"):
        Revisions(folder).path("b_", "b", database="practice")  # a database's version is never guessed
    assert [revision.id for revision in revisions.path("base", "b").revisions] == ["a", "b"]
    write(folder, revision="d", revises="missing", up="SELECT 1;")
    with pytest.raises(PlanError, match="missing"):
        Revisions(folder)
