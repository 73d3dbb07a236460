"""A range as blocks of lines: SQLite itself joins the lines of a step of the key, and Python gets one text for them.

Each step of a cursor gives the GIL away and takes it again: two threads that read row by row took 5.4 s of CPU for 1 M
rows where one took 2.5 s, and no less time. Keys that cannot be stepped through are read row by row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from runbook_lib.databases.port import Selection

FETCH_ROWS = 500
STEP_ROWS = 1_000
STEP_BYTES = 16 * 2**20  # no step takes more memory; a longer one is read row by row


def lines(
    driver: sqlite3.Connection, selection: Selection, line: str, where: str, bound: Sequence[object], key: str
) -> Iterator[bytes]:
    """The lines of one range, within the transaction that is open.

    Args:
        line: The expression of one line, with its line feed.
        where: The range's condition, with `bound` for its marks.
        key: The column whose steps are taken: `_rowid_`, or the first of the key; "" for none.
    """
    query = f"SELECT {line} FROM {selection.relation} WHERE "
    together = f"SELECT group_concat({line}, ''), count(*) FROM {selection.relation} WHERE "
    for condition, values, stepped in _steps(driver, selection, where, bound, key):
        block = _joined(driver, together + condition, values) if stepped else None
        if block is not None:
            yield block
            continue
        cursor = driver.execute(query + condition, values)
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield "".join([row[0] for row in rows]).encode()


def _joined(driver: sqlite3.Connection, query: str, values: Sequence[object]) -> bytes | None:
    """All lines of a step; None when they are too long, or when SQLite lost some (older ones stop at a NUL)."""
    before = driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, STEP_BYTES)
    try:
        text, count = driver.execute(query, values).fetchone()
    except sqlite3.DataError:
        return None
    finally:
        driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
    block = (text or "").encode()
    return block if block.count(b"\n") == count else None


def _steps(
    driver: sqlite3.Connection, selection: Selection, where: str, bound: Sequence[object], key: str
) -> Iterator[tuple[str, Sequence[object], bool]]:
    """Conditions that cut a range, with their values, and whether each is one step of an index.

    Between its first and last key all rows are the range's: the steps there need not ask for it, so that SQLite
    searches by the step and not by the range.
    """
    facts = _facts(driver, selection, where, bound, key) if key else None
    if facts is None:
        yield where, bound, False
        return
    count, least, greatest = facts
    if count == 0:
        return
    yield f"{where} AND {key} = ?", [*bound, least], True
    step, within = max(1, (greatest - least) * STEP_ROWS // count), _within(selection, key)
    for start in range(least, greatest - 1, step):
        yield within, [start, min(start + step, greatest - 1)], True
    if greatest > least:
        yield f"{where} AND {key} = ?", [*bound, greatest], True


def _within(selection: Selection, key: str) -> str:
    own = f"({selection.where}) AND " if selection.where else ""
    return f"{own}{key} > ? AND {key} <= ?"


def _facts(
    driver: sqlite3.Connection, selection: Selection, where: str, bound: Sequence[object], key: str
) -> tuple[int, int, int] | None:
    """Rows, least and greatest key of a range; None where it cannot be stepped through."""
    tested = f"SELECT count(*), total(typeof({key}) = 'integer'), min({key}), max({key}) FROM {selection.relation}"
    searching = f"EXPLAIN QUERY PLAN SELECT count(*) FROM {selection.relation} WHERE {_within(selection, key)}"
    try:
        plan = [detail for *_, detail in driver.execute(searching, [0, 1])]
        if [detail.startswith("SEARCH") for detail in plan] != [True]:
            return None
        count, integers, least, greatest = driver.execute(f"{tested} WHERE {where}", bound).fetchone()
    except sqlite3.OperationalError:  # a join or a view: no rowid
        return None
    return (count, least or 0, greatest or 0) if integers == count else None
