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
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases.postgresql import connection, quoting
from runbook_lib.databases.postgresql.table_facts import SCHEMA
from runbook_lib.databases.postgresql.wal import pgoutput, replication_slot
from runbook_lib.databases.postgresql.wal.changed_keys import Keys, mark
from runbook_lib.errors import DatabaseError, TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

CHANGES = 50_000  # read in one transaction, or one transaction of the users' if that has more
FETCHED = 5_000  # messages that are in memory at a time
RESTART_BYTES = 1 << 20  # of the server's log that each look reads again
SEEN_BYTES = 1 << 20  # of the server's log without a change of ours, before the slot lets go of it
VISIBLE_WITHIN_S = 5.0
KEEP_UP_EVERY_S = 5.0
FIT_EVERY_S = 1.0
FIT_SHARE = 20  # a look at the identities that takes long is taken as much more rarely
WARN_EVERY_S = 60.0
_ANEW = 3  # looks more, where the server fails

_PEEK = """
SELECT data FROM pg_logical_slot_peek_binary_changes(%s, '0/0'::pg_lsn + %s, %s,
  'proto_version', '1', 'publication_names', %s, 'messages', 'true')
"""
_OLDEST = """
SELECT 'pid ' || pid || ' of ' || usename || ', ' || extract(epoch FROM clock_timestamp() - xact_start)::int || ' s old'
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1
"""


def keep_up(db: PostgreSQLPort) -> None:
    """See Database.keep_up: take what waits for any capture of this database into its logs."""
    _withdraw_unfit(db)
    if time.monotonic() < db.memo.get("kept up", 0.0):
        return
    db.memo["kept up"] = time.monotonic() + KEEP_UP_EVERY_S
    try:
        with db.raw() as driver:
            found = replication_slot.channels(driver)
    except psycopg.Error as error:
        raise connection.explain(db.name, error, "looking for captures") from error
    for channel in found:
        with contextlib.suppress(TransferError):  # a lost slot is reported to whoever reads this capture
            fill(db, channel)


def _withdraw_unfit(db: PostgreSQLPort) -> None:
    began = time.monotonic()
    if began < db.memo.get("fit", 0.0):
        return
    try:
        with db.raw() as driver:
            found = replication_slot.channels(driver)
        for channel in found:
            replication_slot.withdraw_unfit(db, channel)
    except psycopg.Error as error:
        raise connection.explain(db.name, error, "looking for tables without a replica identity") from error
    ended = time.monotonic()
    db.memo["fit"] = ended + max(FIT_EVERY_S, FIT_SHARE * (ended - began))


def fill(db: PostgreSQLPort, channel: str, as_of: float | None = None) -> bool:
    """Bring every change that is visible now into the logs; whether there may be any new one.

    Args:
        as_of: Those that were visible at this time (`time.monotonic`) will do.
    Raises:
        TransferError: the slot is lost: changes are missing.
        DatabaseError: a transaction is committed, but stays invisible (it waits for a synchronous standby).
    """
    spooled, began = ("spooled", channel), time.monotonic()
    if as_of is not None and db.memo.get(("filled", channel), -1.0) >= as_of:
        return False
    try:
        with db.raw() as driver:
            now = replication_slot.state(driver, channel)
        if now is None or now.inserted <= db.memo.get(spooled, 0):
            db.memo["filled", channel] = began
            return False
        if now.inserted > now.flushed:
            _flush(db)
        reached = 0
        while reached < now.inserted:
            reached = _read_in_new_session(db, channel)
    except psycopg.Error as error:
        with db.raw() as driver:
            replication_slot.state(driver, channel)  # says so where the slot was lost meanwhile
        raise connection.explain(db.name, error, f"reading the server's log for {channel}") from error
    db.memo[spooled], db.memo["filled", channel] = reached, began
    _let_restart(db, now)
    if db.wal_limit_mb and now.kept_bytes > db.wal_limit_mb << 20:
        _watch(db, channel)
    return True


