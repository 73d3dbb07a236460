"""Capture: every change logs its key, nothing else (docs/correctness.md#late-commits); the log is consumed as a queue.

Triggers write the log, in the writer's own transaction; or, with `capture: wal`, it is filled from the server's
write-ahead log whenever somebody asks for it (spool.py). What a channel was made for is recorded with it.

A log table has typed key columns; keys leave it as integers or in PostgreSQL's text form, which is cast back where
they are used: infinity, BC dates and NaN have a text form, but no Python value. Map of the logs: runbook.captures.
Rows that come or go with a whole table (a partition attached or dropped) are logged by captured_members.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases.port import Changes, Pending
from runbook_lib.databases.postgresql import captured_members, connection, lock_retry, own, quoting, triggers
from runbook_lib.databases.postgresql.older_writers import await_older_writers
from runbook_lib.databases.postgresql.table_facts import (
    SCHEMA,
    as_key,
    column_facts,
    ensure_schema,
    listed,
    logged_types,
    own_name,
    qualified,
)
from runbook_lib.databases.postgresql.wal import replication_slot, slot_reader, withdraw_table
from runbook_lib.errors import DatabaseError, TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

_CAPTURES = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.captures (
  channel text, table_name text, relation text NOT NULL, log text NOT NULL, function text NOT NULL,
  key_columns text[] NOT NULL, key_types text[] NOT NULL, installed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (channel, table_name))
"""
# A log without a block has no row, and never had one: of many tables most are idle, and need not be counted.
_WRITTEN = f"""
SELECT table_name FROM {SCHEMA}.captures
WHERE channel = %s AND pg_relation_size(to_regclass(log)) > 0
"""
NO_FUNCTION = f"{SCHEMA}.none"  # in the map of logs: what fills this one is no trigger


