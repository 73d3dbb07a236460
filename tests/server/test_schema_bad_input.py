"""What a user meets on the command line when something is wrong: the status, the line, the database it speaks of."""

from __future__ import annotations

import dataclasses
import gzip
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from estate_schema import HEAD, Place, fill, users, write

from runbook_lib.cli import main
from runbook_lib.databases import adapter_helpers, postgresql
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.graph import BASE

TWICE = "INSERT INTO orders SELECT id, user_id, placed_at FROM orders;"  # only its rows show that it cannot run
ONE_UNDONE = "1 revision undone and verified: practice is at base"
UNCHANGED = "nothing is changed: practice is at 0001_country"
NOTHING = "nothing is changed: practice is at base"
WORDS = {"postgresql": "pg_restore failed: ", "mysql": "You have an error in your SQL syntax"}
HOLDER = {"postgresql": r"blocked by pid \d+ \(migrator, ", "mysql": r"is connection \d+ \(migrator, \d+ s: idle\)"}
NOTE = {"up": "ALTER TABLE users ADD COLUMN note int;", "down": "ALTER TABLE users DROP COLUMN note;"}


@pytest.fixture(params=["postgresql", "mysql"])
def place(request: pytest.FixtureRequest, new_on: Any, tmp_path: Path, monkeypatch: Any) -> Iterator[Place]:
    """The folder, with a filled database; it must hold the same rows afterwards, whatever was wrong."""
    found = Place(tmp_path, fill(new_on(request.param, "practice")), monkeypatch)
    before = users(found.database)
    yield found
    if found.version() == HEAD:
        found.go("base")
    assert users(found.database) == before


def runbook(place: Place, *arguments: str) -> tuple[int, str]:
    """A command of `runbook schema`: its exit status and the last line it said, on either stream."""
    done = CliRunner().invoke(main, ["schema", arguments[0], "-f", str(place.file), *arguments[1:]])
    assert done.exception is None or isinstance(done.exception, SystemExit)  # never a traceback
    assert "Traceback" not in done.output
    return done.exit_code, done.output.splitlines()[-1]


def says(line: str, *words: str) -> None:
    """The line has these patterns, in this order; the last one is the next action's, which ends it."""
    *told, action = words
    pattern = "^runbook: .*" + ".*".join(told) + r".*\. Next: " + action + "[^.]*$"
    assert re.search(pattern, line), line


def refuses(place: Place, commands: str, *words: str) -> None:
    """Each of these commands cannot run, and says so in the same words."""
    for command in commands.split(", "):
        status, line = runbook(place, *command.split())
        assert status == 2
        says(line, *words)


def backups(place: Place) -> list[Path]:
    return list((place.root / ".runbook/backups").glob("*/practice"))


def test_a_revision_that_fails_half_way_is_told_with_its_statement_and_everything_is_back(place: Place) -> None:
    place.example()
    shape = version_store.shape(place.database)
    write(place.folder, revision="0004", revises=HEAD, up=f"{NOTE['up']}\n{TWICE}", down=NOTE["down"])
    status, line = runbook(place, "upgrade")
    assert status == 1
    undone = "4 revisions undone and verified: practice is at base"
    says(
        line,
        r"schema of practice: revision 0004 \(up\), statement 2 of 2: ",
        "INSERT INTO orders",
        undone,
        "correct the",
    )
    assert (place.version(), version_store.shape(place.database)) == (BASE, shape)


def test_a_verification_that_fails_is_told_with_the_rows_and_everything_is_back(place: Place) -> None:
    shape = version_store.shape(place.database)
    write(place.folder, revision="one", **NOTE, verify="SELECT id FROM users WHERE note IS NULL;")
    status, line = runbook(place, "upgrade")
    assert status == 1
    verification = "schema of practice: revision one: its verification fails: `SELECT id .*` finds 1, 2, 3"
    says(line, verification, ONE_UNDONE, "correct the data")
    assert (place.version(), version_store.shape(place.database)) == (BASE, shape)


