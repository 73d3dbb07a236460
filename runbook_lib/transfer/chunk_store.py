"""Which ranges of which table are done: kept in the target, marked in the same transaction as the rows.

See docs/correctness.md#progress-with-the-rows.
The ranges are cut once, before the first row is read, and stored: a resumed copy works on the same ranges, whatever
was written to the source meanwhile. The last range has no upper bound, so that nothing falls behind it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from runbook_lib.databases.adapter_helpers import in_pieces
from runbook_lib.databases.own_objects import is_there, make
from runbook_lib.databases.port import Database, KeyRange
from runbook_lib.errors import TransferError
from runbook_lib.transfer.links import Flow, Link

_CUT_TOGETHER = 200  # tables whose ranges are recorded in one transaction
_splitting = threading.Lock()  # one process copies a link, several of its threads may split ranges of a table


@dataclass(frozen=True)
class Chunk:
    """One range of one flow; `rows_done` is None until its rows are in the target."""

    flow: Flow
    key_range: KeyRange
    rows_done: int | None = None


def planned(link: Link, rows_per_chunk: int) -> list[Chunk]:
    """The link's chunks, cut now for every table that has none yet.

    Args:
        rows_per_chunk: Rows in a range (count, about; 1–1_000_000).
    """
    make(
        link.writer,
        "ranges",
        "channel VARCHAR(100) NOT NULL, table_name VARCHAR(200) NOT NULL, ordinal INTEGER NOT NULL,"
        " bounds TEXT NOT NULL, rows_estimate BIGINT NOT NULL, rows_done BIGINT,"
        " PRIMARY KEY (channel, table_name, ordinal)",
    )
    found = recorded(link)
    for flows in in_pieces([flow for flow in link.flows if not found[flow.table]], _CUT_TOGETHER):
        found |= _cut(link, flows, rows_per_chunk)
    return [chunk for flow in link.flows for chunk in found[flow.table]]


def unfinished(link: Link) -> tuple[str, ...]:
    """Tables whose bulk copy has not ended: their changes must wait."""
    found = recorded(link).items()
    return tuple(table for table, chunks in found if not chunks or any(chunk.rows_done is None for chunk in chunks))


def mark_done(link: Link, chunk: Chunk) -> tuple[str, Mapping[str, Any]]:
    """The statement that `Database.copy_in` runs with the rows of this chunk; it changes a row only once."""
    sql = (
        f"UPDATE {_table(link.writer)} SET rows_done = :rows"
        " WHERE channel = :channel AND table_name = :table_name AND ordinal = :ordinal AND rows_done IS NULL"
    )
    return sql, {"channel": link.channel, "table_name": chunk.flow.table, "ordinal": chunk.key_range.ordinal}


def split(link: Link, chunk: Chunk, border: tuple[Any, ...], below: int) -> tuple[Chunk, Chunk]:
    """Record a range as two: up to and with the border, and behind it.

    Both get numbers that never were: whoever still copies the whole range finds no mark to make.

    Args:
        below: Rows up to the border (count, about).
    """
    one, table = chunk.key_range, _table(link.writer)
    place = {"c": link.channel, "t": chunk.flow.table}
    of_table = f"FROM {table} WHERE channel = :c AND table_name = :t"
    with _splitting, link.writer.engine.begin() as connection:
        # The write comes first: SQLite lets no transaction write that has read what others changed since.
        gone = connection.execute(
            text(f"DELETE {of_table} AND ordinal = :o AND rows_done IS NULL"), {**place, "o": one.ordinal}
        )
        if gone.rowcount == 0:
            raise TransferError(chunk.flow.table, "this range was done by somebody else", state="rolled back")
        others = connection.execute(text(f"SELECT MAX(ordinal) {of_table}"), place).scalar_one()
        last = max(one.ordinal, -1 if others is None else others)
        left = KeyRange(last + 1, one.after, border, below)
        right = KeyRange(last + 2, border, one.upto, max(0, one.rows_estimate - below))
        halves = Chunk(chunk.flow, left), Chunk(chunk.flow, right)
        _insert(connection, link, halves)
    return halves


def forget(link: Link) -> None:
    """Forget the ranges of this link: the next copy starts from nothing."""
    forget_channel(link.writer, link.channel)


def forget_channel(writer: Database, channel: str, table: str = "") -> None:
    """The same where the tables may not be there, or of one table."""
    if _exists(writer):
        where = "channel = :c AND table_name = :t" if table else "channel = :c"
        with writer.engine.begin() as connection:
            connection.execute(text(f"DELETE FROM {_table(writer)} WHERE {where}"), {"c": channel, "t": table})


def undo_marks(link: Link, table: str) -> None:
    """Let all ranges of this table be done once more."""
    sql = f"UPDATE {_table(link.writer)} SET rows_done = NULL WHERE channel = :c AND table_name = :t"
    with link.writer.engine.begin() as connection:
        connection.execute(text(sql), {"c": link.channel, "t": table})


def begun(writer: Database, channel: str) -> bool:
    """Whether ranges of this channel were cut."""
    if not _exists(writer):
        return False
    return bool(writer.rows(f"SELECT 1 FROM {_table(writer)} WHERE channel = :c LIMIT 1", {"c": channel}))


def _table(writer: Database) -> str:
    return writer.own_table("ranges")


def _exists(writer: Database) -> bool:
    return is_there(writer, "ranges")


def recorded(link: Link) -> dict[str, list[Chunk]]:
    """The chunks recorded for each flow, by its table; none for one whose copy was never begun."""
    found: dict[str, list[Chunk]] = {flow.table: [] for flow in link.flows}
    flows = {flow.table: flow for flow in link.flows}
    if not _exists(link.writer):
        return found
    rows = link.writer.rows(
        f"SELECT table_name, ordinal, bounds, rows_estimate, rows_done FROM {_table(link.writer)}"
        " WHERE channel = :channel ORDER BY table_name, ordinal",
        {"channel": link.channel},
    )
    for table, ordinal, bounds, estimate, done in rows:
        if table in flows:
            found[table].append(Chunk(flows[table], _decode(ordinal, bounds, estimate), done))
    return found


def stored(link: Link, flow: Flow) -> list[Chunk]:
    """The chunks recorded for this flow; empty when its copy was never begun."""
    return recorded(link)[flow.table]


def _cut(link: Link, flows: Sequence[Flow], rows_per_chunk: int) -> dict[str, list[Chunk]]:
    small = link.reader.only_ranges([(flow.reading, rows_per_chunk) for flow in flows])
    ranges = [
        [one] if one else link.reader.ranges(flow.reading, rows_per_chunk)
        for flow, one in zip(flows, small, strict=True)
    ]
    cut = {flow.table: [Chunk(flow, each) for each in found] for flow, found in zip(flows, ranges, strict=True)}
    with link.writer.engine.begin() as connection:
        _insert(connection, link, [chunk for chunks in cut.values() for chunk in chunks])
    return cut


def _insert(connection: Connection, link: Link, chunks: Sequence[Chunk]) -> None:
    ranges = [(chunk.flow.table, chunk.key_range) for chunk in chunks]
    rows = [{"c": link.channel, "t": t, "o": r.ordinal, "b": _encode(r), "e": r.rows_estimate} for t, r in ranges]
    connection.execute(text(f"INSERT INTO {_table(link.writer)} VALUES (:c, :t, :o, :b, :e, NULL)"), rows)


def _encode(key_range: KeyRange) -> str:
    return json.dumps([key_range.kind, key_range.after, key_range.upto])


def _decode(ordinal: int, bounds: str, estimate: int) -> KeyRange:
    kind, after, upto = json.loads(bounds)
    return KeyRange(ordinal, _tuple(after), _tuple(upto), estimate, kind)


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
