"""Faults on every pair of engines: each check says what docs/validation-matrix.md shows, and the SQL repairs it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import estate_matrix as matrix
import psycopg
import pytest
from estate_sqlite import new_database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbook_lib.databases.port import Database
from runbook_lib.validation import DATA, Report, validate
from runbook_lib.validation.report.repair_script import repair_scripts

SCHEMAS = ("schemas", "indexes", "constraints")
Make = Callable[[str, str], Any]


@pytest.fixture
def make(new_on: Callable[..., Any], tmp_path: Path) -> Make:
    """Databases of any engine, by engine and name."""
    return lambda engine, name: new_database(tmp_path, name) if engine == "sqlite" else new_on(engine, name)


@pytest.fixture(params=matrix.PAIRS, ids="-".join)
def pair(request: Any, make: Make) -> tuple[Database, Database]:
    """A source, and a target to which it was moved."""
    source, target = make(request.param[0], "source"), make(request.param[1], "target")
    matrix.fill(source)
    matrix.move(source, target)
    return source, target


def test_the_document_shows_the_faults() -> None:
    path = Path(__file__).parents[2] / "docs" / "validation-matrix.md"
    assert path.read_text() == matrix.document(), (
        "PYTHONPATH=. python tests/estate_matrix.py > docs/validation-matrix.md"
    )


def test_each_fault_is_named_and_nothing_else_and_mended(pair: tuple[Database, Database]) -> None:
    source, target = pair
    report = look(source, target)
    assert report.passed and not report.in_flight, report.text
    planted(target, matrix.ROWS)
    assert said(look(source, target)) == matrix.expected(matrix.ROWS, target.dialect)
    planted(target, matrix.SCHEMA)
    report = look(source, target, SCHEMAS)
    assert said(report) == matrix.expected(matrix.SCHEMA, target.dialect)
    assert all(m.mend for m in report.mismatches), report.text
    assert not [m for m in report.mismatches if "(>=" in m.source_value + m.text]  # in words a person writes
    mended(target, report)
    report = look(source, target, SCHEMAS)
    assert report.passed, [(str(m), m.mend) for m in report.mismatches]


def mended(target: Any, report: Report) -> None:
    """The report's script, pasted as it is."""
    [script] = repair_scripts(report).values()
    if target.dialect == "sqlite":
        with closing(sqlite3.connect(target.path)) as driver:
            driver.executescript(f"PRAGMA foreign_keys = ON;\n{script}")  # as an application's own connection has it
    elif target.dialect == "mysql":
        target.run_script(script)
    else:
        for statement in "\n".join(line for line in script.splitlines() if line[:2] != "--").split(";\n"):
            carry_out(target, statement)


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
HOSTILE = st.sampled_from(
    ["", " ", "a ", "A", "ä", "a\u0308", "ß", "\\N", "\\.", "'\t\"\n\r", "null", "NULL", "0x0", "😀", "\ufffd"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)
ROW = st.fixed_dictionaries(
    {
        "note": st.none() | TEXTS | HOSTILE,
        "doc": st.none() | JSON.map(lambda value: json.dumps(value, ensure_ascii=False)),
        "photo": st.none() | st.binary(max_size=6),
        "seen": st.none()
        | st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)).map(lambda at: f"{at:%Y-%m-%d %H:%M:%S}+00"),
        "price": st.decimals(0, 10**9, places=2),
        "weight": st.none() | st.decimals(-(10**6), 10**6, places=3),
        "qty": st.none() | st.integers(0, 100_000),
        "ratio": st.none() | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
        "active": st.booleans(),
        "born": st.none() | st.dates(date(1000, 1, 1)).map(str),
    }
)


@settings(max_examples=2, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(ROW, min_size=10, max_size=25))
def test_equal_hostile_rows_give_no_false_alarm(pair: tuple[Database, Database], rows: list[dict[str, Any]]) -> None:
    source, target = pair
    for database in pair:
        database.execute("DELETE FROM line", "DELETE FROM item", "DELETE FROM log")
    matrix.put(source, "item", [matrix.item(number, **row) for number, row in enumerate(rows, 1)])
    again(source, target)
    report = look(source, target, DATA)
    assert report.passed and not report.in_flight, [(str(m), m.source_value, m.target_value) for m in report.mismatches]
    assert report.result("checksums").figures["shop.item"]["rows"] == len(rows)


def again(source: Database, target: Database) -> None:
    """The rows carried over key by key, as the sync does it."""
    [link] = matrix.links(source, target)
    for flow in link.flows:
        if flow.key:
            for key_range in source.ranges(flow.reading, 1000):
                sums = source.row_sums(flow.reading, flow.types, key_range, canonical=True)
                rows = source.read_rows(flow.reading, list(sums))
                target.apply_rows(flow.table, flow.key, flow.columns, list(sums), rows)


def planted(target: Database, faults: tuple[matrix.Fault, ...]) -> None:
    for fault in faults:
        if target.dialect in fault.where:
            fault.plant(target)


def look(source: Database, target: Database, checks: tuple[str, ...] = matrix.ALL) -> Report:
    report = validate(matrix.links(source, target), checks=checks, under_writes=False, sequences=True)
    assert not any(result.errors for result in report.results), report.text
    return report


def said(report: Report) -> set[tuple[Any, ...]]:
    return {
        (
            m.check,
            m.kind,
            m.table,
            () if m.kind in matrix.WHOLE or m.table not in matrix.KEYS else tuple(map(str, m.key)) or m.columns,
        )
        for m in report.mismatches
    }


def carry_out(target: Any, sql: str) -> None:
    """As somebody would in the engine's own client: every statement by itself, outside a transaction."""
    if target.dialect != "postgresql":
        target.run_script(f"{sql};")
        return
    with psycopg.connect(target.login.conninfo(password=target.login.password), autocommit=True) as connection:
        for statement in sql.split(";\n"):
            connection.execute(statement)