def test_a_down_that_fails_too_is_told_with_both_errors_and_the_version_that_the_database_has(place: Place) -> None:
    write(place.folder, revision="one", up=NOTE["up"], down="ALTER TABLE users DROP COLUMN wrong;")
    write(place.folder, revision="two", revises="one", up=TWICE, down="SELECT 1;")
    status, line = runbook(place, "upgrade")
    assert status == 1
    says(
        line,
        r"schema of practice: revision two \(up\)",
        "INSERT INTO orders",
        "undoing it failed: revision one",
        "wrong",
        "practice is at one",
        "put that right and run again",
    )
    assert place.version() == "one"
    assert "note" in {column.name for column in place.database.catalog()["users"].columns}
    write(place.folder, revision="one", **NOTE)
    status, line = runbook(place, "upgrade")  # as the line says: put that right, and it continues undoing
    assert status == 1
    says(line, r"schema of practice: revision two \(up\)", ONE_UNDONE, "run again: the undo")
    assert place.version() == BASE
    assert "note" not in {column.name for column in place.database.catalog()["users"].columns}


def test_two_heads_and_an_unknown_version_are_told_before_anything_is_run(place: Place) -> None:
    write(place.folder, revision="one", **NOTE)
    refuses(
        place,
        "upgrade --to 0007, plan --to 0007",
        "revisions .*/revisions: unknown version 0007; expected one of base, one; nothing was run",
        "add its",
    )
    write(place.folder, revision="two", revises="one", up="SELECT 1;")
    write(place.folder, revision="three", revises="one", up="SELECT 1;")
    refuses(
        place,
        "upgrade, plan, status",
        "revisions .*: two heads: three, two; expected one line of versions; nothing was run",
        "let two revise three, or say",
    )
    assert place.version() == BASE
    assert "alembic_version" not in place.database.catalog()
    assert backups(place) == []
    version_store.prepare(place.database)
    place.database.execute("INSERT INTO alembic_version VALUES ('0009_of_another_folder')")
    (place.folder / "three.sql").unlink()
    refuses(
        place,
        "upgrade, plan, status",
        "database practice: unknown version 0009_of_another_folder; expected one of base, one, two; nothing",
        "add its",
    )


def test_a_change_by_hand_is_told_by_its_name_before_the_backup_until_it_is_undone(place: Place) -> None:
    place.example()
    assert runbook(place, "upgrade", "--to", "0001") == (0, "practice is at 0001_country")
    taken = backups(place)
    place.database.execute("ALTER TABLE users ADD COLUMN byhand int")
    done = CliRunner().invoke(main, ["schema", "status", "-f", str(place.file)])
    assert done.exit_code == 1 and "byhand" in done.output and "Next: undo that by hand" in done.output
    status, line = runbook(place, "upgrade")
    assert status == 1
    says(
        line,
        "schema of practice: ",
        r"changed by hand since .* 0001_country: users: \+ column byhand",
        "nothing is changed: practice is at 0001_country",
        "put it right",
    )
    assert (place.version(), backups(place)) == ("0001_country", taken)
    place.database.execute("ALTER TABLE users DROP COLUMN byhand")
    assert runbook(place, "upgrade") == (0, f"practice is at {HEAD}")
    assert runbook(place, "downgrade", "--to", "base") == (0, "practice is at base")


def test_a_backup_that_does_not_restore_is_told_with_the_server_s_words_before_any_revision(
    place: Place, monkeypatch: Any
) -> None:
    place.example()
    kind = type(place.database)
    real = kind.backup

    def damaged(self: Any, directory: Path, **more: Any) -> Any:
        info = real(self, directory, **more)
        file = info.path / "database.sql.gz" if self.dialect == "mysql" else next(info.path.glob("*.dat.gz"))
        file.write_bytes(gzip.compress(b"nothing that could be restored\n"))
        # what was written is what is there
        whole = postgresql.backup.digest(info.path) if self.dialect == "postgresql" else adapter_helpers.digest(file)
        return dataclasses.replace(info, sha256=whole)

    monkeypatch.setattr(kind, "backup", damaged)
    status, line = runbook(place, "upgrade")
    assert status == 1
    proof = "the backup proves nothing: it cannot be restored: "
    says(line, "schema of practice: ", proof, WORDS[place.database.dialect], NOTHING, "put it right, then run again")
    assert place.version() == BASE
    assert len(backups(place)) == 1  # kept for a look


def test_a_disk_without_room_for_the_backup_is_told_before_it_is_taken(place: Place, monkeypatch: Any) -> None:
    place.example()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    status, line = runbook(place, "upgrade")
    assert status == 1
    says(line, r"schema of practice: .*disk of .*: 0\.0 MB free; a backup takes about", NOTHING, "make room")
    assert (place.version(), backups(place)) == (BASE, [])


