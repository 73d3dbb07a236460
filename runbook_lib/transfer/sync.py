"""Sync: the capture log consumed as a queue (docs/correctness.md#late-commits).

Take keys from the log, re-read their current rows, make the target's rows equal, commit there, and only then delete
the log rows. A kill between any two of these repeats harmless work. Reverse replication is the same code over reverse
links.

A unique value that moved between a row of the batch and a row outside it is refused by the target: the row outside is
read again and applied in the same transaction (docs/correctness.md#swapped-unique-values), and the batch takes in more
of the log when that is not enough.

What the target refuses even then stops the sync; with a quarantine it is quarantined, row by row. A change of a row
that is quarantined tries all of its table again: one may have held the unique value that another needs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from runbook_lib.databases.port import Changes
from runbook_lib.errors import RowRejected
from runbook_lib.transfer.capture import logged_tables
from runbook_lib.transfer.chunk_store import unfinished
from runbook_lib.transfer.isolate_bad_rows import refused_row
from runbook_lib.transfer.links import Feed, Flow, Link
from runbook_lib.transfer.quarantine import as_text

Key = tuple[Any, ...]

_JOINED = 8  # times that rows outside the batch are taken in; a swap needs one, a rotation as many as its length
_WIDENED = 4  # times that the batch is taken twice as large


@dataclass(frozen=True)
class Round:
    """One pass over a link's logs: log rows consumed, rows written and removed (counts), keys by written table."""

    keys: int = 0
    upserted: int = 0
    deleted: int = 0
    elapsed_s: float = 0.0
    touched: dict[str, frozenset[Key]] = field(default_factory=dict)

    def __add__(self, other: Round) -> Round:
        """Both together."""
        touched = dict(self.touched)
        for table, keys in other.touched.items():
            touched[table] = touched.get(table, frozenset()) | keys
        return Round(
            self.keys + other.keys,
            self.upserted + other.upserted,
            self.deleted + other.deleted,
            self.elapsed_s + other.elapsed_s,
            touched,
        )


class Holding(Protocol):
    """Who takes in the tables whose changes cannot be applied: held.py."""

    def apply(self, link: Link, table: str, fed: Sequence[tuple[Flow, Feed]], work: Callable[[], Round]) -> Round:
        """Do a table's batch, or hold it back."""


def drain_once(
    link: Link, *, batch_keys: int = 2_000, waiting: Collection[str] = (), held: Holding | None = None
) -> Round:
    """Apply one batch of each captured table, in the plan's order, one channel per table.

    See docs/correctness.md#swapped-unique-values.

    Args:
        batch_keys: Log rows taken at a time (count).
        waiting: Written tables whose bulk copy has not ended: their changes stay in the log
        (docs/correctness.md#copy-and-sync-of-one-table).
        held: Takes in the tables whose changes cannot be applied, so that the others continue.
    Raises:
        RowRejected: the target refused a row, and there is no quarantine, or a full one; its log rows stay.
    """
    done, began = Round(), time.monotonic()
    for table in logged_tables(link):
        fed = link.fed[table]
        if not any(flow.table in waiting for flow, _ in fed):
            work = partial(_drain_table, link, table, fed, batch_keys, began)
            done += held.apply(link, table, fed, work) if held else work()
    return done


def _drain_table(link: Link, table: str, fed: Sequence[tuple[Flow, Feed]], batch_keys: int, as_of: float) -> Round:
    """One batch of a table's log; a larger one while the target refuses a row whose counterpart may still be in it."""
    for attempt in range(_WIDENED):
        with contextlib.suppress(RowRejected):
            return _apply_batch(link, table, fed, batch_keys << attempt, as_of)
    # More of the log may be what is needed: all that is there now.
    return _apply_batch(link, table, fed, batch_keys << _WIDENED, apart=link.quarantine is not None)


def _apply_batch(
    link: Link,
    table: str,
    fed: Sequence[tuple[Flow, Feed]],
    limit: int,
    as_of: float | None = None,
    *,
    apart: bool = False,
) -> Round:
    equal = apply_one_by_one if apart else make_equal
    started = time.monotonic()
    changes = link.reader.read_changes(link.channel, table, limit, as_of=as_of)
    if not changes.seqs:
        return Round()
    done = Round(keys=len(changes.seqs))
    for flow, feed in fed:
        if changes.truncated:
            done += compare_all(link, flow, equal)
        keys = keys_of(changes, link.captured[table], feed)
        done += equal(link, flow, _with_held(link, flow, keys))
    link.reader.forget_changes(link.channel, changes)
    return replace(done, elapsed_s=time.monotonic() - started)


