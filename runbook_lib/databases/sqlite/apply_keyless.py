"""Rows without a key are made as many as told: a row is known by its hash, and found again by its row number.

Two SQLite databases hash stored values, so these go from one to the other as they are stored.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases.as_stored import or_as_stored
from runbook_lib.databases.port import Applied, EqualRows, KeyRange, Recount, Selection
from runbook_lib.databases.sqlite import quoting
from runbook_lib.databases.sqlite.catalog import kinds
from runbook_lib.databases.sqlite.checksums import hash_of_rows, read_rows_of
from runbook_lib.databases.sqlite.copy import column_kinds, insert, natives
from runbook_lib.databases.sqlite.triggers import silenced
from runbook_lib.databases.sqlite.types import renderer
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort


def rows_hashed(
    db: SQLitePort, selection: Selection, types: Sequence[str], hashes: Sequence[str], *, canonical: bool
) -> dict[str, EqualRows]:
    """How many rows have each of these hashes, and one of them: as neutral text, for our own hash as it is stored."""
    if not hashes:
        return {}
    row_hash, wanted = hash_of_rows(db, selection, types, canonical=canonical), set(hashes)
    found = kinds(db, selection.relation, selection.columns)
    # a column without a type has no text form of its own
    render = [renderer(kind.type) if canonical and kind.type != "any" else _as_it_is for kind in found]
    render = [or_as_stored(one) for one in render] if selection.as_stored and canonical else render
    alike: dict[str, EqualRows] = {}
    for row in read_rows_of(db, selection, KeyRange(0), ()):
        digest = row_hash(row)
        if digest in alike:
            alike[digest] = EqualRows(alike[digest].count + 1, alike[digest].row)
        elif digest in wanted:
            alike[digest] = EqualRows(1, tuple(one(value) for one, value in zip(render, row, strict=True)))
    return alike


def _as_it_is(value: Any) -> Any:
    return value


def recount_rows(
    db: SQLitePort,
    table: str,
    columns: Sequence[str],
    selection: Selection,
    types: Sequence[str],
    changes: Mapping[str, Recount],
    *,
    canonical: bool,
) -> Applied:
    """See Database.recount_rows.

    Raises:
        Refused: the rows are not there as often as was said.
        RowRejected: a value does not fit, or a constraint refuses it.
    """
    row_hash = hash_of_rows(db, selection, types, canonical=canonical)
    with db.writing(f"recounting rows of {table}") as driver, silenced(db, driver, [table]):
        number = _row_number(driver, table)
        where = f" WHERE {selection.where}" if selection.where else ""
        numbers: dict[str, list[int]] = {}
        for *row, place in driver.execute(
            f"SELECT {', '.join((*selection.columns, number))} FROM {selection.relation}{where}"
        ):
            digest = row_hash(row)
            if digest in changes:
                numbers.setdefault(digest, []).append(place)
        adapter_helpers.require_counts(table, {each: len(places) for each, places in numbers.items()}, changes)
        gone = [(n,) for each, c in changes.items() for n in numbers.get(each, [])[: max(0, c.now - c.then)]]
        driver.executemany(f"DELETE FROM {quoting.quote(table)} WHERE {number} = ?", gone)
        native = natives(driver, db.name, table, columns) if canonical else list
        more = [native(c.row) for c in changes.values() for _ in range(c.then - c.now)]
        insert(db, driver, table, columns, more, "batch")
        return Applied(len(more), len(gone))


def _row_number(driver: sqlite3.Connection, table: str) -> str:
    """A name of the row number that no column has taken."""
    taken = {name.lower() for name in column_kinds(driver, table)}
    free = [name for name in ("_rowid_", "rowid", "oid") if name not in taken]
    if not free:
        raise DatabaseError(
            f"table {table}",
            "its columns hide the row number, by which rows without a key are distinguished",
            state="nothing was written to it",
            action="copy the table again",
        )
    return free[0]
