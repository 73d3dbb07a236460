"""Apply: read the current rows of some keys, and make the rows of these keys at the target exactly those."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.as_stored import AsStored, or_as_stored
from runbook_lib.databases.identifiers import split
from runbook_lib.databases.port import Applied, Selection
from runbook_lib.databases.sqlite import quoting, ranges
from runbook_lib.databases.sqlite.catalog import kinds
from runbook_lib.databases.sqlite.copy import locate, natives
from runbook_lib.databases.sqlite.stored import any_text, key_form
from runbook_lib.databases.sqlite.triggers import silenced
from runbook_lib.databases.sqlite.types import INTEGERS, IncompatibleValue, Kind, parser, renderer
from runbook_lib.errors import RowRejected, TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

Key = tuple[Any, ...]


def read_rows(db: SQLitePort, selection: Selection, keys: Sequence[Key]) -> list[tuple[Any, ...]]:
    """The current rows of these keys as neutral text (integers as int), all from one snapshot.

    Raises:
        RowRejected: a value does not fit its declared type.
    """
    native = [parser(kind) for kind in kinds(db, selection.relation, selection.key)]
    match = " AND ".join(f"{part} = ?" for part in ranges.ordered(db, selection))
    where = f"({selection.where}) AND {match}" if selection.where else match
    each = ([parse(value) for parse, value in zip(native, key, strict=True)] for key in keys)
    return _read(db, selection, where, each)


def read_all(db: SQLitePort, selections: Sequence[Selection]) -> list[list[tuple[Any, ...]]]:
    """See Database.read_all."""
    return [_read(db, selection, selection.where or "TRUE", [[]]) for selection in selections]


def _read(db: SQLitePort, selection: Selection, where: str, values: Iterable[list[Any]]) -> list[tuple[Any, ...]]:
    """The rows that meet a condition with each of these values bound."""
    found = kinds(db, selection.relation, selection.columns)
    render = [_rendered(selection, sql, kind) for sql, kind in zip(selection.columns, found, strict=True)]
    query = f"SELECT {', '.join(selection.columns)} FROM {selection.relation} WHERE {where}"
    rows: list[tuple[Any, ...]] = []
    bound: list[Any] = []
    try:
        with db.raw() as driver, any_text(driver, selection):
            for bound in values:
                for row in driver.execute(query, bound):
                    rows += [tuple(one(value) for one, value in zip(render, row, strict=True))]
    except (sqlite3.Error, IncompatibleValue) as error:
        found_misfit = locate(db, selection, where, bound)
        raise (found_misfit or db.explain(error, f"reading {selection.relation}")) from error
    return rows


def _rendered(selection: Selection, sql: str, kind: Kind) -> Callable[[Any], Any]:
    """How a column's values are given: a column without a type has no text form of its own."""
    if selection.as_stored and sql in selection.key:
        return key_form(kind, selection.as_stored)
    if selection.as_stored == "all":
        return lambda value: None if value is None else AsStored(value)
    text = renderer(kind.type)
    plain = (lambda value: value) if kind.type == "any" else _counted(text) if kind.type in INTEGERS else text
    return or_as_stored(plain) if selection.as_stored else plain


def _counted(text: Callable[[Any], str | None]) -> Callable[[Any], int | None]:
    def integer(value: Any) -> int | None:
        found = text(value)
        return None if found is None else int(found)

    return integer


def apply_rows(
    db: SQLitePort,
    table: str,
    key: Sequence[str],
    columns: Sequence[str],
    keys: Sequence[Key],
    rows: Sequence[tuple[Any, ...]],
) -> Applied:
    """Make the rows with these keys be exactly `rows`, in one transaction; see Database.apply_rows.

    Raises:
        RowRejected: a value does not fit, a constraint refuses it, or it conflicts with a row outside the batch.
        TransferError: no unique index serves the key.
    """
    with db.writing(f"applying changes to {table}") as driver, silenced(db, driver, [table]):
        _require_unique(driver, table, key)
        as_key, as_row = natives(driver, db.name, table, key), natives(driver, db.name, table, columns)
        given = [as_row(row) for row in rows]
        positions = [columns.index(column) for column in key]
        kept = {tuple(row[position] for position in positions) for row in given}
        absent = [wanted for each in keys if (wanted := tuple(as_key(each))) not in kept]
        deleted = driver.executemany(_delete(table, key), absent).rowcount if absent else 0
        driver.execute("SAVEPOINT first_pass")
        try:
            driver.executemany(_upsert(table, key, columns), given)
        except sqlite3.IntegrityError as error:
            if "UNIQUE" not in str(error):
                raise _refused(db, table, error) from error
            driver.execute("ROLLBACK TO first_pass")
            _second_pass(db, driver, table, key, columns, given, positions)
        driver.execute("RELEASE first_pass")
        return Applied(len(given), deleted)