def install_capture(db: PostgreSQLPort, channel: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Log the keys of every change of these tables (table → key columns); returns when older writers have ended.

    A table that is captured already is left alone, with its log; new partitions of it are taken in, and all of it where
    a trigger is missing or disabled, or it is not published. TRUNCATE logs a marker instead of keys: `read_changes`
    then says `truncated`, and the sync compares all keys on both sides, deleting what the source no longer has.

    Raises:
        TransferError: the table is captured with other key columns, or is gone.
        DatabaseError: locks were not granted, or a writer older than the capture does not end in `db.lock_wait_s`.
    """

    with db.raw() as driver:
        wal = _by_wal(db, driver, channel, tables)
    if wal:
        replication_slot.refuse_blocking(db)

    def prepare(driver: psycopg.Connection[Any]) -> None:
        ensure_schema(driver)
        driver.execute(_CAPTURES.encode())
        driver.execute(captured_members.COLUMN.encode())
        driver.execute(captured_members.LOSSES.encode())
        driver.execute(replication_slot.SLOTS.encode())

    lock_retry.in_transaction(db, prepare, doing="preparing the capture")
    if not wal:
        _install_all(db, channel, tables, wal=False)
        await_older_writers(db)
        return
    try:
        _install_all(db, channel, tables, wal=True)
        await_older_writers(db, "nothing was captured")
        replication_slot.create(db, channel)
    except BaseException as error:
        _take_back(db, channel, error)
        raise
    await_older_writers(db)  # one whose commit the slot did not see may not be visible yet


def _install_all(db: PostgreSQLPort, channel: str, tables: Mapping[str, Sequence[str]], *, wal: bool) -> None:
    if wal:
        slot_reader.fill(db, channel)  # what a gap was is known before it is closed
    sound = _sound(db, channel, wal=wal)
    with db.raw() as driver:
        replaced = captured_members.replaced(driver, channel)
    for table, key in tables.items():
        if sound.get(table) == tuple(key):
            continue
        how: dict[str, Any] = {"channel": channel, "table": table, "key": tuple(key), "wal": wal}
        again, work, doing = partial(_capture_again, **how), partial(_install, **how), f"capturing {table}"
        if table in replaced or not lock_retry.in_transaction(db, work, doing=doing):
            lock_retry.in_transaction(db, again, doing=doing)
            lock_retry.in_transaction(db, work, doing=doing)


def _sound(db: PostgreSQLPort, channel: str, *, wal: bool) -> dict[str, tuple[str, ...]]:
    """The tables whose capture lacks nothing, with the keys that are logged: told for all at once."""
    with db.raw() as driver:
        there = replication_slot.published(driver, channel) if wal else triggers.on_all(driver, channel)
        there -= captured_members.replaced(driver, channel).keys()
        sql = f"SELECT table_name, key_columns, function FROM {SCHEMA}.captures WHERE channel = %s"
        found = driver.execute(sql.encode(), (channel,)).fetchall()
    return {table: tuple(key) for table, key, how in found if table in there and wal == (how == NO_FUNCTION)}


def _take_back(db: PostgreSQLPort, channel: str, error: BaseException) -> None:
    """Remove what a channel has that got no slot: its logs are empty, and its publication would stay for nobody.

    Killed meanwhile, it is as if the making had been killed: `slots` has the channel until all of it is gone, and
    whoever installs or removes the capture resumes there.
    """
    try:
        with db.raw() as driver:
            if replication_slot.begun(driver, channel):
                for log, _ in _tables(driver, channel).values():
                    driver.execute(f"DROP TABLE {log}".encode())
                driver.execute(f"DELETE FROM {SCHEMA}.captures WHERE channel = %s".encode(), (channel,))
                replication_slot.unpublish(driver, channel)
    except (psycopg.Error, DatabaseError) as failed:
        error.add_note(f"its publication stays: {failed}; run it again, or remove the capture")


def _by_wal(
    db: PostgreSQLPort, driver: psycopg.Connection[Any], channel: str, tables: Mapping[str, Sequence[str]]
) -> bool:
    """Whether this channel reads the server's log: as it was made, else as the inventory says."""
    if replication_slot.is_wal(driver, channel):
        replication_slot.state(driver, channel)  # raises where it is lost
        return True
    if db.capture != "wal":
        return False
    if _known(driver) and _tables(driver, channel):
        raise TransferError(
            f"capture of {channel}",
            "is installed by triggers already",
            expected="capture: wal",
            state="the capture was left as it was",
            action="remove the capture, then copy again; or leave `capture: triggers`",
        )
    for table in tables:
        column_facts(driver, table)  # raises where there is no such table
    replication_slot.refuse_unfit(driver, {table: tuple(key) for table, key in tables.items()})
    return True


def _install(driver: psycopg.Connection[Any], channel: str, table: str, key: tuple[str, ...], wal: bool) -> bool:
    """Whether its log lacks nothing; else that is recorded, and it is to be captured again."""
    known = _lookup(driver, channel, table)
    if known is not None:
        return _intact(driver, channel, table, key, known)
    facts = column_facts(driver, table)
    if missing := [column for column in key if column not in facts]:
        raise TransferError(f"capture of {table}", f"no column {listed(missing)}", action="correct the plan's key")
    log = f"{SCHEMA}.{own_name('log', channel, table)}"
    kinds, logged = [facts[column][0] for column in key], logged_types(driver, table)
    columns = "".join(f", k{i} {logged[column]}" for i, column in enumerate(key))
    driver.execute(
        f"CREATE TABLE {log} (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        f"at timestamptz NOT NULL DEFAULT clock_timestamp(), truncated boolean NOT NULL DEFAULT false{columns}) "
        # a queue: vacuum by the number of consumed rows, not by a share of what is usually an empty table
        "WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)".encode()
    )
    function = NO_FUNCTION
    if wal:
        replication_slot.refuse_unfit(driver, {table: key})
        replication_slot.publish(driver, channel, table)
    else:
        function = triggers.create(driver, channel, table, key, log)
    driver.execute(
        f"INSERT INTO {SCHEMA}.captures (channel, table_name, relation, log, function, key_columns, key_types) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)".encode(),
        (channel, table, qualified(driver, table), log, function, list(key), kinds),
    )
    captured_members.record(driver, channel, table)
    return True


