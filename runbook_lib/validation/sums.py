"""Sums of key ranges on both sides at once, a few ranges to a statement so that every snapshot is short."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.databases.port import KeyRange, RangeSum
from runbook_lib.transfer.flow import Link
from runbook_lib.validation.context import Compared, Context

BATCH_ROWS = 800_000  # rows behind one call: about a second of hashing, no long transaction on a live source

Sums = list[tuple[KeyRange, RangeSum, RangeSum]]


def use_canonical(link: Link, context: Context) -> bool:
    """False where both sides hash records alike: same engine, same major version."""

    def ask() -> bool:
        there, here = context.both(link.reader.facts, link.writer.facts)
        return (there.dialect, there.version[0]) != (here.dialect, here.version[0])

    return context.once(("canonical", link.channel), ask)


def sum_both(link: Link, side: Compared, ranges: Sequence[KeyRange], context: Context) -> Sums:
    """Sum these ranges on both sides, `jobs` batches at a time on each."""
    if not ranges:
        return []
    canonical = use_canonical(link, context)
    batches = _batches(ranges, context)
    pairs = [
        (
            context.pool.submit(link.reader.range_sums, side.reading, side.types, batch, canonical=canonical),
            context.pool.submit(link.writer.range_sums, side.writing, side.types, batch, canonical=canonical),
        )
        for batch in batches
    ]
    sums: Sums = []
    for batch, (left, right) in zip(batches, pairs, strict=True):
        sums += list(zip(batch, left.result(), right.result(), strict=True))
    return sums


def _batches(ranges: Sequence[KeyRange], context: Context) -> list[Sequence[KeyRange]]:
    each = max(1, ranges[0].rows_estimate or context.chunk_rows)
    size = max(1, min(BATCH_ROWS // each, -(-len(ranges) // context.jobs)))
    return [ranges[start : start + size] for start in range(0, len(ranges), size)]


def unequal_ranges(sums: Sums) -> list[tuple[KeyRange, int]]:
    """The ranges whose sums differ, with the rows to search (count; 0 where one side is empty: every row differs)."""
    return [
        (key_range, max(there.rows, here.rows) if there.rows and here.rows else 0)
        for key_range, there, here in sums
        if there != here
    ]
