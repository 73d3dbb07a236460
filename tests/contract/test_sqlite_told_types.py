"""A declared type is how SQLite's values are read: other programs' times arrive, and bad ones are named."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.databases.sqlite.override_reading import read_as
from runbook_lib.errors import TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.validation import validate
from runbook_lib.validation.comparison import compared_pair as compared

LOCAL, INSTANT = "timestamp without time zone", "timestamp with time zone"


@pytest.mark.parametrize(
    ("value", "kind", "unit", "read"),
    [
        ("2024-01-02 15:04:05.999999999 +0000 UTC", INSTANT, "", "2024-01-02 15:04:06+00"),
        ("2024-01-02 15:04:05.5 +0200 CEST m=+0.01", INSTANT, "", "2024-01-02 13:04:05.5+00"),
        ("2024-06-25 14:34:38.574204593+10:00", LOCAL, "", "2024-06-25 04:34:38.574205"),
        ("2024-06-25T04:34Z", INSTANT, "", "2024-06-25 04:34:00+00"),
        ("2024-06-25", INSTANT, "", "2024-06-25 00:00:00+00"),
        ("2024-01-02 15:04:05 -0700 MST", INSTANT, "", "2024-01-02 22:04:05+00"),
        (1647950409737, INSTANT, "milliseconds", "2022-03-22 12:00:09.737+00"),
        ("1647950409.5", LOCAL, "seconds", "2022-03-22 12:00:09.5"),
        (638395974451234567, LOCAL, "ticks", "2023-12-31 05:30:45.123457"),
        (-1, LOCAL, "seconds", "1969-12-31 23:59:59"),
        (1647950409737, LOCAL, "", 1647950409737),  # never a guess
        ("2024-02-30 10:00:00", LOCAL, "", "2024-02-30 10:00:00"),
        ("soon", INSTANT, "", "soon"),
        (10**30, LOCAL, "seconds", 10**30),
        (b"\x00", LOCAL, "", b"\x00"),
        (None, LOCAL, "", None),
        ("2024-06-25T00:00:00Z", "date", "", "2024-06-25"),
        ("2024-06-25 10:00:00", "date", "", "2024-06-25 10:00:00"),
        (5, "text", "", "5"),
        ("005", "bigint", "", 5),
    ],
)
def test_values_are_read_by_declared_rules_or_left_as_they_are(value: Any, kind: str, unit: str, read: Any):
    assert read_as(value, kind, unit) == read


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_times_of_go_dotnet_and_prisma_are_moved_and_compared_where_their_type_is_told(engine: str, new_on: Any):
    source, target = new_on("sqlite", "source"), new_on(engine, "target")
    source.execute(
        "CREATE TABLE go (id INTEGER PRIMARY KEY, at DATETIME NOT NULL)",
        "INSERT INTO go VALUES (1, '2024-06-25 14:34:38.574204593+10:00'), (2, '2024-06-25T04:34:38Z')",
        "CREATE TABLE prisma (id INTEGER PRIMARY KEY, at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        "INSERT INTO prisma VALUES (1, 1647950409737), (2, '2024-01-01 10:00:00')",
    )
    told = {"go.at": "timestamp with time zone", "prisma.at": "timestamp from milliseconds"}
    if engine == "mysql":
        told = {"go.at": "datetime(6)", "prisma.at": "datetime(6) from milliseconds"}
    with pytest.raises(
        TransferError, match=r"values that are no timestamp.* rows \(1\).*nothing was done.*from seconds"
    ):
        clone(pair_of(source, target), How())
    assert target.tables() == []
    clone(pair_of(source, target, types=told), How())
    pair = compared(source, target)  # it knows what the copy was given
    assert dict(pair.types) == told
    report = validate(pair.links, types=pair.types, catalogs=pair.catalogs, under_writes=False)
    assert report.passed, report.text
    shown = "SELECT CAST(at AS char(19)) FROM {} ORDER BY id"
    assert target.rows(shown.format("prisma")) == [("2022-03-22 12:00:09",), ("2024-01-01 10:00:00",)]
    assert target.rows(shown.format("go")) == [("2024-06-25 04:34:38",)] * 2
    target.execute("UPDATE prisma SET at = '2022-03-22 12:00:10' WHERE id = 1")
    assert not validate(pair.links, types=pair.types, under_writes=False).passed


def test_what_is_in_no_known_form_is_named_with_its_key(new_on: Any):
    source, target = new_on("sqlite", "source"), new_on("postgresql", "target")
    source.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME)", "INSERT INTO t VALUES (7, 'soon'), (8, 5)")
    with pytest.raises(TransferError, match=r"2 values that are no timestamp.* \(7\), \(8\)"):
        clone(pair_of(source, target, types={"t.at": "timestamp"}), How())
