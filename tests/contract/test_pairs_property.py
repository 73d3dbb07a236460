"""Rows that nobody thinks of, of every type that all engines have: moved over and back, and the same as before."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from itertools import count
from string import printable
from typing import Any

import pytest
from estate_engines import assert_no_difference, moved
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.files import copytext

_LETTERS = st.one_of(
    st.sampled_from("\t\n\r\\N%:'\"`\b\f\v\x01\x7f\x85é\u0301"),
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    st.sampled_from(printable),
)  # fmt: skip
_DAYS = st.dates(dt.date(1000, 1, 1))
_TIMES = st.times().map(lambda moment: moment.isoformat())
_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(_LETTERS, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(_LETTERS, max_size=3), inner, max_size=3),
    max_leaves=4,
)


def _short(text: str) -> str:
    """A moment without the zeros that PostgreSQL does not print."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _integers(bits: int) -> st.SearchStrategy[str]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(str)


# Kind → types of PostgreSQL, MySQL and SQLite, and values as PostgreSQL prints them.
KINDS: dict[str, tuple[str, str, str, st.SearchStrategy[str]]] = {
    "small": ("smallint", "smallint", "smallint", _integers(16)),
    "middle": ("integer", "int", "int4", _integers(32)),
    "large": ("bigint", "bigint", "bigint", _integers(64)),
    "exact": ("numeric(30,6)", "decimal(30,6)", "decimal text(30,6)",
              st.integers(-(10**30) + 1, 10**30 - 1).map(lambda n: format(Decimal(n).scaleb(-6), "f"))),
    "double": ("double precision", "double", "double precision",
               st.floats(allow_nan=False, allow_infinity=False).map(repr)),
    "words": ("text", "longtext", "text", st.text(_LETTERS, max_size=30)),
    "short": ("varchar(20)", "varchar(20)", "varchar(20)", st.text(_LETTERS, max_size=20)),
    "bytes": ("bytea", "longblob", "blob", st.binary(max_size=20).map(lambda raw: "\\x" + raw.hex())),
    "flag": ("boolean", "tinyint(1)", "boolean", st.sampled_from("tf")),
    "day": ("date", "date", "date", _DAYS.map(str)),
    "moment": ("timestamp(6)", "datetime(6)", "timestamp(6)",
               st.tuples(_DAYS.map(str), _TIMES).map(lambda pair: _short(" ".join(pair)))),
    "hour": ("time(6)", "time(6)", "time(6)", _TIMES.map(_short)),
    "code": ("uuid", "char(36)", "uuid", st.uuids().map(str)),
    "document": ("jsonb", "json", "json text", _DOCUMENTS.map(json.dumps)),
}  # fmt: skip
ENGINES = ("postgresql", "mysql", "sqlite")
ROWS = st.lists(st.tuples(*(st.none() | kind[3] for kind in KINDS.values())), max_size=8)
_PARSED = {"double": float, "document": lambda text: json.dumps(json.loads(text), sort_keys=True), "exact": Decimal}
_numbers = count(1)


def make(database: Any, table: str, rows: list[tuple[str | None, ...]]) -> None:
    """A table with a column of each kind, filled through the adapter itself."""
    position = ENGINES.index(database.dialect)
    columns = ", ".join(f"{database.quote(name)} {kind[position]}" for name, kind in KINDS.items())
    options = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if database.dialect == "mysql" else ""
    database.execute(f"CREATE TABLE {table} (id integer PRIMARY KEY, {columns}){options}")
    numbered = [(str(number), *row) for number, row in enumerate(rows)]
    database.copy_in(table, ("id", *KINDS), copytext.encode(numbered), binary=False)


def read(database: Any, table: str) -> list[tuple[Any, ...]]:
    """Every row in its neutral text; where engines print one value in several ways, the value."""
    names = tuple(database.quote(name) for name in ("id", *KINDS))
    blocks = database.copy_out(Selection(table, names[:1], names), KeyRange(0), binary=False)
    return sorted(_values(row) for row in copytext.decode(blocks))


def _values(row: tuple[str | None, ...]) -> tuple[Any, ...]:
    named = zip(("id", *KINDS), row, strict=True)
    return tuple(None if v is None else repr(_PARSED.get(name, str)(v)) for name, v in named)


@pytest.mark.parametrize("pair", [("postgresql", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgresql")], ids="-".join)
def test_any_row_comes_back_as_it_was(new_on: Any, pair: tuple[str, str]) -> None:
    source, there, again = new_on(pair[0], "source"), new_on(pair[1], "there"), new_on(pair[0], "again")

    @settings(
        max_examples=4,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(ROWS)
    def check(rows: list[tuple[str | None, ...]]) -> None:
        table = f"t{next(_numbers)}"
        make(source, table, rows)
        before = read(source, table)
        assert before == sorted(_values((str(number), *row)) for number, row in enumerate(rows))
        assert_no_difference(moved(source, there, (table,)))
        assert_no_difference(moved(there, again, (table,)))
        assert read(again, table) == before

    check()
