"""A row is found again by its key, whatever the key's type and however the sides write and sort it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import psycopg
import pytest
from estate_engines import assert_no_difference, moved

from runbook_lib.databases.postgresql.connection import explain
from runbook_lib.validation import Kind, validate
from runbook_lib.validation.comparison import compared_pair
from runbook_lib.validation.repair import repair

# Types whose text, as a row is read, is not what a cast gives; equal values of two texts; moments before year 1.
KEYS = {
    "boolean": ("true", "false"),
    "char(5)": ("'a'", "'b'"),
    "inet": ("'10.0.0.1'", "'10.0.0.2'"),
    '"char"': ("'a'", "'b'"),
    "numeric": ("1.0", "10"),
    "double precision": ("'-0'", "'NaN'"),
    "timestamptz": ("'0044-03-15 BC'", "'infinity'"),
    "pair": ("'(1,)'", "'(1,\"\")'"),
    "mood": ("'ok'", "'sad'"),
    "bytea": ("'\\x00'", "'\\x'"),
}


def make(database: Any, kind: str, moods: str) -> None:
    first, second = KEYS[kind]
    database.run_script(
        "CREATE TYPE pair AS (a integer, b text);"
        f"CREATE TYPE mood AS ENUM ({moods}); CREATE TABLE t (k {kind}, i integer, n integer, PRIMARY KEY (k, i));"
        f"INSERT INTO t SELECT k, i, i FROM (VALUES (CAST({first} AS {kind})), ({second})) AS v (k),"
        " generate_series(1, 9) AS i;"
    )


@pytest.mark.parametrize("under_writes", [True, False], ids=["under writes", "at rest"])
@pytest.mark.parametrize("kind", KEYS)
def test_a_row_is_named_whatever_the_type_of_its_key(database: Any, target: Any, kind: str, under_writes: bool) -> None:
    make(database, kind, "'ok', 'sad'")
    make(target, kind, "'sad', 'ok'")
    target.execute(f"UPDATE t SET n = 0 WHERE k = CAST({KEYS[kind][1]} AS {kind}) AND i = 7")
    links = compared_pair(database, target).links
    checks = ("row_counts", "data_sample", "checksums")
    report = validate(links, checks=checks, under_writes=under_writes, settle_s=0, chunk_rows=4)
    assert not any(result.errors for result in report.results), report.text
    for check in ("data_sample", "checksums"):
        found = [(m.kind, m.columns, m.key[1]) for m in report.result(check).mismatches]
        assert found == [(Kind.DIFFERENT, ("n",), 7)], report.text


# One key in each engine's own writing: of a single, a number, a moment, a padded text, a yes or no.
WRITTEN = {
    "postgresql": ("real", "numeric(9,3)", "timestamptz(3)", "char(5)", "boolean"),
    "mysql": ("float", "decimal(9,3)", "timestamp(3)", "char(5)", "tinyint(1)"),
    "sqlite": ("float4", "decimal(9,3)", "timestamptz(3)", "char(5)", "boolean"),
}
VALUES = ("'0.1'", "1.500", "'2020-01-01 00:00:00.120'", "'ab'", "1")
OWN = {
    ("postgresql", "boolean"): "true",
    ("sqlite", "float4"): "0.10000000149011612",
    ("sqlite", "timestamptz(3)"): "'2020-01-01 00:00:00.12+00'",
}
PAIRS = [pair for pair in product(WRITTEN, repeat=2) if pair != ("postgresql", "postgresql")]


@pytest.mark.parametrize("under_writes", [True, False], ids=["under writes", "at rest"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_two_engines_write_one_key_in_different_texts(new_on: Any, pair: tuple[str, str], under_writes: bool) -> None:
    source, target = new_on(pair[0], "source"), new_on(pair[1], "target")
    for number, kind in enumerate(WRITTEN[pair[0]]):
        value = OWN.get((pair[0], kind), VALUES[number])
        source.execute(
            f"CREATE TABLE t{number} (k {kind} NOT NULL, i integer NOT NULL, n integer, PRIMARY KEY (k, i))",
            f"INSERT INTO t{number} VALUES ({value}, 1, 1), ({value}, 2, 1)",
        )
    link = moved(source, target)
    assert_no_difference(link)
    target.execute(*(f"UPDATE t{number} SET n = 7 WHERE i = 2" for number in range(len(VALUES))))
    report = validate([link], checks=("data_sample", "checksums"), under_writes=under_writes, settle_s=0)
    for check in ("data_sample", "checksums"):
        found = [(m.table, m.kind, m.columns, int(m.key[1])) for m in report.result(check).mismatches]
        assert found == [(f"t{number}", Kind.DIFFERENT, ("n",), 2) for number in range(len(VALUES))], report.text


@pytest.mark.parametrize("under_writes", [True, False], ids=["under writes", "at rest"])
def test_a_row_that_is_not_found_again_by_its_key_is_told_by_its_hash(new_on: Any, under_writes: bool) -> None:
    source, target = new_on("sqlite", "source"), new_on("sqlite", "target")
    for database, rows in (
        (source, "('10:00', 1), ('11:00', 1), ('12:00', 1)"),
        (target, "('10:00', 2), ('11:00', 1)"),
    ):
        database.execute("CREATE TABLE t (k time NOT NULL PRIMARY KEY, n integer)", f"INSERT INTO t VALUES {rows}")
    report = validate(compared_pair(source, target).links, checks=("checksums",), under_writes=under_writes, settle_s=0)
    assert sorted(m.kind for m in report.mismatches) == [Kind.DIFFERENT, Kind.MISSING_ON_TARGET], report.text


def test_the_sample_and_the_checksums_give_one_answer_about_another_scale(database: Any, target: Any) -> None:
    for one, kind in ((database, "numeric(12,2)"), (target, "numeric(14,4)")):
        one.execute(f"CREATE TABLE t (id integer PRIMARY KEY, n {kind})", "INSERT INTO t VALUES (1, 5.25)")
    report = validate(compared_pair(database, target).links, under_writes=False)
    assert [result.check for result in report.results if result.mismatches] == ["schemas"], report.text


def test_a_table_that_somebody_holds_is_named_with_what_to_do(database: Any, target: Any) -> None:
    for one in (database, target):
        one.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    with target.raw() as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with target.raw() as other, pytest.raises(psycopg.errors.LockNotAvailable) as caught:
            other.execute("SET LOCAL lock_timeout = '10ms'")
            other.execute("SELECT * FROM t")
        holder.rollback()
    assert "Next: see who holds the table (pg_locks)" in str(explain("target", caught.value))


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
@pytest.mark.parametrize("under_writes", [False, True])
def test_a_row_that_a_target_without_the_key_has_twice_is_named(
    new_on: Callable[..., Any], engine: str, under_writes: bool
) -> None:
    """Both are found by their key, and both are equal to the source's."""
    source, target = new_on("postgresql", "source"), new_on(engine, "target")
    source.execute("CREATE TABLE t (id bigint PRIMARY KEY, v varchar(9))")
    target.execute("CREATE TABLE t (id bigint NOT NULL, v varchar(9))")
    for one in (source, target):
        one.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    links = compared_pair(source, target).links
    assert validate(links, checks=("checksums",), under_writes=under_writes, settle_s=0.1).passed
    target.execute("INSERT INTO t VALUES (2, 'b')")
    report = validate(links, checks=("checksums",), under_writes=under_writes, settle_s=0.1)
    [found] = report.mismatches
    assert (found.kind, found.key) == (Kind.DUPLICATE_ROWS, (2,))
    [text] = [line for line in repair(links[0], report).lines if line.startswith("not repairable")]
    assert "t: duplicate rows: 2 rows of this key" in text
    target.execute("DELETE FROM t WHERE id = 3")  # as many rows as before
    kinds = {m.kind for m in validate(links, checks=("checksums",), under_writes=False).mismatches}
    assert kinds == {Kind.DUPLICATE_ROWS, Kind.MISSING_ON_TARGET}
