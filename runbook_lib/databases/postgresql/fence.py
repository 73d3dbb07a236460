"""Fence: a disabled trigger on each table, enabled for all of them in one transaction that first drains the writers.

SHARE ROW EXCLUSIVE waits for every writer in flight, lets readers pass, and is held until the triggers are on: a
write is either committed before `raise_fence` returns or refused with SQLSTATE RB001, whatever the writer's snapshot.
The triggers do not fire under session_replication_role = replica, so the sync writes through the fence.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases.postgresql import connection, lock_retry, own
from runbook_lib.databases.postgresql.table_facts import SCHEMA, ensure_schema, listed, members, members_of
from runbook_lib.errors import CutoverAborted, DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

SQLSTATE = "RB001"
TRIGGER = "runbook_fence"
# A slice is shorter than deadlock_timeout (1 s): in a deadlock it is we who give way, never the writer.
SLICE_S = 0.3
# An autovacuum gives way only to somebody who has waited for a deadlock_timeout: ours is made short for that, and
# where the login may not do so we wait longer once an autovacuum is in the way (it holds back no writer).
DEADLOCK_CHECK_MS, AUTOVACUUM_SLICE_S = 100, 1.2

_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.fence() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $fence$
DECLARE since text := '';
BEGIN
  SELECT ' since ' || to_char(f.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS "UTC"') INTO since
  FROM {SCHEMA}.fences AS f WHERE f.relation = format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME);
  RAISE EXCEPTION '%: writes are fenced by a migration%; retry', TG_TABLE_NAME, coalesce(since, '')
    USING ERRCODE = '{SQLSTATE}', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
END $fence$
"""
_FENCES = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.fences (relation text PRIMARY KEY, since timestamptz NOT NULL)
"""
_TRIGGERS = f"""
SELECT format('%%I.%%I', n.nspname, c.relname), t.tgenabled IN ('O', 'A')
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE t.tgfoid = to_regprocedure('{SCHEMA}.fence()') AND t.tgname = '{TRIGGER}'
  AND t.tgrelid = ANY (coalesce(%s::text[]::regclass[]::oid[], ARRAY[t.tgrelid])) ORDER BY 1
