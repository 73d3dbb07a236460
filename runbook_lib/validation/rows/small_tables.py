"""Small tables, many to a statement: what each would cost by itself is round trips.

Only what is found equal is taken from here. A table that differs, or that a statement about many could not read, is
compared by itself like any other, so that findings and errors are the same and name one table.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from runbook_lib.databases.port import Database, KeyRange, Selection
from runbook_lib.errors import RunbookError
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.util.thread_pool import batches
from runbook_lib.validation.context import Context
from runbook_lib.validation.rows.range_checksums import range_rows, use_canonical

SMALL_ROWS = 2_000  # fifty of them are still far less than a second of a server's work
SMALL_BYTES = 64 << 10  # of rows that are read: fifty tables stay below 4 MB

Found = TypeVar("Found")


def only_ranges(link: Link, context: Context) -> dict[str, KeyRange]:
    """Of small tables the one range that is all of them: asked once for all, for each would take several statements."""

    def ask() -> dict[str, KeyRange]:
        wanted: dict[str, tuple[Selection, int]] = {}
        for flow in link.flows:
            with suppress(RunbookError):  # of this table; its own comparison will say what is wrong
                wanted[flow.table] = (context.compared(link, flow).reading, range_rows(link, flow, context))
        found = zip(wanted, link.reader.only_ranges(list(wanted.values())), strict=True)
        return {table: only for table, only in found if only}

    return context.caches.only_ranges.of(link.channel, ask)


def equal_sums(link: Link, context: Context, on_equal: Callable[[Flow, int], None]) -> dict[Flow, int]:
    """The small tables whose checksums are equal, with their rows; `on_equal` is called with each when it is known."""
    canonical, equal, flows = use_canonical(link, context), dict[Flow, int](), _small(link, context)
    sides = {flow: context.compared(link, flow) for flow in flows}
    there = {flow: (side.reading, side.types) for flow, side in sides.items()}
    here = {flow: (side.writing, side.types) for flow, side in sides.items()}
    for flow, left, right in _each(
        context,
        flows,
        lambda some: link.reader.small_sums([there[flow] for flow in some], canonical=canonical),
        lambda some: link.writer.small_sums([here[flow] for flow in some], canonical=canonical),
    ):
        if left == right:
            equal[flow] = left.rows
            context.counted(link, flow, left.rows, left.rows)
            on_equal(flow, left.rows)
    return equal


def count_small(link: Link, context: Context) -> None:
    """Count the small tables on both sides that are not counted yet; `Context.counts` answers from it."""
    unknown = [flow for flow in _small(link, context) if not context.is_counted(link, flow)]
    for flow, there, here in _each(
        context,
        unknown,
        lambda flows: _counts(link.reader, [flow.reading for flow in flows]),
        lambda flows: _counts(link.writer, [flow.writing(link.writer) for flow in flows]),
    ):
        context.counted(link, flow, there, here)


def equal_rows(link: Link, context: Context, most: int) -> dict[Flow, int]:
    """The tables of at most `most` rows a side of which all rows are equal, value by value, with their rows.

    Only where both sides write a value alike: of one engine, of columns of one type that are read as they are.
    """
    if link.reader.dialect != link.writer.dialect:
        return {}
    few = [flow for flow in link.flows if context.is_counted(link, flow) and _fits(link, flow, context, most)]
    sides = {flow: context.compared(link, flow) for flow in few}
    found = _each(
        context,
        [flow for flow in few if sides[flow].key and sides[flow].stored == sides[flow].types],
        lambda flows: link.reader.read_all([sides[flow].reading for flow in flows]),
        lambda flows: link.writer.read_all([sides[flow].writing for flow in flows]),
    )
    return {flow: len(there) for flow, there, here in found if Counter(there) == Counter(here)}


def _small(link: Link, context: Context) -> list[Flow]:
    """By the pages of the reader's table, and by what is known of the writer's."""
    only, (_, written) = only_ranges(link, context), context.catalogs(link)
    return [
        flow
        for flow in link.flows
        if flow.table in only and max(only[flow.table].rows_estimate, written[flow.table].rows_estimate) <= SMALL_ROWS
    ]


def _fits(link: Link, flow: Flow, context: Context, most: int) -> bool:
    rows = max(context.counts(link, flow))
    return rows <= most and rows * context.row_bytes(link, flow) <= SMALL_BYTES


def _counts(database: Database, selections: Sequence[Selection]) -> list[int]:
    each = [
        f"SELECT {number} AS n, COUNT(*) AS c FROM {one.relation}{f' WHERE {one.where}' if one.where else ''}"
        for number, one in enumerate(selections)
    ]
    found = dict(database.rows(" UNION ALL ".join(each)))
    return [int(found[number]) for number in range(len(each))]


def _each(
    context: Context,
    flows: Sequence[Flow],
    left: Callable[[Sequence[Flow]], Sequence[Found]],
    right: Callable[[Sequence[Flow]], Sequence[Found]],
) -> Iterator[tuple[Flow, Found, Found]]:
    """Each table with what both sides found of it, `jobs` statements at a time; those of a failed one are left out."""
    running: deque[tuple[Sequence[Flow], Future[Sequence[Found]], Future[Sequence[Found]]]] = deque()
    for batch in batches(flows, lambda flow: True, context.options.jobs):
        if len(running) >= 2 * context.options.jobs:
            yield from _taken(*running.popleft())
        running.append((batch, context.pool.submit(left, batch), context.pool.submit(right, batch)))
    while running:
        yield from _taken(*running.popleft())


def _taken(
    batch: Sequence[Flow], left: Future[Sequence[Found]], right: Future[Sequence[Found]]
) -> Iterator[tuple[Flow, Found, Found]]:
    with suppress(Exception):  # whatever it is: each by itself says so
        yield from zip(batch, left.result(), right.result(), strict=True)
