"""A database with much of what MariaDB has, to each engine: nothing is lost, and what cannot go is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runbook_lib.errors import TransferError
from runbook_lib.operations.copy_database import clone
from runbook_lib.operations.pair import How, pair_of
from runbook_lib.validation import validate


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_how_mariadb_keeps_a_column_is_no_part_of_its_type(new_on: Callable[..., Any], engine: str) -> None:
    source, target = new_on("mysql", "source"), new_on(engine, "target")
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a text COMPRESSED, b varchar(500) COMPRESSED, c blob COMPRESSED)",
        "INSERT INTO t VALUES (1, repeat('a', 500), 'b', x'00ff')",
    )
    assert clone(pair_of(source, target), How()).rows == 1
    assert target.rows("SELECT length(a), b, c FROM t") == [(500, "b", b"\x00\xff")]


def test_a_date_told_to_be_a_text_is_one_also_without_its_month(new_on: Callable[..., Any]) -> None:
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    with source.raw() as driver, driver.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, d date, told date)")
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute("INSERT INTO t VALUES (1, '0000-00-00', '2024-00-00')")
        cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES'")
    types = {"zero_dates": "null", "t.told": "text"}
    clone(pair_of(source, target, types=types), How())
    assert target.rows("SELECT d, told FROM t") == [(None, "2024-00-00")]


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_values_of_sqlite_that_a_server_will_refuse_are_named_with_their_keys_before_anything_is_made(
    new_on: Callable[..., Any], engine: str
) -> None:
    source, target = new_on("sqlite", "source"), new_on(engine, "target")
    source.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, n int, s varchar(3), j json, b boolean)",
        "INSERT INTO t VALUES (1, 9223372036854775807, 'abc', '{}', 'true')",
        "INSERT INTO t VALUES (7, 9223372036854775808, 'abcd', 'x', 2)",
        "CREATE TABLE o (k text PRIMARY KEY, v int)",
        "INSERT INTO o VALUES (NULL, 1), ('a', 2)",
    )
    said = list[str]()
    with pytest.raises(TransferError, match="nothing was done"):
        clone(pair_of(source, target), How(), said.append)
    assert target.tables() == []
    assert "  t.n: 1 values that are no integer: the target will refuse the rows (7)" in said
    assert "  t.s: 1 texts of more than 3 characters: the target will refuse the rows (7)" in said
    assert "  t.j: 1 values that are no json: the target will refuse the rows (7)" in said
    assert "  t.b: 1 values that are no boolean: the target will refuse the rows (7)" in said
    assert "  o.k: 1 NULLs where the target takes none: the target will refuse them" in said
    told = {"t.n": "decimal(30,0)", "t.s": "text", "t.j": "text", "t.b": "text"}
    assert clone(pair_of(source, target, ["t"], types=told), How(tables=("t",))).rows == 2
    assert target.rows("SELECT s, j FROM t WHERE id = 7") == [("abcd", "x")]


def test_a_fresh_copy_of_sets_and_fixed_moments_is_the_same(new_on: Callable[..., Any]) -> None:
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    source.execute(
        "CREATE TABLE t (id int PRIMARY KEY, s set('x','y z','w') NOT NULL DEFAULT 'x',"
        " a timestamp NOT NULL DEFAULT '2000-01-01 00:00:00', b timestamp(3) NOT NULL DEFAULT '2000-01-01 00:00:00.5')",
        "INSERT INTO t (id) VALUES (1)",
    )
    pair = pair_of(source, target)
    clone(pair, How())
    assert validate([pair.forward]).passed, validate([pair.forward]).mismatches
    target.execute("ALTER TABLE t ALTER a SET DEFAULT '2000-01-01 00:00:01+00'")
    assert [m.text for m in validate([pair.forward]).mismatches] != []


def test_a_key_over_a_period_is_said_to_be_weaker_elsewhere_and_compared_within_mariadb(
    new_on: Callable[..., Any],
) -> None:
    source, target = new_on("mysql", "source"), new_on("postgresql", "target")
    twin = new_on("mysql", "twin")
    source.execute(
        "CREATE TABLE t (id int, f date, u date, PERIOD FOR validity (f, u),"
        " PRIMARY KEY (id, validity WITHOUT OVERLAPS))",
        "INSERT INTO t VALUES (1, '2024-01-01', '2024-02-01')",
    )
    said = list[str]()
    clone(pair_of(source, target), How(), said.append)
    assert any("WITHOUT OVERLAPS" in line for line in said), said
    assert validate([pair_of(source, target).forward]).passed
    pair = pair_of(source, twin)
    clone(pair, How())
    assert validate([pair.forward]).passed
    twin.execute("ALTER TABLE t DROP PRIMARY KEY", "ALTER TABLE t ADD PRIMARY KEY (id, u, f)")
    [mismatch] = validate([pair.forward]).mismatches
    assert "WITHOUT OVERLAPS" in str(mismatch.source_value)
