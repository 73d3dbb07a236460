"""An archive of a table: one Parquet file that is read back and proven equal to the table it came from.

Every value is kept as the engine's own text, with the column's type beside it in the file's schema: nothing is lost to
a type that Parquet does not have (an infinite date, a numeric of 40 digits, a deep JSON). One row group is one key
range. The proof: each row group is read back from the file, loaded into a scratch table of the same shape, and its
checksum compared with the table's own over the same range.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.databases import copy_text
from runbook_lib.databases.identifiers import own_name
from runbook_lib.databases.own_objects import PROOF
from runbook_lib.databases.port import Database, KeyRange, Selection, Table
from runbook_lib.errors import TransferError

MOST_BYTES = 200  # of a table's name in its file's: a file system takes 255


@dataclass(frozen=True)
class ArchivedTable:
    """`rows` is a count; `sha256` is the file's."""

    table: str
    path: Path
    rows: int
    size_bytes: int
    sha256: str


def archive_table(
    database: Database,
    name: str,
    table: Table,
    directory: Path,
    *,
    rows_per_group: int = 50_000,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> ArchivedTable:
    """Write a table to `<directory>/<table>.parquet`, and prove that it can be read back equal.

    Args:
        name: What `catalog` calls it: with its schema, a part that holds a dot in quotes.
        rows_per_group: Rows of a key range, which is a row group (count).
        on_rows: Told the rows of each range as it is proven.
    Raises:
        TransferError: what was read back differs from the table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)  # every row of the source: nobody else's to read
    path = file_of(directory, name)
    selection, ranges = _everything(database, name, table), []
    shape = pa.schema([pa.field(c.name, pa.string(), metadata={"type": c.type}) for c in table.columns])
    partial = path.with_suffix(".partial")
    with pq.ParquetWriter(partial, shape, compression="zstd") as file:
        for key_range in database.ranges(selection, rows_per_group):
            rows = list(copy_text.decode(database.copy_out(selection, key_range, binary=False)))
            columns = list(zip(*rows, strict=True)) or [()] * len(table.columns)
            file.write_table(pa.table([pa.array(c, pa.string()) for c in columns], schema=shape), len(rows) or None)
            ranges.append((key_range, len(rows)))
    count = _prove(database, name, table, selection, ranges, partial, on_rows)
    partial.replace(path)  # the name appears only once the proof has been given
    return ArchivedTable(name, path, count, path.stat().st_size, _sha256(path))


def read_archive(path: Path) -> Iterator[list[copy_text.Row]]:
    """The row groups of an archive, each as rows of text."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        columns = file.read_row_group(group).to_pydict().values()
        yield list(zip(*columns, strict=True))


def _prove(
    database: Database,
    name: str,
    table: Table,
    selection: Selection,
    ranges: list[tuple[KeyRange, int]],
    path: Path,
    on_rows: Callable[[int], None],
) -> int:
    scratch = database.own_table("archive_proof")
    names = [column.name for column in table.columns]
    types = [column.type for column in table.columns]
    whole, everything = KeyRange(0), Selection(scratch, selection.key, selection.columns)
    groups = iter(read_archive(path))
    total = 0
    for key_range, count in ranges:
        rows = next(groups) if count else []
        lines = ", ".join([f"{PROOF} SMALLINT", *(f"{database.ident(c.name)} {c.type}" for c in table.columns)])
        database.execute(f"DROP TABLE IF EXISTS {scratch}", f"CREATE TABLE {scratch} ({lines})")
        database.copy_in(scratch.strip("`"), names, copy_text.encode(rows), binary=False)
        [kept] = database.range_sums(everything, types, [whole], canonical=False)
        [original] = database.range_sums(selection, types, [key_range], canonical=False)
        if kept != original:
            raise TransferError(
                f"archive of {name}",
                f"range {key_range.ordinal} was read back different from the table",
                state=f"{path.name} is not to be relied on; the table is untouched",
                action="see that nobody writes to the source, and run the phase again",
            )
        total += original.rows
        on_rows(original.rows)
    database.execute(f"DROP TABLE IF EXISTS {scratch}")
    return total


def _everything(database: Database, name: str, table: Table) -> Selection:
    """Every column, generated ones too: an archive is what the table showed."""
    quoted = tuple(database.ident(column.name) for column in table.columns)
    return Selection(table.only + database.quote(name), tuple(database.ident(name) for name in table.key), quoted)


def file_of(directory: Path, table: str) -> Path:
    """A table's archive: by its name where a file can have it; two names never give one."""
    plain = re.fullmatch(r"\w[\w.-]*", table) and len(table.encode()) <= MOST_BYTES
    return directory / f"{table if plain else own_name('table', table)}.parquet"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
