"""Schema changes on real servers beside writers: no error, no wait over the lock timeout, nothing left of a failure."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from estate_schema import fill, write

from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import revise
from runbook_lib.schema.revisions.batched_update import Pace
from runbook_lib.schema.revisions.graph import DOWN, UP, Revisions
from runbook_lib.schema.revisions.lint import hazards

LOCK_S = {"postgresql": 0.3, "mysql": 1.0}  # MySQL knows whole seconds only
SPARE_S = 0.3  # what a busy machine may add


@pytest.fixture(params=["postgresql", "mysql"])
def practice(request: pytest.FixtureRequest, new_on: Any) -> Iterator[Database]:
    database = fill(new_on(request.param, "online", lock_timeout_s=LOCK_S[request.param], lock_wait_s=2.0))
    numbers = ", ".join(f"({n}, 'u{n}@x', 'dark', {n % 2})" for n in range(10, 3000))
    numbers = numbers.replace(", 0)", ", false)").replace(", 1)", ", true)")
    database.execute(f"INSERT INTO users (id, email, theme, notifications_enabled) VALUES {numbers}")
    yield database


class Writers:
    """Threads that write one row after the other; what failed, and the longest wait (seconds)."""

    def __init__(self, database: Database, *statements: str) -> None:
        self.database, self.statements = database, statements
        self.errors: list[str] = []
        self.longest_s, self.done = 0.0, 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(2)]

    def _write(self, number: int) -> None:
        with self.database.engine.connect() as connection:
            while not self._over.is_set():
                started = time.monotonic()
                try:
                    for statement in self.statements:
                        connection.exec_driver_sql(statement.replace("{n}", str(10 + self.done % 900 + 1000 * number)))
                    connection.commit()
                except Exception as error:
                    self.errors.append(str(error))
                    connection.rollback()
                self.longest_s = max(self.longest_s, time.monotonic() - started)
                self.done += 1

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        while self.done < 4:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


UPDATE = "UPDATE users SET email = 'w{n}@x' WHERE id = {n}"
CHANGES: dict[str, dict[str, list[str]]] = {
    "a column": {"": ["ALTER TABLE users ADD COLUMN nick varchar(20)"]},
    "an index": {
        "postgresql": ["CREATE INDEX CONCURRENTLY users_theme ON users (email)"],
        "mysql": ["CREATE INDEX users_theme ON users (email)"],
    },
    "a foreign key": {
        "postgresql": [
            "ALTER TABLE orders ADD CONSTRAINT again FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID",
            "ALTER TABLE orders VALIDATE CONSTRAINT again",
        ],
        "mysql": ["ALTER TABLE orders ADD CONSTRAINT again FOREIGN KEY (user_id) REFERENCES users (id)"],
    },
    "not null": {
        "postgresql": [
            "ALTER TABLE users ADD CONSTRAINT here CHECK (email IS NOT NULL) NOT VALID",
            "ALTER TABLE users VALIDATE CONSTRAINT here",
            "ALTER TABLE users ALTER COLUMN email SET NOT NULL",
            "ALTER TABLE users DROP CONSTRAINT here",
        ],
        "mysql": ["ALTER TABLE users MODIFY email varchar(200) NOT NULL"],
    },
    "a column less": {"": ["ALTER TABLE users DROP COLUMN theme"]},
}


@pytest.mark.parametrize("what", CHANGES)
def test_writers_beside_a_change_see_no_error_and_no_wait_over_the_lock_timeout(practice: Database, what: str) -> None:
    statements = CHANGES[what].get("") or CHANGES[what][practice.dialect]
    with Writers(practice, UPDATE) as writers:
        for statement in statements:
            practice.run_online(statement)
    assert writers.errors == []
    assert writers.longest_s < LOCK_S[practice.dialect] + SPARE_S


@contextmanager
def held(database: Database, *statements: str) -> Iterator[None]:
    """Somebody's transaction that stays open after these statements."""
    with database.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        yield


def described(database: Database) -> dict[str, Any]:
    return {name: (table.columns, table.indexes, table.constraints) for name, table in database.catalog().items()}


