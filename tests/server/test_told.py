"""What `runbook copy` was told is what `compare` and `repair` go by, and its figures are of what it did now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from estate_assess import lax

from runbook_lib.cli import main
from runbook_lib.cli.transfer import copies_journal
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.operations.replicate import open_clone

TABLE = "CREATE TABLE t (id int PRIMARY KEY, day date NOT NULL, made date NOT NULL, name varchar(20));"
ROWS = "INSERT INTO t VALUES (1, '0000-00-00', '2020-01-01', 'a'), (2, '2020-02-02', '2021-01-01', 'b')"


def runbook(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), prog_name="runbook")


def test_a_comparison_knows_the_types_that_the_copy_was_told_and_only_columns_with_zero_dates_take_null(
    new_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.run_script(TABLE + lax(ROWS))
    monkeypatch.chdir(tmp_path)
    for one, name in ((source, "SOURCE"), (target, "TARGET")):
        monkeypatch.setenv(f"RUNBOOK_{name}_PASSWORD", one.login.password)
    urls = source.masked_url.replace(":***@", "@"), target.masked_url
    done = runbook("copy", *urls, "--type", "zero_dates=null")
    assert done.exit_code == 0, done.output
    nullable = {column.name: column.nullable for column in target.catalog(["t"])["t"].columns}
    assert nullable == {"id": False, "day": True, "made": False, "name": True}
    same = runbook("compare", *urls)
    assert same.exit_code == 0, same.output
    again = runbook("copy", *urls, "--type", "zero_dates=null")
    assert "rows: 0 copied, 0 rows/s, 2 were there from an earlier attempt" in again.stdout, again.output


def test_a_comparison_knows_what_was_told_when_the_source_has_more_tables_by_now_or_only_some_are_compared(
    new_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_on("postgresql", "source"), new_on("sqlite", "target")
    source.run_script(
        "CREATE TABLE t (id int PRIMARY KEY, tags text[]); CREATE TABLE u (id int PRIMARY KEY, n int);"
        "INSERT INTO t VALUES (1, '{x,y}'), (2, NULL); INSERT INTO u VALUES (1, 1)"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNBOOK_SOURCE_PASSWORD", source.login.password)
    urls = source.masked_url.replace(":***@", "@"), target.masked_url
    done = runbook("copy", *urls, "--type", "t.tags=varchar(90)")
    assert done.exit_code == 0, done.output
    for more in ((), ("--tables", "t")):
        same = runbook("compare", *urls, *more)
        assert same.exit_code == 0, (more, same.output)
    for one in (source, target):
        one.run_script("CREATE TABLE v (id int NOT NULL PRIMARY KEY)")
    same = runbook("compare", *urls)
    assert same.exit_code == 0, same.output


def test_a_comparison_finds_the_log_of_a_followed_copy_when_the_source_has_a_table_more(
    new_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_on("sqlite", "source"), new_on("sqlite", "target")
    source.run_script("CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a')")
    monkeypatch.chdir(tmp_path)
    pair = pair_of(source, target)
    clone(pair, How(follow=True))
    with copies_journal() as journal:
        open_clone(journal, pair, (), "somebody")
    for one in (source, target):
        one.run_script("CREATE TABLE v (id integer PRIMARY KEY, w text)")
    source.execute("UPDATE t SET v = 'b'")
    found = runbook("compare", source.masked_url, target.masked_url, "--settle", "0")
    assert "no sync runs between" in found.output, found.output


def test_a_comparison_names_the_rows_that_the_copy_set_aside(
    new_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_on("sqlite", "source"), new_on("postgresql", "target")
    source.run_script("CREATE TABLE t (id integer PRIMARY KEY, n integer); INSERT INTO t VALUES (1, 1), (2, 'many')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNBOOK_TARGET_PASSWORD", target.login.password)
    urls = source.masked_url, target.masked_url.replace(":***@", "@")
    assert runbook("copy", *urls, "--on-bad-row", "quarantine").exit_code == 1
    found = runbook("compare", *urls, "--settle", "0")
    assert "1 in quarantine" in found.output, found.output