def _intact(driver: psycopg.Connection[Any], channel: str, table: str, key: tuple[str, ...], known: _Known) -> bool:
    logged = tuple(known.key)
    if key != logged:
        raise TransferError(
            f"capture of {table}",
            f"channel {channel} logs the key ({listed(logged)})",
            expected=f"({listed(key)})",
            state="the capture was left as it is",
            action="remove the capture, then copy the table again",
        )
    if not known.wal:
        triggers.take_in(driver, channel, table)
    tree = captured_members.tree(driver, channel, table)
    if not tree.now:
        raise TransferError(
            f"capture of {table}",
            "it was dropped or renamed, so changes may not have been logged",
            state="the capture was left as it is",
            action="remove the capture, then copy the table again",
        )
    if table not in (replication_slot.published if known.wal else triggers.on_all)(driver, channel):
        why = "it was not published" if known.wal else "a trigger of its capture was missing or disabled"
        captured_members.lose(driver, channel, tree.log, f"{why}, so that changes may not have been logged")
        return False
    if known.wal:
        replication_slot.refuse_unfit(driver, {table: key})
    captured_members.take_in(driver, channel, table, tree)
    return True


def _capture_again(driver: psycopg.Connection[Any], channel: str, table: str, key: tuple[str, ...], wal: bool) -> None:
    """Have another table under the captured one's name logged, or another key of it, once those who write to it by now
    have ended; a log that lacks changes is replaced, and all of the table taken in."""
    tree = captured_members.tree(driver, channel, table)
    fed = table in (replication_slot.published if wal else triggers.on_all)(driver, channel)
    if not tree.now or (not tree.outdated and (fed or not tree.replaced)):
        return
    if not key:
        raise TransferError(
            f"capture of {table}",
            f"it has no key any more, its log has ({listed(tree.key)})",
            state="the capture was left as it is",
            action="restore its key, then run it again",
        )
    driver.execute(f"LOCK TABLE {quoting.quote(table)} IN SHARE ROW EXCLUSIVE MODE".encode())
    if wal:
        replication_slot.refuse_unfit(driver, {table: key})
        replication_slot.publish(driver, channel, table)
    else:
        triggers.remove(driver, channel, table)
    if tree.outdated:
        driver.execute(f"DROP TABLE IF EXISTS {tree.log}".encode())
        sql = f"DELETE FROM {SCHEMA}.captures WHERE channel = %s AND table_name = %s"
        driver.execute(sql.encode(), (channel, table))
        _install(driver, channel, table, key, wal)
        captured_members.begin_again(driver, channel, table)
    elif not wal:
        triggers.create(driver, channel, table, tree.key, tree.log)


def capture_installed(db: PostgreSQLPort, channel: str) -> frozenset[str]:
    """The tables whose log is complete, and fed: by enabled triggers on every partition, or from a sound slot."""
    with db.raw() as driver:
        if not _known(driver):
            return frozenset()
        wal = replication_slot.is_wal(driver, channel)
        found = replication_slot.intact(driver, channel) if wal else triggers.on_all(driver, channel)
        return found - captured_members.replaced(driver, channel).keys()


def capture_gaps(db: PostgreSQLPort, channel: str) -> dict[str, str]:
    """See Database.capture_gaps."""
    with db.raw() as driver:
        if not _known(driver):
            return {}
        tables, replaced = _tables(driver, channel), captured_members.replaced(driver, channel)
    whole = capture_installed(db, channel) if tables else frozenset()
    other = "a trigger of its capture is missing or disabled, or its slot is lost"
    return {table: replaced.get(table, other) for table in tables if table not in whole}


def remove_capture(db: PostgreSQLPort, channel: str, tables: Collection[str] | None = None) -> None:
    """Remove slot and publication, or triggers and functions, and the logs of the channel, or of these tables.

    Idempotent.
    """
    with db.raw() as driver:
        if not _known(driver):
            return
        found, wal = _tables(driver, channel), replication_slot.is_wal(driver, channel)
        losses = own.there(driver, "losses")
    if wal and tables is None:
        replication_slot.drop(db, channel)
    for table, (log, function) in found.items():
        if tables is not None and table not in tables:
            continue
        db.execute(
            *(withdraw_table.withdrawing(db, channel, table) if wal and tables is not None else ()),
            f"DROP FUNCTION IF EXISTS {function}() CASCADE",  # and the triggers, on every partition
            f"DROP TABLE IF EXISTS {log}",
            *(
                f"DELETE FROM {SCHEMA}.{own_table} WHERE (channel, table_name) = "
                f"({quoting.literal(channel)}, {quoting.literal(table)})"
                for own_table in (["losses", "captures"] if losses else ["captures"])
            ),
        )
    if wal and tables is None:
        replication_slot.forget(db, channel)  # last: until then it is known that there may be a slot