def test_a_lock_that_is_never_granted_ends_in_a_clear_error_with_nothing_left(new_on: Any) -> None:
    for dialect in LOCK_S:
        database = fill(new_on(dialect, "held", lock_timeout_s=LOCK_S[dialect], lock_wait_s=0.5))
        before = described(database)
        index = CHANGES["an index"][dialect][0]
        for statement in ("ALTER TABLE users ADD COLUMN nick varchar(20)", index):
            with held(database, UPDATE.replace("{n}", "1")), pytest.raises(DatabaseError) as failed:
                database.run_online(statement)
            assert "lock not granted" in str(failed.value)
            assert "Next: end the blocking transaction" in str(failed.value)
            assert described(database) == before


def test_an_invalid_index_left_by_a_build_that_failed_is_dropped_and_built_again(new_on: Any) -> None:
    database = fill(new_on("postgresql", "invalid", lock_wait_s=5.0))
    database.execute("INSERT INTO users (id, email) VALUES (7, 'a@b')")
    unique = "CREATE UNIQUE INDEX CONCURRENTLY users_email ON users (email)"
    with pytest.raises(DatabaseError, match=r"could not create unique index.*nothing of the index is left"):
        database.run_online(unique)
    assert "users_email" not in [index.name for index in database.catalog()["users"].indexes]
    with (
        database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(Exception, match="could not create unique index"),
    ):
        connection.exec_driver_sql(unique)  # as a process that was killed leaves it
    assert [i.valid for i in database.catalog()["users"].indexes if i.name == "users_email"] == [False]
    database.execute("DELETE FROM users WHERE id = 7")
    database.run_online(unique)
    assert [i.valid for i in database.catalog()["users"].indexes if i.name == "users_email"] == [True]
    database.run_online(unique, again=True)  # an attempt before had done it
    with pytest.raises(DatabaseError, match="already exists"):
        database.run_online(unique)
    with pytest.raises(DatabaseError, match="the index has no name"):
        database.run_online("CREATE INDEX CONCURRENTLY ON users (email)")


def test_mysql_refuses_what_it_would_do_by_copying_the_table(new_on: Any) -> None:
    database = fill(new_on("mysql", "copying"))
    before = described(database)
    with pytest.raises(DatabaseError, match=r"would copy or lock its table.*nothing was changed"):
        database.run_online("ALTER TABLE users MODIFY email text NOT NULL")
    assert described(database) == before


def test_partitions_of_mysql_change_as_they_are_written(new_on: Any) -> None:
    database = new_on("mysql", "parts")
    database.execute(
        "CREATE TABLE days (day int PRIMARY KEY) PARTITION BY RANGE (day) (PARTITION a VALUES LESS THAN (9))"
    )
    database.run_online("ALTER TABLE days ADD PARTITION (PARTITION b VALUES LESS THAN (20))")
    database.run_online("ALTER TABLE days DROP PARTITION a")
    said = str(database.rows("SHOW CREATE TABLE days")[0][1]).replace("`", "")  # MySQL does not quote the names there
    assert "PARTITION b VALUES" in said and "PARTITION a " not in said


def test_a_foreign_key_that_rows_break_is_dropped_again_on_mysql(new_on: Any) -> None:
    database = new_on("mysql", "orphans")
    database.execute("CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE c (id int PRIMARY KEY, p int)")
    database.execute("INSERT INTO p VALUES (1)", "INSERT INTO c VALUES (1, 1), (2, NULL), (3, 9)")
    key = "ALTER TABLE c ADD CONSTRAINT c_p FOREIGN KEY (p) REFERENCES p (id)"
    with pytest.raises(DatabaseError, match=r"foreign key c_p of c: rows without a parent, e.g. \(9\); it was dropped"):
        database.run_online(key)
    assert [c for c in database.catalog()["c"].constraints if c.kind == "foreign"] == []
    database.execute("DELETE FROM c WHERE p = 9")
    database.run_online(key)
    database.run_online(key, again=True)
    assert [c.name for c in database.catalog()["c"].constraints if c.kind == "foreign"] == ["c_p"]