def drain(
    links: Sequence[Link],
    *,
    batch_keys: int = 2_000,
    until: Callable[[], bool] = lambda: False,
    on_round: Callable[[Link, Round], None] = lambda link, done: None,
    copied: bool = False,
) -> dict[tuple[str, str], frozenset[Key]]:
    """Drain every link until its logs are empty, or until told; the keys touched, by (service, table).

    Beside writers that means: until all that was logged when the last round began is applied.

    Args:
        copied: No table waits for its bulk copy, the caller has looked: it takes up to 0.05 s.
    """
    touched: dict[tuple[str, str], frozenset[Key]] = {}
    for link, done in _rounds(links, batch_keys, until, copied=copied):
        on_round(link, done)
        for table, keys in done.touched.items():
            touched[link.service, table] = touched.get((link.service, table), frozenset()) | keys
    return touched


def drain_pending(links: Sequence[Link], *, batch_keys: int = 2_000) -> None:
    """Apply what is in the logs by now: beside writers that never stop `drain` may never see an empty one."""
    for link in links:
        most = max((part.keys for part in link.reader.pending(link.channel).values()), default=0)
        waiting = must_wait(link)
        for _ in range(-(-most // batch_keys)):
            drain_once(link, batch_keys=batch_keys, waiting=waiting)


def must_wait(link: Link) -> tuple[str, ...]:
    """Written tables whose changes must wait for their bulk copy; none in reverse replication, which has no copy."""
    return unfinished(link) if link.forward else ()


def _rounds(
    links: Sequence[Link], batch_keys: int, until: Callable[[], bool], *, copied: bool
) -> Iterator[tuple[Link, Round]]:
    busy = {link.channel: (link, () if copied else must_wait(link)) for link in links}
    while busy and not until():
        for channel, (link, waiting) in list(busy.items()):
            done = drain_once(link, batch_keys=batch_keys, waiting=waiting)
            if done.keys < batch_keys:  # no table had a full batch: this was all that there was when the round began
                del busy[channel]
            if done.keys:
                yield link, done


def keys_of(changes: Changes, columns: Sequence[str], feed: Feed) -> list[Key]:
    """The logged values that are the flow's key, in its order; a row without a key feeds nothing."""
    positions = [columns.index(column) for column in feed.columns]
    keys = dict.fromkeys(tuple(key[position] for position in positions) for key in changes.keys)
    return [key for key in keys if None not in key]


def make_equal(link: Link, flow: Flow, keys: Sequence[Key]) -> Round:
    """Make the rows of these keys equal, with those that stand in their way at the target."""
    together, joined = list(keys), 0
    while together:
        rows = link.reader.read_rows(flow.reading, together)
        try:
            applied = link.writer.apply_rows(flow.table, flow.key, flow.columns, together, rows)
        except RowRejected as error:
            known = set(together)
            outside = [key for key in error.keys if key not in known]
            joined += 1
            if not outside or joined > _JOINED:
                raise
            together += outside
            continue
        if link.quarantine:
            link.quarantine.lift(link.channel, flow.table, together)
        return Round(0, applied.upserted, applied.deleted, 0.0, {flow.table: frozenset(together)})
    return Round()


def apply_one_by_one(link: Link, flow: Flow, keys: Sequence[Key]) -> Round:
    """Make the rows of these keys equal in ever smaller batches; what is refused alone is quarantined.

    Raises:
        RowRejected: the quarantine is full, or there is none.
    """
    try:
        return make_equal(link, flow, keys)
    except RowRejected as error:
        if len(keys) == 1:
            if link.quarantine is None:
                raise
            link.quarantine.put(refused_row(link, flow, keys[0], error))
            return Round(touched={flow.table: frozenset(keys)})
    middle = len(keys) // 2
    return apply_one_by_one(link, flow, keys[:middle]) + apply_one_by_one(link, flow, keys[middle:])


def _with_held(link: Link, flow: Flow, keys: Sequence[Key]) -> Sequence[Key]:
    """With one of the rows that are quarantined, all of its table."""
    held = link.quarantine.held(link.channel, flow.table) if link.quarantine else {}
    changed = {as_text(key) for key in keys}
    if not changed & held.keys():
        return keys
    return [*keys, *(row.key for text, row in held.items() if text not in changed)]


def compare_all(
    link: Link, flow: Flow, equal: Callable[[Link, Flow, Sequence[Key]], Round], *, rows_per_range: int = 10_000
) -> Round:
    """Make every row equal: what a TRUNCATE at the reader leaves to do, or rows that came with no trigger's notice.

    MariaDB's EXCHANGE PARTITION and a table in the place of another bring rows that are in no log. Ranges are cut where
    there are more rows.
    """
    done = Round()
    there, here = flow.reading, flow.writing(link.writer)
    link.reader.describe_again(there.relation)  # whoever put another table there may have given it other types
    link.writer.describe_again(here.relation)
    cuts = link.writer.ranges(here, rows_per_range), link.reader.ranges(there, rows_per_range)
    for key_range in max(cuts, key=len):
        present = link.writer.row_sums(here, flow.types, key_range, canonical=True)
        wanted = link.reader.row_sums(there, flow.types, key_range, canonical=True)
        differ = [key for key in present | wanted if present.get(key) != wanted.get(key)]
        done += equal(link, flow, [key for key in differ if None not in key])  # a row without a key feeds nothing
    return done
