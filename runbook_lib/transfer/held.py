"""Tables whose changes cannot be applied now: they wait in their log, the other tables continue.

A row that the target refuses, a partition or a column that one side lacks: it is named once, and again when it is
another, and tried again after a while that doubles. The rows of the table that the target takes are applied at each
try; the log keeps all of them until every one has been taken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from runbook_lib.errors import DatabaseError, RowRejected, TransferError
from runbook_lib.transfer import waiting_log
from runbook_lib.transfer.isolate_bad_rows import refused_row
from runbook_lib.transfer.links import Feed, Flow, Link
from runbook_lib.transfer.quarantine import Refused, shown
from runbook_lib.transfer.sync import Key, Round, compare_all, keys_of, make_equal
from runbook_lib.util.text import counted

FIRST_S, LONGEST_S = 2.0, 60.0
NAMED = 5  # keys in a message
KEYS = 100_000  # changes of a table that are tried together
_STATE = "its changes stay in the log, the other tables continue"
_ACTION = (
    "correct the row at the source or the table at the target; runbook follow apply-ddl carries a changed schema over"
)


@dataclass
class _Wait:
    why: str
    until: float
    seconds: float = FIRST_S


@dataclass
class Held:
    """What is held back; `drain` applies the tables' batches through it."""

    tell: Callable[[str], object] = lambda text: sys.stderr.write(f"{text}\n")
    waiting: dict[tuple[str, str], _Wait] = field(default_factory=dict)

    def apply(self, link: Link, table: str, fed: Sequence[tuple[Flow, Feed]], work: Callable[[], Round]) -> Round:
        """Do a table's batch; one that cannot be applied is held back.

        Raises:
            DatabaseError: a database does not answer.
        """
        place = link.channel, table
        wait = self.waiting.get(place)
        if wait and time.monotonic() < wait.until:
            return Round()
        refused = list[Refused]()
        try:
            done = _around(link, table, fed, refused) if wait else work()
        except RowRejected as error:
            if wait:
                return self._hold(link, place, error, refused)
            try:
                done = _around(link, table, fed, refused)
            except (RowRejected, TransferError, DatabaseError) as again:
                return self._hold(link, place, again, refused)
        except (TransferError, DatabaseError) as error:
            return self._hold(link, place, error)
        if wait and self.waiting.pop(place, None):
            waiting_log.remove(link, table)
            self.tell(f"{table}: resumes, its changes are applied")
        return done

    def _hold(self, link: Link, place: tuple[str, str], error: Exception, refused: Sequence[Refused] = ()) -> Round:
        for database in (link.reader, link.writer):
            database.rows("SELECT 1")  # raises where it is not the table that is at fault
        before, why = self.waiting.get(place), str(error)
        seconds = min(LONGEST_S, before.seconds * 2) if before else FIRST_S
        if before is None or before.why != why or refused:
            waiting_log.write(link, place[1], _reason(error, refused), refused)
        if before is None or before.why != why:
            self.tell(f"{place[1]}: held back: {why}")
        self.waiting[place] = _Wait(why, time.monotonic() + seconds, seconds)
        return Round()


def _reason(error: Exception, refused: Sequence[Refused]) -> str:
    return refused[0].reason if refused else getattr(error, "observed", str(error))


def _around(link: Link, table: str, fed: Sequence[tuple[Flow, Feed]], refused: list[Refused]) -> Round:
    """Apply all of a table's log that the target takes; it is forgotten only where that is all of it.

    Args:
        refused: Gets the rows that the target does not take.
    Raises:
        RowRejected: rows are refused; the first of them is named.
    """
    changes = link.reader.read_changes(link.channel, table, KEYS)
    done = Round(keys=len(changes.seqs))
    rows = partial(_rows, refused=refused)
    for flow, feed in fed:
        if changes.truncated:
            done += compare_all(link, flow, rows)
        done += rows(link, flow, keys_of(changes, link.captured[table], feed))
    if refused:
        raise _named(link, refused)
    link.reader.forget_changes(link.channel, changes)
    return done


def _rows(link: Link, flow: Flow, keys: Sequence[Key], refused: list[Refused]) -> Round:
    if not keys:
        return Round()
    try:
        return make_equal(link, flow, keys)
    except RowRejected as error:
        if len(keys) == 1:
            refused.append(replace(refused_row(link, flow, keys[0], error), reason=error.observed))
            return Round()
    middle = len(keys) // 2
    return _rows(link, flow, keys[:middle], refused) + _rows(link, flow, keys[middle:], refused)


def _named(link: Link, refused: Sequence[Refused]) -> RowRejected:
    first, more = refused[0], ", …" if len(refused) > NAMED else ""
    return RowRejected(
        f"{link.writer.name}.{first.table}, key {', '.join(shown(row.key) for row in refused[:NAMED])}{more}",
        f"{counted(len(refused), 'row')} refused: {first.reason}",
        state=_STATE,
        action=_ACTION,
    )
