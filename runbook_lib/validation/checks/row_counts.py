"""Check: as many rows on the target as the mapping promises. Exact counts, both sides at the same time.

A table whose checksums have just agreed range by range has been counted with them, and is not counted again.
"""

from __future__ import annotations

import time

from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.context import Context, Deadline, each_table, label
from runbook_lib.validation.report.mismatches import CheckResult, Kind, Mismatch
from runbook_lib.validation.rows import given_keys
from runbook_lib.validation.rows.recheck import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    REMEMBERED,
    captured,
    logs,
    time_for,
    waiting_keys,
)
from runbook_lib.validation.rows.row_pairs import read_pairs
from runbook_lib.validation.rows.small_tables import count_small

NAME = "row_counts"


def row_counts(link: Link, context: Context) -> CheckResult:
    """Count every table of a link on both sides.

    Under writes a difference is counted again until it is gone, until nothing is pending and it stays as it is, or
    until `settle_s` seconds have passed; one that the keys explain which wait for this table is then in flight: while
    they are being applied, so many at most, and where nobody applies them, those that one side has and the other has
    not. One that the checksums have explained by rows that stayed different for as long is not waited for again.
    """
    if context.options.only_keys is not None:
        return each_table(NAME, link, context, lambda flow: given_keys.count(NAME, link, flow, context))
    deadline = context.deadline()
    count_small(link, context)
    return each_table(NAME, link, context, lambda flow: _count(link, flow, context, deadline))


def _count(link: Link, flow: Flow, context: Context, deadline: Deadline) -> CheckResult:
    counts, unsettled = context.counts(link, flow), 0
    if context.options.under_writes and counts[0] - counts[1] not in (0, _known_gap(link, flow, context)):
        counts, unsettled = _again(link, flow, context, deadline, counts)
    figures = {label(link, flow): {"rows": counts[0], "target_rows": counts[1]}}
    if counts[0] == counts[1]:
        return CheckResult(NAME, figures=figures)
    there, here = counts
    explained = unsettled >= abs(there - here)
    text = f"target has {here} rows, source {there}"
    text += f"; {unsettled} changes are under way" if unsettled else ""
    kind = Kind.IN_FLIGHT if explained else Kind.ROW_COUNT
    found = (Mismatch(NAME, link.service, flow.table, kind, (), (), str(there), str(here), text=text),)
    return CheckResult(
        NAME, mismatches=() if explained else found, in_flight=found if explained else (), figures=figures
    )


def _again(
    link: Link, flow: Flow, context: Context, deadline: Deadline, counts: tuple[int, int]
) -> tuple[tuple[int, int], int]:
    """Count again: the last counts, and how many rows what is pending or was moving can explain."""
    has_queue, deadline = captured(link, flow, context), time_for(link, flow, context, deadline)
    pause, moved = FIRST_PAUSE_S, 0
    while True:
        time.sleep(pause)  # between two reads of a moving target
        pause = min(pause * 2, LONGEST_PAUSE_S)
        before, waiting = counts, _pending(link, flow, context) if has_queue else 0
        counts = context.counts(link, flow, now=True)
        still = _pending(link, flow, context) if has_queue else 0
        movement = max(abs(now - then) for now, then in zip(counts, before, strict=True))
        moved = movement if has_queue else max(moved, movement)
        at_rest = has_queue and not (waiting or still or moved)
        if counts[0] == counts[1] or at_rest or deadline.over:
            return counts, moved + (_explained(link, flow, context, counts, waiting, still) if waiting or still else 0)


def _explained(link: Link, flow: Flow, context: Context, counts: tuple[int, int], waiting: int, still: int) -> int:
    """How many rows of a difference the keys that wait explain at most.

    Args:
        waiting: Log rows before the last count (count).
        still: The same after it.
    """
    keys, complete = waiting_keys(link, flow, context)
    if not complete:  # a TRUNCATE, or more than are read
        return max(*counts, waiting, still)
    if waiting != still or len(keys) > REMEMBERED:
        return len(keys) + max(0, waiting - still)
    pairs = read_pairs(link, context.compared(link, flow), keys, context)
    more_there = counts[0] > counts[1]
    return sum((pair.target if more_there else pair.source) is None for pair in pairs if not pair.equal)


def _known_gap(link: Link, flow: Flow, context: Context) -> int:
    """How many rows more the source has, by those that the checksums found different for good."""
    return sum((pair.target is None) - (pair.source is None) for pair in context.different(link, flow).values())


def _pending(link: Link, flow: Flow, context: Context) -> int:
    """Keys that wait in the logs that know of this flow (count)."""
    waiting = 0
    for source, table, _ in logs(link, flow, context):
        pending = source.reader.pending(source.channel)
        waiting += pending[table].keys if table in pending else 0
    return waiting
