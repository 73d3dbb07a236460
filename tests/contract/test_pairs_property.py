"""Tables and rows that nobody thinks of, of every type that all engines have: moved over and back, the same as before.

RUNBOOK_TEST_EXAMPLES=500 tries so many new ones on each of all nine pairs, and makes what fails smaller.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count, product
from string import printable
from typing import Any

import pytest
from estate_engines import moved
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from runbook_lib.databases import copy_text
from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.validation import validate

_LETTERS = st.one_of(
    st.sampled_from("\t\n\r\\N%:'\"`\b\f\v\x01\x7f\x85é\u0301"),
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    st.sampled_from(printable),
)  # fmt: skip
# MySQL refuses the usual text of the largest single, by name: it lies above it.
_SINGLES = st.floats(allow_nan=False, allow_infinity=False, width=32).filter(lambda value: abs(value) < 3.4e38)
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


def _scaled(number: int, digits: int) -> str:
    whole, rest = divmod(abs(number), 10**digits)
    return f"{'-' if number < 0 else ''}{whole}.{rest:0{digits}d}"


def _single(value: float) -> str:
    """The shortest text that is this value, as PostgreSQL prints it."""
    return next(text for digits in range(1, 10) if _same_single(text := f"{value:.{digits}g}", value))


def _same_single(text: str, value: float) -> bool:
    try:
        return bool(struct.pack("f", float(text)) == struct.pack("f", value))
    except OverflowError:
        return False


def _instant(milliseconds: int) -> str:
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=milliseconds)
    return _short(str(moment)) + "+00"


# Kind → types of PostgreSQL, MySQL and SQLite, and values as PostgreSQL prints them.
KINDS: dict[str, tuple[str, str, str, st.SearchStrategy[str]]] = {
    "small": ("smallint", "smallint", "smallint", _integers(16)),
    "middle": ("integer", "int", "int4", _integers(32)),
    "large": ("bigint", "bigint", "bigint", _integers(64)),
    "exact": ("numeric(30,6)", "decimal(30,6)", "decimal text(30,6)",
              st.integers(-(10**30) + 1, 10**30 - 1).map(lambda n: _scaled(n, 6))),
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
    "single": ("real", "float", "float4", _SINGLES.map(_single)),
    "padded": ("char(5)", "char(5)", "char(5)", st.text(_LETTERS, max_size=5).map(lambda text: text.rstrip(" "))),
    "instant": ("timestamptz(3)", "timestamp(3)", "timestamptz(3)", st.integers(10**3, 2 * 10**12).map(_instant)),
    "rough": ("numeric(10,2)", "decimal(10,2)", "decimal(10,2)",
              st.integers(-(10**10) + 1, 10**10 - 1).map(lambda n: _scaled(n, 2))),
}  # fmt: skip
ENGINES = ("postgresql", "mysql", "sqlite")
# Kinds that may be a key, and a default of each, as the three write it.
KEYS = {
    "small": "7", "middle": "-7", "large": "9007199254740993", "short": "'it''s'", "day": "'2020-02-29'", "code": "",
    "moment": "'2020-02-29 01:02:03'", "rough": "1.50",
}  # fmt: skip
NAMES = (
    "Select", "order", "größe", "Mixed Case", 'a "b', "tick`", "100%s", "semi;colon", "it's", "日本", "a:b", "x?",
    "RANK", "value", "Ω", "(", "2B", "-- x", "/*", "a, b", "y" * 60, '"key"', "park.key",
)  # fmt: skip
TABLES = NAMES[:-2]
EXAMPLES = int(os.environ.get("RUNBOOK_TEST_EXAMPLES", "0"))
SOME = [("postgresql", "mysql"), ("mysql", "sqlite"), ("sqlite", "postgresql")]
PAIRS = list(product(ENGINES, repeat=2)) if EXAMPLES else SOME
_PARSED: dict[str, Callable[[str], Any]] = {
    "double": lambda text: float(text) + 0.0,  # a zero has no sign any more
    "single": lambda text: struct.unpack("f", struct.pack("f", float(text)))[0] + 0.0,
    "exact": Decimal, "rough": Decimal, "padded": lambda text: text.rstrip(" "),
    "instant": lambda text: text.removesuffix("+00"),
    "document": lambda text: json.dumps(json.loads(text), sort_keys=True),
}  # fmt: skip
_numbers = count(1)


@dataclass(frozen=True)
class Made:
    """A table: columns with their kinds, which of them are the key, the index, have a default, and its rows."""

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[int, ...]
    index: tuple[int, ...]
    defaults: frozenset[int]
    rows: tuple[tuple[str | None, ...], ...]


# What was found once: a key that is no counter became SQLite's row number; MySQL prints a default's fraction.
FOUND = Made("found", (("id", "middle"), ("at", "moment")), (0,), (), frozenset([1]), (("1", None),))


@st.composite
def tables(draw: st.DrawFn) -> Made:
    """Any of them; keys are unique under every collation, those that pad with spaces too."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=8))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=len(kinds), max_size=len(kinds), unique_by=str.casefold))
    able = [i for i, kind in enumerate(kinds) if kind in KEYS]
    some = st.lists(st.sampled_from(able), max_size=3, unique=True) if able else st.just([])
    key, index = draw(some), draw(some)
    values = [KINDS[kind][3] if i in key else st.none() | KINDS[kind][3] for i, kind in enumerate(kinds)]
    unique = (lambda row: tuple((row[i] or "").rstrip(" ") for i in key)) if key else None
    rows = draw(st.lists(st.tuples(*values), max_size=8, unique_by=unique))
    defaults = frozenset(i for i in able if KEYS[kinds[i]] and draw(st.booleans()))
    columns = tuple(zip(names, kinds, strict=True))
    name = f"{draw(st.sampled_from(TABLES))[:50]}{next(_numbers)}"
    return Made(name, columns, tuple(key), tuple(index), defaults, tuple(rows))


