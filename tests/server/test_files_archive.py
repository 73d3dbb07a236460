"""Archives: COPY's text format there and back, and tables that are read back equal or not relied upon."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from contract_estate import HOSTILE_ROWS, HOSTILE_SCHEMA, TABLES, selection
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.backup.archive import archive_table, read_archive
from runbook_lib.databases import copy_text
from runbook_lib.errors import TransferError

FIELD = st.none() | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")) | st.just("\\N")
ROWS = st.lists(st.lists(FIELD, min_size=3, max_size=3).map(tuple))


@given(rows=ROWS, cut=st.integers(1, 50))
def test_rows_survive_the_text_format_wherever_blocks_are_cut(rows: list[copy_text.Row], cut: int) -> None:
    whole = b"".join(copy_text.encode(rows))
    blocks = [whole[start : start + cut] for start in range(0, len(whole), cut)]
    assert list(copy_text.decode(blocks)) == rows


@given(value=FIELD)
def test_one_column_survives_too(value: str | None) -> None:
    assert list(copy_text.decode(copy_text.encode([(value,), (value,)]))) == [(value,), (value,)]


def test_the_server_reads_what_was_encoded_and_writes_what_is_decoded(database: Any) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    values = [None, "", "\\N", "\\.", "\\", "\t\n\r\b\f\v", "a\\tb", "\x01\x7f\x85\u2028", "😀" * 40_000]
    rows = [(str(number), value) for number, value in enumerate(values)]
    database.copy_in("t", ["id", "v"], copy_text.encode(rows), binary=False)
    assert [value for (value,) in database.rows("SELECT v FROM t ORDER BY id")] == values
    whole = selection(database, "t")
    [key_range] = database.ranges(whole, 100)
    assert list(copy_text.decode(database.copy_out(whole, key_range, binary=False))) == rows


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_a_table_whose_name_and_columns_hold_dots_and_slashes_is_archived(
    new_on: Any, tmp_path: Path, engine: str
) -> None:
    database = new_on(engine, "source")
    names = ["a.b", ".odd..one.", "a/b", "../up", "b"]
    for number, name in enumerate(names):
        column = database.ident("v.w")
        database.execute(
            f"CREATE TABLE {database.ident(name)} (id integer PRIMARY KEY, {column} varchar(9))",
            f"INSERT INTO {database.ident(name)} VALUES ({number}, 'x')",
        )
    found = database.catalog()
    archived = [archive_table(database, name, found[name], tmp_path / "archive") for name in database.tables()]
    assert {one.path.parent for one in archived} == {tmp_path / "archive"} and len({o.path for o in archived}) == 5
    if engine == "postgresql":
        database.execute("CREATE SCHEMA other", "CREATE TABLE other.b (id int PRIMARY KEY)")
        [other] = database.catalog(["other.b"]).values()
        assert archive_table(database, "other.b", other, tmp_path / "archive").rows == 0
    rows = sorted(row for one in archived for group in read_archive(one.path) for row in group)
    assert rows == [(str(number), "x") for number in range(5)]


@pytest.mark.parametrize("table", TABLES)
def test_an_archive_holds_every_value_of_a_hostile_table(database: Any, tmp_path: Path, table: str) -> None:
    database.run_script(HOSTILE_SCHEMA)
    database.run_script(HOSTILE_ROWS)
    database.analyze([table])
    seen: list[int] = []
    described = database.catalog([table])[table]
    archived = archive_table(database, table, described, tmp_path / "archive", rows_per_group=150, on_rows=seen.append)
    [(count,)] = database.rows(f"SELECT count(*) FROM {database.quote(table)}")
    assert archived.rows == sum(seen) == count > 0
    assert archived.path.parent.stat().st_mode & 0o077 == 0, "others can read the source's rows"
    assert archived.sha256 == hashlib.sha256(archived.path.read_bytes()).hexdigest()
    columns = ", ".join(database.quote(column.name) for column in described.columns)
    database.execute(f"CREATE TABLE again AS SELECT {columns} FROM {database.quote(table)} WITH NO DATA")
    for rows in read_archive(archived.path):
        database.copy_in("again", [c.name for c in described.columns], copy_text.encode(rows), binary=False)
    text = 'SELECT t::text COLLATE "C" FROM {} AS t ORDER BY 1'
    assert database.rows(text.format("again")) == database.rows(text.format(database.quote(table)))
    assert not database.rows("SELECT 1 FROM pg_tables WHERE tablename = 'archive_proof'")


def test_an_empty_table_has_an_archive_too(database: Any, tmp_path: Path) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    archived = archive_table(database, "t", database.catalog(["t"])["t"], tmp_path)
    assert archived.rows == 0 and [row for group in read_archive(archived.path) for row in group] == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t SET v = v || ' ' WHERE id = 250",
        "DELETE FROM t WHERE id = 300",
        "INSERT INTO t VALUES (1000, 'late')",
        "UPDATE t SET v = CASE id WHEN 250 THEN '251' ELSE '250' END WHERE id IN (250, 251)",
    ],
)
def test_a_table_that_changes_meanwhile_is_not_archived(database: Any, tmp_path: Path, change: str) -> None:
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, i FROM generate_series(1, 300) i"
    )
    database.analyze(["t"])
    changes = iter([change])

    def disturb(_: int) -> None:
        database.execute(*[statement for statement in [next(changes, "")] if statement])

    with pytest.raises(TransferError, match="read back different"):
        archive_table(database, "t", database.catalog(["t"])["t"], tmp_path, rows_per_group=100, on_rows=disturb)
    assert not list(tmp_path.glob("*.parquet"))
    assert archive_table(database, "t", database.catalog(["t"])["t"], tmp_path, rows_per_group=100).path.exists()


def test_a_byte_changed_in_the_file_is_found(database: Any, tmp_path: Path) -> None:
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 30000) i",
    )
    database.analyze(["t"])

    undamaged = [True]

    def damage(_: int) -> None:
        if not undamaged:
            return
        undamaged.pop()
        [file] = tmp_path.glob("*.partial")
        content = bytearray(file.read_bytes())
        content[len(content) * 3 // 4] ^= 0x10
        with file.open("r+b") as out:  # the very file that is being read
            out.write(content)

    with pytest.raises(TransferError, match=r"archive of t: .*; the table is untouched"):
        archive_table(database, "t", database.catalog(["t"])["t"], tmp_path, rows_per_group=10_000, on_rows=damage)
    assert not list(tmp_path.glob("*.parquet"))
