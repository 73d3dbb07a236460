"""Capture by triggers: every change logs its key, nothing else (trap 1); the log is consumed as a queue.

A log table has typed key columns; keys leave it as integers or in PostgreSQL's text form, which is cast back where
they are used: infinity, BC dates and NaN have a text form, but no Python value. Map of the logs: runbook.captures.
Not seen, because PostgreSQL fires no trigger: DETACH or DROP of a partition, and TRUNCATE of a partition that was
attached after the capture was installed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases.port import Changes, Pending
from runbook_lib.databases.postgresql import connection, names, retry
from runbook_lib.databases.postgresql.relations import (
    SCHEMA,
    as_key,
    column_facts,
    ensure_schema,
    listed,
    members,
    own_name,
    qualified,
)
from runbook_lib.errors import DatabaseError, TransferError

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql import PostgreSQL

_CAPTURES = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.captures (
  channel text, table_name text, relation text NOT NULL, log text NOT NULL, function text NOT NULL,
  key_columns text[] NOT NULL, key_types text[] NOT NULL, installed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (channel, table_name))
"""
# Each member of a partition tree has its row trigger (a clone of the root's) and its own one for TRUNCATE.
_COMPLETE = f"""
SELECT c.table_name FROM {SCHEMA}.captures AS c
WHERE c.channel = %s AND to_regclass(c.relation) IS NOT NULL AND to_regclass(c.log) IS NOT NULL AND NOT EXISTS (
  SELECT FROM (SELECT to_regclass(c.relation)::oid AS relid
               UNION SELECT relid::oid FROM pg_partition_tree(to_regclass(c.relation))) AS m
  WHERE 2 > (SELECT count(*) FROM pg_trigger AS t WHERE t.tgrelid = m.relid AND t.tgenabled IN ('O', 'A')
             AND t.tgfoid = to_regprocedure(c.function || '()')))
"""
_FUNCTION = """
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $capture$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO {log} ({keys}) VALUES ({new});
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO {log} ({keys}) VALUES ({old});
  ELSIF TG_OP = 'TRUNCATE' THEN
    INSERT INTO {log} (truncated) VALUES (true);
  ELSIF record_image_ne(ROW({old}), ROW({new})) THEN  -- binary: 'a' and 'A' are two keys, always
    INSERT INTO {log} ({keys}) VALUES ({old}), ({new});
  ELSE
    INSERT INTO {log} ({keys}) VALUES ({new});
  END IF;
  RETURN NULL;
END $capture$
"""
_WRITERS = """
SELECT 'pid ' || pid, backend_xid::text, coalesce(usename::text, '?'),
       extract(epoch FROM clock_timestamp() - xact_start)::float8
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL
SELECT 'prepared transaction ' || gid, transaction::text, owner,
       extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()
"""


def install_capture(db: PostgreSQL, channel: str, tables: Mapping[str, Sequence[str]]) -> None:
    """Log the keys of every change of these tables (table → key columns); returns when older writers have ended.

    A table that is captured already is left alone, with its log. TRUNCATE logs a marker instead of keys:
    `read_changes` then says `truncated`, and the sync compares all keys of the table on both sides, deleting at the
    target what the source no longer has.

    Raises:
        TransferError: the table is captured with other key columns, or its triggers were tampered with: the log has
            gaps then, and only a new copy heals that.
        DatabaseError: locks were not granted, or a writer older than the capture does not end in `db.lock_wait_s`.
    """

    def prepare(driver: psycopg.Connection[Any]) -> None:
        ensure_schema(driver)
        driver.execute(_CAPTURES.encode())

    retry.in_transaction(db, prepare, doing="preparing the capture")
    for table, key in tables.items():
        work = partial(_install, channel=channel, table=table, key=tuple(key))
        retry.in_transaction(db, work, doing=f"installing the capture of {table}")
    _await_older_writers(db)


