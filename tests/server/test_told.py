"""What `runbook copy` was told is what `compare` and `repair` go by, and its figures are of what it did now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from estate_assess import lax

from runbook_lib.cli import main

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
