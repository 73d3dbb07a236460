"""Bring the keys of committed changes from a slot into the capture's logs: `capture: wal` without a trigger.

One transaction: take the channel's lock, let the slot go of what is logged already, peek at what comes next, write its
keys, record how far that was. Killed anywhere, all of it happened or none; the slot never lets go of what is not
committed in a log. A transaction is taken only when it is visible to others: the log of the server has a commit before
any snapshot does, and a row that is read too early would be taken for the new one.

Each look reads the server's log from the oldest open transaction on (`restart_lsn`), so a long one makes it dearer
(about 5 ms for each MB).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases.postgresql import connection, names, pgoutput, slots
from runbook_lib.databases.postgresql.relations import SCHEMA
from runbook_lib.errors import DatabaseError, TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql import PostgreSQL

MARK = "runbook"  # of a transaction of our own: see `mark`
CHANGES = 50_000  # looked at in one transaction, or one transaction of the users' if that has more
FETCHED = 5_000  # messages that are in memory at a time
KEYS = 50_000  # as many keys are written together, each once
RESTART_BYTES = 1 << 20  # of the server's log that each look reads again
SEEN_BYTES = 1 << 20  # of the server's log without a change of ours, before the slot lets go of it
VISIBLE_WITHIN_S = 5.0
KEEP_UP_EVERY_S = 5.0
WARN_EVERY_S = 60.0
_ANEW = 3  # looks more, where the server fails

_PEEK = """
SELECT data FROM pg_logical_slot_peek_binary_changes(%s, '0/0'::pg_lsn + %s, %s,
  'proto_version', '1', 'publication_names', %s, 'messages', 'true')
"""
_LOGS = f"""
SELECT m.relid::int8, c.log, c.key_columns, k.relkind = 'p' FROM {SCHEMA}.captures AS c CROSS JOIN LATERAL (
  SELECT to_regclass(c.relation)::oid AS relid
  UNION SELECT relid::oid FROM pg_partition_tree(to_regclass(c.relation))) AS m
LEFT JOIN pg_class AS k ON k.oid = to_regclass(c.relation) WHERE c.channel = %s
"""
_OLDEST = """
SELECT 'pid ' || pid || ' of ' || usename || ', ' || extract(epoch FROM clock_timestamp() - xact_start)::int || ' s old'
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1
"""


class _Gap(Exception):
    """Some change's key cannot be known: the capture has a gap from here on."""


def mark(driver: psycopg.Connection[Any]) -> None:
    """Mark this transaction as ours before it writes anything: no capture takes it, so nothing goes in circles."""
    driver.execute(f"SELECT pg_logical_emit_message(true, '{MARK}', '')".encode())


def keep_up(db: PostgreSQL) -> None:
    """See Database.keep_up: take what waits for any capture of this database into its logs."""
    if time.monotonic() < db.memo.get("kept up", 0.0):
        return
    db.memo["kept up"] = time.monotonic() + KEEP_UP_EVERY_S
    try:
        with db.raw() as driver:
            found = slots.channels(driver)
    except psycopg.Error as error:
        raise connection.explain(db.name, error, "looking for captures") from error
    for channel in found:
        with contextlib.suppress(TransferError):  # a gap is told to whoever reads this capture
            fill(db, channel)