def _install(driver: psycopg.Connection[Any], channel: str, table: str, key: tuple[str, ...]) -> None:
    known = _lookup(driver, channel, table)
    if known is not None:
        _require_intact(driver, channel, table, key, tuple(known[1]))
        return
    facts = column_facts(driver, table)
    if missing := [column for column in key if column not in facts]:
        raise TransferError(f"capture of {table}", f"no column {listed(missing)}", action="correct the plan's key")
    log, function = (f"{SCHEMA}.{own_name(kind, channel, table)}" for kind in ("log", "capture"))
    kinds = [facts[column][0] for column in key]
    columns = "".join(f", k{i} {kind}" for i, kind in enumerate(kinds))
    _run(
        driver,
        f"CREATE TABLE {log} (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        f"at timestamptz NOT NULL DEFAULT clock_timestamp(), truncated boolean NOT NULL DEFAULT false{columns}) "
        # a queue: vacuum by the number of consumed rows, not by a share of what is usually an empty table
        "WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000)",
    )
    _run(driver, _function_sql(function, log, key), f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC")
    _create_triggers(driver, channel, table, function)
    driver.execute(
        f"INSERT INTO {SCHEMA}.captures (channel, table_name, relation, log, function, key_columns, key_types) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)".encode(),
        (channel, table, qualified(driver, table), log, function, list(key), kinds),
    )


def _function_sql(function: str, log: str, key: Sequence[str]) -> str:
    old, new = (listed([f"{record}.{names.ident(column)}" for column in key]) for record in ("OLD", "NEW"))
    return _FUNCTION.format(
        function=function, log=log, keys=listed([f"k{i}" for i in range(len(key))]), old=old, new=new
    )


def _create_triggers(driver: psycopg.Connection[Any], channel: str, table: str, function: str) -> None:
    rows, truncate = (own_name(kind, channel, table) for kind in ("runbook_rows", "runbook_truncate"))
    root = names.quote(table)
    _run(
        driver,
        f"CREATE TRIGGER {rows} AFTER INSERT OR UPDATE OR DELETE ON {root} FOR EACH ROW EXECUTE FUNCTION {function}()",
        *(
            f"CREATE TRIGGER {truncate} AFTER TRUNCATE ON {member} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            for member in members(driver, table)
        ),
    )


def _require_intact(
    driver: psycopg.Connection[Any], channel: str, table: str, key: tuple[str, ...], logged: tuple[str, ...]
) -> None:
    if key != logged:
        raise TransferError(
            f"capture of {table}",
            f"channel {channel} logs the key ({listed(logged)})",
            expected=f"({listed(key)})",
            state="the capture was left as it is",
            action="remove the capture, then copy the table again",
        )
    if (table,) not in driver.execute(_COMPLETE.encode(), (channel,)).fetchall():
        raise TransferError(
            f"capture of {table}",
            f"a trigger of channel {channel} is missing or disabled, so changes may not have been logged",
            state="the capture was left as it is",
            action="remove the capture, then copy the table again",
        )


def _await_older_writers(db: PostgreSQL) -> None:
    """Wait until the transactions that have written anything by now have ended (trap 4).

    Readers are not waited for: a write of theirs from now on finds the trigger, and a backup may read for hours.
    """
    deadline = time.monotonic() + db.lock_wait_s
    older = {(who, xid) for who, xid, _, _ in db.rows(_WRITERS)}
    while older:
        left = [row for row in db.rows(_WRITERS) if (row[0], row[1]) in older]
        if not left:
            return
        if time.monotonic() > deadline:
            who, _, user, age_s = max(left, key=lambda row: row[3] or 0.0)
            raise DatabaseError(
                f"database {db.name}",
                f"a transaction older than the capture is still open: {who} of {user}, {age_s:.0f} s old",
                state="the capture is installed and logs changes",
                action="let that transaction end (or end it), then repeat the step",
            )
        time.sleep(0.05)


def capture_installed(db: PostgreSQL, channel: str) -> frozenset[str]:
    """The tables whose log and triggers are complete and enabled, on every partition."""
    with db.raw() as driver:
        if not _known(driver):
            return frozenset()
        return frozenset(table for (table,) in driver.execute(_COMPLETE.encode(), (channel,)))


def remove_capture(db: PostgreSQL, channel: str) -> None:
    """Remove triggers, functions and logs of the channel, one transaction a table. Idempotent."""
    with db.raw() as driver:
        if not _known(driver):
            return
        sql = f"SELECT table_name, log, function FROM {SCHEMA}.captures WHERE channel = %s ORDER BY 1"
        found = driver.execute(sql.encode(), (channel,)).fetchall()
    for table, log, function in found:
        db.execute(
            f"DROP FUNCTION IF EXISTS {function}() CASCADE",  # and the triggers, on every partition
            f"DROP TABLE IF EXISTS {log}",
            f"DELETE FROM {SCHEMA}.captures WHERE (channel, table_name) = "
            f"({names.literal(channel)}, {names.literal(table)})",
        )


def pending(db: PostgreSQL, channel: str) -> dict[str, Pending]:
    """Log rows and the age of the oldest (seconds), by table, in a new transaction."""
    with db.raw() as driver:
        if not _known(driver):
            return {}
        sql = f"SELECT table_name, log FROM {SCHEMA}.captures WHERE channel = %s ORDER BY 1"
        logs = driver.execute(sql.encode(), (channel,)).fetchall()
        if not logs:
            return {}
        age = "coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8"
        parts = [f"SELECT {i}, count(*), {age} FROM {log}" for i, (_, log) in enumerate(logs)]
        counted = driver.execute(" UNION ALL ".join(parts).encode()).fetchall()
    return {logs[i][0]: Pending(count, max(age_s, 0.0)) for i, count, age_s in counted}


def read_changes(db: PostgreSQL, channel: str, table: str, limit: int) -> Changes:
    """The `limit` oldest log rows of a table: their numbers, and their keys without repetition, oldest first.

    Raises:
        TransferError: the table is not captured under this channel.
    """
    try:
        with db.raw() as driver:
            log, _, kinds = _require(driver, channel, table)
            keys = "".join(", " + as_key(f"k{i}", kind) for i, kind in enumerate(kinds))
            sql = f"SELECT seq, truncated{keys} FROM {log} ORDER BY seq LIMIT %s"
            found = driver.execute(sql.encode(), (limit,)).fetchall()
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"reading the capture log of {table}") from error
    distinct = dict.fromkeys(tuple(row[2:]) for row in found if not row[1])
    return Changes(table, tuple(row[0] for row in found), tuple(distinct), any(row[1] for row in found))