"""
_HOLDERS = """
SELECT coalesce(a.backend_type, ''), coalesce('pid ' || l.pid || ' of ' || coalesce(a.usename, a.backend_type) || ', '
  || round(extract(epoch FROM clock_timestamp() - a.xact_start)) || ' s old: ' || a.query, 'a prepared transaction')
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY (%s::text[]::regclass[]::oid[])
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode NOT IN ('AccessShareLock', 'RowShareLock') AND l.pid IS DISTINCT FROM pg_backend_pid()
ORDER BY a.xact_start NULLS FIRST
"""


def prepare_fence(db: PostgreSQLPort, tables: Sequence[str]) -> None:
    """Install the lowered fence on these tables and their partitions; a fence that stands keeps its state. Idempotent.

    Raises:
        DatabaseError: a table does not exist, or locks were not granted.
    """

    def own_objects(driver: psycopg.Connection[Any]) -> None:
        ensure_schema(driver)
        driver.execute(_FENCES.encode())
        driver.execute(_FUNCTION.encode())
        driver.execute(f"REVOKE ALL ON FUNCTION {SCHEMA}.fence() FROM PUBLIC".encode())

    lock_retry.in_transaction(db, own_objects, doing="preparing the fence")
    with db.raw() as driver:
        there, wanted = _states(driver), members_of(driver, sorted(set(tables)))
    for table in (table for table, some in wanted.items() if not there.keys() >= set(some)):
        lock_retry.in_transaction(db, partial(_install, table=table), doing=f"preparing the fence of {table}")


def _install(driver: psycopg.Connection[Any], table: str) -> None:
    for member in members(driver, table):
        if not _states(driver, [member]):
            events = f"BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {member}"
            create = f"CREATE TRIGGER {TRIGGER} {events} FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.fence()"
            driver.execute(create.encode())
            driver.execute(f"ALTER TABLE ONLY {member} DISABLE TRIGGER {TRIGGER}".encode())  # same transaction


def raise_fence(db: PostgreSQLPort, tables: Sequence[str], *, timeout_s: float) -> float:
    """Turn writers of these tables away, all in one transaction; the seconds until the last one in flight had ended.

    Locks are asked for in slices of at most 0.3 s, so that writers never queue behind us for longer; readers are
    never blocked.

    Args:
        timeout_s: How long to try (seconds); at least one attempt is made.
    Raises:
        CutoverAborted: the locks were not granted in time; the fence is lowered, as before.
        DatabaseError: the fence was not prepared on one of the tables.
    """
    started = time.monotonic()
    deadline = started + timeout_s
    with db.raw() as driver:
        targets = _targets(driver, tables)
    attempts, slice_s = 0, SLICE_S
    while True:
        attempts += 1
        try:
            _raise_once(db, targets, max(0.02, min(slice_s, deadline - time.monotonic())))
            return time.monotonic() - started
        except (*lock_retry.TRANSIENT, psycopg.errors.QueryCanceled) as error:
            holders = _holders(db, targets)
            if time.monotonic() >= deadline:
                raise _aborted(tables, holders, attempts, time.monotonic() - started) from error
            slice_s = AUTOVACUUM_SLICE_S if any(kind == "autovacuum worker" for kind, _ in holders) else SLICE_S
        except psycopg.Error as error:
            raise connection.explain(db.name, error, "raising the fence") from error
        time.sleep(min(random.uniform(0.01, 0.06), max(0.0, deadline - time.monotonic())))  # noqa: S311  jitter


def _raise_once(db: PostgreSQLPort, targets: Sequence[str], slice_s: float) -> None:
    with db.raw() as driver:
        _displace_autovacuum(driver)
        # The statement's time-out bounds the sum of the waits: a lock got early is not held for long either.
        slice_ms = int(slice_s * 1000)
        driver.execute(f"SET LOCAL lock_timeout = {slice_ms}; SET LOCAL statement_timeout = {slice_ms}".encode())
        only = ", ".join(f"ONLY {target}" for target in targets)
        driver.execute(f"LOCK TABLE {only} IN SHARE ROW EXCLUSIVE MODE".encode())
        driver.execute("SET LOCAL statement_timeout = 0")
        driver.execute("; ".join(f"ALTER TABLE ONLY {target} ENABLE TRIGGER {TRIGGER}" for target in targets).encode())
        driver.execute(
            f"INSERT INTO {SCHEMA}.fences SELECT unnest(%s::text[]), clock_timestamp() ON CONFLICT DO NOTHING".encode(),
            (list(targets),),
        )


def _displace_autovacuum(driver: psycopg.Connection[Any]) -> None:
    """An autovacuum gives way to whoever has waited for a deadlock_timeout; ours is short, where we may set it."""
    with contextlib.suppress(psycopg.errors.InsufficientPrivilege), driver.transaction():
        driver.execute(f"SET LOCAL deadlock_timeout = {DEADLOCK_CHECK_MS}".encode())


def _targets(driver: psycopg.Connection[Any], tables: Sequence[str]) -> list[str]:
    targets = sorted({member for found in members_of(driver, tables).values() for member in found})
    there = _states(driver)
    if missing := [target for target in targets if target not in there]:
        raise DatabaseError(
            f"fence of {listed(missing)}", "not installed", state="nothing was fenced", action="prepare the fence first"
        )
    return targets


def _holders(db: PostgreSQLPort, targets: Sequence[str]) -> list[tuple[str, str]]:
    """Who holds locks on these tables that the fence must wait for, the oldest first: (kind of process, words)."""
    with db.raw() as driver:
        return [(kind, words) for kind, words in driver.execute(_HOLDERS, (list(targets),))]


def _aborted(
    tables: Sequence[str], holders: Sequence[tuple[str, str]], attempts: int, elapsed_s: float
) -> CutoverAborted:
    who = f", held by {one_line(holders[0][1], 160)}" if holders else ""
    return CutoverAborted(
        f"fence of {listed(sorted(tables))}",
        f"locks were not granted within {elapsed_s:.2f} s ({attempts} attempts){who}",
        state="the fence is lowered, writes continue",
        action="let that transaction end, then cut over again, or allow a longer write pause",
    )


def lower_fence(db: PostgreSQLPort, tables: Sequence[str]) -> None:
    """Resume writes, all tables in one transaction. Idempotent; a table without a fence is left alone."""

    def lower(driver: psycopg.Connection[Any]) -> None:
        _displace_autovacuum(driver)
        there = _states(driver)
        wanted = sorted({m for found in members_of(driver, tables).values() for m in found if there.get(m)})
        if wanted:
            driver.execute("; ".join(f"ALTER TABLE ONLY {m} DISABLE TRIGGER {TRIGGER}" for m in wanted).encode())
            driver.execute(f"DELETE FROM {SCHEMA}.fences WHERE relation = ANY (%s)".encode(), (wanted,))

    lock_retry.in_transaction(db, lower, doing="lowering the fence")


def fenced(db: PostgreSQLPort, tables: Sequence[str]) -> frozenset[str]:
    """The tables of these whose fence is raised, on every partition."""
    try:
        with db.raw() as driver:
            there = _states(driver)
            found = members_of(driver, tables)
            return frozenset(table for table, own in found.items() if all(there.get(member) for member in own))
    except psycopg.Error as error:
        raise connection.explain(db.name, error, "looking for fences") from error


def remove_fence(db: PostgreSQLPort) -> None:
    """Remove every fence of this database, raised or not. Idempotent."""

    def remove(driver: psycopg.Connection[Any]) -> None:
        if own.there(driver, "fences"):
            driver.execute(f"DROP FUNCTION IF EXISTS {SCHEMA}.fence() CASCADE".encode())  # and its triggers
            driver.execute(f"DROP TABLE IF EXISTS {SCHEMA}.fences".encode())

    lock_retry.in_transaction(db, remove, doing="removing the fence")


def _states(driver: psycopg.Connection[Any], only: Sequence[str] | None = None) -> dict[str, bool]:
    """Quoted table → whether its fence is raised; of all tables that have one, or of these."""
    asked = (None if only is None else list(only),)
    return dict(driver.execute(_TRIGGERS.encode(), asked).fetchall())