def fill(db: PostgreSQL, channel: str, as_of: float | None = None) -> bool:
    """Bring every change that is visible now into the logs; whether there may be any new one.

    Args:
        as_of: Those that were visible at this time (`time.monotonic`) will do.
    Raises:
        TransferError: the slot is lost, or something that was written named no key: changes are missing.
        DatabaseError: a transaction is committed, but stays invisible (it waits for a synchronous standby).
    """
    spooled, began = ("spooled", channel), time.monotonic()
    if as_of is not None and db.memo.get(("filled", channel), -1.0) >= as_of:
        return False
    try:
        with db.raw() as driver:
            now = slots.state(driver, channel)
        if now is None or now.inserted <= db.memo.get(spooled, 0):
            db.memo["filled", channel] = began
            return False
        if now.inserted > now.flushed:
            _flush(db)
        reached = 0
        while reached < now.inserted:
            reached = _look_anew(db, channel)
    except psycopg.Error as error:
        with db.raw() as driver:
            slots.state(driver, channel)  # says so where the slot was lost meanwhile
        raise connection.explain(db.name, error, f"reading the server's log for {channel}") from error
    except _Gap as gap:
        db.execute(
            f"UPDATE {SCHEMA}.slots SET lost = {names.literal(str(gap))} WHERE channel = {names.literal(channel)}"
        )
        raise slots.incomplete(channel, str(gap)) from None
    db.memo[spooled], db.memo["filled", channel] = reached, began
    _let_restart(db, now)
    if db.wal_limit_mb and now.kept_bytes > db.wal_limit_mb << 20:
        _watch(db, channel)
    return True


def _flush(db: PostgreSQL) -> None:
    """Have everything that is visible on disk: a commit that did not wait for that cannot be decoded before."""
    with db.raw() as driver:
        driver.execute("SET LOCAL synchronous_commit = local")
        mark(driver)


def _look_anew(db: PostgreSQL, channel: str) -> int:
    """A look in a new session where the server itself failed in the old one: what that had cached goes with it.

    Seen once, on PostgreSQL 18 under load: `could not map filenumber … to relation OID`.
    """
    for _ in range(_ANEW):
        with contextlib.suppress(psycopg.errors.InternalError_):
            return _look(db, channel)
        db.engine.dispose()
        time.sleep(0.2)
    return _look(db, channel)


def _look(db: PostgreSQL, channel: str) -> int:
    """One transaction: what the slot has next goes into the logs; up to where everything is there now."""
    with db.raw() as driver:
        slots.lock(driver, channel)
        now = slots.state(driver, channel)
        if now is None:  # removed meanwhile
            raise slots.incomplete(channel, "it was removed")
        if now.confirmed < now.spooled:
            driver.execute("SELECT pg_replication_slot_advance(%s, '0/0'::pg_lsn + %s)", (now.slot, now.spooled))
        spool = _Spool(channel, driver, now.spooled)
        seen, waits = _read(spool, (now.slot, now.flushed, CHANGES, slots.publication_name(channel)))
        if not waits and seen < CHANGES:
            spool.reached = max(spool.reached, now.flushed)
        spool.write()
        if spool.written or waits or seen >= CHANGES or spool.reached - now.spooled > SEEN_BYTES:
            sql = f"UPDATE {SCHEMA}.slots SET spooled = '0/0'::pg_lsn + %s WHERE channel = %s"
            driver.execute(sql.encode(), (spool.reached, channel))
    if waits:
        raise DatabaseError(
            f"database {db.name}",
            f"transaction {waits} is committed, but not visible for {VISIBLE_WITHIN_S:g} s",
            state=f"the capture of {channel} waits for it",
            action="see whether a synchronous standby is down",
        )
    return spool.reached


def _read(spool: _Spool, parameters: tuple[Any, ...]) -> tuple[int, int]:
    """Take transactions as long as they are visible: messages seen, and the one that is not (0: there was none)."""
    seen, snapshot = 0, None
    with spool.driver.cursor(name="runbook_peek") as peek:
        peek.execute(_PEEK, parameters, binary=True)
        while found := peek.fetchmany(FETCHED):
            seen += len(found)
            for (data,) in found:
                message = pgoutput.read_message(data)
                if isinstance(message, pgoutput.Begin):
                    snapshot = _snapshot_with(spool.driver, message.xid, snapshot)
                    if not snapshot.sees(message.xid):
                        return seen, message.xid
                spool.take(message)
    return seen, 0


