"""SQLite keeps any value in any column: a comparison names each as it is stored, and runs to its end."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from runbook_lib.cli import main
from runbook_lib.validation import validate
from runbook_lib.validation.comparison import compared_pair
from runbook_lib.validation.report.as_text import report_lines
from runbook_lib.validation.report.mismatches import Kind

DDL = """
CREATE TABLE half (id integer PRIMARY KEY, a real, b integer GENERATED ALWAYS AS (a * 1.5) STORED);
CREATE TABLE days (id integer PRIMARY KEY, at datetime, day date);
CREATE TABLE blobs (id integer PRIMARY KEY, body blob, t text, n integer, yes boolean);
CREATE TABLE keyed (at datetime PRIMARY KEY, v text) WITHOUT ROWID;
CREATE TABLE loose (at datetime, n integer);
"""
ROWS = """
INSERT INTO half (a) VALUES (1.0), (2.0), (3.3), (NULL);
INSERT INTO days VALUES (1, '2024-01-01 10:00:00', '2024-01-01'), (2, 2460310.5, 2460310.5), (3, 1704067200, NULL);
INSERT INTO blobs VALUES (1, x'00ff', 'a', 1, 1), (2, 'text', x'0102', 'abc', 'yes'),
  (3, 17, CAST(x'fe' AS text), 1.5, 2);
INSERT INTO keyed VALUES (2460310.5, 'a'), ('2024-01-01', 'b'), (x'00', 'c');
INSERT INTO loose VALUES (2460310.5, 'x'), (2460310.5, 'x'), ('2024-01-01 10:00:00', 1);
"""
CHANGES = {  # a change at the target → table, key, and what is said of the row
    "UPDATE half SET a = 4 WHERE id = 1": ("half", (1,), "a='1.0', b='1.5'"),
    "UPDATE days SET at = 2460311.5 WHERE id = 2": ("days", (2,), "2460310.5"),
    "UPDATE days SET at = '1704067200' WHERE id = 3": None,  # the column's affinity makes the same number of it
    "UPDATE blobs SET body = 'text ' WHERE id = 2": ("blobs", (2,), "text"),
    "UPDATE blobs SET body = x'74657874' WHERE id = 2": ("blobs", (2,), "text"),
    "UPDATE blobs SET body = '17' WHERE id = 3": ("blobs", (3,), "17"),
    "UPDATE blobs SET t = CAST(x'fd' AS text) WHERE id = 3": ("blobs", (3,), r"\xfe"),
    "UPDATE keyed SET v = 'z' WHERE at = 2460310.5": ("keyed", ("2460310.5",), "a"),
    "UPDATE keyed SET v = 'z' WHERE at = x'00'": ("keyed", (r"\x00",), "c"),
    "DELETE FROM keyed WHERE at = '2024-01-01'": ("keyed", ("2024-01-01",), ""),
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("source", "target"):
        with sqlite3.connect(f"{name}.db") as driver:
            driver.executescript(DDL + ROWS)
        driver.close()
    return tmp_path


def compare(target: str = "sqlite:///target.db") -> Result:
    done = CliRunner().invoke(main, ["compare", "sqlite:///source.db", target, "--settle", "0"])
    assert "could not run" not in done.output and "Traceback" not in done.output, done.output
    return done


def test_values_that_no_type_has_are_the_same_on_both_sides(files: Path) -> None:
    assert compare().exit_code == 0


@pytest.mark.parametrize("statement", CHANGES)
def test_a_change_of_such_a_value_is_named_with_its_key(files: Path, statement: str) -> None:
    with sqlite3.connect("target.db") as driver:
        driver.execute(statement)
    driver.close()
    done, expected = compare(), CHANGES[statement]
    if expected is None:
        assert done.exit_code == 0
        return
    table, key, said = expected
    assert done.exit_code == 1 and f"checksums of {table}: 1 " in done.output
    lines = [line for line in done.output.splitlines() if line.strip().startswith(f"key {key[0]}: ")]
    assert lines and all(said in line for line in lines), done.output


def test_of_another_engine_such_a_row_is_another_or_missing_and_named(files: Path, new_on: Any) -> None:
    source, target = new_on("sqlite", "source"), new_on("postgresql", "target")
    source.run_script(DDL + ROWS)
    target.run_script(
        "CREATE TABLE half (id bigint PRIMARY KEY, a double precision, b bigint);"
        "INSERT INTO half VALUES (1, 1, 2), (2, 2, 3), (3, 3.3, 5), (4, NULL, NULL);"
        "CREATE TABLE days (id bigint PRIMARY KEY, at timestamp, day date);"
        "INSERT INTO days VALUES (1, '2024-01-01 10:00', '2024-01-01'), (2, '2024-01-01', '2024-01-01');"
        "CREATE TABLE blobs (id bigint PRIMARY KEY, body bytea, t text, n bigint, yes boolean);"
        r"INSERT INTO blobs VALUES (1, '\x00ff', 'a', 1, true), (2, 'text', NULL, 0, true);"
        "CREATE TABLE keyed (at timestamp PRIMARY KEY, v text); INSERT INTO keyed VALUES ('2024-01-01', 'b');"
        "CREATE TABLE loose (at timestamp, n bigint); INSERT INTO loose VALUES ('2024-01-01 10:00', 1);"
    )
    report = validate(compared_pair(source, target).links, checks=("checksums",), under_writes=False)
    assert not any(result.errors for result in report.results), list(report_lines(report))
    found = {(m.table, *map(str, m.key), str(m.kind)) for m in report.mismatches if m.table != "loose"}
    assert found == {
        ("half", "1", Kind.DIFFERENT),
        ("half", "3", Kind.DIFFERENT),
        ("days", "2", Kind.DIFFERENT),
        ("days", "3", Kind.MISSING_ON_TARGET),
        ("blobs", "2", Kind.DIFFERENT),
        ("blobs", "3", Kind.MISSING_ON_TARGET),
        ("keyed", "2460310.5", Kind.MISSING_ON_TARGET),
        ("keyed", r"\x00", Kind.MISSING_ON_TARGET),
    }
    [lost] = [m for m in report.mismatches if m.table == "loose"]
    assert lost.times == (2, 0) and "2460310.5" in lost.text
