"""Bulk copy: every row that is there now, range by range, resumable to the row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from runbook_lib.databases.adapter_helpers import filled
from runbook_lib.errors import DatabaseError, RowRejected, TransferError
from runbook_lib.transfer.capture import kept_up
from runbook_lib.transfer.chunk_store import Chunk, mark_done, planned, recorded, undo_marks
from runbook_lib.transfer.isolate_bad_rows import copy_one_by_one
from runbook_lib.transfer.links import Flow, Link
from runbook_lib.transfer.quarantine import counts
from runbook_lib.transfer.throttle import Throttle
from runbook_lib.transfer.value_scan import measure
from runbook_lib.util.thread_pool import Task, batches, run_all

RowsListener = Callable[[int, int], None]  # rows done, rows in all (an estimate)
Batch = Sequence[Chunk]  # ranges that are copied in one transaction
SMALL_ROWS = 2_000  # of a table that may share a transaction


@dataclass(frozen=True)
class CopyResult:
    """What one link's copy did; rows are counts, `rows` includes those of earlier attempts.

    `quarantined`: rows by table that the target refused and that are quarantined, those of earlier attempts too.
    `changed`: `table.column: what` → rows at the source whose value the plan changes on the way.
    `throttled_s`: how long there was a reason to wait (seconds).
    """

    channel: str
    rows: int
    rows_now: int
    elapsed_s: float
    tables: dict[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)
    throttled_s: float = 0.0
    changed: Mapping[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Rows per second of this attempt."""
        return self.rows_now / self.elapsed_s if self.elapsed_s else 0.0


def copy_link(
    link: Link,
    *,
    chunk_rows: int = 50_000,
    jobs: int = 2,
    pause: Callable[[], str] = lambda: "",
    on_progress: RowsListener = lambda done, total: None,
    then: Callable[[Sequence[str]], Sequence[Task]] = lambda tables: (),
) -> CopyResult:
    """Copy every row of a link's flows and return what was copied.

    Each range is read in its own short snapshot and written with its progress mark in one target transaction:
    killed anywhere, it is run again and resumes exactly where it was. Where there are many small tables several of
    them share the transaction.

    Args:
        chunk_rows: Rows per transaction (count, 1–1_000_000).
        jobs: Ranges at a time (count).
        pause: Asked before each range: a reason to wait ("" = none).
        on_progress: Told rows done and rows in all.
        then: What can be done when tables have all their rows (one, or several small ones): it is done beside the
            ranges of the other tables.
    Raises:
        TransferError: the target already has rows that this copy did not write, or is being copied into.
        RowRejected: the target refused a row, and the link has no quarantine for it, or a full one.
    """
    with link.writer.advisory_lock(f"runbook copy {link.channel}") as granted:
        if not granted:
            raise TransferError(
                f"{link.writer.name}: another copy into it is running",
                "its lock is held",
                state="nothing was copied by this one",
                action="wait for it to end, or end it, and run again",
            )
        _restart_without_transactions(link)
        _refuse_foreign_rows(link)
        with kept_up(link.reader):
            return _copy(link, planned(link, chunk_rows), jobs, pause, on_progress, then)


def _copy(
    link: Link,
    chunks: Sequence[Chunk],
    jobs: int,
    pause: Callable[[], str],
    on_progress: RowsListener,
    then: Callable[[Sequence[str]], Sequence[Task]],
) -> CopyResult:
    started = time.monotonic()
    before = sum(chunk.rows_done or 0 for chunk in chunks)
    total = sum(chunk.key_range.rows_estimate if chunk.rows_done is None else chunk.rows_done for chunk in chunks)
    tables = {flow.table: 0 for flow in link.flows}
    for chunk in chunks:
        tables[chunk.flow.table] += chunk.rows_done or 0
    todo = _largest_first(chunks)
    left = Counter(chunk.flow.table for chunk in todo)
    done, measured, ended = before, Throttle(pause, interval_s=0.0), started

    def work(item: Batch | Task) -> Sequence[int] | Sequence[Task]:
        return item() if callable(item) else _copy_batch(link, item, measured)

    def more(item: Batch | Task, result: Sequence[int] | Sequence[Task]) -> Sequence[Batch | Task]:
        if callable(item):
            return cast(Sequence[Task], result)
        left.subtract(chunk.flow.table for chunk in item)
        return (
            then(complete) if (complete := [chunk.flow.table for chunk in item if not left[chunk.flow.table]]) else ()
        )

    small = _small(link, chunks)
    ended_before = batches([t for t in tables if not left[t]], lambda table: table in small, jobs)
    copying = batches(todo, lambda chunk: chunk.flow.table in small, jobs)
    items: list[Batch | Task] = [*(task for names in ended_before for task in then(names)), *copying]
    for item, result in run_all(work, items, jobs=jobs, more=more):
        if not callable(item):
            ended = time.monotonic()
            for chunk, rows in zip(item, cast(Sequence[int], result), strict=True):
                done += rows
                tables[chunk.flow.table] += rows
            on_progress(done, max(total, done))
    changed = {f"{m.table}.{m.column}: {m.name}": m.rows for m in measure(link, changed_only=True)}
    aside = counts(link.quarantine, link.channel, list(tables))
    return CopyResult(link.channel, done, done - before, ended - started, tables, aside, measured.waited_s, changed)