@dataclass(frozen=True)
class _Snapshot:
    """Who was running: everybody in `running`, and from `end` on."""

    end: int
    running: frozenset[int]

    def sees(self, xid: int) -> bool:
        """Whether this transaction is visible; its number is the lower half of one near `end`."""
        full = self.end + (xid - self.end + 2**31) % 2**32 - 2**31
        return full < self.end and full not in self.running


def _snapshot_with(driver: psycopg.Connection[Any], xid: int, known: _Snapshot | None) -> _Snapshot:
    """A snapshot that sees this transaction, or the last one taken when it does not become visible in time."""
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while known is None or (not known.sees(xid) and time.monotonic() < deadline):
        if known is not None:
            time.sleep(0.002)  # between its record in the log and its end; nothing signals that
        row = driver.execute("SELECT pg_current_snapshot()::text").fetchone() or ("",)
        _, end, running = row[0].split(":")
        known = _Snapshot(int(end), frozenset(int(one) for one in running.split(",") if one))
    return known


@dataclass(frozen=True)
class _Log:
    """A log with the width of its key, and where that stands in a table's tuples; None: any change means all keys."""

    name: str
    width: int
    positions: tuple[int, ...] | None


@dataclass
class _Spool:
    """One look at a slot: what is known of it, and the keys that are still to be written."""

    channel: str
    driver: psycopg.Connection[Any]
    reached: int
    logs: dict[int, list[_Log]] = field(default_factory=dict)
    lines: dict[str, dict[bytes, str]] = field(default_factory=dict)  # log → key as COPY has it → when
    at: str = ""
    ours: bool = False
    written: int = 0

    def take(self, message: pgoutput.Message | None) -> None:
        """Remember what a message of a visible transaction changed."""
        if isinstance(message, pgoutput.Begin):
            self.at, self.ours = _time(message.at), False
        elif isinstance(message, pgoutput.Commit):
            self.reached = message.end
        elif isinstance(message, pgoutput.Mark):
            self.ours = self.ours or message.prefix == MARK
        elif isinstance(message, pgoutput.Relation):
            self._learn(message)
        elif self.ours:
            return
        elif isinstance(message, pgoutput.Change):
            self._changed(message)
        elif isinstance(message, pgoutput.Truncate):
            for oid in message.oids:
                self._truncated(self.logs[oid])

    def _changed(self, message: pgoutput.Change) -> None:
        for log in self.logs[message.oid]:
            if log.positions is None:
                self._truncated([log])
                continue
            for key in _keys(message, log.positions):
                self._add(log.name, b"f\t" + b"\t".join(map(_escaped, key)))

    def write(self) -> None:
        """Write the keys that are remembered into their logs."""
        for log, keys in self.lines.items():
            width = next(iter(keys)).count(b"\t")
            columns = "".join(f", k{i}" for i in range(width))
            with self.driver.cursor() as cursor, cursor.copy(f"COPY {log} (at, truncated{columns}) FROM STDIN") as copy:
                copy.write(b"".join(at.encode() + b"\t" + key + b"\n" for key, at in keys.items()))
            self.written += len(keys)
        self.lines = {}

    def _add(self, log: str, line: bytes) -> None:
        self.lines.setdefault(log, {}).setdefault(line, self.at)
        if len(self.lines[log]) >= KEYS:
            self.write()

    def _truncated(self, logs: Sequence[_Log]) -> None:
        for log in logs:
            self._add(log.name, b"t" + b"\t\\N" * log.width)

    def _learn(self, relation: pgoutput.Relation) -> None:
        """Whose log a table's changes belong to: its own, its root's, or, of a partition that is gone, any root's."""
        found = self.driver.execute(_LOGS.encode(), (self.channel,)).fetchall()
        if any(relid is None for relid, *_ in found):
            raise _Gap("a table of it was renamed or dropped")
        own = [(log, key) for relid, log, key, _ in found if relid == relation.oid]
        if own:
            [(log, key)] = own
            self.logs[relation.oid] = [_Log(log, len(key), _positions(relation, key))]
            return
        roots = {log: len(key) for _, log, key, partitioned in found if partitioned}
        if not roots:
            raise _Gap(f"{relation.name} was replaced")
        self.logs[relation.oid] = [_Log(log, width, None) for log, width in roots.items()]


