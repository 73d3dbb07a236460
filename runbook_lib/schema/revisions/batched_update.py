"""A statement about many rows, carried out range by range: each range and its mark are one transaction.

    -- batches of users by 10000
    UPDATE users SET theme = coalesce(theme, 'light') WHERE :range AND theme IS NULL

The comment names the table whose key is cut into ranges (with `as u` where the statement calls it so); `:range` stands
where the condition of a range goes. Ranges are cut once and kept, as a copy's are: killed anywhere, the statement
resumes with the first range that has no mark. The last range is open: rows added before it runs are in it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from runbook_lib.databases.own_objects import make
from runbook_lib.databases.port import Database, KeyRange, Selection
from runbook_lib.errors import TransferError
from runbook_lib.util.text import one_line

RANGE = ":range"
ROWS = 5_000  # in a batch where the comment does not say: well under the lock timeout even where triggers fire
_HEAD = re.compile(
    r"\s*--\s*batches\s+of\s+(?P<table>\S+)(?:\s+as\s+(?P<alias>\w+))?(?:\s+by\s+(?P<rows>[\d_,]+))?\s*$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class Batches:
    """What the comment says: the table whose key is cut, what the statement calls it, rows in a batch (count)."""

    table: str
    alias: str
    rows: int


@dataclass(frozen=True)
class Filled:
    """What was done: batches and rows (counts) of this attempt, batches done by attempts before."""

    batches: int
    rows: int
    done_before: int
    elapsed_s: float


def batches_of(statement: str) -> Batches | None:
    """How the statement asks to be cut; None: it does not.

    Raises:
        TransferError: it has the comment but no `:range`, or a batch of no rows.
    """
    found = _HEAD.match(statement)
    if not found:
        return None
    rows = int(re.sub(r"\D", "", found["rows"] or "") or ROWS)
    if RANGE not in statement or rows < 1:
        wrong = f"no `{RANGE}` in it" if rows else "a batch of 0 rows"
        raise TransferError(f"`{one_line(statement, 80)}`", wrong, expected=f"WHERE {RANGE}", state="nothing was run")
    return Batches(found["table"].strip('"`'), found["alias"] or "", rows)


@dataclass(frozen=True)
class Pace:
    """How hard to work, and whom to tell.

    Attributes:
        share: The part of the time that may be worked (0–1]: 0.2 rests four times as long as it works.
        pause: Asked before each batch: a reason to wait ("" = none).
        on_progress: Told batches done and in all.
    """

    share: float = 0.5
    pause: Callable[[], str] = lambda: ""
    on_progress: Callable[[int, int], None] = lambda done, total: None


UNHURRIED = Pace()


def carry_out(database: Database, statement: str, channel: str, pace: Pace = UNHURRIED) -> Filled:
    """Carry out a statement in batches, or what an attempt before left of it.

    Args:
        channel: Under this name the marks are kept: another for each statement of each revision.
    Raises:
        TransferError: the statement is not written for batches, its table has no key, or somebody else runs it.
        DatabaseError: a batch failed; those before it are in.
    """
    asked = batches_of(statement)
    if asked is None:
        raise TransferError(f"`{one_line(statement, 80)}`", "does not say of which table's batches")
    selection = _selection(database, asked)
    _prepare(database)
    if not (ranges := _stored(database, channel)):
        ranges = [(key_range, False) for key_range in _cut(database, selection, asked.rows, channel)]
    todo = [key_range for key_range, done in ranges if not done]
    started, before, rows = time.monotonic(), len(ranges) - len(todo), 0
    for number, key_range in enumerate(todo, before + 1):
        while pace.pause():
            time.sleep(0.2)  # a throttle: nothing to wait for but the load going down
        started_batch = time.monotonic()
        rows += database.transaction(_batch(database, statement, selection, channel, key_range))
        pace.on_progress(number, len(ranges))
        time.sleep((time.monotonic() - started_batch) * (1 / pace.share - 1))
    return Filled(len(todo), rows, before, time.monotonic() - started)


def begun(database: Database, channel: str) -> bool:
    """Whether a batch of this statement is in."""
    _prepare(database)
    return any(done for _, done in _stored(database, channel))


def forget(database: Database, channel: str) -> None:
    """Forget the marks of a statement: carried out again, it starts from nothing."""
    _prepare(database)
    gone = text(f"DELETE FROM {_table(database)} WHERE channel = :c")
    database.transaction(lambda connection: connection.execute(gone, {"c": channel}))


def _selection(database: Database, asked: Batches) -> Selection:
    table = database.catalog([asked.table]).get(asked.table)
    if table is None or not table.key:
        wrong = "has no unique key to cut it by" if table else "does not exist"
        raise TransferError(f"batches of {asked.table}", wrong, state="nothing was run", action="name another table")
    name = asked.alias or database.quote(asked.table)
    relation = database.quote(asked.table) + (f" AS {asked.alias}" if asked.alias else "")
    return Selection(relation, tuple(f"{name}.{database.ident(column)}" for column in table.key), ("1",))


def _batch(
    database: Database, statement: str, selection: Selection, channel: str, key_range: KeyRange
) -> Callable[[Connection], int]:
    within = statement.replace(RANGE, f"({database.condition(selection, key_range)})")
    mark = text(f"UPDATE {_table(database)} SET done = 1 WHERE channel = :c AND ordinal = :o AND done = 0")

    def work(connection: Connection) -> int:
        changed = connection.exec_driver_sql(within, execution_options={"no_parameters": True}).rowcount
        if connection.execute(mark, {"c": channel, "o": key_range.ordinal}).rowcount != 1:
            raise TransferError(channel, "this batch was done by somebody else", state="rolled back")
        return max(int(changed), 0)

    return work


def _table(database: Database) -> str:
    return database.own_table("batches")


def _prepare(database: Database) -> None:
    make(
        database,
        "batches",
        "channel VARCHAR(100) NOT NULL, ordinal INTEGER NOT NULL, bounds TEXT NOT NULL, done SMALLINT NOT NULL,"
        " PRIMARY KEY (channel, ordinal)",
    )


def _stored(database: Database, channel: str) -> list[tuple[KeyRange, bool]]:
    found = database.rows(
        f"SELECT ordinal, bounds, done FROM {_table(database)} WHERE channel = :c ORDER BY ordinal", {"c": channel}
    )
    return [(_decoded(int(ordinal), bounds), bool(done)) for ordinal, bounds, done in found]


def _cut(database: Database, selection: Selection, rows: int, channel: str) -> list[KeyRange]:
    ranges = database.ranges(selection, rows)
    kept = [{"c": channel, "o": r.ordinal, "b": json.dumps([r.after, r.upto])} for r in ranges]
    insert = text(f"INSERT INTO {_table(database)} VALUES (:c, :o, :b, 0)")
    database.transaction(lambda connection: connection.execute(insert, kept))
    return ranges


def _decoded(ordinal: int, bounds: str) -> KeyRange:
    after, upto = (tuple(bound) if bound is not None else None for bound in json.loads(bounds))
    return KeyRange(ordinal, after, upto)
