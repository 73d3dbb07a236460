"""Cut a selection into key ranges, and say a range as a condition with bound values.

Order is the order of bytes (BINARY), for exact decimals kept as text their value. A table without a key is cut by
rowid, which holds only while nobody writes (docs/correctness.md#tables-without-a-key).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runbook_lib.databases import canonical
from runbook_lib.databases.adapter_helpers import between, even_steps
from runbook_lib.databases.as_stored import Native
from runbook_lib.databases.canonical import canonical_type
from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.sqlite.catalog import kinds
from runbook_lib.databases.sqlite.stored import key_form
from runbook_lib.databases.sqlite.types import INTEGERS, IncompatibleValue, Kind, parser, renderer
from runbook_lib.errors import RowRejected

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort


def condition_text(db: SQLitePort, selection: Selection, key_range: KeyRange) -> str:
    """The rows of one range as one SQL text, its bounds written out."""
    bounds, canonical = condition(db, replace(selection, where=""), key_range)
    for value in canonical:
        bounds = bounds.replace("?", _literal(value), 1)
    return f"({selection.where}) AND {bounds}" if selection.where else bounds


def _literal(value: Any) -> str:
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    # A NUL ends a text literal; `?` would be taken for the next bound: both are written as bytes.
    if isinstance(value, str):
        return f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return repr(value)


def condition(db: SQLitePort, selection: Selection, key_range: KeyRange) -> tuple[str, list[Any]]:
    """The rows of one range as (SQL, values)."""
    where, bound = ([f"({selection.where})"] if selection.where else []), list[Any]()
    if key_range.kind == "blocks":
        left = "_rowid_"
        to_native: list[Callable[[Any], Any]] = [int]
    else:
        left = _tuple(ordered(db, selection))
        to_native = [parser(kind) for kind in kinds(db, selection.relation, selection.key)]
    for sign, edge in ((">", key_range.after), ("<=", key_range.upto)):
        if edge is not None:
            where.append(f"{left} {sign} {_tuple(['?'] * len(edge))}")
            bound += [native(value) for native, value in zip(to_native, edge, strict=True)]
    return " AND ".join(where) or "true", bound


def ordered(db: SQLitePort, selection: Selection) -> list[str]:
    """The key's expressions with the collation that gives the order of bytes."""
    return [_ordered(sql, kind) for sql, kind in zip(selection.key, _kinds(db, selection), strict=True)]


def _ordered(expression: str, kind: Kind) -> str:
    if kind.type.startswith("numeric"):
        return f"{expression} COLLATE runbook_number" if kind.affinity == "text" else expression
    exact = canonical_type(kind.type).tag in (canonical.NUMBER, canonical.FLOAT, canonical.BYTES, canonical.BOOLEAN)
    return expression if exact else f"{expression} COLLATE BINARY"


def _kinds(db: SQLitePort, selection: Selection) -> tuple[Kind, ...]:
    return kinds(db, selection.relation, selection.key)


def key_text(value: Any, kind: Kind, table: str, column: str) -> Any:
    """A key's value as the port wants it: an int, or neutral text that leads back to exactly this value.

    Raises:
        RowRejected: another value has the same text (a date written otherwise): its row could not be found again.
    """
    try:
        text = renderer(kind.type)(value)
        if text is None or parser(kind)(text) != value:
            raise IncompatibleValue(f"not in the form {text}")
    except IncompatibleValue as error:
        raise RowRejected(
            f"{table}, key {column} = {value!r:.80}",
            f"{kind.declared or 'no type'}: {error}",
            action="correct this key",
        ) from error
    return int(text) if kind.type in INTEGERS else text


def ranges(db: SQLitePort, selection: Selection, rows_per_range: int) -> list[KeyRange]:
    """Cut a selection into ranges of about `rows_per_range` rows, without gaps or overlaps.

    Each boundary is greater than the one before it by construction; rows that share a key share a range.

    Raises:
        RowRejected: a boundary's key is not in its type's form.
    """
    where = f" WHERE {selection.where}" if selection.where else ""
    with db.reading(f"cutting {selection.relation} into ranges") as driver:
        total = driver.execute(f"SELECT count(*) FROM {selection.relation}{where}").fetchone()[0]
        if not selection.key:
            return _rowid_ranges(driver, selection, rows_per_range, total)
    single = _kinds(db, selection)[0] if len(selection.key) == 1 else None
    if single and single.type in INTEGERS:
        even = _even_bounds(db, selection, rows_per_range, total)
        if even is not None:
            return between([(bound,) for bound in even], total)
    walked = _walked_bounds(db, selection, rows_per_range)
    # A range's bounds are kept as JSON: those that only stand for a stored value bound none.
    return between([one for one in walked if not any(isinstance(part, Native) for part in one)], total)


def _even_bounds(db: SQLitePort, selection: Selection, rows_per_range: int, total: int) -> list[int] | None:
    where = f" WHERE {selection.where}" if selection.where else ""
    key = selection.key[0]
    # Two sub-selects: SQLite answers one aggregate from the index's end, but scans for two at once.
    low, high = (f"(SELECT {edge}({key}) FROM {selection.relation}{where})" for edge in ("min", "max"))
    [(least, greatest)] = db.rows(f"SELECT {low}, {high}")
    if least is None:
        return []
    if not isinstance(least, int) or not isinstance(greatest, int):
        return None
    return even_steps(least, greatest, rows_per_range, total)


def _walked_bounds(db: SQLitePort, selection: Selection, rows_per_range: int) -> list[tuple[Any, ...]]:
    """Every n-th key in order, step by step along the index."""
    order, bounds = ordered(db, selection), list[tuple[Any, ...]]()
    types = _kinds(db, selection)
    while True:
        where, bound = condition(db, selection, KeyRange(0, bounds[-1] if bounds else None))
        sql = (
            f"SELECT {', '.join(selection.key)} FROM {selection.relation} WHERE {where}"
            f" ORDER BY {', '.join(order)} LIMIT 1 OFFSET {int(rows_per_range) - 1}"
        )
        with db.reading(f"cutting {selection.relation} into ranges") as driver:
            row = driver.execute(sql, bound).fetchone()
        if row is None:
            return bounds
        if selection.as_stored:
            bounds.append(
                tuple(key_form(kind, selection.as_stored)(value) for value, kind in zip(row, types, strict=True))
            )
            continue
        facts = zip(row, types, selection.key, strict=True)
        bounds.append(tuple(key_text(value, kind, selection.relation, sql) for value, kind, sql in facts))


def _rowid_ranges(driver: sqlite3.Connection, selection: Selection, rows_per_range: int, total: int) -> list[KeyRange]:
    if total <= rows_per_range:
        return [KeyRange(0, None, None, total, "blocks")]
    try:
        least, greatest = driver.execute(f"SELECT min(_rowid_), max(_rowid_) FROM {selection.relation}").fetchone()
    except sqlite3.OperationalError:  # a join or a view: its rows have no place of their own
        return [KeyRange(0, None, None, total, "blocks")]
    step = max(1, (greatest - least + 1) * rows_per_range // total)
    return between([(bound,) for bound in range(least + step - 1, greatest, step)], total, "blocks")


def _tuple(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"({', '.join(items)})"
