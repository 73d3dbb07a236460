"""From ranges that differ to the rows that differ: a range is summed once more by buckets of its keys, in one pass, and
only the rows of unequal buckets are listed. A thousand scattered rows cost as much as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from runbook_lib.databases.port import Buckets, KeyRange, RangeSum
from runbook_lib.transfer.links import Link
from runbook_lib.validation.context import Context
from runbook_lib.validation.rows.compared import Compared, Key
from runbook_lib.validation.rows.range_checksums import use_canonical
from runbook_lib.validation.rows.row_pairs import named

LEAF_ROWS = 2_000  # listing so few row hashes costs less than another pass over them
BUCKET_ROWS = 64  # rows in a bucket, about: fewer means more sums to fetch, more means more hashes to list
PIECE_ROWS = 1_000_000  # summed by buckets at a time: about a second of work, 16,384 sums a side in memory
SLICE_ROWS = 50_000  # hashes listed at a time: memory stays flat
MOST_KEYS = 50_000  # rows named in one table: more is not a repair but a new copy

Suspects = Sequence[tuple[KeyRange, int]]  # (range, rows to search)
Hashes = Mapping[tuple[Any, ...], str]
Unequal = tuple[Key, str | None, str | None]  # a row's key and its hashes, at the source and at the target
Slice = tuple[KeyRange, Buckets | None]


@dataclass(frozen=True)
class DrillDownResult:
    """The rows whose hashes differ; `left` counts parts that hold more of them and were not listed."""

    rows: tuple[Unequal, ...]
    left: int = 0

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys to compare."""
        return tuple(key for key, _, _ in self.rows)


def narrow(link: Link, side: Compared, unequal: Suspects, context: Context) -> DrillDownResult:
    """Find the keys behind unequal ranges, `jobs` pieces of them at a time."""
    found: dict[tuple[str, ...], Unequal] = {}
    unequal = [piece for each in unequal for piece in _pieces(link, side, *each)]
    for start in range(0, len(unequal), context.options.jobs):
        parts = list(_slices(link, side, unequal[start : start + context.options.jobs], context))
        for number in range(0, len(parts), context.options.jobs):
            if len(found) >= MOST_KEYS:
                left = len(parts) - number + len(unequal[start + context.options.jobs :])
                return DrillDownResult(tuple(found.values())[:MOST_KEYS], left)
            for there, here in _listed(link, side, parts[number : number + context.options.jobs], context):
                _add(found, there, here, side.key_types)
    return DrillDownResult(tuple(found.values())[:MOST_KEYS], int(len(found) > MOST_KEYS))


def _add(found: dict[tuple[str, ...], Unequal], there: Hashes, here: Hashes, kinds: Sequence[str]) -> None:
    """Note the rows whose hashes differ, by the key's values: two engines write one key in different texts.

    Where the sides sort differently (an enum's order) a row may be listed with one range here, with another there.
    """
    left, right = (
        {named(key, kinds): (key, digest) for key, digest in side.items() if other.get(key) != digest}
        for side, other in ((there, here), (here, there))
    )
    for name in {**left, **right}:
        known = found.pop(name, ((), None, None))
        key, one = left.get(name, known[:2])
        other = right[name][1] if name in right else known[2]
        if one != other:
            found[name] = (key or known[0] or right[name][0], one, other)


def _pieces(link: Link, side: Compared, key_range: KeyRange, rows: int) -> Suspects:
    """A range as it is, or cut where its rows are too many for one statement."""
    if rows <= 2 * PIECE_ROWS or key_range.kind != "key":
        return [(key_range, rows)]
    within = replace(side.reading, where=link.reader.condition(side.reading, key_range))
    cut = link.reader.ranges(within, PIECE_ROWS)
    edges = [key_range.after, *(each.upto for each in cut[:-1]), key_range.upto]
    return [(KeyRange(key_range.ordinal, after, upto), rows // len(cut)) for after, upto in pairwise(edges)]


def _slices(link: Link, side: Compared, unequal: Suspects, context: Context) -> Iterator[Slice]:
    """What to list: small ranges as they are, of large ones the buckets that differ."""
    canonical = use_canonical(link, context)
    asked: list[tuple[KeyRange, int, int, tuple[Future[dict[int, RangeSum]], ...]]] = []
    for key_range, rows in unequal:
        if rows <= LEAF_ROWS:
            yield key_range, None
            continue
        count = 1 << (rows // BUCKET_ROWS).bit_length()
        sums = tuple(
            context.pool.submit(database.bucket_sums, selection, side.types, key_range, count, canonical=canonical)
            for database, selection in ((link.reader, side.reading), (link.writer, side.writing))
        )
        asked.append((key_range, rows, count, sums))
    for key_range, rows, count, sums in asked:
        there, here = (future.result() for future in sums)
        wrong = [bucket for bucket in {**there, **here} if there.get(bucket) != here.get(bucket)]
        size = max(1, SLICE_ROWS * count // rows)
        for first in range(0, len(wrong), size):
            yield key_range, Buckets(count, tuple(wrong[first : first + size]))


def _listed(link: Link, side: Compared, slices: Sequence[Slice], context: Context) -> Iterator[tuple[Hashes, Hashes]]:
    canonical = use_canonical(link, context)
    asked = [
        tuple(
            context.pool.submit(d.row_sums, selection, side.types, key_range, canonical=canonical, within=within)
            for d, selection in ((link.reader, side.reading), (link.writer, side.writing))
        )
        for key_range, within in slices
    ]
    for there, here in asked:
        yield there.result(), here.result()
