"""Repair of tables without a key: their rows are a multiset, and are made as many as they are at the source.

A row is known by its hash, as in the comparison. A batch counts its rows again on both sides and writes only if both
have them as often as the comparison found; so a table that somebody writes to is refused and not guessed at. A batch is
one transaction: kill -9 leaves whole ones, and the next repair finds what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runbook_lib.databases.as_stored import AsStored
from runbook_lib.databases.port import Applied, EqualRows, Recount
from runbook_lib.errors import Refused, RowRejected
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.util.text import counted
from runbook_lib.validation.context import Context, label
from runbook_lib.validation.report.mismatches import Mismatch
from runbook_lib.validation.report.report import Report
from runbook_lib.validation.rows import keyless
from runbook_lib.validation.rows.range_checksums import use_canonical

# Changed in one transaction. Each batch reads both tables once, so there are few; and what is held stays small.
BATCH_ROWS, BATCH_BYTES = 10_000, 64 << 20

Counts = tuple[int, int]


def of_table(flow: Flow, mismatches: Sequence[Mismatch]) -> list[Mismatch]:
    """The rows of a table without a key that are not there as often on both sides, each once."""
    rows = {m.key: m for m in mismatches if m.table == flow.table and len(m.times) == 2 and not flow.key}
    return list(rows.values())


def obstacle(link: Link, flow: Flow, report: Report) -> str:
    """Why a table without a key cannot be repaired; "" where it can."""
    place = label(link, flow)
    for result in report.results:
        moving = sum(mismatch.label == place for mismatch in result.in_flight)
        if moving:
            return (
                f"{flow.table}: {counted(moving, 'row')} changed while the table was compared; expected a table that "
                "nobody writes to; nothing was written to it. Next: stop its writers, and repair again"
            )
        if place in result.errors:
            return f"{flow.table}: {result.errors[place]}; nothing was written to it"
    return ""


def recount(link: Link, flow: Flow, rows: Sequence[Mismatch], context: Context) -> Applied:
    """Delete what is there too often at the target, insert what is missing; what was done (counts of rows).

    Raises:
        Refused: rows are no longer there as often as they were compared; the batches before are written.
        RowRejected: the target refuses a row; the batches before are written.
    """
    side, canonical = context.compared(link, flow), use_canonical(link, context)
    upserted = deleted = 0
    source = {str(mismatch.key[0]): mismatch.times[0] for mismatch in rows}
    for batch in _batches({str(m.key[0]): (m.times[0], m.times[1]) for m in rows}, _most(link, flow, context)):
        there = link.reader.rows_hashed(side.reading, side.types, list(batch), canonical=canonical)
        _require_as_compared(link, flow, {each: source[each] for each in batch}, there)
        changes = {each: _change(counts, there.get(each), flow) for each, counts in batch.items()}
        done = link.writer.recount_rows(
            flow.table, flow.columns, side.writing, side.types, changes, canonical=canonical
        )
        upserted, deleted = upserted + done.upserted, deleted + done.deleted
    return Applied(upserted, deleted)


def compare_again(link: Link, flow: Flow, context: Context) -> list[Mismatch]:
    """What differs between the whole tables now."""
    _, found = keyless.compare("repair", link, flow, context.compared(link, flow), context)
    return list(found.mismatches)


def _batches(times: Mapping[str, Counts], most: int) -> Iterator[dict[str, Counts]]:
    """Hash → count at the target before and after, at most so many rows changed; a row of many copies in several."""
    batch: dict[str, Counts] = {}
    room = most
    for each, (there, here) in times.items():
        now = here
        while now != there:
            then = now + max(-room, min(room, there - now))
            batch[each] = (now, then)
            room -= abs(then - now)
            now = then
            if not room:
                yield batch
                batch, room = {}, most
    if batch:
        yield batch


def _most(link: Link, flow: Flow, context: Context) -> int:
    """Rows in a batch (count)."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // context.row_bytes(link, flow)))


def _require_as_compared(link: Link, flow: Flow, source: Mapping[str, int], there: Mapping[str, EqualRows]) -> None:
    moved = sum((there[each].count if each in there else 0) != count for each, count in source.items())
    if moved:
        raise Refused(
            f"table {flow.table}",
            f"{counted(moved, 'row')} at {link.reader.name} there in other numbers than when the table was compared",
            expected="a source that nobody writes to meanwhile",
            state="the batches before are written, the rest is as it was",
            action="stop its writers, and repair again",
        )


def _change(counts: Counts, alike: EqualRows | None, flow: Flow) -> Recount:
    """Generated columns, which come last, are compared and not written."""
    row = alike.row[: len(flow.columns)] if alike else ()
    for column, value in zip(flow.columns, row, strict=False):
        if isinstance(value, AsStored):
            raise RowRejected(
                f"{flow.table}.{column}",
                f"{value} is no value of its type",
                state="the batches before are written",
                action="correct it at the source, and repair again",
            )
    return Recount(*counts, row)
