"""Positions of the sequences of two databases that nobody holds together: one that is behind gives out values twice.

While a sync runs the source's sequences are ahead, and the cutover moves the target's: then nothing is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.port import Sequence_
from runbook_lib.transfer.links import Link
from runbook_lib.validation.context import Context
from runbook_lib.validation.report.mismatches import Kind, Mismatch
from runbook_lib.validation.stalled_sync import captured


def positions(check: str, link: Link, context: Context) -> Iterator[Mismatch]:
    """Sequences behind their column's values or the source's: a number that was given out is given out again.

    Standalone ones are compared where the whole database is.
    """
    ways = [way for way in (link, link.opposite) if way]
    if link.service or not link.forward or context.options.only_keys is not None or context.options.sequences:
        return
    if any(captured(way.reader, way.channel) for way in ways):
        return
    from runbook_lib.transfer.sequences import farthest

    say = partial(Mismatch, check, link.service)
    used, origins = link.writer.sequences([flow.table for flow in link.flows]), _origins(link)
    fed = [each for each in used if each.column]
    for sequence, value in zip(fed, farthest(link, fed), strict=True):
        last = origins.get((sequence.table, sequence.column))
        if value is not None and _behind(sequence, value):
            yield _said(say, link, sequence, value, f"the column {sequence.column} has {value}")
        elif last is not None and _behind(sequence, last):
            yield _said(say, link, sequence, last, f"the source's is at {last}")
    if link.reader.dialect != link.writer.dialect:
        return
    same = {flow.table for flow in link.flows if not flow.mapped and flow.feeds[0].table == flow.table}
    whole = set(link.reader.tables()) <= same
    used = [each for each in used if not each.column]  # they feed an expression: `'U' || nextval('s')`
    there = [each for each in link.reader.sequences(sorted(same)) if not each.column] if used else []
    theirs = {each.name: each.last for each in (*there, *(link.reader.standalone_sequences() if whole else ()))}
    for sequence in (*used, *(link.writer.standalone_sequences() if whole else ())):
        if (last := theirs.get(sequence.name)) is not None and _behind(sequence, last):
            yield _said(say, link, replace(sequence, table=""), last, f"the source's is at {last}")


def _origins(link: Link) -> dict[tuple[str, str], int | None]:
    """Table and column of the target → what the source's sequence of that column gave last."""
    tables = {flow.feeds[0].table: flow.table for flow in link.flows if not flow.mapped}
    return {(tables[each.table], each.column): each.last for each in link.reader.sequences(list(tables)) if each.column}


def _behind(sequence: Sequence_, value: int) -> bool:
    last = sequence.start - sequence.increment if sequence.last is None else sequence.last
    return (value - last) * sequence.increment > 0


def _said(say: Callable[..., Mismatch], link: Link, sequence: Sequence_, value: int, why: str) -> Mismatch:
    here = "never called" if sequence.last is None else str(sequence.last)
    return say(
        sequence.table or f"sequence {sequence.name}",
        Kind.SEQUENCE_BEHIND,
        columns=(sequence.column,) if sequence.column else (),
        source_value=str(value),
        target_value=here,
        name=sequence.name,
        text=f"sequence {sequence.name} is behind: {here}, {why}",
        mend=dialect_of(link.writer.dialect).advance(sequence, value),
    )