def make(database: Any, table: Made) -> None:
    """The table, filled through the adapter itself."""
    position, ident = ENGINES.index(database.dialect), database.ident
    lines = [
        f"{ident(name)} {KINDS[kind][position]}{' NOT NULL' if i in table.key else ' NULL'}"
        + (f" DEFAULT {KEYS[kind]}" if i in table.defaults else "")
        for i, (name, kind) in enumerate(table.columns)
    ]
    listed = [", ".join(ident(table.columns[i][0]) for i in chosen) for chosen in (table.key, table.index)]
    lines += [f"PRIMARY KEY ({listed[0]})"] if table.key else []
    options = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if database.dialect == "mysql" else ""
    database.execute(f"CREATE TABLE {database.quote(table.name)} ({', '.join(lines)}){options}")
    if table.index:
        database.execute(f"CREATE INDEX {ident('i' + table.name)} ON {database.quote(table.name)} ({listed[1]})")
    names = [name for name, _ in table.columns]
    database.copy_in(table.name, names, copy_text.encode(table.rows), binary=False)


def read(database: Any, table: Made) -> list[tuple[Any, ...]]:
    """Every row in its neutral text; where engines print one value in several ways, the value."""
    names = tuple(database.ident(name) for name, _ in table.columns)
    blocks = database.copy_out(Selection(database.quote(table.name), (), names), KeyRange(0), binary=False)
    return sorted(_values(table, row) for row in copy_text.decode(blocks))


def _values(table: Made, row: tuple[str | None, ...]) -> tuple[Any, ...]:
    kinds = [kind for _, kind in table.columns]
    return tuple("" if v is None else repr(_PARSED.get(kind, str)(v)) for kind, v in zip(kinds, row, strict=True))


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_any_table_and_its_rows_come_back_as_they_were(new_on: Any, pair: tuple[str, str]) -> None:
    source, there, again = new_on(pair[0], "source"), new_on(pair[1], "there"), new_on(pair[0], "again")

    @settings(
        max_examples=EXAMPLES or 4,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=not EXAMPLES,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
    )
    @example(FOUND)
    @given(tables())
    def check(table: Made) -> None:
        table = replace(table, name=f"{table.name}_{next(_numbers)}")  # what failed before is still there
        make(source, table)
        before = read(source, table)
        assert before == sorted(_values(table, row) for row in table.rows)
        for link in (moved(source, there, (table.name,)), moved(there, again, (table.name,))):
            report = validate([link], under_writes=False)
            assert report.passed, report.text
        assert read(again, table) == before
        for database in (source, there, again):
            database.drop_tables([table.name])

    check()
