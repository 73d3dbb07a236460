"""Sequences moved past everything that was given out at the reader, in either direction of the writers.

See docs/correctness.md#sequences.
A writer waits for this inside the write pause: a few queries for all sequences, and a statement only for those behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from runbook_lib.databases.port import Database, Sequence_
from runbook_lib.transfer.links import Link

_TOGETHER = 500  # columns of a query: the least that an engine takes is 1,664


@dataclass(frozen=True)
class _Given:
    """What one side has: sequences that feed columns, and standalone ones."""

    feeding: list[Sequence_]
    standalone: list[Sequence_]


def advance_all(links: Sequence[Link]) -> int:
    """Set the writers' sequences, those that feed columns and standalone ones; how many there are to care for."""
    return sum(_advance(link, standalone=True) for link in links)


def advance_sequences(link: Link) -> int:
    """Set the writer's sequences that feed columns; how many there are to care for.

    One that feeds an expression (`'U' || nextval('s')`) is known by its own last value only.
    """
    return _advance(link, standalone=False)


def _advance(link: Link, *, standalone: bool) -> int:
    """Both sides are asked at the same time: writers wait for it."""
    tables = {flow.table: flow.feeds[0].table for flow in link.flows}
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(_given, link.reader, list(dict.fromkeys(tables.values())), standalone=standalone)
        here = _given(link.writer, list(tables), standalone=standalone)
        present = farthest(link, here.feeding)
        theirs = asked.result()
    return _advance_feeding(link, tables, theirs, here, present) + _advance_standalone(link.writer, theirs, here)


def _given(database: Database, tables: Sequence[str], *, standalone: bool) -> _Given:
    return _Given(database.sequences(tables), database.standalone_sequences() if standalone else [])


def _advance_feeding(
    link: Link, tables: Mapping[str, str], theirs: _Given, here: _Given, present: Sequence[int | None]
) -> int:
    origins, count = {_place(s): s for s in theirs.feeding}, 0
    for sequence, farthest_value in zip(here.feeding, present, strict=True):
        origin = origins.get((tables[sequence.table], *_place(sequence)[1:]))
        values = [v for v in (farthest_value, sequence.last, origin.last if origin else None) if v is not None]
        if not values:
            continue
        count += 1
        last = max(values) if sequence.increment > 0 else min(values)
        if last != sequence.last:
            link.writer.set_sequence(sequence, last)
    return count


def _advance_standalone(writer: Database, theirs: _Given, here: _Given) -> int:
    """Those that the reader has by the same name."""
    origins = {sequence.name: sequence for sequence in theirs.standalone}
    common = [s for s in here.standalone if s.name in origins and origins[s.name].last is not None]
    for sequence in common:
        last = origins[sequence.name].last or 0
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
