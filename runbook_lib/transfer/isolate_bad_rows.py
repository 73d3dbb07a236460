"""A range that the target refuses, copied in ever smaller pieces until the rows that it refuses stand alone.

The pieces are ranges like any other: recorded at the target before they are copied, marked with their rows. What is
said of the copy holds for them: killed anywhere, it is run again and resumes exactly where it was.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.errors import RowRejected
from runbook_lib.transfer.chunk_store import Chunk, mark_done, split
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.transfer.quarantine import Key, Refused
from runbook_lib.util.text import one_line

_ATTEMPTS = 20  # borders tried in vain before we give up: rows come and go while we look
SHOWN = 80  # characters of a value in a message
_DROPPED = "drop NUL characters with types: {nul: strip} (runbook copy: --type nul=strip); or "


def copy_one_by_one(link: Link, chunk: Chunk, error: RowRejected, write: Callable[[Chunk], int]) -> int:
    """Copy what the target takes of a refused range; the rows written.

    Args:
        error: Why it was refused.
        write: Copies a chunk and marks it.
    Raises:
        RowRejected: a row is refused, and the plan does not say `on_bad_row: quarantine`, or the quarantine is full.
    """
    if not chunk.flow.key:
        raise RowRejected(
            error.subject,
            error.observed,
            state=f"{chunk.flow.table} has no key: the row cannot be told from the others",
            action="correct it at the source, or give the table a key; then run again",
        ) from error
    return _one_by_one(link, chunk, _keys(link, chunk), error, write)


def _one_by_one(
    link: Link, chunk: Chunk, keys: Sequence[Key], error: RowRejected, write: Callable[[Chunk], int]
) -> int:
    if len(keys) > 1:
        return sum(_piece(link, piece, some, write) for piece, some in _halves(link, chunk, keys, error))
    if not keys:
        return write(chunk)  # the row has gone meanwhile
    _set_aside(link, chunk.flow, keys[0], error)
    statement, values = mark_done(link, chunk)
    with link.writer.engine.begin() as connection:
        connection.execute(text(statement), {**values, "rows": 0})
    return 0


def _piece(link: Link, chunk: Chunk, keys: Sequence[Key], write: Callable[[Chunk], int]) -> int:
    try:
        return write(chunk)
    except RowRejected as error:
        # A row that came since the keys were listed is in the capture's log, or in the next attempt.
        return _one_by_one(link, chunk, keys if len(keys) > 1 else _keys(link, chunk), error, write)


def _halves(link: Link, chunk: Chunk, keys: Sequence[Key], error: RowRejected) -> list[tuple[Chunk, Sequence[Key]]]:
    """Two pieces with their keys. Only the engine knows its order: a border is good if keys are on both its sides."""
    middle = sorted(keys, key=_guess)[(len(keys) - 1) // 2]
    for border in [middle, *random.sample(list(keys), min(len(keys), _ATTEMPTS))]:
        below = _keys(link, replace(chunk, key_range=replace(chunk.key_range, upto=border)))
        if 0 < len(below) < len(keys):
            left, right = split(link, chunk, border, len(below))
            rest = set(below)
            return [(left, below), (right, [key for key in keys if key not in rest])]
    raise error


def _guess(key: Key) -> tuple[Any, ...]:
    return tuple((0, value, b"") if isinstance(value, int) else (1, 0, str(value).encode()) for value in key)


def _keys(link: Link, chunk: Chunk) -> list[Key]:
    """The keys of a range; nothing else of its rows is read."""
    flow = chunk.flow
    reading = replace(flow.reading, columns=flow.reading.key)
    types = [flow.types[flow.columns.index(column)] for column in flow.key]
    return list(link.reader.row_sums(reading, types, chunk.key_range, canonical=True))


def refused_row(link: Link, flow: Flow, key: Key, error: RowRejected) -> Refused:
    """The row as the source has it, or, where it cannot even be read, its key."""
    try:
        rows = link.reader.read_rows(flow.reading, [key])
    except RowRejected:
        rows = []
    values = tuple(rows[0]) if rows else ()
    return Refused(link.channel, flow.table, key, flow.columns if values else (), values, one_line(str(error), 400))


def _set_aside(link: Link, flow: Flow, key: Key, error: RowRejected) -> None:
    row = refused_row(link, flow, key, error)
    if link.quarantine is None:
        raise named(link, flow, row, error) from error
    link.quarantine.put(row)


def named(link: Link, flow: Flow, row: Refused, error: RowRejected) -> RowRejected:
    """The error that names table, key, column and value of one row."""
    key = ", ".join(
        f"{column} = {one_line(str(value), SHOWN)}" for column, value in zip(flow.key, row.key, strict=True)
    )
    given = dict(zip(row.columns, row.values, strict=True))
    found = re.search(r"[Cc]olumn [`'\"]*([^`'\",:;]+)", str(error))
    column = found[1] if found and found[1] in given else ""
    taken = dialect_of(link.writer.dialect).keeps_nul
    nul = next((name for name, text_ in given.items() if not taken and isinstance(text_, str) and "\0" in text_), "")
    column = column or nul
    others = ", ".join(f"{name} = {_short(value, 20)}" for name, value in given.items() if name not in flow.key)
    value = f"its value is {_short(given[column], SHOWN)}" if column else f"the row has {one_line(others, 200)}"
    return RowRejected(
        f"{link.writer.name}.{flow.table}, key ({key}){f', column {column}' if column else ''}",
        f"{error.observed}; {value}",
        state="the rows around it are copied, and are not copied again",
        action=_DROPPED * bool(nul)
        + "correct the row at the source, or the target, and run again; or set it aside: on_bad_row: quarantine",
    )


def _short(value: Any, limit: int) -> str:
    return "NULL" if value is None else f"'{one_line(str(value), limit)}'"
