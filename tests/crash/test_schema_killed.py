"""Kill a schema migration at every write of its journal and at every statement that commits by itself; run it again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from estate_schema import HEAD, Place, fill, new_sqlite, users, write

from runbook_lib.config.environment import load_environment_file
from runbook_lib.errors import DatabaseError, StepFailed
from runbook_lib.journal import Journal
from runbook_lib.run.run import begin
from runbook_lib.schema.revisions import version_store
from runbook_lib.schema.revisions.apply import revise, take_back
from runbook_lib.schema.revisions.graph import BASE, UP, Revisions
from runbook_lib.steps import migrate_schema

Kill = Callable[[str, Path, str], None]
TESTS = Path(__file__).parent.parent
# Appends of a whole run: 1 the phase, 2 the opening, then an intent and a result for each of six steps, 15 the end.
RESULTS = (4, 6, 8, 10, 12, 14, 15)  # the act is done, its result is not recorded
# One that fails at its third revision: 12 that failure, 13 why it is undone, then two for each undo, 24 the end.
UNDONE = (13, 15, 19, 24)
STATEMENTS = [("mysql", "schema:done:2"), ("mysql", "schema:between:5")]
STATEMENTS += [("postgresql", "schema:between:1")]  # of the one without transaction

_SERVER = """
import os, sys
from pathlib import Path
import estate_killed, test_schema_killed as t
for line in sys.stdin:
    what, root, point, password = line.split()
    child = os.fork()
    if child == 0:
        os.environ |= {"TEST_CRASH_AT": point, "PRACTICE_PASSWORD": password}
        estate_killed.die_where_told()
        try:
            getattr(t, what)(Path(root))
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def forward(root: Path) -> None:
    """What the notebook does."""
    with begin(load_environment_file(root / "parameters/test.yaml"), "schema_migration") as run:
        migrate_schema(run)
        run.gate()


def half_way_back(root: Path) -> None:
    """The undo of a revision that stopped half-way."""
    environment = load_environment_file(root / "parameters/test.yaml")
    database, revisions = environment.database("practice"), Revisions(root / "parameters/revisions")
    take_back(database, revisions, revisions.by_id["one"], UP)


@pytest.fixture(scope="module")
def killed() -> Iterator[Kill]:
    """Carries a function of this module out in a process that kills itself at a point; forked, for speed."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS / 'crash'}"}
    with subprocess.Popen([sys.executable, "-c", _SERVER], env=environment, **pipes) as server:

        def kill(what: str, root: Path, point: str) -> None:
            server.stdin.write(f"{what} {root} {point} {os.environ['PRACTICE_PASSWORD']}\n")
            server.stdin.flush()
            assert server.stdout.readline() == f"{-signal.SIGKILL}\n", point

        yield kill
        server.stdin.close()


@pytest.fixture
def places(new_on: Any, tmp_path: Path, monkeypatch: Any) -> Iterator[Callable[[str, str], Place]]:
    """Makes a project's folder with a filled database, as often as it is asked to."""
    opened = []

    def make(engine: str, name: str) -> Place:
        root = tmp_path / name.replace(":", "-")
        (root / "data").mkdir(parents=True)
        if engine == "sqlite":
            opened.append(new_sqlite(root / "data"))
            return Place(root, opened[-1].__enter__(), monkeypatch)
        return Place(root, fill(new_on(engine, "practice")), monkeypatch)

    yield make
    for one in opened:
        one.__exit__(None, None, None)


def require_whole(place: Place) -> None:
    """The same as if nobody had been killed."""
    assert place.version() == HEAD
    assert place.database.rows("SELECT count(*) FROM preferences") == [(4,)]
    assert version_store.begun(place.database) == []
    assert version_store.drift(place.database, HEAD) == []
    journal = Journal(f"sqlite:///{place.root}/.runbook/journal.sqlite")
    (row,) = journal.runs()
    journal.verify_chain(row.run_id)
    journal.close()
    assert row.state == "done"


def test_killed_at_any_write_of_the_journal_it_goes_on_when_it_is_run_again(killed: Kill, places: Any) -> None:
    for number in RESULTS:
        place = places("sqlite", f"before:{number}").example()
        killed("forward", place.root, f"before:{number}")
        forward(place.root)
        require_whole(place)


def test_killed_at_any_write_while_it_is_undone_the_undo_is_finished(killed: Kill, places: Any) -> None:
    for number in UNDONE:
        place = places("sqlite", f"undo:{number}").example()
        before = users(place.database)
        (place.folder / f"{HEAD}.sql").unlink()
        up = "INSERT INTO orders SELECT id, user_id, placed_at FROM orders;"
        write(place.folder, revision="0003", revises="0002_preferences", up=up, down="SELECT 1;")
        killed("forward", place.root, f"before:{number}")
        with pytest.raises(StepFailed, match="practice is at base"):
            forward(place.root)
        assert (place.version(), users(place.database)) == (BASE, before)


@pytest.mark.parametrize(("engine", "point"), STATEMENTS)
def test_killed_at_a_statement_that_commits_by_itself_it_goes_on_after_it(
    killed: Kill, places: Any, engine: str, point: str
) -> None:
    place = places(engine, "killed").example()
    killed("forward", place.root, point)
    forward(place.root)
    require_whole(place)


def test_killed_while_a_half_way_revision_is_undone_it_is_undone_all_the_same(killed: Kill, places: Any) -> None:
    place = places("mysql", "killed")
    up = "CREATE TABLE extra (id bigint PRIMARY KEY, theme text);\nINSERT INTO extra SELECT id, theme FROM users;\n"
    up += "ALTER TABLE users DROP COLUMN theme;\nALTER TABLE nothing ADD COLUMN x int;"
    down = "ALTER TABLE nothing DROP COLUMN x;\nALTER TABLE users ADD COLUMN theme text;\nUPDATE users SET theme ="
    down += " (SELECT e.theme FROM extra AS e WHERE e.id = users.id);\nDROP TABLE extra;"
    write(place.folder, revision="one", up=up, down=down)
    before, shape, revisions = users(place.database), version_store.shape(place.database), Revisions(place.folder)
    with suppress(DatabaseError):
        revise(place.database, revisions, revisions.by_id["one"], UP)
    killed("half_way_back", place.root, "schema:done:3")
    half_way_back(place.root)
    assert (place.version(), users(place.database)) == (BASE, before)
    assert version_store.shape(place.database) == shape
    assert version_store.begun(place.database) == []
