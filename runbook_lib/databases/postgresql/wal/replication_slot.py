"""The replication slot and the publication of a channel: what they need, how they are made, whether they are intact.

A slot keeps the server's log from where its changes were last taken, so one that is left behind fills the disk. Its
name tells whose it is: database and channel. A publication names the tables. It publishes partitions as themselves: one
that is made later is published too, and so is a TRUNCATE of one. It has no list of columns: with one, a later change of
a table's replica identity would make its writers fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases.identifiers import own_name
from runbook_lib.databases.port import Problem
from runbook_lib.databases.postgresql import captured_members, connection, lock_retry, own, quoting
from runbook_lib.databases.postgresql.table_facts import SCHEMA, listed, qualified
from runbook_lib.errors import DatabaseError, TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# `spooled`: up to where (of the server's log) the capture's logs have every change; null: the slot is not there yet.
SLOTS = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.slots (channel text PRIMARY KEY, spooled pg_lsn, lost text NOT NULL DEFAULT '')
"""
_SERVER = """
SELECT current_setting('wal_level'), pg_is_in_recovery(),
  (SELECT count(*) FROM pg_replication_slots WHERE slot_name NOT LIKE 'runbook\\_' || d.oid || '\\_%'),
  current_setting('max_replication_slots')::int, current_setting('max_slot_wal_keep_size'), current_user,
  (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user)
    OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(oid, 'MEMBER'))
FROM pg_database AS d WHERE d.datname = current_database()
"""
_NAME = "'runbook_' || (SELECT oid FROM pg_database WHERE datname = current_database()) || %s"
_STATE = f"""
SELECT s.lost, r.slot_name::text, (s.spooled - '0/0')::int8, r.slot_name IS NULL OR r.wal_status = 'lost',
  (r.confirmed_flush_lsn - '0/0')::int8, (pg_current_wal_insert_lsn() - '0/0')::int8,
  (pg_current_wal_flush_lsn() - '0/0')::int8, (pg_current_wal_insert_lsn() - r.restart_lsn)::int8
FROM {SCHEMA}.slots AS s
LEFT JOIN pg_replication_slots AS r ON r.slot_name = {_NAME}
  AND r.database = current_database() AND r.plugin = 'pgoutput'
WHERE s.channel = %s
"""
_PUBLISHED = f"""
SELECT c.table_name FROM {SCHEMA}.captures AS c JOIN pg_publication_rel AS r ON r.prrelid = to_regclass(c.relation)
JOIN pg_publication AS p ON p.oid = r.prpubid
WHERE c.channel = %s AND p.pubname = %s AND to_regclass(c.log) IS NOT NULL AND NOT p.pubviaroot
  AND p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate
"""
_IN_PUBLICATION = """
SELECT 1 FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
WHERE p.pubname = %s AND r.prrelid = to_regclass(%s)
"""
# What an update or a delete logs of the row before; for tables, their partitions, and the roots that hand it down.
_IDENTITY = """
SELECT m.name, c.oid::regclass::text, c.relkind::text, c.relpersistence::text, c.relreplident::text,
  ARRAY(SELECT a.attname::text FROM pg_index AS i
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
        WHERE i.indrelid = c.oid AND i.indimmediate AND i.indisvalid
          AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END),
  ARRAY(SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attgenerated <> '')
FROM (SELECT t AS name, to_regclass(t)::oid AS relid FROM unnest(%(tables)s::text[]) AS t
      UNION SELECT t, p.relid FROM unnest(%(tables)s::text[]) AS t, pg_partition_tree(to_regclass(t)) AS p) AS m
JOIN pg_class AS c ON c.oid = m.relid ORDER BY 1, 2
"""
# A unique index that may serve as the identity: the first that has all of the key.
_CANDIDATE = """
SELECT (SELECT relname::text FROM pg_class WHERE oid = i.indexrelid), i.indisprimary FROM pg_index AS i
WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL AND %s::text[] <@ ARRAY(
    SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]))
  AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
                  AND (NOT a.attnotnull OR a.attgenerated <> ''))
ORDER BY i.indisprimary DESC, i.indnkeyatts, 1 LIMIT 1
"""


@dataclass(frozen=True)
class State:
    """A channel's slot now; positions are bytes of the server's log since its beginning.

    Attributes:
        slot: Its name.
        spooled: Everything that was committed before it is in the capture's logs.
        confirmed: What the slot has let go of.
        inserted: The end of the log.
        flushed: What of it is on disk: no more can be decoded.
        kept_bytes: What the server keeps for the slot.
    """

    slot: str
    spooled: int
    confirmed: int
    inserted: int
    flushed: int
    kept_bytes: int