def pending(db: PostgreSQLPort, channel: str) -> dict[str, Pending]:
    """Log rows and the age of the oldest (seconds), by table, in a new transaction.

    Raises:
        TransferError: the slot that fills the logs is lost.
    """
    with db.raw() as driver:
        logs = _tables(driver, channel) if _known(driver) else {}
    if not logs:
        return {}
    if any(function == NO_FUNCTION for _, function in logs.values()):
        slot_reader.fill(db, channel)
    found = dict.fromkeys(logs, Pending(0, 0.0))
    with db.raw() as driver:
        written = {name for (name,) in driver.execute(_WRITTEN.encode(), (channel,))}
    if logs := {table: log for table, log in logs.items() if table in written}:
        found |= _counted(db, logs)
    return found


def _counted(db: PostgreSQLPort, logs: Mapping[str, tuple[str, str]]) -> dict[str, Pending]:
    age = "coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8"
    parts = [f"SELECT {i}, count(*), {age} FROM {log}" for i, (log, _) in enumerate(logs.values())]
    tables = list(logs)
    with db.raw() as driver:
        counted = driver.execute(" UNION ALL ".join(parts).encode()).fetchall()
    return {tables[i]: Pending(count, max(age_s, 0.0)) for i, count, age_s in counted}


def read_changes(db: PostgreSQLPort, channel: str, table: str, limit: int, *, as_of: float | None = None) -> Changes:
    """The `limit` oldest log rows of a table: their numbers, and their keys without repetition, oldest first.

    See Database.read_changes.

    Raises:
        TransferError: the table is not captured under this channel.
    """
    found, wal = _oldest(db, channel, table, limit)
    if wal and len(found) < limit and slot_reader.fill(db, channel, as_of):
        found, _ = _oldest(db, channel, table, limit)
    distinct = dict.fromkeys(tuple(row[2:]) for row in found if not row[1])
    return Changes(table, tuple(row[0] for row in found), tuple(distinct), any(row[1] for row in found))


def _oldest(db: PostgreSQLPort, channel: str, table: str, limit: int) -> tuple[list[tuple[Any, ...]], bool]:
    try:
        with db.raw() as driver:
            known = _require(driver, channel, table)
            keys = "".join(", " + as_key(f"k{i}", kind) for i, kind in enumerate(known.types))
            sql = f"SELECT seq, truncated{keys} FROM {known.log} ORDER BY seq LIMIT %s"
            return driver.execute(sql.encode(), (limit,)).fetchall(), known.wal
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"reading the capture log of {table}") from error


def forget_changes(db: PostgreSQLPort, channel: str, changes: Changes) -> None:
    """Delete exactly these log rows; a row that committed late keeps its place in the queue."""
    if not changes.seqs:
        return
    try:
        with db.raw() as driver:
            log = _require(driver, channel, changes.table).log
            driver.execute(f"DELETE FROM {log} WHERE seq = ANY (%s)".encode(), (list(changes.seqs),))
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"consuming the capture log of {changes.table}") from error


def _known(driver: psycopg.Connection[Any]) -> bool:
    return own.there(driver, "captures")


def _tables(driver: psycopg.Connection[Any], channel: str) -> dict[str, tuple[str, str]]:
    """The channel's tables: log and function."""
    sql = f"SELECT table_name, log, function FROM {SCHEMA}.captures WHERE channel = %s ORDER BY 1"
    return {table: (log, function) for table, log, function in driver.execute(sql.encode(), (channel,))}


@dataclass(frozen=True)
class _Known:
    """A captured table: its log, the key's columns and their types, and whether the log is filled from a slot."""

    log: str
    key: list[str]
    types: list[str]
    wal: bool


def _lookup(driver: psycopg.Connection[Any], channel: str, table: str) -> _Known | None:
    sql = f"SELECT log, key_columns, key_types, function FROM {SCHEMA}.captures WHERE channel = %s AND table_name = %s"
    found = driver.execute(sql.encode(), (channel, table)).fetchone()
    return _Known(found[0], found[1], found[2], found[3] == NO_FUNCTION) if found else None


def _require(driver: psycopg.Connection[Any], channel: str, table: str) -> _Known:
    found = _lookup(driver, channel, table) if _known(driver) else None
    if found is None:
        raise TransferError(
            f"capture of {table}", f"not installed on channel {channel}", action="install the capture first"
        )
    return found
