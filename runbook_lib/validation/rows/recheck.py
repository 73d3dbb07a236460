"""Under writes: unequal keys are compared again until they are equal, truly different, or explained by the queue.

A key is *different* when it was not in the capture queue before the rows were read, and both rows are what they were
one round earlier: the change that made the source's row what it is was applied before, and the target is still
another. A key is *in flight* when time runs out while it is in the queue or still changing. Without a capture there
is no queue to ask: a key is different when it did not change for the whole time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from runbook_lib.transfer.links import Flow, Link
from runbook_lib.validation.context import Context, Deadline
from runbook_lib.validation.report.mismatches import CheckResult, Mismatch
from runbook_lib.validation.rows.compared import Compared, Key, RowPair
from runbook_lib.validation.rows.row_pairs import as_mismatch, plain, read_pairs

REMEMBERED = 10_000  # rows found different that a later check need not watch again (a table)
QUEUE_KEYS = 100_000  # log rows read; a longer queue explains every difference: the sync is far behind
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5


@dataclass(frozen=True)
class Queue:
    """Keys of a flow that wait in the capture log. `complete`: nothing waits that is not in `keys`."""

    keys: frozenset[tuple[str, ...]]
    complete: bool

    def holds(self, key: Key) -> bool:
        return not self.complete or plain(key) in self.keys


def captured(link: Link, flow: Flow, context: Context) -> bool:
    """Whether every change that concerns the flow is logged, on the side that is written to."""
    return bool(logs(link, flow, context))


def time_for(link: Link, flow: Flow, context: Context, shared: Deadline) -> Deadline:
    """A table's time to settle: without a queue nothing but time tells, and no other table may have used it up."""
    return shared if captured(link, flow, context) else context.deadline()


def logs(link: Link, flow: Flow, context: Context) -> list[tuple[Link, str, tuple[str, ...]]]:
    """The capture logs whose changes are carried over, of this flow: (link, captured table, columns that are its key).

    The link's own, or that of the link back: of the side that is written to, as the fences say; both where they do not
    say it. What was logged at the fenced side is applied by nobody, and explains nothing.
    """
    feeds = {feed.table for feed in flow.feeds}
    read, written = context.caches.fenced.of(link.channel, lambda: _fenced(link))
    to_writer, to_reader = flow.table in written, feeds <= read  # nobody but a sync writes there
    found = []
    if _installed(link, context) >= feeds and (to_writer or not to_reader):
        found = [(link, feed.table, feed.columns) for feed in flow.feeds]
    back = link.opposite
    if back is not None and flow.table in _installed(back, context) and (to_reader or not to_writer):
        found.append((back, flow.table, flow.key))
    return found


def _fenced(link: Link) -> tuple[frozenset[str], frozenset[str]]:
    """The tables that are fenced at the reader, and at the writer."""
    return link.reader.fenced(list(link.captured)), link.writer.fenced([flow.table for flow in link.flows])


def _installed(link: Link, context: Context) -> frozenset[str]:
    return context.caches.captured.of(link.channel, lambda: link.reader.capture_installed(link.channel))


def read_queue(link: Link, flow: Flow, context: Context) -> Queue:
    """What waits for this flow now."""
    keys, complete = waiting_keys(link, flow, context)
    return Queue(frozenset(map(plain, keys)), complete)


def waiting_keys(link: Link, flow: Flow, context: Context) -> tuple[list[Key], bool]:
    """The keys that wait for this flow, each once, as the log has them; and whether nothing waits beside them."""
    keys: dict[Key, None] = {}
    complete = True
    for source, table, columns in logs(link, flow, context):
        changes = source.reader.read_changes(source.channel, table, QUEUE_KEYS)
        complete &= not changes.truncated and len(changes.seqs) < QUEUE_KEYS
        positions = [source.captured[table].index(column) for column in columns]
        keys |= dict.fromkeys(tuple(key[i] for i in positions) for key in changes.keys)
    return list(keys), complete


def settle(
    check: str, link: Link, flow: Flow, side: Compared, keys: Sequence[Key], context: Context, deadline: Deadline
) -> CheckResult:
    """Compare these keys until each is decided: a result with `mismatches`, `in_flight`, and counts in its figures.

    A row that an earlier check found different, and that is as it was then on both sides, is not watched once more.
    """
    unequal = [pair for pair in read_pairs(link, side, keys, context) if not pair.equal]
    if not context.options.under_writes or not unequal:
        return _result(check, link, flow, side, unequal, {})
    known = context.different(link, flow)
    still = [pair for pair in unequal if known.get(pair.key) == pair]
    watched = [pair for pair in unequal if known.get(pair.key) != pair]
    final, open_pairs, why = _watch(link, flow, side, watched, context, deadline) if watched else ([], [], {})
    known.update({pair.key: pair for pair in final[: REMEMBERED - len(known)]})
    return _result(check, link, flow, side, [*still, *final, *open_pairs], why)


def _watch(
    link: Link, flow: Flow, side: Compared, unequal: list[RowPair], context: Context, deadline: Deadline
) -> tuple[list[RowPair], list[RowPair], dict[Key, str]]:
    """Rounds of reading again, at least one; (different, still open, why open)."""
    has_queue, deadline = captured(link, flow, context), time_for(link, flow, context, deadline)
    final: list[RowPair] = []
    moved: set[Key] = set()
    pause = FIRST_PAUSE_S
    while True:
        time.sleep(pause)  # between two reads of a moving target; nothing signals its rest
        pause = min(pause * 2, LONGEST_PAUSE_S)
        before = {pair.key: pair for pair in unequal}
        queue = read_queue(link, flow, context) if has_queue else Queue(frozenset(), complete=True)
        unequal = [pair for pair in read_pairs(link, side, list(before), context) if not pair.equal]
        changed = {pair.key for pair in unequal if pair != before[pair.key]}
        moved |= changed
        if has_queue:
            decided = [p for p in unequal if p.key not in changed and not queue.holds(p.key)]
            final += decided
            unequal = [p for p in unequal if p.key in changed or queue.holds(p.key)]
        if not unequal or deadline.over:
            break
    if not has_queue:
        final, unequal = [p for p in unequal if p.key not in moved], [p for p in unequal if p.key in moved]
    why = {p.key: "pending in the capture queue" if queue.holds(p.key) else "still changing" for p in unequal}
    return final, unequal, why if has_queue else dict.fromkeys(why, "still changing")


def _result(
    check: str, link: Link, flow: Flow, side: Compared, unequal: Sequence[RowPair], why: dict[Key, str]
) -> CheckResult:
    found: dict[bool, list[Mismatch]] = {False: [], True: []}
    for pair in unequal:
        open_ = why.get(pair.key, "")
        found[bool(open_)].append(as_mismatch(check, link, flow, side, pair, in_flight=open_))
    return CheckResult(check, mismatches=tuple(found[False]), in_flight=tuple(found[True]))
