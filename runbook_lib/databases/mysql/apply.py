"""Apply: read the current rows of some keys, and make the rows of these keys at the target exactly those.

INSERT … ON DUPLICATE KEY UPDATE matches any unique key (docs/correctness.md#unique-conflicts). It is used only for rows
whose primary key was just found and locked, where it can match nothing else; rows that are not there are plain INSERTs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pymysql

from runbook_lib.databases.adapter_helpers import in_pieces
from runbook_lib.databases.mysql import lock_retry, neutral_text, ranges
from runbook_lib.databases.mysql.copy import SILENT, enable_triggers, expression_types, refuse_triggers
from runbook_lib.databases.mysql.neutral_text import kind_of
from runbook_lib.databases.mysql.quoting import ident, listed
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.databases.port import Applied, Selection, Table
from runbook_lib.errors import RowRejected, TransferError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

Key = tuple[Any, ...]
RETRIES = 3
KEYS_AT_ONCE, BYTES_AT_ONCE = 500, 1_000_000
DUPLICATE = 1062
# Integrity and data errors: the row's fault, not the statement's.
REJECTED = frozenset(
    {1048, 1216, 1217, 1264, 1265, 1292, 1364, 1365, 1366, 1406, 1411, 1451, 1452, 1690, 3140, 3819, 4025}
)
HARMLESS = frozenset({1287, 1592, 1681})  # deprecations, and statements unsafe for statement-based replication


def read_rows(db: MySQLPort, selection: Selection, keys: Sequence[Key]) -> list[tuple[Any, ...]]:
    """The current rows of these keys in one snapshot, every value as neutral text (None for NULL).

    Raises:
        DatabaseError: the statement failed.
    """
    if not keys:
        return []
    parts = ranges.key_parts(db, selection)
    return _read(db, selection, [ranges.matching(parts, some) for some in in_pieces(keys, KEYS_AT_ONCE)])


def read_all(db: MySQLPort, selections: Sequence[Selection]) -> list[list[tuple[Any, ...]]]:
    """See Database.read_all."""
    return [_read(db, selection, ["TRUE"]) for selection in selections]


def _read(db: MySQLPort, selection: Selection, conditions: Sequence[str]) -> list[tuple[Any, ...]]:
    types = expression_types(db, selection)
    shown = [
        f"CONCAT({neutral_text.render(c, t, escaped=False)})" for c, t in zip(selection.columns, types, strict=True)
    ]
    where = f"({selection.where}) AND " if selection.where else ""
    found: list[tuple[Any, ...]] = []
    try:
        with db.raw() as driver, driver.cursor() as cursor:
            for condition in conditions:
                cursor.execute(f"SELECT {listed(shown)} FROM {selection.relation} WHERE {where}{condition}")
                found += cursor.fetchall()
    except pymysql.MySQLError as error:
        raise db.explain(error, f"reading changed rows of {selection.relation}") from error
    return as_texts(found, types)


def as_texts(rows: Sequence[Sequence[Any]], types: Sequence[str]) -> list[tuple[str | None, ...]]:
    """Rows of rendered values of these types as neutral text (None for NULL)."""
    floats = {i: kind_of(kind).name == "float" for i, kind in enumerate(types) if kind_of(kind).name in _FLOATS}
    return [tuple(_shown(value, floats.get(i)) for i, value in enumerate(row)) for row in rows]


_FLOATS = ("float", "double")


def _shown(value: Any, single: bool | None) -> str | None:
    text = ranges.as_text(value)
    return text if single is None or text is None else neutral_text.printed_float(text, single=single)


@dataclass(frozen=True)
class Batch:
    """One call's rows, run in the first pass and, after a conflict, in the second."""

    table: Table
    key: tuple[str, ...]
    parts: tuple[ranges.KeyPart, ...]
    columns: tuple[str, ...]
    keys: Sequence[Key]
    rows: Sequence[tuple[Any, ...]]

    @property
    def name(self) -> str:
        return ident(self.table.name)

    @property
    def others(self) -> list[str]:
        """Columns of the table that are not given: they keep their value."""
        return [c.name for c in self.table.columns if c.name not in self.columns and not c.generated]

    @property
    def by_key(self) -> dict[Key, tuple[Any, ...]]:
        positions = [self.columns.index(column) for column in self.key]
        return {self.normal(tuple(row[at] for at in positions)): row for row in self.rows}

    def normal(self, key: Sequence[Any]) -> Key:
        """A key in one form: an integer may come as text.

        Raises:
            TransferError: it is no integer, where this table's key is one.
        """
        return tuple(
            self._integer(part, value) if part.integer else neutral_text.text_form(value).removesuffix("+00")
            for part, value in zip(self.parts, key, strict=True)
        )

    def _integer(self, part: ranges.KeyPart, value: Any) -> int:
        try:
            return int(neutral_text.literal(value, part.type))
        except ValueError:
            observed = f"{part.expression} is {part.type} here, and came as {neutral_text.text_form(value)!r}"
            action = "carry the change of its type over, too: runbook follow apply-ddl"
            raise TransferError(f"table {self.table.name}", observed, action=action) from None

    @property
    def upsertable(self) -> bool:
        """Whether ON DUPLICATE KEY UPDATE is exact and needs no value that is not given."""
        primary = next((c.columns for c in self.table.constraints if c.kind == "primary"), ())
        free = all(c.nullable or c.default or c.identity for c in map(self.table.column, self.others))
        return free and sorted(primary) == sorted(self.key)