@dataclass(frozen=True)
class _Identity:
    """What a change of a row logs of the row before: `columns`, unless all of it (`identity` f)."""

    relation: str
    kind: str
    persistence: str
    identity: str
    columns: Sequence[str]
    generated: Sequence[str]


def slot_name(driver: psycopg.Connection[Any], channel: str) -> str:
    """The channel's slot, of this database and no other: at most 63 of the characters that its name may have."""
    [(name,)] = driver.execute(f"SELECT {_NAME}".encode(), (_suffix(channel),)).fetchall()
    return str(name)


def _suffix(channel: str) -> str:
    return f"_{re.sub(r'[^a-z0-9_]', '_', channel.lower())[:30]}_{own_name('', channel)[-8:]}"


def publication_name(channel: str) -> str:
    """The channel's publication, not quoted."""
    return own_name("runbook", channel)


def is_wal(driver: psycopg.Connection[Any], channel: str) -> bool:
    """Whether this channel was made to read the server's log, whatever the inventory says now."""
    if not own.there(driver, "slots"):
        return False
    return (
        driver.execute(f"SELECT 1 FROM {SCHEMA}.slots WHERE channel = %s".encode(), (channel,)).fetchone() is not None
    )


def channels(driver: psycopg.Connection[Any]) -> list[str]:
    """Every channel of this database that reads the server's log."""
    sql = f"SELECT channel FROM {SCHEMA}.slots WHERE spooled IS NOT NULL AND lost = '' ORDER BY 1"
    return [channel for (channel,) in driver.execute(sql.encode())] if own.there(driver, "slots") else []


def problems(db: PostgreSQLPort) -> list[Problem]:
    """What this server or login lacks to be captured through its log, each with what repairs it."""
    level, standby, used, most, keep, login, may = db.rows(_SERVER)[0]
    found = []
    if standby:
        found.append(("this is a standby; its log cannot be captured here", "name the primary in the inventory"))
    if level != "logical":
        found.append(
            (f"wal_level is {level}, capture: wal needs logical", "ALTER SYSTEM SET wal_level = logical; restart")
        )
    if not may:
        found.append((f"{login} may not use replication slots", f"ALTER ROLE {quoting.ident(login)} REPLICATION"))
    if used >= most:
        action = "drop one that nobody uses, or raise max_replication_slots (restart)"
        found.append((f"all {most} replication slots are taken", action))
    blocking = [Problem(f"database {db.name}", text, action) for text, action in found]
    if keep != "-1":
        return blocking
    text = "max_slot_wal_keep_size is unlimited: a sync that is stopped for long would let the log fill the disk"
    action = "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' (what the disk can spare); pg_reload_conf()"
    return [*blocking, Problem(f"database {db.name}", text, action, blocking=False)]


def refuse_unfit(driver: psycopg.Connection[Any], keys: dict[str, tuple[str, ...]]) -> None:
    """Nothing is published before every row of these tables (table → key) would name its key when it is changed.

    A table without a usable identity would not only leave gaps: once published, its writers' updates would fail.

    Raises:
        TransferError: the first table that does not fit, with the SQL that repairs it.
    """
    for _, found, key, wrong in _all_unfit(driver, keys):
        raise TransferError(
            f"capture of {found.relation}",
            wrong,
            state="nothing was captured",
            action=_remedy(driver, found, key),
        )


def _all_unfit(
    driver: psycopg.Connection[Any], keys: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, _Identity, tuple[str, ...], str]]:
    quoted = {quoting.quote(table): table for table in keys}
    for name, *facts in driver.execute(_IDENTITY, {"tables": list(quoted)}).fetchall():
        found, key = _Identity(*facts), keys[quoted[name]]
        if wrong := _unfit(found, key):
            yield quoted[name], found, key, wrong


