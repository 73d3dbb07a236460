"""SQLite keeps what its declared type does not: digits and fractions of a second too many are differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from runbook_lib.cli import main
from runbook_lib.databases.sqlite.types import renderer

TABLE = "CREATE TABLE t (id integer PRIMARY KEY, p numeric(10,2), at {moment}(0))"
ROWS = "INSERT INTO t VALUES (1, 11.88, '2026-01-02 10:00:00'), (2, 7, NULL), (3, 0.5, NULL), (4, NULL, NULL)"
EQUAL = ("11.88", "'11.88'", "11.880", "'11.880'", "'0011.8800'", "1188e-2")


@pytest.fixture(params=["postgresql", "mysql"])
def pair(request: Any, new_on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    source, target = new_on(request.param, "source"), new_on("sqlite", "target")
    source.run_script(TABLE.format(moment={"postgresql": "timestamp", "mysql": "datetime"}[request.param]))
    source.run_script(ROWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNBOOK_SOURCE_PASSWORD", source.login.password)
    done = runbook("copy", source, target)
    assert done.exit_code == 0, done.output
    return source, target


def runbook(command: str, *sides: Any) -> Result:
    urls = [one.masked_url.replace(":***@", "@") for one in sides]
    done = CliRunner().invoke(main, [command, *urls, *(["--settle", "0"] if command == "compare" else [])])
    assert "Traceback" not in done.output
    return done


def test_equal_decimals_are_equal_however_sqlite_stores_them_and_more_digits_are_a_difference(pair: Any) -> None:
    source, target = pair
    for stored in EQUAL:
        target.execute(f"UPDATE t SET p = {stored} WHERE id = 1")
        same = runbook("compare", source, target)
        assert same.exit_code == 0, (stored, same.output)
    for more in ("11.8881", "'11.8801'", "11.88000000000001", "11.8849"):
        target.execute(f"UPDATE t SET p = {more} WHERE id = 1")
        found = runbook("compare", source, target)
        assert found.exit_code == 1, (more, found.output)
        lines = [line for line in found.output.splitlines() if "p differs" in line]
        assert len(lines) == 2, found.output  # the checksums and the sample
        assert all("(1)" in line or "1:" in line for line in lines), lines
        assert all(more.strip("'") in line for line in lines), lines


def test_more_of_a_second_than_declared_is_a_difference(pair: Any) -> None:
    source, target = pair
    target.execute("UPDATE t SET at = '2026-01-02 10:00:00.000' WHERE id = 1")
    assert runbook("compare", source, target).exit_code == 0
    for more in (".4", ".000001", ".0000001"):  # seven digits are no timestamp of any other engine
        target.execute(f"UPDATE t SET at = '2026-01-02 10:00:00{more}' WHERE id = 1")
        found = runbook("compare", source, target)
        assert found.exit_code == 1, (more, found.output)
        assert "at differs" in found.output, found.output


def test_a_decimal_of_many_declared_digits_is_read_as_it_was_stored() -> None:
    assert renderer("numeric(20,10)")(123456789.1) == "123456789.1000000000"  # %.10f prints …0999999940