def apply_rows(
    db: MySQLPort,
    table: str,
    key: Sequence[str],
    columns: Sequence[str],
    keys: Sequence[Key],
    rows: Sequence[tuple[Any, ...]],
) -> Applied:
    """Make the rows with these keys be exactly `rows`, in one transaction without our triggers or foreign keys.

    First pass: delete what is gone, update what is there, insert the rest. A unique conflict (values swapped between
    rows) rolls back to a second pass: delete all these keys, insert; columns that are not given keep their values.

    Raises:
        RowRejected: the target refuses a row; in a unique conflict with a row outside the batch, `keys` holds its key.
        TransferError: no unique index over the key.
        DatabaseError: the table has triggers that cannot be silenced, or a statement failed.
    """
    if not keys and not rows:
        return Applied(0, 0)
    described = db.described(table)
    if not {*key, *columns} <= {column.name for column in described.columns}:
        db.memo.pop(("table", table))  # it was altered within the seconds that a description is kept
        described = db.described(table)
    known = {column.name for column in described.columns}
    if unknown := [column for column in (*key, *columns) if column not in known]:
        raise TransferError(f"table {table}", f"has no column {listed(unknown)}", action="repeat the schema step")
    if not any(index.unique and set(index.columns) == set(key) for index in described.indexes):
        text = f"no unique index over the key ({listed(key)})"
        raise TransferError(f"table {table}", text, action="create it, or correct the plan")
    refuse_triggers(db, described)
    quoted = tuple(ident(column) for column in key)
    parts = ranges.key_parts(db, Selection(ident(table), quoted, quoted))
    batch = Batch(described, tuple(key), parts, tuple(columns), keys, rows)
    try:
        try:
            return _run(db, batch, _upsert)
        except pymysql.IntegrityError as error:
            if error.args[0] != DUPLICATE:
                raise
            return _run(db, batch, _replace)
    except pymysql.MySQLError as error:
        if error.args[0] == DUPLICATE:
            raise _conflict(db, batch, str(error.args[-1])) from error
        if error.args[0] in REJECTED:
            raise rejected(batch, str(error.args[-1])) from error
        raise db.explain(error, f"applying changes to {table}") from error


def _run(db: MySQLPort, batch: Batch, work: Callable[[Connection, Batch], Applied]) -> Applied:
    for _ in range(RETRIES):  # with writers of the target
        try:
            return _once(db, batch, work)
        except pymysql.MySQLError as error:
            if not lock_retry.passing(error):
                raise
    return _once(db, batch, work)


def _once(db: MySQLPort, batch: Batch, work: Callable[[Connection, Batch], Applied]) -> Applied:
    with db.raw() as driver:
        lock_retry.run(driver, SILENT)
        try:
            return work(driver, batch)
        finally:
            enable_triggers(driver)


def _upsert(driver: Connection, batch: Batch) -> Applied:
    wanted = batch.by_key
    gone = [key for key in dict.fromkeys(map(batch.normal, batch.keys)) if key not in wanted]
    deleted = _delete(driver, batch, gone)
    there = _locked(driver, batch, list(wanted))
    old = [row for key, row in wanted.items() if key in there]
    new = [row for key, row in wanted.items() if key not in there]
    if batch.upsertable:
        sets = listed([f"{ident(c)} = VALUES({ident(c)})" for c in batch.columns])
        insert(driver, batch, batch.columns, old, f" ON DUPLICATE KEY UPDATE {sets}")
    else:
        for key, row in wanted.items():
            if key in there:
                _update(driver, batch, key, row)
    insert(driver, batch, batch.columns, new)
    return Applied(len(batch.rows), deleted)


def _delete(driver: Connection, batch: Batch, keys: Sequence[Key]) -> int:
    return sum(
        lock_retry.run(driver, f"DELETE FROM {batch.name} WHERE {ranges.matching(batch.parts, some)}")
        for some in in_pieces(keys, KEYS_AT_ONCE)
    )