def test_a_lock_that_is_never_granted_is_told_with_who_holds_it_and_everything_is_back(place: Place) -> None:
    place.example()
    write(place.folder, revision="0004", revises=HEAD, transaction="no", **NOTE)
    place.go(HEAD)
    rows = place.database.rows("SELECT * FROM users ORDER BY id")
    shape = version_store.shape(place.database)
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with place.database.engine.begin() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM users")
            held.set()
            free.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(20)
        status, line = runbook(place, "upgrade")
    finally:
        free.set()
        holder.join()
    assert status == 1
    refused = r"schema of practice: revision 0004 \(up\), statement 1 of 1: lock not granted in \d+ attempts? over 1 s"
    says(line, refused, HOLDER[place.database.dialect], f"practice is at {HEAD}", "end the blocking transaction")
    assert (place.version(), version_store.shape(place.database)) == (HEAD, shape)
    assert place.database.rows("SELECT * FROM users ORDER BY id") == rows


GRANTS = {  # what a login has that may read, and one that may back up and restore as well, but not change the schema
    "postgresql": {
        "reader": ("CREATE ROLE {0} LOGIN PASSWORD 'known'", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0}"),
        "keeper": (
            "CREATE ROLE {0} LOGIN CREATEDB PASSWORD 'known'",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO {0}",
        ),
    },
    "mysql": {
        "reader": ("CREATE USER {0} IDENTIFIED BY 'known'", "GRANT SELECT ON `{1}`.* TO {0}"),
        "keeper": (
            "CREATE USER {0} IDENTIFIED BY 'known'",
            "GRANT SELECT, INSERT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT ON `{1}`.* TO {0}",
            "GRANT ALL ON `{1}\\_proof\\_%`.* TO {0}",
        ),
    },
}
GONE = {"postgresql": ("DROP OWNED BY {0}", "DROP ROLE {0}"), "mysql": ("DROP USER {0}",)}


def as_login(place: Place, monkeypatch: Any, user: str) -> None:
    """The inventory names another login from now on."""
    inventory = place.root / "parameters/inventories/i.yaml"
    inventory.write_text(inventory.read_text().replace("//migrator@", f"//{user}@"))
    monkeypatch.setenv("PRACTICE_PASSWORD", "known")


TRIED = "grant CREATE, ALTER, INDEX and DROP to this login"  # MySQL is asked on a clone what it would do
REFUSED = {  # what an upgrade then says: the status, and the patterns of its line
    ("postgresql", "reader"): (
        1,
        "cannot be restored: .*permission denied to create database",
        NOTHING,
        "put it right",
    ),
    ("postgresql", "keeper"): (1, "permission denied for database", "practice is at base", "grant it to this login"),
    ("mysql", "reader"): (2, "database practice: .* command denied to user 'reader.*; nothing was run", TRIED),
    ("mysql", "keeper"): (2, "database practice: .* command denied to user 'keeper.*; nothing was run", TRIED),
}


@pytest.mark.parametrize("login", ["reader", "keeper"])
def test_a_login_without_the_right_is_told_what_it_may_not_and_nothing_is_changed(
    place: Place, servers: Any, monkeypatch: Any, login: str
) -> None:
    place.example()
    shape = version_store.shape(place.database)
    dialect, dbname = place.database.dialect, place.database.masked_url.rpartition("/")[2]
    name, server = f"{login}_{secrets.token_hex(3)}", servers(dialect)
    where = (dbname,) if dialect == "postgresql" else ()
    for statement in GRANTS[dialect][login]:
        server.admin(statement.format(name, dbname), *where)
    as_login(place, monkeypatch, name)
    try:
        assert runbook(place, "status")[0] == 0  # looking needs no more than to read
        expected, *words = REFUSED[dialect, login]
        for _ in range(2):  # the first attempt leaves nothing that stands in the second one's way
            status, line = runbook(place, "upgrade")
            assert status == expected
            says(line, *words)
    finally:
        for statement in GONE[dialect]:
            server.admin(statement.format(name), *where)
    assert (place.version(), version_store.shape(place.database)) == (BASE, shape)
    assert "alembic_version" not in place.database.catalog()