def _flush(db: PostgreSQLPort) -> None:
    """Have everything that is visible on disk: a commit that did not wait for that cannot be decoded before."""
    with db.raw() as driver:
        driver.execute("SET LOCAL synchronous_commit = local")
        mark(driver)


def _read_in_new_session(db: PostgreSQLPort, channel: str) -> int:
    """A look in a new session where the server itself failed in the old one: what that had cached goes with it.

    Seen once, on PostgreSQL 18 under load: `could not map filenumber … to relation OID`.
    """
    for _ in range(_ANEW):
        with contextlib.suppress(psycopg.errors.InternalError_):
            return _look(db, channel)
        db.sessions.close()
        time.sleep(0.2)
    return _look(db, channel)


def _look(db: PostgreSQLPort, channel: str) -> int:
    """One transaction: what the slot has next goes into the logs; up to where everything is there now."""
    with db.raw() as driver:
        replication_slot.lock(driver, channel)
        now = replication_slot.state(driver, channel)
        if now is None:  # removed meanwhile
            raise replication_slot.incomplete(channel, "it was removed")
        if now.confirmed < now.spooled:
            driver.execute("SELECT pg_replication_slot_advance(%s, '0/0'::pg_lsn + %s)", (now.slot, now.spooled))
        keys = Keys(channel, driver, now.spooled)
        seen, waits = _read(keys, (now.slot, now.flushed, CHANGES, replication_slot.publication_name(channel)))
        if not waits and seen < CHANGES:
            keys.reached = max(keys.reached, now.flushed)
        keys.write()
        if keys.written or waits or seen >= CHANGES or keys.reached - now.spooled > SEEN_BYTES:
            sql = f"UPDATE {SCHEMA}.slots SET spooled = '0/0'::pg_lsn + %s WHERE channel = %s"
            driver.execute(sql.encode(), (keys.reached, channel))
    if waits:
        raise DatabaseError(
            f"database {db.name}",
            f"transaction {waits} is committed, but not visible for {VISIBLE_WITHIN_S:g} s",
            state=f"the capture of {channel} waits for it",
            action="see whether a synchronous standby is down",
        )
    return keys.reached


def _read(keys: Keys, parameters: tuple[Any, ...]) -> tuple[int, int]:
    """Take transactions as long as they are visible: messages seen, and the one that is not (0: there was none)."""
    seen, snapshot = 0, None
    with keys.driver.cursor(name="runbook_peek") as peek:
        peek.execute(_PEEK, parameters, binary=True)
        while found := peek.fetchmany(FETCHED):
            seen += len(found)
            for (data,) in found:
                message = pgoutput.read_message(data)
                if isinstance(message, pgoutput.Begin):
                    snapshot = _snapshot_with(keys.driver, message.xid, snapshot)
                    if not snapshot.sees(message.xid):
                        return seen, message.xid
                keys.take(message)
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


def _let_restart(db: PostgreSQLPort, now: replication_slot.State) -> None:
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


def _watch(db: PostgreSQLPort, channel: str) -> None:
    """Say so, or give the capture up, when the server keeps more of its log than the inventory allows.

    Everything that could be taken is taken by now: what holds the rest is a transaction that is still open.
    """
    _look(db, channel)  # the slot lets go of what the looks before took
    with db.raw() as driver:
        now = replication_slot.state(driver, channel)
    if now is None or now.kept_bytes <= db.wal_limit_mb << 20:
        return
    who = db.rows(_OLDEST)
    what = f"the server keeps {now.kept_bytes >> 20} MB of its log for it, {db.wal_limit_mb} MB are allowed"
    what += f"; the oldest transaction: {who[0][0]}" if who else ""
    if db.wal_over_limit == "give_up":
        replication_slot.drop(db, channel)
        db.execute(
            f"UPDATE {SCHEMA}.slots SET lost = {quoting.literal(what)} WHERE channel = {quoting.literal(channel)}"
        )
        raise replication_slot.incomplete(channel, what)
    if time.monotonic() >= db.memo.get(("warned", channel), 0.0):
        db.memo["warned", channel] = time.monotonic() + WARN_EVERY_S
        sys.stderr.write(f"capture of {channel} at {db.name}: {what}\n")
