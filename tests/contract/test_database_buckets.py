"""A key falls into the same bucket on every engine, so that unequal buckets hold the rows that differ."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.databases import canonical as values
from runbook_lib.databases import sqlite
from runbook_lib.databases.port import Buckets, KeyRange, Selection

ROWS = [(number, f"wörd {number % 7}", number % 3 - 1) for number in range(-20, 41)]
TABLES = {
    "numbers": (("id",), ("id", "word"), ("bigint", "text")),
    "words": (("word", "id"), ("word", "id", "n"), ("text", "bigint", "integer")),
}


@pytest.fixture
def engines(new_on: Callable[..., Any], tmp_path: Path) -> list[Any]:
    """The same rows on all three."""
    made = [new_on("postgresql", "source"), new_on("mysql", "source")]
    sqlite3.connect(tmp_path / "source.db").close()
    made.append(sqlite.open_database("source", f"sqlite:///{tmp_path}/source.db"))
    for one in made:
        text = "varchar(20)" if one.dialect == "mysql" else "text"
        one.execute(f"CREATE TABLE numbers (id bigint PRIMARY KEY, word {text})")
        one.execute(f"CREATE TABLE words (word {text}, id bigint, n integer, PRIMARY KEY (word, id))")
        one.execute("INSERT INTO numbers VALUES " + ", ".join(f"({i}, '{w}')" for i, w, _ in ROWS))
        one.execute("INSERT INTO words VALUES " + ", ".join(f"('{w}', {i}, {n})" for i, w, n in ROWS))
    return made


@pytest.mark.parametrize("table", TABLES)
def test_buckets_are_alike_on_every_engine_and_make_up_the_whole(engines: list[Any], table: str) -> None:
    key, columns, types = TABLES[table]
    whole, count = KeyRange(0), 8
    kinds = [types[columns.index(name)] for name in key]
    bucketed = []
    for one in engines:
        names = tuple(one.quote(name) for name in columns)
        selection = Selection(one.quote(table), tuple(one.quote(name) for name in key), names)
        sums = one.bucket_sums(selection, types, whole, count, canonical=True)
        [total] = one.range_sums(selection, types, [whole], canonical=True)
        assert sum(each.rows for each in sums.values()) == total.rows == len(ROWS)
        assert sum(int(each.digest) for each in sums.values()) == int(total.digest)
        bucketed.append(sums)
        chosen = Buckets(count, (1, 6))
        found = one.row_sums(selection, types, whole, canonical=True, within=chosen)
        every = one.row_sums(selection, types, whole, canonical=True)
        assert found == {k: v for k, v in every.items() if values.bucket_of(k, kinds, count) in chosen.chosen}
        own = one.bucket_sums(selection, types, whole, count, canonical=False)
        [own_total] = one.range_sums(selection, types, [whole], canonical=False)
        assert sum(int(each.digest) for each in own.values()) == int(own_total.digest)
    assert bucketed[0] == bucketed[1] == bucketed[2]
    assert len(bucketed[0]) == count


@pytest.mark.parametrize("canonical", [True, False])
def test_rows_without_a_key_are_bucketed_by_their_hash_and_cut_finer(engines: list[Any], canonical: bool) -> None:
    whole, types, found = KeyRange(0), ("bigint", "text", "json"), []
    for one in engines:
        docs = {"mysql": "json", "sqlite": "json"}.get(one.dialect, "jsonb")
        one.execute(
            f"CREATE TABLE log (at bigint, what {'longtext' if one.dialect == 'mysql' else 'text'}, doc {docs})"
        )
        words = [None if i == 7 else f"wörd {i}" for i in range(30)]
        rows = [(i % 30, f"'{words[i % 30]}'" if words[i % 30] else "NULL", "'[1.50]'") for i in range(45)]
        one.execute(f"INSERT INTO log VALUES {', '.join(f'({i}, {w}, {d})' for i, w, d in rows)}")
        selection = Selection(one.quote("log"), (), tuple(one.quote(name) for name in ("at", "what", "doc")))
        how = {"canonical": canonical}
        sums = one.bucket_sums(selection, types, whole, 8, **how)
        [total] = one.range_sums(selection, types, [whole], **how)
        assert (sum(each.rows for each in sums.values()), sum(int(each.digest) for each in sums.values())) == (
            45,
            int(total.digest),
        )
        chosen = Buckets(8, tuple(sorted(sums))[:3])
        finer = one.bucket_sums(selection, types, whole, 32, within=chosen, **how)
        assert {bucket & 7 for bucket in finer} <= set(chosen.chosen)
        assert sum(each.rows for each in finer.values()) == sum(sums[bucket].rows for bucket in chosen.chosen)
        every = one.row_sums(selection, types, whole, **how)
        assert sorted(every.values()) == ["1"] * 15 + ["2"] * 15
        listed = one.row_sums(selection, types, whole, within=chosen, **how)
        assert listed.items() <= every.items()
        assert sum(map(int, listed.values())) == sum(each.rows for each in finer.values())
        examples = one.rows_hashed(selection, types, [digest for (digest,) in list(every)], **how)
        alike = sorted((int(each.row[0]), each.row[1], each.count) for each in examples.values())
        assert alike == [(i, word, 2 if i < 15 else 1) for i, word in enumerate(words)]
        found.append((sums, every))
    if canonical:
        assert found[0] == found[1] == found[2]
