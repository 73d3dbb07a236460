"""Sync: the capture log consumed as a queue (trap 1).

Take keys from the log, re-read their current rows, make the target's rows equal, commit there, and only then delete
the log rows. A kill between any two of these repeats harmless work. The way back is the same code over reverse links.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runbook_lib.databases.port import Changes
from runbook_lib.transfer.chunks import unfinished
from runbook_lib.transfer.flow import Feed, Flow, Link

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Round:
    """One pass over a link's logs: keys taken, rows written and removed (counts), and the keys by written table."""

    keys: int
    upserted: int
    deleted: int
    elapsed_s: float
    touched: dict[str, frozenset[Key]]


def drain_once(link: Link, *, batch_keys: int = 2_000, waiting: Collection[str] = ()) -> Round:
    """Apply one batch of each captured table, in the plan's order, one channel per table (trap 6).

    Args:
        batch_keys: Log rows taken at a time (count).
        waiting: Written tables whose bulk copy has not ended: their changes stay in the log (trap 8).
    Raises:
        RowRejected: the target refused a row; its log rows stay.
    """
    started = time.monotonic()
    keys = upserted = deleted = 0
    touched: dict[str, set[Key]] = {}
    for table, columns in link.captured.items():
        fed = [(flow, feed) for flow in link.flows for feed in flow.feeds if feed.table == table]
        if any(flow.table in waiting for flow, _ in fed):
            continue
        changes = link.reader.read_changes(link.channel, table, batch_keys)
        if not changes.seqs:
            continue
        for flow, feed in fed:
            written = _keys_of(changes, columns, feed)
            applied = _make_equal(link, flow, written)
            removed = remove_orphans(link, flow) if changes.truncated else 0
            upserted, deleted = upserted + applied[0], deleted + applied[1] + removed
            touched.setdefault(flow.table, set()).update(written)
        link.reader.forget_changes(link.channel, changes)
        keys += len(changes.keys)
    return Round(keys, upserted, deleted, time.monotonic() - started, {t: frozenset(k) for t, k in touched.items()})


def drain(
    links: Sequence[Link],
    *,
    batch_keys: int = 2_000,
    until: Callable[[], bool] = lambda: False,
    on_round: Callable[[Link, Round], None] = lambda link, done: None,
) -> dict[tuple[str, str], frozenset[Key]]:
    """Drain every link until its logs are empty, or until told; the keys touched, by (service, table)."""
    touched: dict[tuple[str, str], frozenset[Key]] = {}
    for link, done in _rounds(links, batch_keys, until):
        on_round(link, done)
        for table, keys in done.touched.items():
            touched[link.service, table] = touched.get((link.service, table), frozenset()) | keys
    return touched


def must_wait(link: Link) -> tuple[str, ...]:
    """Written tables whose changes must wait for their bulk copy; none on the way back, which has no copy."""
    return unfinished(link) if link.forward else ()


def _rounds(links: Sequence[Link], batch_keys: int, until: Callable[[], bool]) -> Iterator[tuple[Link, Round]]:
    busy = {link.channel: (link, must_wait(link)) for link in links}
    while busy and not until():
        for channel, (link, waiting) in list(busy.items()):
            done = drain_once(link, batch_keys=batch_keys, waiting=waiting)
            if not done.keys:
                del busy[channel]
            else:
                yield link, done


def _keys_of(changes: Changes, columns: Sequence[str], feed: Feed) -> list[Key]:
    """The logged values that are the flow's key, in its order; a row without a key feeds nothing."""
    positions = [columns.index(column) for column in feed.columns]
    keys = dict.fromkeys(tuple(key[position] for position in positions) for key in changes.keys)
    return [key for key in keys if None not in key]


def _make_equal(link: Link, flow: Flow, keys: Sequence[Key]) -> tuple[int, int]:
    if not keys:
        return 0, 0
    rows = link.reader.read_rows(flow.reading, keys)
    applied = link.writer.apply_rows(flow.table, flow.key, flow.columns, keys, rows)
    return applied.upserted, applied.deleted


def remove_orphans(link: Link, flow: Flow, *, rows_per_range: int = 10_000) -> int:
    """Delete rows at the target that the reader no longer has: what a TRUNCATE at the reader leaves to do."""
    removed = 0
    there, here = flow.reading, flow.writing(link.writer)
    for key_range in link.writer.ranges(here, rows_per_range):
        present = set(link.writer.row_sums(here, flow.types, key_range, canonical=True))
        wanted = set(link.reader.row_sums(there, flow.types, key_range, canonical=True))
        orphans = sorted(present - wanted, key=repr)
        if orphans:
            removed += link.writer.apply_rows(flow.table, flow.key, flow.columns, orphans, []).deleted
    return removed
