"""Tables without a key: every row must be there as often on both sides (docs/correctness.md#tables-without-a-key).

Rows have no name but their hash. The databases sum by buckets of it; unequal buckets are cut finer until they hold few
rows, and only those rows' hashes are listed, with their counts: what is held does not grow with the table.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from runbook_lib.databases.port import Buckets, KeyRange, RangeSum
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.util.text import counted
from runbook_lib.validation.context import Context, Deadline, label
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch, shorten
from runbook_lib.validation.rows.compared import Compared
from runbook_lib.validation.rows.drill_down import BUCKET_ROWS, SLICE_ROWS
from runbook_lib.validation.rows.range_checksums import sum_both, use_canonical
from runbook_lib.validation.rows.recheck import FIRST_PAUSE_S, LONGEST_PAUSE_S
from runbook_lib.validation.rows.row_pairs import quoted

MOST_SUMS = 1 << 14  # sums of one side in memory
LISTINGS = 4  # passes that list hashes, of SLICE_ROWS each: who has more wrong rows copies the table again
EXAMPLES = 5  # rows of each kind that are shown with their values, as many as a terminal shows

WHOLE = KeyRange(0)
Counts = tuple[int, int]  # how often a row is there: at the source, at the target


@dataclass(frozen=True)
class KeylessDifferences:
    """Row hashes that are not there as often on both sides; `left`: there are more, which were not listed."""

    counts: dict[str, Counts] = field(default_factory=dict)
    left: bool = False


def compare(check: str, link: Link, flow: Flow, side: Compared, context: Context) -> tuple[int, CheckResult]:
    """Compare a table without a key: the source's rows (count), and what was found.

    Under writes a row is *different* when it was unequal in the same way before and after the time to settle, *in
    flight* when it was not.
    """
    table = label(link, flow)
    there, here = _sums(link, side, context)
    figures: dict[str, Any] = {"rows": there.rows, "ranges": 1, "unequal_ranges": int(there != here)}
    found = KeylessDifferences() if there == here else _look(link, side, context, max(there.rows, here.rows))
    moving: dict[str, Counts] = {}
    if found.counts and context.options.under_writes:
        found, moving = _settled(link, side, context, context.deadline(), found)
    examples = _examples(link, side, context, found.counts)
    named = [_mismatch(check, link, flow, each, counts, examples) for each, counts in found.counts.items()]
    in_flight = [_mismatch(check, link, flow, each, counts, {}, Kind.IN_FLIGHT) for each, counts in moving.items()]
    if named:
        figures |= _figures(found.counts)
    left = f"more rows differ than the {len(named):,} that are named: copy the table again"
    return there.rows, CheckResult(
        check,
        mismatches=tuple(named),
        in_flight=tuple(in_flight),
        errors={table: left} if found.left else {},
        figures={table: figures},
    )


def _sums(link: Link, side: Compared, context: Context) -> tuple[RangeSum, RangeSum]:
    ((_, there, here, _),) = sum_both(link, side, [WHOLE], context)
    return there, here


def _settled(
    link: Link, side: Compared, context: Context, deadline: Deadline, before: KeylessDifferences
) -> tuple[KeylessDifferences, dict[str, Counts]]:
    """What stayed unequal in the same way for all the time, and what moved meanwhile."""
    pause = FIRST_PAUSE_S
    while True:
        time.sleep(pause)  # a moving target has no event to wait for
        pause = min(pause * 2, LONGEST_PAUSE_S)
        there, here = _sums(link, side, context)
        if there == here:
            return KeylessDifferences(), {}
        if deadline.over:
            break
    after = _look(link, side, context, max(there.rows, here.rows))
    stayed = {each: counts for each, counts in after.counts.items() if before.counts.get(each) == counts}
    moving = {each: counts for each, counts in after.counts.items() if each not in stayed}
    return KeylessDifferences(stayed, after.left or before.left), moving


def _look(link: Link, side: Compared, context: Context, rows: int) -> KeylessDifferences:
    """Find the hashes behind unequal sums of so many rows."""
    canonical = use_canonical(link, context)
    unequal = _unequal(link, side, context, rows)
    size = max(1, SLICE_ROWS * unequal.count // max(1, rows))
    slices = [unequal.chosen[start : start + size] for start in range(0, len(unequal.chosen), size)]
    found: dict[str, Counts] = {}
    for chosen in slices[:LISTINGS]:
        within = Buckets(unequal.count, chosen)
        there, here = context.both(
            partial(link.reader.row_sums, side.reading, side.types, WHOLE, canonical=canonical, within=within),
            partial(link.writer.row_sums, side.writing, side.types, WHOLE, canonical=canonical, within=within),
        )
        counts = {key: (int(there.get(key, 0)), int(here.get(key, 0))) for key in {**there, **here}}
        found |= {str(row_hash): each for (row_hash,), each in counts.items() if each[0] != each[1]}
    return KeylessDifferences(found, len(slices) > LISTINGS)


def _unequal(link: Link, side: Compared, context: Context, rows: int) -> Buckets:
    """The buckets that differ, cut finer while that leaves fewer rows to list: each cut is one pass over the table."""
    canonical = use_canonical(link, context)
    count, within = min(MOST_SUMS, 1 << (rows // BUCKET_ROWS).bit_length()), None
    while True:
        there, here = context.both(
            partial(
                link.reader.bucket_sums, side.reading, side.types, WHOLE, count, canonical=canonical, within=within
            ),
            partial(
                link.writer.bucket_sums, side.writing, side.types, WHOLE, count, canonical=canonical, within=within
            ),
        )
        wrong = tuple(sorted(bucket for bucket in {**there, **here} if there.get(bucket) != here.get(bucket)))
        within = Buckets(count, wrong)
        finer = min(MOST_SUMS // max(1, len(wrong)), rows // (count * BUCKET_ROWS))
        if finer < 2 or len(wrong) * rows // count <= SLICE_ROWS:
            return within
        count <<= finer.bit_length() - 1


def _kind(counts: Counts) -> Kind:
    there, here = counts
    if here < there:
        return Kind.MISSING_ON_TARGET
    return Kind.DUPLICATE_ROWS if there else Kind.MISSING_ON_SOURCE


def _figures(counts: dict[str, Counts]) -> dict[str, int]:
    """How many rows are lost, without an equal at the source, and there too often."""
    names = {
        Kind.MISSING_ON_TARGET: "lost_rows",
        Kind.MISSING_ON_SOURCE: "extra_rows",
        Kind.DUPLICATE_ROWS: "duplicated_rows",
    }
    found = dict.fromkeys(names.values(), 0)
    for each in counts.values():
        found[names[_kind(each)]] += abs(each[0] - each[1])
    return found


def _examples(link: Link, side: Compared, context: Context, counts: dict[str, Counts]) -> dict[str, str]:
    """Row hash → the row's values, of the first few of each kind."""
    shown = list[str]()
    for kind in dict.fromkeys(map(_kind, counts.values())):
        shown += [each for each in counts if _kind(counts[each]) is kind][:EXAMPLES]
    asked = [each for each in shown if counts[each][0]], [each for each in shown if not counts[each][0]]
    canonical = use_canonical(link, context)
    there, here = context.both(
        partial(link.reader.rows_hashed, side.reading, side.types, asked[0], canonical=canonical),
        partial(link.writer.rows_hashed, side.writing, side.types, asked[1], canonical=canonical),
    )
    return {each: _told(side.columns, alike.row) for each, alike in {**there, **here}.items()}


def _told(columns: Sequence[str], row: Iterable[Any]) -> str:
    return shorten(", ".join(f"{name}={quoted(value)}" for name, value in zip(columns, row, strict=True)))


def _mismatch(
    check: str,
    link: Link,
    flow: Flow,
    row_hash: str,
    counts: Counts,
    examples: dict[str, str],
    kind: Kind | None = None,
) -> Mismatch:
    there, here = (counted(count, "row") if count else "no row" for count in counts)
    text = examples.get(row_hash, "a row without a key")
    found = kind or _kind(counts)
    return Mismatch(check, link.service, flow.table, found, (row_hash,), (), there, here, text=text, times=counts)