def _locked(driver: Connection, batch: Batch, keys: Sequence[Key], more: Sequence[str] = ()) -> dict[Key, Key]:
    """The rows of these keys that are there, locked until the end: key → values of more columns, as neutral text."""
    kinds = [batch.table.column(name).type for name in more]
    kept = [f"CONCAT({neutral_text.render(ident(n), k, escaped=False)})" for n, k in zip(more, kinds, strict=True)]
    shown = listed([part.out for part in batch.parts] + kept)
    width, found = len(batch.parts), {}
    with driver.cursor() as cursor:
        for some in in_pieces(keys, KEYS_AT_ONCE):
            where = ranges.matching(batch.parts, some)
            cursor.execute(f"SELECT {shown} FROM {batch.name} WHERE {where} FOR UPDATE")
            for row in cursor.fetchall():
                key = batch.normal(ranges.as_key(batch.parts, row[:width]))
                found[key] = tuple(map(ranges.as_text, row[width:]))
    return found


def insert(driver: Connection, batch: Batch, columns: Sequence[str], rows: Sequence[Key], tail: str = "") -> None:
    """Insert rows, so many to a statement; a warning is an error."""
    kinds = [batch.table.column(name).type for name in columns]
    head = f"INSERT INTO {batch.name} ({listed([ident(name) for name in columns])}) VALUES "
    values: list[str] = []
    size = 0
    for row in rows:
        values.append(f"({listed([neutral_text.literal(v, kind) for v, kind in zip(row, kinds, strict=True)])})")
        size += len(values[-1])
        if size > BYTES_AT_ONCE or len(values) >= KEYS_AT_ONCE:
            _write(driver, batch, head + listed(values) + tail)
            values, size = [], 0
    if values:
        _write(driver, batch, head + listed(values) + tail)


def _update(driver: Connection, batch: Batch, key: Key, row: tuple[Any, ...]) -> None:
    given = zip(batch.columns, row, strict=True)
    sets = [f"{ident(name)} = {neutral_text.literal(value, batch.table.column(name).type)}" for name, value in given]
    _write(driver, batch, f"UPDATE {batch.name} SET {listed(sets)} WHERE {ranges.matching(batch.parts, [key])}")


def _write(driver: Connection, batch: Batch, statement: str) -> None:
    """Run a statement; a warning is an error (docs/correctness.md#strict-mode)."""
    with driver.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute("SHOW WARNINGS")
        told = [(number, text) for _, number, text in cursor.fetchall() if number not in HARMLESS]
    if told:
        raise rejected(batch, str(told[0][1]))


def _replace(driver: Connection, batch: Batch) -> Applied:
    """Delete all keys of the batch, then insert; what is not given is kept aside meanwhile."""
    wanted, others = batch.by_key, batch.others
    every = list(dict.fromkeys([*map(batch.normal, batch.keys), *wanted]))
    aside = _locked(driver, batch, every, others)
    removed = _delete(driver, batch, every)
    kept = [(*row, *aside[key]) for key, row in wanted.items() if key in aside]
    insert(driver, batch, [*batch.columns, *others], kept)
    insert(driver, batch, batch.columns, [row for key, row in wanted.items() if key not in aside])
    return Applied(len(batch.rows), removed - len(kept))


def _conflict(db: MySQLPort, batch: Batch, message: str) -> RowRejected:
    """Name the rows that conflict: those at the target, by key, and the value they share."""
    there = _conflicting(db, batch, message)
    shown = ", ".join(one_line(str(key), 60) for key in there[:5])
    refused = RowRejected(
        batch.table.name,
        one_line(message, 160) + (f"; the row is there under the key ({listed(batch.key)}) {shown}" if there else ""),
        state="the batch was rolled back, its changes stay in the log",
        action="apply the other row's change first, or remove the row that should not be there",
    )
    refused.keys = tuple(there)
    return refused


def _conflicting(db: MySQLPort, batch: Batch, message: str) -> list[Key]:
    """Keys of rows at the target, outside the batch, that have the unique value of one of the batch's rows."""
    found = re.search(r"for key '(?:.*\.)?([^'.]+)'$", message)
    index = next((index for index in batch.table.indexes if found and index.name == found[1]), None)
    if index is None or not set(index.columns) <= set(batch.columns):
        return []
    same = []
    for row in batch.rows:
        given = dict(zip(batch.columns, row, strict=True))
        pairs = [(c, neutral_text.literal(given[c], batch.table.column(c).type)) for c in index.columns]
        same.append("(" + " AND ".join(f"{ident(c)} = {value}" for c, value in pairs) + ")")
    shown = listed([part.out for part in batch.parts])
    ours = set(map(batch.normal, batch.keys)) | set(batch.by_key)
    keys = [
        ranges.as_key(batch.parts, row)
        for some in in_pieces(same, KEYS_AT_ONCE)
        for row in db.rows(f"SELECT {shown} FROM {batch.name} WHERE {' OR '.join(some)}")
    ]
    return [key for key in dict.fromkeys(keys) if batch.normal(key) not in ours]


def rejected(batch: Batch, message: str) -> RowRejected:
    """The error for a row that the server refuses, with its message."""
    return RowRejected(
        batch.table.name,
        one_line(message, 240),
        state="the batch was rolled back" + (", its changes stay in the log" if batch.key else ""),
        action="correct the row at the source, or the target's constraint",
    )