def _require_unique(driver: sqlite3.Connection, table: str, key: Sequence[str]) -> None:
    own = quoting.bare(table)
    primary = driver.execute("SELECT name FROM pragma_table_info(?) WHERE pk", (own,)).fetchall()
    sets = [{name for (name,) in primary}]
    for (index,) in driver.execute(
        'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (own,)
    ).fetchall():
        sets.append({name for (name,) in driver.execute("SELECT name FROM pragma_index_info(?)", (index,))})
    if set(key) not in sets:
        raise TransferError(table, f"no unique index over ({', '.join(key)})", state="nothing was written")


def _delete(table: str, key: Sequence[str]) -> str:
    return f"DELETE FROM {quoting.quote(table)} WHERE {' AND '.join(f'{quoting.ident(c)} = ?' for c in key)}"


def _upsert(table: str, key: Sequence[str], columns: Sequence[str]) -> str:
    """OR ABORT: a constraint that was declared ON CONFLICT REPLACE must not remove another row."""
    listed, marks = ", ".join(quoting.ident(c) for c in columns), ", ".join("?" * len(columns))
    target = ", ".join(quoting.ident(c) for c in key)
    changes = ", ".join(f"{quoting.ident(c)} = excluded.{quoting.ident(c)}" for c in columns)
    return (
        f"INSERT OR ABORT INTO {quoting.quote(table)} ({listed}) VALUES ({marks})"
        f" ON CONFLICT ({target}) DO UPDATE SET {changes}"
    )


def _second_pass(
    db: SQLitePort,
    driver: sqlite3.Connection,
    table: str,
    key: Sequence[str],
    columns: Sequence[str],
    given: Sequence[Sequence[Any]],
    positions: Sequence[int],
) -> None:
    """Values moved between rows of the batch: take all its rows out, then put them in, their other columns kept."""
    own = [
        name
        for name, hidden in driver.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (quoting.bare(table),))
        if not hidden and name not in columns
    ]
    extra: dict[Key, tuple[Any, ...]] = {}
    where = " AND ".join(f"{quoting.ident(c)} = ?" for c in key)
    for row in given:
        wanted = tuple(row[position] for position in positions)
        if own:
            query = f"SELECT {', '.join(map(quoting.ident, own))} FROM {quoting.quote(table)} WHERE {where}"
            found = driver.execute(query, wanted).fetchone()
            if found:
                extra[wanted] = found
        driver.execute(_delete(table, key), wanted)
    for row in given:
        rest = extra.get(tuple(row[position] for position in positions))
        all_columns = [*columns, *own] if rest else list(columns)
        try:
            driver.execute(_upsert(table, key, all_columns), [*row, *(rest or ())])
        except sqlite3.IntegrityError as error:
            raise _conflict(db, driver, table, key, columns, row, error) from error


def _conflict(
    db: SQLitePort,
    driver: sqlite3.Connection,
    table: str,
    key: Sequence[str],
    columns: Sequence[str],
    row: Sequence[Any],
    error: sqlite3.IntegrityError,
) -> RowRejected:
    """Names the row that is in the way: SQLite says which columns, the row says which values."""
    where = f"{split(table)[-1]}."
    concerned = [part.removeprefix(where) for part in str(error).partition("failed: ")[2].split(", ")]
    if "UNIQUE" not in str(error) or not set(concerned) <= set(columns):
        return _refused(db, table, error)
    values = [row[list(columns).index(column)] for column in concerned]
    where = " AND ".join(f"{quoting.ident(c)} = ?" for c in concerned)
    listed = ", ".join(quoting.ident(c) for c in key)
    held = driver.execute(f"SELECT {listed} FROM {quoting.quote(table)} WHERE {where}", values).fetchall()
    rejected = RowRejected(
        f"{db.name}.{table}",
        f"unique ({', '.join(concerned)}) = ({', '.join(map(repr, values))}) is taken by the row under the key "
        f"({', '.join(key)}) {', '.join(map(str, held))}",
        state="the batch was rolled back",
        action="the row in the way is not part of the batch: copy it too, or change it",
    )
    rejected.keys = tuple(held)
    return rejected


def _refused(db: SQLitePort, table: str, error: sqlite3.IntegrityError) -> RowRejected:
    seen = re.sub(r"\s+", " ", str(error))
    return RowRejected(f"{db.name}.{table}", seen, state="the batch was rolled back")
