"""A target's column that holds fewer digits than the source's: what was rounded away is a difference of the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runbook_lib.validation import validate
from runbook_lib.validation.comparison import compared_pair

# dialect → column: the source's type, the target's, a value that is kept, one that is rounded
COLUMNS = {
    "postgresql": {
        "amount": ("numeric(12,4)", "numeric(12,2)", "1.5", "1.2345"),
        "great": ("numeric(8,6)", "numeric(20,2)", "1.5", "1.234567"),
        "free": ("numeric", "numeric(12,2)", "1.50000", "1.505"),
        "whole": ("numeric(10,2)", "integer", "7", "1.5"),
        "at": ("timestamptz", "timestamptz(0)", "2024-01-01 00:00:07+00", "2024-01-01 00:00:00.2+00"),
        "local": ("timestamp(6)", "timestamp(3)", "2024-01-01 00:00:00.123", "2024-01-01 00:00:00.1234"),
        "hour": ("time", "time(0)", "10:00:00", "10:00:00.25"),
        "span": ("interval", "interval(0)", "1 day", "1.25 s"),
    },
    "mysql": {
        "amount": ("decimal(12,4)", "decimal(12,2)", "1.5", "1.2345"),
        "whole": ("decimal(10,2)", "int", "7", "1.5"),
        "at": ("datetime(6)", "datetime", "2024-01-01 00:00:07", "2024-01-01 00:00:00.25"),
        "hour": ("time(3)", "time", "10:00:00", "10:00:00.25"),
    },
}
COLUMNS["system postgresql"] = COLUMNS["postgresql"]
DATA = ("data_sample", "checksums")


def make(new_on: Callable[..., Any], engine: str, side: int, *rows: int) -> Any:
    """A database with these rows: 0 is kept by every column of the target's, 1 is rounded by each."""
    database, columns = new_on(engine, ("source", "target")[side]), COLUMNS[engine]
    listed = ", ".join(f"{name} {types[side]}" for name, types in columns.items())
    database.execute(f"CREATE TABLE t (id bigint PRIMARY KEY, {listed})")
    for row in rows:
        values = {name: each[2 + row] for name, each in columns.items()}
        given = ", ".join(value if name == "whole" else f"'{value}'" for name, value in values.items())
        database.execute(f"INSERT INTO t VALUES ({row}, {given})")
    return database


@pytest.mark.parametrize("engine", COLUMNS)
@pytest.mark.parametrize("checks", [("checksums",), ("data_sample",)])
def test_digits_that_the_target_has_rounded_away_are_differences(
    new_on: Any, engine: str, checks: tuple[str, ...]
) -> None:
    source, target = make(new_on, engine, 0, 0, 1), make(new_on, engine, 1, 0, 1)
    report = validate(compared_pair(source, target).links, checks=checks, under_writes=False)
    [found] = report.mismatches
    assert found.key == (1,)
    assert found.columns == tuple(COLUMNS[engine])


@pytest.mark.parametrize("engine", COLUMNS)
@pytest.mark.parametrize("sides", [(0, 1), (1, 0)])
def test_values_that_both_hold_are_equal_whichever_side_holds_fewer_digits(
    new_on: Any, engine: str, sides: tuple[int, int]
) -> None:
    source, target = (make(new_on, engine, side, 0) for side in sides)
    if sides == (1, 0) and engine != "mysql":  # a number of no scale keeps its zeros: 1.50 is copied as 1.50
        target.execute("UPDATE t SET free = 1.50")
    report = validate(compared_pair(source, target).links, checks=DATA, under_writes=False)
    assert report.passed, str(report.mismatches)


def test_between_two_versions_too(new_on: Any, servers: Any) -> None:
    source = make(new_on, "postgresql", 0, 0, 1)
    target = make(new_on, "system postgresql", 1, 0, 1)
    report = validate(compared_pair(source, target).links, checks=DATA, under_writes=False)
    assert {found.columns for found in report.mismatches} == {tuple(COLUMNS["postgresql"])}