def withdraw_unfit(db: PostgreSQLPort, channel: str) -> None:
    """Publish no longer what lost its replica identity since: updates and deletes of its writers fail meanwhile.

    Its capture is lost with that, and says why.
    """
    with db.raw() as driver:
        there = published(driver, channel)
        sql = f"SELECT table_name, log, key_columns FROM {SCHEMA}.captures WHERE channel = %s"
        known = {table: (log, tuple(key)) for table, log, key in driver.execute(sql.encode(), (channel,))}
        unfit = _all_unfit(driver, {table: key for table, (_, key) in known.items() if table in there})
        whys = {
            table: f"it has no replica identity, so it is published no longer: restore its key ({listed(key)})"
            for table, found, key, _ in unfit
            if found.kind == "r" and found.identity != "f" and not found.columns
        }
    for table, why in whys.items():
        withdraw = partial(_withdraw, channel=channel, table=table, log=known[table][0], why=why)
        lock_retry.in_transaction(db, withdraw, doing=f"withdrawing the publication of {table}")


def _withdraw(driver: psycopg.Connection[Any], channel: str, table: str, log: str, why: str) -> None:
    name = quoting.ident(publication_name(channel))
    driver.execute(f"ALTER PUBLICATION {name} DROP TABLE ONLY {qualified(driver, table)}".encode())
    captured_members.lose(driver, channel, log, why)


def _unfit(found: _Identity, key: tuple[str, ...]) -> str:
    if found.kind == "f":
        return "is a foreign table: its changes are not in this server's log"
    if set(key) & set(found.generated):
        return f"a column of the key ({listed(key)}) is generated: it is not in the server's log"
    if found.persistence != "p":
        return f"is {'unlogged' if found.persistence == 'u' else 'temporary'}: its changes are not in the server's log"
    covered = set(key) <= set(found.columns)
    if found.kind == "p":  # partitions that are made later get no more than its primary key
        return "" if covered and found.identity == "d" else f"partitioned, and ({listed(key)}) is not its primary key"
    return "" if covered or found.identity == "f" else f"its replica identity does not hold the key ({listed(key)})"


def _remedy(driver: psycopg.Connection[Any], found: _Identity, key: tuple[str, ...]) -> str:
    table = f"ALTER TABLE {found.relation}"
    if found.kind == "r" and found.persistence == "u":
        return f"{table} SET LOGGED, or capture: triggers"
    if found.kind != "r" or found.persistence != "p" or set(key) & set(found.generated):
        return "capture: triggers for this database"
    index = driver.execute(_CANDIDATE, (found.relation, list(key))).fetchone()
    if index is None:
        return f"{table} REPLICA IDENTITY FULL"
    return f"{table} REPLICA IDENTITY {'DEFAULT' if index[1] else f'USING INDEX {quoting.ident(index[0])}'}"


def publish(driver: psycopg.Connection[Any], channel: str, table: str) -> None:
    """Add a table to the channel's publication, which is made when missing. Idempotent."""
    name = publication_name(channel)
    if driver.execute(_IN_PUBLICATION, (name, quoting.quote(table))).fetchone():
        return
    there = driver.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (name,)).fetchone()
    act = "ALTER PUBLICATION {} ADD TABLE ONLY {}" if there else "CREATE PUBLICATION {} FOR TABLE ONLY {}"
    driver.execute(act.format(quoting.ident(name), qualified(driver, table)).encode())
    driver.execute(f"INSERT INTO {SCHEMA}.slots (channel) VALUES (%s) ON CONFLICT DO NOTHING".encode(), (channel,))


def create(db: PostgreSQLPort, channel: str) -> None:
    """Make the channel's slot; the publication is committed, and nobody who is older writes any more. Idempotent.

    One that a killed attempt left is recreated: nothing was copied yet, so nothing is lost with it.

    Raises:
        DatabaseError: a transaction (of any database of the server) does not end in `db.lock_wait_s`, or somebody has
            taken the last slot meanwhile.
    """
    try:
        with db.raw() as driver:
            if not begun(driver, channel):
                return
            # No writes in this transaction: the server wants it so. It waits for all who write, and holds nobody up.
            driver.execute(f"SET LOCAL lock_timeout = {int(db.lock_wait_s * 1000)}".encode())
            made = "SELECT lsn FROM pg_create_logical_replication_slot(%s, 'pgoutput')"
            [(lsn,)] = driver.execute(made.encode(), (slot_name(driver, channel),)).fetchall()
            driver.execute(f"UPDATE {SCHEMA}.slots SET spooled = %s WHERE channel = %s".encode(), (lsn, channel))
    except psycopg.Error as error:
        told = connection.explain(db.name, error, "making the replication slot")
        waited = isinstance(error, psycopg.errors.LockNotAvailable)  # for writers' transactions, not for a table
        old = "see which transactions of the server are old, then run it again"
        action = old if waited else told.action or old
        raise DatabaseError(told.subject, told.observed, state="nothing was captured", action=action) from error


