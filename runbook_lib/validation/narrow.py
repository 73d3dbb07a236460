"""From ranges that differ to the rows that differ: ranges are cut again and summed, and only small ones are listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runbook_lib.databases.port import Database, KeyRange, Selection
from runbook_lib.transfer.flow import Link
from runbook_lib.validation.context import Compared, Context
from runbook_lib.validation.rows import Key, plain
from runbook_lib.validation.sums import sum_both, unequal_ranges, use_canonical

LEAF_ROWS = 1_000  # listing so few row hashes costs less than another round of sums
DIRECT_ROWS = 200_000  # fewer suspects in all: their hashes are listed at once
PIECES = 32  # a range of the usual 100,000 rows comes down to a leaf in two rounds
MOST_KEYS = 10_000  # rows named in one table: more is not a repair but a new copy

Suspects = list[tuple[KeyRange, int]]  # (range, rows to search)


@dataclass(frozen=True)
class Narrowed:
    """The keys whose row hashes differ; `left` counts ranges that differ and were not listed."""

    keys: tuple[Key, ...]
    left: int = 0


def narrow(link: Link, side: Compared, unequal: Suspects, context: Context) -> Narrowed:
    """Find the keys behind unequal ranges."""
    leaves = _leaves(link, side, unequal, context)
    keys: dict[tuple[str, ...], Key] = {}
    for done, leaf in enumerate(leaves):
        for key in _unequal_keys(link, side, leaf, context):
            keys.setdefault(plain(key), key)
        if len(keys) >= MOST_KEYS and done + 1 < len(leaves):
            return Narrowed(tuple(keys.values())[:MOST_KEYS], len(leaves) - done - 1)
    return Narrowed(tuple(keys.values()))


def _leaves(link: Link, side: Compared, unequal: Suspects, context: Context) -> list[KeyRange]:
    if sum(rows for _, rows in unequal) <= DIRECT_ROWS // PIECES:
        return [key_range for key_range, _ in unequal]
    if _integer_key(side):
        return _bisected(link, side, unequal, context)
    if sum(rows for _, rows in unequal) <= DIRECT_ROWS:
        return [key_range for key_range, _ in unequal]
    # Other keys have no arithmetic: the whole selection is cut finer by the engine, and summed once more.
    fine = link.reader.ranges(side.reading, max(LEAF_ROWS, context.chunk_rows // PIECES))
    return [key_range for key_range, _ in unequal_ranges(sum_both(link, side, fine, context))]


def _integer_key(side: Compared) -> bool:
    kind = side.types[side.columns.index(side.key[0])] if len(side.key) == 1 else ""
    return kind.partition("(")[0].strip() in ("smallint", "integer", "bigint", "int", "mediumint", "tinyint")


def _bisected(link: Link, side: Compared, unequal: Suspects, context: Context) -> list[KeyRange]:
    least, greatest = _extent(link, side, context)
    leaves: list[KeyRange] = []
    frontier = unequal
    while frontier:
        pieces: list[KeyRange] = []
        for key_range, rows in frontier:
            low = least - 1 if key_range.after is None else int(key_range.after[0])
            high = greatest if key_range.upto is None else int(key_range.upto[0])
            if rows <= LEAF_ROWS or high - low <= PIECES:
                leaves.append(key_range)
            else:
                pieces += _pieces(key_range, low, high, rows)
        frontier = unequal_ranges(sum_both(link, side, pieces, context))
    return leaves


def _pieces(key_range: KeyRange, low: int, high: int, rows: int) -> list[KeyRange]:
    """Even steps of the key, no more of them than needed; the outer ends stay as they were, open ones too."""
    count = min(PIECES, max(2, -(-rows // LEAF_ROWS)))  # each statement costs as much as listing some hundred rows
    bounds = [low + (high - low) * i // count for i in range(1, count)]
    edges = [key_range.after, *((bound,) for bound in bounds), key_range.upto]
    each = max(1, rows // count)
    return [replace(key_range, ordinal=i, after=edges[i], upto=edges[i + 1], rows_estimate=each) for i in range(count)]


def _extent(link: Link, side: Compared, context: Context) -> tuple[int, int]:
    """The least and the greatest key on either side."""
    found = context.both(lambda: _ends(link.reader, side.reading), lambda: _ends(link.writer, side.writing))
    ends = [int(end) for pair in found for end in pair if end is not None]
    return (min(ends), max(ends)) if ends else (0, 0)


def _ends(database: Database, selection: Selection) -> tuple[int | None, int | None]:
    where = f" WHERE {selection.where}" if selection.where else ""
    key = selection.key[0]
    [(least, greatest)] = database.rows(f"SELECT MIN({key}), MAX({key}) FROM {selection.relation}{where}")
    return least, greatest


def _unequal_keys(link: Link, side: Compared, leaf: KeyRange, context: Context) -> Sequence[Key]:
    canonical = use_canonical(link, context)
    there, here = context.both(
        lambda: link.reader.row_sums(side.reading, side.types, leaf, canonical=canonical),
        lambda: link.writer.row_sums(side.writing, side.types, leaf, canonical=canonical),
    )
    return [key for key in {**there, **here} if there.get(key) != here.get(key)]
