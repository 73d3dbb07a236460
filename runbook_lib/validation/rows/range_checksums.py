"""Sums of key ranges on both sides at once, a few ranges to a statement so that every snapshot is short."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from runbook_lib.databases.port import KeyRange, RangeSum
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.context import Context
from runbook_lib.validation.rows.compared import Compared

# Behind one statement: about a second of work, no long transaction on a live source. The canonical encoding is
# several times slower than a server's own hash; wide rows have to be read, whatever is hashed.
OWN_ROWS, CANONICAL_ROWS, RANGE_BYTES = 4_000_000, 500_000, 512 << 20
LEAST_ROWS = 1_000  # statistics may be of a table as it was long ago

# Another number here, and sums of before are no longer taken over.
CANONICAL, OWN = "canonical 3", "own 4"

Sum = tuple[KeyRange, RangeSum, RangeSum, float]  # the last: when it was asked for, seconds since the epoch


def use_canonical(link: Link, context: Context) -> bool:
    """False where both sides hash records alike: same engine, same major version."""
    return encoding(link, context) == CANONICAL


def encoding(link: Link, context: Context) -> str:
    """What is hashed, with its version: the canonical encoding, or what both servers hash alike."""

    def ask() -> str:
        both = context.both(link.reader.facts, link.writer.facts)
        there, here = (f"{facts.dialect} {facts.version[0]}" for facts in both)
        return CANONICAL if there != here else f"{OWN}, {there}"

    return context.caches.encoding.of(link.channel, ask)


def range_rows(link: Link, flow: Flow, context: Context) -> int:
    """Rows in a range of the first pass (count, about)."""
    most = CANONICAL_ROWS if use_canonical(link, context) else OWN_ROWS
    return context.options.chunk_rows or min(most, max(LEAST_ROWS, RANGE_BYTES // context.row_bytes(link, flow)))


def sum_both(link: Link, side: Compared, ranges: Sequence[KeyRange], context: Context, rows: int = 0) -> Iterator[Sum]:
    """Sum these ranges on both sides, `jobs` statements at a time on each, in their order.

    Args:
        rows: Behind one statement (count, about); 0: one range.
    """
    canonical = use_canonical(link, context)
    running: deque[tuple[Sequence[KeyRange], Future[list[RangeSum]], Future[list[RangeSum]], float]] = deque()
    for batch in _batches(ranges, rows):
        if len(running) >= 2 * context.options.jobs:  # the next ones wait in the pool, not all of them
            yield from _taken(*running.popleft())
        at = time.time()
        left = context.pool.submit(link.reader.range_sums, side.reading, side.types, batch, canonical=canonical)
        right = context.pool.submit(link.writer.range_sums, side.writing, side.types, batch, canonical=canonical)
        running.append((batch, left, right, at))
    while running:
        yield from _taken(*running.popleft())


def _taken(
    batch: Sequence[KeyRange], left: Future[list[RangeSum]], right: Future[list[RangeSum]], at: float
) -> Iterator[Sum]:
    for key_range, there, here in zip(batch, left.result(), right.result(), strict=True):
        yield key_range, there, here, at


def _batches(ranges: Sequence[KeyRange], rows: int) -> Iterator[Sequence[KeyRange]]:
    """Small ranges share a statement; where no index serves the key's order that spares scans of the table."""
    each = max(1, ranges[0].rows_estimate or rows) if ranges else 1
    size = max(1, rows // each)
    for start in range(0, len(ranges), size):
        yield ranges[start : start + size]
