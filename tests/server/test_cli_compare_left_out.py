"""Tables that cannot be read, or that the target lacks, keep no other from being compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from estate_validation import project

from runbook_lib.cli import main
from runbook_lib.databases.postgresql import connection

DDL = """
CREATE TABLE a (id integer PRIMARY KEY, v text); CREATE TABLE b (id integer PRIMARY KEY, v text);
CREATE TABLE c (id integer PRIMARY KEY, a integer REFERENCES a (id), v text DEFAULT 'x' || 'y');
INSERT INTO a SELECT i, 'v' || i FROM generate_series(1, 100) AS i; INSERT INTO b SELECT * FROM a;
INSERT INTO c SELECT id, id, v FROM a;
"""


class Place:
    """Two equal databases, and a way to name them."""

    def __init__(self, source: Any, target: Any, words: list[str]) -> None:
        self.source, self.target, self.words = source, target, words

    def runbook(self, command: str, *more: str) -> Result:
        done = CliRunner().invoke(main, [command, *self.words, "--settle", "0", *more], prog_name="runbook")
        assert "Traceback" not in done.output
        return done


@pytest.fixture(params=["two databases", "a plan"])
def place(request: Any, database: Any, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(connection.SETTINGS, "lock_timeout", "300ms")
    for one, role in ((database, "SOURCE"), (target, "TARGET")):
        one.run_script(DDL)
        monkeypatch.setenv(f"RUNBOOK_{role}_PASSWORD", one.login.password)
    if request.param == "two databases":
        return Place(database, target, [database.masked_url, target.masked_url])
    file = project(tmp_path, database, target, "a, b, c")
    return Place(database, target, ["-f", str(file)])


@contextmanager
def locked(database: Any, table: str) -> Iterator[None]:
    with database.raw() as driver, driver.transaction():
        driver.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_table_that_somebody_has_locked_is_said_and_the_others_are_compared(place: Place, side: str) -> None:
    with locked(getattr(place, side), "b"):
        done = place.runbook("compare")
        dry = place.runbook("repair")
    assert done.exit_code == 2, done.output
    said = [line for line in done.stdout.splitlines() if line.startswith(("?", "✗"))]
    assert len(said) == 6
    assert all(" of b could not run: database " in line and "lock timeout (55P03)" in line for line in said)
    assert "expected by the mapping" not in done.stdout
    assert dry.exit_code == 2
    assert "b could not be compared: database" in dry.stdout
    assert "nothing to repair" in dry.stdout
    assert place.runbook("compare").exit_code == 0


def test_a_difference_beside_a_locked_table_is_found(place: Place) -> None:
    place.target.execute("UPDATE c SET v = '' WHERE id = 7")
    with locked(place.target, "b"):
        done = place.runbook("compare", "--checks", "checksums")
        only = place.runbook("compare", "--checks", "checksums", "--tables", "b")
    assert done.exit_code == 1, done.output
    assert "key 7: v differs: source 'v7', target ''" in done.stdout
    assert only.exit_code == 2
    assert "? checksums of b could not run" in only.stdout


def test_tables_that_the_target_lacks_are_differences_and_the_others_are_compared(place: Place) -> None:
    place.target.execute("DROP TABLE b")
    done = place.runbook("compare")
    assert done.exit_code == 1, done.output
    [line] = [line for line in done.stdout.splitlines() if line.startswith(("?", "✗"))]
    assert line == "✗ row counts of b: 1 missing table"
    assert place.runbook("repair").exit_code == 1
    assert place.runbook("compare", "--tables", "a").exit_code == 0
    place.target.execute("DROP TABLE a, c")
    done = place.runbook("compare")
    assert done.exit_code == 1, done.output
    assert done.stdout.count("1 missing table") == 3


def test_a_table_of_the_plan_that_the_source_lacks_could_not_be_compared(place: Place) -> None:
    place.source.execute("DROP TABLE b")
    done = place.runbook("compare", "--checks", "checksums")
    if "-f" in place.words:
        assert done.exit_code == 2
        assert "? checksums of b could not run: no table b at the source" in done.stdout
    else:
        assert done.exit_code == 0