REVISION = '''
"""Each change in one line."""

import sqlalchemy as sa
from alembic import op

from runbook_lib.schema import online

revision = "one"
down_revision = None
transactional = False


def upgrade() -> None:
    op.add_column("users", sa.Column("nick", sa.String(200)))
    online.fill("users", "nick = email", "nick IS NULL", rows=1000)
    online.set_not_null("users", "nick", "varchar(200)")
    online.create_index("users_nick", "users", ["nick", "id"], unique=True)
    online.add_foreign_key("orders_again", "orders", ["user_id"], "users", ["id"], on_delete="CASCADE")
    {check}


def downgrade() -> None:
    {uncheck}
    op.drop_constraint("orders_again", "orders", type_="foreignkey")
    online.drop_index("users_nick", "users")
    op.drop_column("users", "nick")
'''
CHECK = 'online.add_check("users_id", "users", "id > 0")'


def test_a_python_revision_writes_each_change_in_one_line(practice: Database, tmp_path: Path) -> None:
    able = practice.dialect != "mysql"  # MariaDB copies a table for a CHECK: refused, as it has to be
    parts = {"check": CHECK if able else "", "uncheck": 'op.drop_constraint("users_id", "users")' if able else ""}
    (tmp_path / "one.py").write_text(REVISION.format(**parts))
    revisions, before = Revisions(tmp_path), version_store.shape(practice)
    statements = revisions.render(revisions.by_id["one"], UP, practice.dialect).statements
    assert hazards(practice, "one", statements, alone=True).refused == ()
    with Writers(practice, UPDATE) as writers:
        revise(practice, revisions, revisions.by_id["one"], UP, Pace(1.0))
    assert writers.errors == []
    assert writers.longest_s < LOCK_S[practice.dialect] + SPARE_S
    (nick,) = [column for column in practice.catalog()["users"].columns if column.name == "nick"]
    assert not nick.nullable
    assert practice.rows("SELECT count(*) FROM users WHERE nick IS NULL") == [(0,)]
    revise(practice, revisions, revisions.by_id["one"], DOWN)
    assert version_store.shape(practice) == before


_BUILD = """
from runbook_lib.databases.postgresql import open_database
from runbook_lib.schema.revisions.apply import revise
from runbook_lib.schema.revisions.graph import UP, Revisions
from pathlib import Path
database = open_database("online", {url!r}, {password!r}, {{}})
revisions = Revisions(Path({folder!r}))
revise(database, revisions, revisions.by_id["one"], UP)
"""
_WAITING = "SELECT pid FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for%'"


def test_killed_while_an_index_is_built_it_is_whole_after_the_next_attempt(
    new_on: Any, postgresql_server: Any, tmp_path: Path
) -> None:
    database = fill(new_on("postgresql", "online", lock_wait_s=10.0))
    index = "CREATE INDEX CONCURRENTLY users_email ON users (email);"
    write(tmp_path, revision="one", up=index, transaction="no", down="DROP INDEX CONCURRENTLY users_email;")
    script = _BUILD.format(url=database.masked_url, password=postgresql_server.password, folder=str(tmp_path))
    # Not a writer: those are waited for before anything is made. The build waits for this reader's snapshot at its end.
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        reader.exec_driver_sql("SELECT count(*) FROM users")
        child = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while not (building := database.rows(_WAITING)):
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        child.kill()
        assert child.wait() == -signal.SIGKILL
        child.communicate()
        postgresql_server.admin(f"SELECT pg_terminate_backend({building[0][0]}, 10000)")
    assert [i.valid for i in database.catalog()["users"].indexes if i.name == "users_email"] == [False]
    revisions = Revisions(tmp_path)
    revise(database, revisions, revisions.by_id["one"], UP)
    assert [i.valid for i in database.catalog()["users"].indexes if i.name == "users_email"] == [True]


def test_nobody_queues_behind_a_change_that_waits_for_a_vacuum(new_on: Any) -> None:
    database = fill(new_on("postgresql", "vacuumed", lock_timeout_s=0.3, lock_wait_s=10.0))
    holding, over = threading.Event(), threading.Event()

    def hold() -> None:  # the lock that VACUUM holds
        with held(database, "LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE"):
            holding.set()
            over.wait(10)

    vacuum = threading.Thread(target=hold)
    vacuum.start()
    assert holding.wait(10)
    with Writers(database, UPDATE) as writers:
        threading.Timer(1.0, over.set).start()
        database.run_online("ALTER TABLE users ADD COLUMN nick text")
    vacuum.join()
    assert writers.errors == []
    assert writers.longest_s < 0.3  # less than one attempt that waits with writers behind it