def forget_changes(db: PostgreSQL, channel: str, changes: Changes) -> None:
    """Delete exactly these log rows; a row that committed late keeps its place in the queue."""
    if not changes.seqs:
        return
    try:
        with db.raw() as driver:
            log, _, _ = _require(driver, channel, changes.table)
            driver.execute(f"DELETE FROM {log} WHERE seq = ANY (%s)".encode(), (list(changes.seqs),))
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"consuming the capture log of {changes.table}") from error


def _known(driver: psycopg.Connection[Any]) -> bool:
    return driver.execute("SELECT pg_catalog.to_regclass(%s)", (f"{SCHEMA}.captures",)).fetchone() != (None,)


def _lookup(driver: psycopg.Connection[Any], channel: str, table: str) -> tuple[str, list[str], list[str]] | None:
    sql = f"SELECT log, key_columns, key_types FROM {SCHEMA}.captures WHERE channel = %s AND table_name = %s"
    found = driver.execute(sql.encode(), (channel, table)).fetchone()
    return (found[0], found[1], found[2]) if found else None


def _require(driver: psycopg.Connection[Any], channel: str, table: str) -> tuple[str, list[str], list[str]]:
    found = _lookup(driver, channel, table) if _known(driver) else None
    if found is None:
        raise TransferError(
            f"capture of {table}", f"not installed on channel {channel}", action="install the capture first"
        )
    return found


def _run(driver: psycopg.Connection[Any], *statements: str) -> None:
    for statement in statements:
        driver.execute(statement.encode())
