"""Sequences moved past everything that was given out at the reader (trap 20), in either direction of the writers.

A writer waits for this inside the write pause: a few queries for all sequences, and a statement only for those behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from runbook_lib.databases.port import Database, Sequence_
from runbook_lib.transfer.links import Link

_TOGETHER = 500  # columns of a query: the least that an engine takes is 1,664


def advance_sequences(link: Link) -> int:
    """Set the writer's sequences that feed columns; how many there are to care for.

    One that feeds an expression (`'U' || nextval('s')`) is known by its own last value only.
    """
    tables = {flow.table: flow.feeds[0].table for flow in link.flows}
    theirs = {_place(s): s for s in link.reader.sequences(list(dict.fromkeys(tables.values())))}
    here = link.writer.sequences(list(tables))
    count = 0
    for sequence, present in zip(here, farthest(link, here), strict=True):
        origin = theirs.get((tables[sequence.table], *_place(sequence)[1:]))
        values = [v for v in (present, sequence.last, origin.last if origin else None) if v is not None]
        if not values:
            continue
        count += 1
        last = max(values) if sequence.increment > 0 else min(values)
        if last != sequence.last:
            link.writer.set_sequence(sequence, last)
    return count


def advance_loose(reader: Database, writer: Database) -> int:
    """Set the writer's standalone sequences that the reader has by the same name; how many there are."""
    here = writer.loose_sequences()
    theirs = {sequence.name: sequence for sequence in reader.loose_sequences()} if here else {}
    common = [s for s in here if s.name in theirs and theirs[s.name].last is not None]
    for sequence in common:
        last = theirs[sequence.name].last or 0
        if sequence.last is None or (last - sequence.last) * sequence.increment > 0:
            writer.set_sequence(sequence, last)
    return len(common)


def _place(sequence: Sequence_) -> tuple[str, str, str]:
    """What a sequence is found by at the other side: its column, else its name."""
    return sequence.table, sequence.column, "" if sequence.column else sequence.name


def farthest(link: Link, sequences: Sequence[Sequence_]) -> list[int | None]:
    """The farthest value in each one's column, in its direction; None: it has none, or feeds an expression."""
    writer, found = link.writer, list[int | None]()
    asked = [
        f"(SELECT {'MAX' if s.increment > 0 else 'MIN'}({writer.ident(s.column)}) FROM {writer.quote(s.table)})"
        if s.column
        else "NULL"
        for s in sequences
    ]
    for at in range(0, len(asked), _TOGETHER):
        found += map(_whole, writer.rows(f"SELECT {', '.join(asked[at : at + _TOGETHER])}")[0])
    return found


def _whole(value: Any) -> int | None:
    """A column's value as a sequence's; numeric columns may hold NaN."""
    return None if value is None or Decimal(value).is_nan() or Decimal(value).is_infinite() else int(value)
