"""Statements in batches: every row once, marks with the rows, resumed to the batch after kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from estate_schema import fill, new_sqlite, write

from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError, TransferError
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import revise, take_back
from runbook_lib.schema.revisions.batched_update import Pace, batches_of, carry_out, forget
from runbook_lib.schema.revisions.graph import UP, Revisions, current_version

COUNT = "-- batches of users by 100\nUPDATE users SET touched = touched + 1 WHERE :range"
USERS = "CREATE TABLE users (id integer PRIMARY KEY NOT NULL, email text, theme text)"
ROWS = 1000
FAST = Pace(share=1.0)


@pytest.fixture(params=["postgresql", "mysql", "sqlite"])
def practice(request: pytest.FixtureRequest, new_on: Any, tmp_path: Path) -> Iterator[Database]:
    def rows(database: Database) -> Database:
        values = ", ".join(f"({n}, 'u{n}')" for n in range(10, 1010))
        database.execute("DELETE FROM orders", "DELETE FROM users") if database.dialect != "sqlite" else None
        database.execute(f"INSERT INTO users (id, email) VALUES {values}")
        database.execute("ALTER TABLE users ADD COLUMN touched int NOT NULL DEFAULT 0")
        return database

    if request.param == "sqlite":
        with new_sqlite(tmp_path) as database:
            database.execute("DROP TABLE orders", "DROP TABLE users", USERS)
            yield rows(database)
    else:
        yield rows(fill(new_on(request.param, "batches", lock_wait_s=1.0)))


def touched(database: Database) -> list[int]:
    return [int(n) for (n,) in database.rows("SELECT DISTINCT touched FROM users")]


def test_every_row_is_changed_once_and_a_repetition_changes_none(practice: Database) -> None:
    told: list[tuple[int, int]] = []
    done = carry_out(practice, COUNT, "one", Pace(1.0, on_progress=lambda n, total: told.append((n, total))))
    assert (touched(practice), done.rows, done.done_before) == ([1], ROWS, 0)
    assert told[-1] == (done.batches, done.batches)
    assert done.batches >= 8
    again = carry_out(practice, COUNT, "one", FAST)
    assert (touched(practice), again.batches, again.rows, again.done_before) == ([1], 0, 0, done.batches)
    forget(practice, "one")
    carry_out(practice, COUNT, "one", FAST)
    assert touched(practice) == [2]


def test_a_batch_that_fails_leaves_those_before_it_and_goes_on_there(practice: Database) -> None:
    practice.execute("CREATE TABLE seen (id bigint PRIMARY KEY)", "INSERT INTO seen VALUES (500)")
    copy = "-- batches of users as u by 100\nINSERT INTO seen SELECT u.id FROM users AS u WHERE :range"
    with pytest.raises(DatabaseError):
        carry_out(practice, copy, "two", FAST)
    (before,) = practice.rows("SELECT count(*) FROM seen")[0]
    assert 1 < before < ROWS
    practice.execute("DELETE FROM seen WHERE id = 500")
    done = carry_out(practice, copy, "two", FAST)
    assert practice.rows("SELECT count(*) FROM seen") == [(ROWS,)]
    assert done.done_before > 0


_KILLED = """
import os, signal, sys
from runbook_lib.schema.revisions.batched_update import Pace, carry_out
sys.path.insert(0, {tests!r})
module, url, password = {engine!r}, {url!r}, {password!r}
import importlib
database = importlib.import_module("runbook_lib.databases." + module).open_database("source", url, password, {{}})
def tell(done, total):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
carry_out(database, {statement!r}, "killed", Pace(1.0, on_progress=tell))
"""


def test_killed_between_two_batches_it_goes_on_with_the_next(practice: Database, request: Any, servers: Any) -> None:
    engine = practice.dialect
    password = servers(engine).password if engine != "sqlite" else None
    url = practice.masked_url
    script = _KILLED.format(
        tests=str(Path(__file__).parents[1]), engine=engine, url=url, password=password, statement=COUNT
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert sorted(touched(practice)) == [0, 1]
    done = carry_out(practice, COUNT, "killed", FAST)
    assert (touched(practice), done.done_before) == ([1], 4)


def test_a_revision_fills_in_batches_and_is_taken_back_half_way(practice: Database, tmp_path: Path) -> None:
    folder, shape = tmp_path / "revisions", version_store.shape(practice)
    up = (
        "ALTER TABLE users ADD COLUMN nick varchar(40);\n"
        "-- batches of users by 100\nUPDATE users SET nick = email WHERE :range AND nick IS NULL;\n{last}"
    )
    broken, whole = up.format(last="ALTER TABLE missing ADD COLUMN x int;"), up.format(last="")
    down = "ALTER TABLE users DROP COLUMN nick;"
    write(folder, revision="one", up=broken, transaction="no", down=down)
    revisions = Revisions(folder)
    with pytest.raises(DatabaseError, match="2 of 3 statements are in"):
        revise(practice, revisions, revisions.by_id["one"], UP, FAST)
    assert practice.rows("SELECT count(*) FROM users WHERE nick IS NULL") == [(0,)]
    take_back(practice, revisions, revisions.by_id["one"], UP)
    assert (current_version(practice), version_store.shape(practice)) == ("base", shape)
    write(folder, revision="one", up=whole, transaction="no", down=down)
    revisions = Revisions(folder)
    done = revise(practice, revisions, revisions.by_id["one"], UP, FAST)
    assert (done.rows, practice.rows("SELECT count(*) FROM users WHERE nick = email")) == (ROWS, [(ROWS,)])


def test_batches_in_a_revision_that_is_one_transaction_are_refused(practice: Database, tmp_path: Path) -> None:
    write(tmp_path / "revisions", revision="one", up=f"{COUNT};", down="SELECT 1;")
    revisions = Revisions(tmp_path / "revisions")
    if practice.capabilities.transactional_ddl:
        with pytest.raises(TransferError, match=r"is one transaction; nothing was run.*transaction: no"):
            revise(practice, revisions, revisions.by_id["one"], UP)
        assert touched(practice) == [0]
    else:
        revise(practice, revisions, revisions.by_id["one"], UP, FAST)
        assert touched(practice) == [1]


def test_what_cannot_be_cut_is_refused(practice: Database) -> None:
    with pytest.raises(TransferError, match=r"no `:range` in it; expected WHERE :range"):
        batches_of("-- batches of users by 100\nUPDATE users SET theme = 'x'")
    with pytest.raises(TransferError, match="batches of nothing: does not exist"):
        carry_out(practice, COUNT.replace("batches of users", "batches of nothing"), "x")
    practice.execute("CREATE TABLE loose (a int)")
    with pytest.raises(TransferError, match="batches of loose: has no unique key"):
        carry_out(practice, COUNT.replace("batches of users", "batches of loose"), "x")