def _positions(relation: pgoutput.Relation, key: Sequence[str]) -> tuple[int, ...]:
    """Where the key stands in the tuples.

    Raises:
        _Gap: a change of such a row does not say which key it had.
    """
    place = {column: number for number, (column, _) in enumerate(relation.columns)}
    named = {column for column, of_identity in relation.columns if of_identity or relation.identity == "f"}
    if not set(key) <= named:
        raise _Gap(f"the replica identity of {relation.name} does not hold its key ({', '.join(key)})")
    return tuple(place[column] for column in key)


def _keys(change: pgoutput.Change, positions: Sequence[int]) -> Iterator[list[bytes | None]]:
    """The key of the row as it is, and as it was where that is another."""
    old = [change.old[i] for i in positions] if change.old is not None else None
    if change.new is not None:
        # A long value that was not touched stands in the old row only.
        new = [change.new[i] for i in positions]
        kept = [o if n == pgoutput.UNCHANGED else n for n, o in zip(new, old or new, strict=True)]
        if pgoutput.UNCHANGED in kept:
            raise _Gap("a changed row did not name its key")
        yield kept
        old = None if old == kept else old
    if old is not None:
        yield old


def _escaped(value: bytes | None) -> bytes:
    """A value as COPY's text has it."""
    if value is None:
        return b"\\N"
    return value.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def _time(microseconds: int) -> str:
    return (dt.datetime(2000, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=microseconds)).isoformat()


def _let_restart(db: PostgreSQL, now: slots.State) -> None:
    """Have the server write down who is running: only from such a place can its log be read again.

    It does so every 15 s, and each look would read all of that: after 14 MB 130 ms instead of 2 ms. Making a slot
    writes it too; this one is dropped at once, and whether it was made matters not.
    """
    since = max(now.inserted - now.kept_bytes, db.memo.get("written down", 0))
    if now.inserted - since < RESTART_BYTES:
        return
    db.memo["written down"] = now.inserted
    with contextlib.suppress(psycopg.Error), db.raw() as driver:
        name = f"{now.slot[:40]}_{driver.info.backend_pid}"
        driver.execute("SET LOCAL lock_timeout = '20ms'")  # it would wait for all who write
        driver.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput', true)", (name,))
        driver.execute("SELECT pg_drop_replication_slot(%s)", (name,))


def _watch(db: PostgreSQL, channel: str) -> None:
    """Say so, or give the capture up, when the server keeps more of its log than the inventory allows.

    Everything that could be taken is taken by now: what holds the rest is a transaction that is still open.
    """
    _look(db, channel)  # the slot lets go of what the looks before took
    with db.raw() as driver:
        now = slots.state(driver, channel)
    if now is None or now.kept_bytes <= db.wal_limit_mb << 20:
        return
    who = db.rows(_OLDEST)
    what = f"the server keeps {now.kept_bytes >> 20} MB of its log for it, {db.wal_limit_mb} MB are allowed"
    what += f"; the oldest transaction: {who[0][0]}" if who else ""
    if db.wal_over_limit == "give_up":
        slots.drop(db, channel)
        db.execute(f"UPDATE {SCHEMA}.slots SET lost = {names.literal(what)} WHERE channel = {names.literal(channel)}")
        raise slots.incomplete(channel, what)
    if time.monotonic() >= db.memo.get(("warned", channel), 0.0):
        db.memo["warned", channel] = time.monotonic() + WARN_EVERY_S
        sys.stderr.write(f"capture of {channel} at {db.name}: {what}\n")
