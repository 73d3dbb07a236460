"""Tables of unusual make: geometries, indexes of their own kinds, no columns, keys over first characters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from runbook_lib.cli import main
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of

PLACES = """
CREATE TABLE places (id int PRIMARY KEY, body text, spot point NOT NULL, around geometry, area polygon,
  FULLTEXT KEY words (body), SPATIAL KEY spots (spot));
INSERT INTO places VALUES (1, 'a b', ST_GeomFromText('POINT(1.1 -2.5)', 4326), NULL, NULL),
  (2, '', ST_GeomFromText('POINT(0.1 1e300)'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'),
   ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'));
"""


@pytest.fixture
def runbook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def called(command: str, source: Any, target: Any, *more: str) -> Result:
        for one, name in ((source, "SOURCE"), (target, "TARGET")):
            if one.dialect != "sqlite":
                monkeypatch.setenv(f"RUNBOOK_{name}_PASSWORD", one.login.password)
        urls = [one.masked_url.replace(":***@", "@") for one in (source, target)]
        return CliRunner().invoke(main, [command, *urls, *more], prog_name="runbook")

    monkeypatch.chdir(tmp_path)
    return called


def test_geometries_keep_their_bytes_and_lost_indexes_of_their_own_kinds_are_added_as_what_they_were(
    new_on: Any, runbook: Any
):
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    source.run_script(PLACES)
    done = runbook("copy", source, target)
    assert done.exit_code == 0, done.output
    every = "SELECT id, body, HEX(spot), HEX(around), HEX(area), ST_SRID(spot) FROM places ORDER BY id"
    assert target.rows(every) == source.rows(every)
    assert runbook("compare", source, target).exit_code == 0
    target.execute("DROP INDEX words ON places", "DROP INDEX spots ON places")
    lacks = runbook("compare", source, target)
    assert lacks.exit_code == 1
    script = sorted(line for line in lacks.stdout.splitlines() if line.startswith("CREATE "))
    assert [line.partition(" ON ")[0] for line in script] == [
        "CREATE FULLTEXT INDEX `words`",
        "CREATE SPATIAL INDEX `spots`",
    ]
    target.run_script("\n".join(script))
    target.execute("UPDATE places SET around = spot WHERE id = 1")
    differs = runbook("compare", source, target)
    assert "indexes of" not in differs.stdout and "checksums of places" in differs.stdout, differs.output


def test_a_column_told_to_be_a_text_takes_times_and_dates_that_no_other_type_there_has(new_on: Any, runbook: Any):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, lasted time NOT NULL, day date NOT NULL)")
    source.run_script(
        "SET sql_mode = ''; INSERT INTO t VALUES (1, '-838:59:59', '0000-00-00'), (2, '12:00:00', '2024-02-00')"
    )
    refused = runbook("copy", source, target)
    assert refused.exit_code == 2 and "nothing was done" in refused.output
    done = runbook("copy", source, target, "--type", "t.lasted=text", "--type", "t.day=text")
    assert done.exit_code == 0, done.output
    assert target.rows("SELECT * FROM t ORDER BY id") == [
        (1, "-838:59:59", "0000-00-00"),
        (2, "12:00:00", "2024-02-00"),
    ]
    assert runbook("compare", source, target).exit_code == 0


def test_tables_without_a_column_to_write_keep_their_rows(new_on: Any):
    source, target = new_on("postgresql", "source"), new_on("postgresql", "target")
    source.run_script(
        "CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES; CREATE TABLE none ();"
        "CREATE TABLE computed (two int GENERATED ALWAYS AS (1 + 1) STORED); INSERT INTO computed DEFAULT VALUES;"
    )
    assert clone(pair_of(source, target), How()).rows_now == 3
    assert target.rows("SELECT (SELECT count(*) FROM bare), (SELECT sum(two) FROM computed)") == [(2, 2)]


def test_the_account_knows_a_unique_key_over_first_characters_by_its_index(new_on: Any):
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.run_script(
        "CREATE TABLE hooks (id int PRIMARY KEY, url varchar(400) NOT NULL, UNIQUE KEY first_60 (url(60)))"
    )
    lines = {(line.kind, line.name): line.outcome for line in clone(pair_of(source, target), How()).account.lines}
    assert lines["unique constraint", "first_60 on hooks"] == "translated"


def test_digits_that_sqlite_keeps_and_the_target_cuts_are_said_with_the_type_that_keeps_them(new_on: Any, runbook: Any):
    source, target = new_on("sqlite", "source"), new_on("postgresql", "target")
    source.execute(
        "CREATE TABLE prices (id integer PRIMARY KEY, net decimal(10,2), gross decimal(10,2))",
        "INSERT INTO prices VALUES (1, 12.345, 1.10), (2, 11, 2), (3, NULL, '3.50')",
    )
    done = runbook("copy", source, target)
    told = [line.strip() for line in done.stdout.splitlines() if "rounded" in line]
    assert told == [
        "prices.net: 1 digits behind the point that numeric(10,2) has not: rounded, rows (1); "
        "--type prices.net=numeric keeps them"
    ]
    kept = runbook("copy", source, target, "--type", "prices.net=numeric", "--on-existing", "drop")
    assert kept.exit_code == 0 and "rounded" not in kept.stdout, kept.output
    assert target.rows("SELECT net::text FROM prices ORDER BY id") == [("12.345",), ("11",), (None,)]
