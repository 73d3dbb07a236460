"""A row is found again by its key, whatever the key's type and however the sides write and sort it."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.validation import Kind, validate
from runbook_lib.validation.pair import pair_of

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
    links = pair_of(database, target).links
    checks = ("row_counts", "data_sample", "checksums")
    report = validate(links, checks=checks, under_writes=under_writes, settle_s=0, chunk_rows=4)
    assert not any(result.errors for result in report.results), report.text
    for check in ("data_sample", "checksums"):
        found = [(m.kind, m.columns, m.key[1]) for m in report.result(check).mismatches]
        assert found == [(Kind.DIFFERENT, ("n",), 7)], report.text