def begun(driver: psycopg.Connection[Any], channel: str) -> bool:
    """Whether the channel is published and has no slot that counts; one that a killed attempt left is dropped."""
    lock(driver, channel)
    found = driver.execute(f"SELECT spooled FROM {SCHEMA}.slots WHERE channel = %s".encode(), (channel,)).fetchone()
    if found is None or found[0] is not None:
        return False
    _drop(driver, slot_name(driver, channel))
    return True


def drop(db: PostgreSQLPort, channel: str) -> None:
    """Drop the channel's slot, which is what fills a disk. Idempotent."""
    with db.raw() as driver:
        lock(driver, channel)
        _drop(driver, slot_name(driver, channel))


def forget(db: PostgreSQLPort, channel: str) -> None:
    """Drop the channel's publication, and what is known of its slot. Idempotent."""
    lock_retry.in_transaction(db, partial(unpublish, channel=channel))


def unpublish(driver: psycopg.Connection[Any], channel: str) -> None:
    """The same within a transaction."""
    driver.execute(f"DROP PUBLICATION IF EXISTS {quoting.ident(publication_name(channel))}".encode())
    driver.execute(f"DELETE FROM {SCHEMA}.slots WHERE channel = %s".encode(), (channel,))


def _drop(driver: psycopg.Connection[Any], slot: str) -> None:
    driver.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", (slot,))


def lock(driver: psycopg.Connection[Any], channel: str) -> None:
    """Be the only one at this channel's slot until the transaction ends, and see what others have committed by then."""
    driver.execute("SET LOCAL synchronous_commit = local")  # what is written is on disk before the slot lets go of it
    driver.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"runbook slot {channel}",))


def state(driver: psycopg.Connection[Any], channel: str) -> State | None:
    """Where the channel stands; None while its slot is being made.

    Raises:
        TransferError: the slot is lost, or somebody else took changes from it: some were never logged.
    """
    found = _row(driver, channel)
    if found is None or found[2] is None:
        return None
    lost, slot, spooled, gone, confirmed, inserted, flushed, kept = found
    if lost or gone:
        raise incomplete(channel, lost or "its replication slot is gone, or was invalidated by the server")
    if confirmed > spooled:  # slots know no snapshot: another process may have moved both while we looked
        now = _row(driver, channel)
        if now is not None and confirmed > now[2]:
            raise incomplete(channel, "somebody else took changes from its replication slot")
    return State(slot, spooled, confirmed, inserted, flushed, kept)


def _row(driver: psycopg.Connection[Any], channel: str) -> tuple[Any, ...] | None:
    return driver.execute(_STATE.encode(), (_suffix(channel), channel)).fetchone()


def incomplete(channel: str, why: str) -> TransferError:
    """The error for a capture that has a gap."""
    return TransferError(
        f"capture of {channel}",
        f"{why}: changes may not have been logged",
        state="what was logged is kept",
        action="remove the capture, then copy again",
    )


def intact(driver: psycopg.Connection[Any], channel: str) -> frozenset[str]:
    """The channel's published tables whose identity holds their key; none when the slot is not sound."""
    try:
        if state(driver, channel) is None:
            return frozenset()
    except TransferError:
        return frozenset()
    there = published(driver, channel)
    sql = f"SELECT table_name, key_columns FROM {SCHEMA}.captures WHERE channel = %s"
    keys = {t: tuple(key) for t, key in driver.execute(sql.encode(), (channel,)) if t in there}
    return frozenset(table for table, key in keys.items() if _fits(driver, table, key))


def published(driver: psycopg.Connection[Any], channel: str) -> frozenset[str]:
    """The channel's tables that have their log, and are published with all that is done to them."""
    found = driver.execute(_PUBLISHED.encode(), (channel, publication_name(channel)))
    return frozenset(table for (table,) in found)


def _fits(driver: psycopg.Connection[Any], table: str, key: tuple[str, ...]) -> bool:
    try:
        refuse_unfit(driver, {table: key})
    except TransferError:
        return False
    return True


def refuse_blocking(db: PostgreSQLPort) -> None:
    """Raise the first thing that stands in the way of a capture through the log, before anything is made.

    Raises:
        DatabaseError: wal_level, REPLICATION, no free slot, a standby.
    """
    for problem in problems(db):
        if problem.blocking:
            raise DatabaseError(problem.subject, problem.text, state="nothing was captured", action=problem.action)
