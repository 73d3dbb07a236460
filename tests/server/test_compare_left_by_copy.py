"""What a copy could not make at MySQL, MariaDB or SQLite is known there: told as left behind, not as a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from runbook_lib.cli import main
from runbook_lib.schema.kept_scripts import state

SCHEMA = (
    "CREATE TABLE t (id integer PRIMARY KEY, v integer); CREATE TABLE gone (id integer PRIMARY KEY);"
    " CREATE VIEW broken AS SELECT id FROM gone; CREATE VIEW good AS SELECT id FROM t; DROP TABLE gone;"
)


def runbook(command: str, *sides: Any) -> Result:
    done = CliRunner().invoke(main, [command, *(one.masked_url.replace(":***@", "@") for one in sides)])
    assert "Traceback" not in done.output
    return done


def test_an_object_that_the_copy_left_behind_is_no_difference_and_one_that_came_since_is(
    new_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    monkeypatch.chdir(tmp_path)
    for side in (source, target):
        monkeypatch.setenv(f"RUNBOOK_{side.name.upper()}_PASSWORD", side.login.password)
    source.run_script(SCHEMA)
    copied = runbook("copy", source, target)
    assert copied.exit_code == 1 and "broken" in copied.output, copied.output
    assert "later" in target.inventory().own
    compared = runbook("compare", source, target)
    assert compared.exit_code == 0, compared.output
    source.execute("CREATE VIEW late AS SELECT v FROM t")
    compared = runbook("compare", source, target)
    assert compared.exit_code == 1 and "no view late" in compared.output, compared.output


def test_sqlite_tells_which_of_the_librarys_tables_are_there(new_on: Any) -> None:
    database = new_on("sqlite", "target")
    state(database, "")  # makes the table that a copy keeps its account in
    assert database.inventory().own == {"later"}


def test_options_that_the_server_writes_out_by_itself_are_no_difference(new_on: Any) -> None:
    source, target = new_on("mysql", "source"), new_on("mysql", "target")
    if source.flavour[0] != "MariaDB":
        pytest.skip("Aria is MariaDB's")
    source.execute(
        "CREATE TABLE a (id int PRIMARY KEY, t text) ENGINE=Aria",
        "CREATE TABLE b (id int PRIMARY KEY) ENGINE=Aria TRANSACTIONAL=0 PAGE_CHECKSUM=0",
        "CREATE TABLE c (id int PRIMARY KEY) ENGINE=Aria ROW_FORMAT=DYNAMIC TRANSACTIONAL=1",
        "CREATE TABLE d (id int PRIMARY KEY, t char(5)) ENGINE=MyISAM ROW_FORMAT=FIXED PACK_KEYS=1 CHECKSUM=1",
        "CREATE TABLE e (id int PRIMARY KEY) STATS_PERSISTENT=1 ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 MAX_ROWS=9",
        "CREATE TABLE f (id int PRIMARY KEY) ROW_FORMAT=DYNAMIC",
    )
    for name in "abcdef":
        target.execute(source.rows(f"SHOW CREATE TABLE {name}")[0][1])

    def tables(database: Any) -> dict[str, str]:
        return {o.name: o.definition for o in database.inventory().objects if o.kind == "table"}

    there = tables(source)
    assert tables(target) == there
    for name, option in (
        ("a", "PAGE_CHECKSUM=0"),
        ("d", "CHECKSUM=0"),
        ("f", "ROW_FORMAT=COMPACT"),
        ("e", "MAX_ROWS=8"),
    ):
        target.execute(f"ALTER TABLE {name} {option}")
        assert tables(target)[name] != there[name], name