def _small(link: Link, chunks: Sequence[Chunk]) -> set[str]:
    """Tables of one range with few rows: they share a transaction where the writer can do so."""
    if not link.writer.capabilities.joined_loads:
        return set()
    ranges = Counter(chunk.flow.table for chunk in chunks)
    few = {chunk.flow.table for chunk in chunks if chunk.key_range.rows_estimate <= SMALL_ROWS}
    return {table for table in few if ranges[table] == 1}


def _largest_first(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The ranges still to be done: those of the largest table first, for what comes after it takes longest too."""
    size = Counter[str]()
    for chunk in chunks:
        size[chunk.flow.table] += chunk.key_range.rows_estimate
    todo = (chunk for chunk in chunks if chunk.rows_done is None)
    return sorted(todo, key=lambda c: (-size[c.flow.table], c.flow.table, -c.key_range.rows_estimate))


def _copy_batch(link: Link, batch: Batch, pause: Callable[[], str]) -> list[int]:
    """Copy these ranges in one transaction; where that fails one by one, which also names what is wrong."""
    if len(batch) > 1:
        _wait(pause)
        with suppress(TransferError, DatabaseError), link.writer.together():
            return [_stream(link, chunk) for chunk in batch]
    return [_copy_chunk(link, chunk, pause) for chunk in batch]


def _wait(pause: Callable[[], str]) -> None:
    while pause():
        time.sleep(0.2)  # a throttle: nothing to wait for but the load going down


def _copy_chunk(link: Link, chunk: Chunk, pause: Callable[[], str]) -> int:
    _wait(pause)
    try:
        return _write(link, chunk)
    except RowRejected as error:
        # not by processes: one for a few rows is dear
        return copy_one_by_one(link, chunk, error, lambda piece: _stream(link, piece))


def _write(link: Link, chunk: Chunk) -> int:
    if _binary(link, chunk.flow) and (rows := _across(link, chunk)) is not None:
        return rows
    return _stream(link, chunk)


def _stream(link: Link, chunk: Chunk) -> int:
    flow = chunk.flow
    binary = _binary(link, flow)
    blocks = link.reader.copy_out(flow.reading, chunk.key_range, binary=binary)
    return link.writer.copy_in(flow.table, flow.columns, blocks, binary=binary, progress=[mark_done(link, chunk)])


def _across(link: Link, chunk: Chunk) -> int | None:
    """The engine's own way from database to database, where there is one."""
    flow = chunk.flow
    return link.writer.copy_across(
        link.reader, flow.reading, chunk.key_range, flow.table, flow.columns, mark_done(link, chunk)
    )


def _binary(link: Link, flow: Flow) -> bool:
    both = all(side.capabilities.binary_copy for side in (link.reader, link.writer))
    return both and link.reader.dialect == link.writer.dialect and link.writer.binary_safe(flow.types)


def _restart_without_transactions(link: Link) -> None:
    """A half-copied table whose engine has no transactions (MyISAM, Aria) may have rows without their mark."""
    half = {table for table, found in recorded(link).items() if any(chunk.rows_done is None for chunk in found)}
    for problem in link.writer.privileges_missing("target") if half else ():
        table = problem.detail.get("table")
        if problem.detail.get("finding") == "engines" and table in half:
            undo_marks(link, table)
            link.writer.execute(f"DELETE FROM {link.writer.quote(table)}")


def _refuse_foreign_rows(link: Link) -> None:
    """A table that has rows, but no range of ours, was filled by somebody else."""
    begun = recorded(link)
    new = {f"{flow.only}{link.writer.quote(flow.table)}": flow.table for flow in link.flows if not begun[flow.table]}
    if link.quarantine:
        for table in new.values():
            link.quarantine.forget(link.channel, table)  # of a copy that was undone
    if foreign := filled(link.writer, list(new)):
        first = new[foreign[0]]
        raise TransferError(
            f"{link.writer.name}.{first}",
            "has rows that this migration did not copy",
            expected="an empty table",
            state="nothing was copied",
            action=f"empty {first} at the target, or leave it out of the plan",
        )
