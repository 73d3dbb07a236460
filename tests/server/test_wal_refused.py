"""`runbook copy --follow --capture wal` from a server that cannot: one line, status 2, nothing made at either side."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from fix_sandbox import wait_for
from fix_servers import SERVER_SETTINGS, PostgresServer

from runbook_lib.cli import main
from runbook_lib.databases.postgresql.wal import replication_slot
from runbook_lib.errors import DatabaseError

MADE = {
    "slots": "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'runbook%'",
    "publications": "SELECT pubname FROM pg_publication",
    "triggers": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    "schemas": "SELECT nspname FROM pg_namespace WHERE nspname = 'runbook'",
}
Ask = Callable[[str], list[Any]]


@pytest.fixture
def refused(target: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[[str, str, Ask], str]:
    """Copies from a URL, whose source `ask` asks; what the command said."""
    monkeypatch.setenv("RUNBOOK_TARGET_PASSWORD", target.login.password)
    monkeypatch.chdir(tmp_path)

    def copy(url: str, password: str, ask: Ask) -> str:
        monkeypatch.setenv("RUNBOOK_SOURCE_PASSWORD", password)
        command = ["copy", url, target.masked_url, "--follow", "--capture", "wal"]
        done = CliRunner().invoke(main, command, prog_name="runbook")
        assert done.exit_code == 2, done.output
        assert "Traceback" not in done.output
        assert {what: ask(sql) for what, sql in MADE.items()} == {what: [] for what in MADE}
        assert target.catalog() == {}
        assert [target.rows(sql) for sql in MADE.values()] == [[]] * len(MADE)
        return done.output.strip().splitlines()[-1]

    return copy


@pytest.fixture(scope="module")
def replica_level() -> Iterator[PostgresServer]:
    """A server as PostgreSQL comes, with `wal_level = replica`."""
    server = PostgresServer(settings={**SERVER_SETTINGS, "wal_level": "replica"})
    yield server
    server.stop()


def test_a_server_whose_log_is_not_logical_says_which_setting_it_needs(replica_level: Any, refused: Any) -> None:
    source = replica_level.open("source")
    source.execute("CREATE TABLE items (id integer PRIMARY KEY)")
    said = refused(source.masked_url, replica_level.password, source.rows)
    replica_level.drop(source)
    assert re.search(
        "wal_level is replica, capture: wal needs logical; nothing was done. Next: ALTER SYSTEM SET wal_level", said
    )


def test_a_standby_says_that_the_primary_is_to_be_named(
    postgresql_server: PostgresServer, standby: int, database: Any, refused: Any
) -> None:
    database.execute("CREATE TABLE items (id integer PRIMARY KEY)")
    dbname = database.masked_url.rpartition("/")[2]

    def ask(sql: str) -> list[Any]:
        with psycopg.connect(postgresql_server.superuser, port=standby, dbname=dbname, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def arrived() -> bool:
        try:
            return bool(ask("SELECT FROM pg_class WHERE relname = 'items'"))
        except psycopg.OperationalError:
            return False  # the database is not there yet

    wait_for(arrived, "the standby has the table")
    url = f"postgresql://migrator@127.0.0.1:{standby}/{dbname}"
    said = refused(url, postgresql_server.password, ask)
    assert "this is a standby; its log cannot be captured here; nothing was done. Next: name the primary" in said


def test_a_login_without_replication_says_the_grant(
    postgresql_server: PostgresServer, database: Any, refused: Any
) -> None:
    database.execute("CREATE TABLE items (id integer PRIMARY KEY)")
    if postgresql_server.superusers:
        pytest.skip("on PostgreSQL 14 who copies is a superuser, who may replicate")
    with postgresql_server.without_replication():
        said = refused(database.masked_url, database.login.password, database.rows)
    assert 'may not use replication slots; nothing was done. Next: ALTER ROLE "migrator" REPLICATION' in said


def test_a_server_without_a_free_slot_says_how_many_are_taken(
    postgresql_server: PostgresServer, database: Any, refused: Any
) -> None:
    database.execute("CREATE TABLE items (id integer PRIMARY KEY)")
    with postgresql_server.without_free_slot():
        said = refused(database.masked_url, database.login.password, database.rows)
    assert re.search(r"all \d+ replication slots are taken; nothing was done. Next: drop one that nobody uses", said)


@contextmanager
def an_older_writer(server: PostgresServer, database: Any) -> Iterator[None]:
    """A transaction that has written and does not end; of another database, so that only the server waits for it."""
    with psycopg.connect(server.superuser, dbname="postgres") as connection:
        connection.execute("SELECT pg_current_xact_id()")
        database.lock_wait_s = 0.5
        yield


TOO_LATE = {  # what happens between our check and the making of the slot, and what is said
    "all slots are taken": (
        lambda server, database: server.without_free_slot(),
        r"all replication slots are in use .*; nothing was captured. Next: Free one",
    ),
    "an older writer stays": (an_older_writer, r"lock timeout .*; nothing was captured. Next: see which transactions"),
}


@pytest.mark.parametrize("happens", TOO_LATE)
def test_a_slot_that_could_not_be_made_takes_the_publication_back(
    postgresql_server: PostgresServer, new_database: Any, monkeypatch: pytest.MonkeyPatch, happens: str
) -> None:
    database, (between, says) = new_database("source", capture="wal"), TOO_LATE[happens]
    database.execute("CREATE TABLE items (id integer PRIMARY KEY)")
    real, kept = replication_slot.create, database.lock_wait_s

    def create(*arguments: Any) -> None:
        with between(postgresql_server, database):
            real(*arguments)

    monkeypatch.setattr(replication_slot, "create", create)
    with pytest.raises(DatabaseError, match=says):
        database.install_capture("ch", {"items": ["id"]})
    monkeypatch.undo()
    database.lock_wait_s = kept
    assert [database.rows(MADE[what]) for what in ("slots", "publications")] == [[], []]
    made = "SELECT relname FROM pg_class WHERE relname LIKE 'log%' AND relkind = 'r'"
    assert [database.rows(sql) for sql in ("TABLE runbook.slots", "TABLE runbook.captures", made)] == [[], [], []]
    database.execute("INSERT INTO items VALUES (1)")
    database.install_capture("ch", {"items": ["id"]})  # repeated when there is a slot again
    assert database.capture_installed("ch") == {"items"}
    database.remove_capture("ch")
