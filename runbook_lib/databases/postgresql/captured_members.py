"""Which tables a capture's log and the copied rows speak of: a captured table and its partitions, each by its identity.

No trigger fires and nothing is published when rows come or go with a whole table: ATTACH, DETACH and DROP of a
partition, another table under the captured one's name. So what a capture covers is recorded with it, in the transaction
that makes it; when the tree is another, the capture is not complete until `take_in` has logged what that changed.

The columns of the key are among it, each with its name, number and type: renamed, dropped or of another type, they are
not what the log has, and all rows are to be taken in again.

A member is its OID and the transaction that attached it: one that was detached, written to and attached again is
another. A rewrite (TRUNCATE, CLUSTER) leaves it what it was.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from runbook_lib.databases.postgresql import own, quoting
from runbook_lib.databases.postgresql.table_facts import SCHEMA, listed

COLUMN = f"ALTER TABLE {SCHEMA}.captures ADD COLUMN IF NOT EXISTS members text[] NOT NULL DEFAULT '{{}}'"
# What triggers could not log (triggers.py): written by the users' writers, which only add rows, so that none waits.
LOSSES = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.losses (
  channel text, table_name text, why text, at timestamptz NOT NULL DEFAULT clock_timestamp())
"""
# Of the table called `c.relation`, as it is now. One of the integers may become another: a log has them all alike.
_NOW = """ARRAY(SELECT m FROM (
  SELECT to_regclass(c.relation)::oid || ' 0' WHERE to_regclass(c.relation) IS NOT NULL
  UNION ALL SELECT p.relid::oid || ' ' || i.xmin FROM pg_partition_tree(to_regclass(c.relation)) AS p
    JOIN pg_inherits AS i ON i.inhrelid = p.relid WHERE p.level > 0
  UNION ALL SELECT format('key %%s %%s %%s', a.attname, a.attnum,
                          CASE WHEN a.atttypid IN (21, 23) THEN 20 ELSE a.atttypid END)
    FROM pg_attribute AS a WHERE a.attrelid = to_regclass(c.relation) AND a.attname = ANY (c.key_columns)
  ) AS a(m) ORDER BY m COLLATE "C")"""
# A condition on a row of `captures`; an earlier version's had no such column: not the same, and taken in again.
_SAME = f"to_jsonb(c) -> 'members' = to_jsonb({_NOW})"
# The OIDs whose changes are a captured table's, of a row of `captures`: as they were taken in, and as they are.
MEMBERS = """(
  SELECT split_part(m, ' ', 1)::oid AS relid FROM jsonb_array_elements_text(to_jsonb(c) -> 'members') AS m
    WHERE m ~ '^[0-9]'
  UNION SELECT to_regclass(c.relation)::oid WHERE to_regclass(c.relation) IS NOT NULL
  UNION SELECT relid::oid FROM pg_partition_tree(to_regclass(c.relation)))"""
_BOTH = f"""
SELECT c.members, {_NOW}, c.log, c.key_columns, to_regclass(c.log) IS NULL
FROM {SCHEMA}.captures AS c WHERE c.channel = %s AND c.table_name = %s
"""
_CALLED = """
SELECT c.relkind::text, format('%%I.%%I', n.nspname, c.relname) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s
"""
_REPLACED = f"""
SELECT c.table_name, to_jsonb(c) -> 'members', {_NOW}, to_regclass(c.log) IS NULL FROM {SCHEMA}.captures AS c
WHERE c.channel = %s AND (to_regclass(c.log) IS NULL OR NOT coalesce({_SAME}, false))
"""
_LOST_OF = f"SELECT table_name, min(why) FROM {SCHEMA}.losses WHERE channel = %s GROUP BY 1"
_COLUMN = """
SELECT attname, attisdropped FROM pg_attribute WHERE attrelid = %s AND attnum = %s
"""
_KEY = "key "  # what a member begins with that is a column of the key
_ROOT = " 0"  # what a member ends with that nobody attached
_LOST = "lost: "  # what stands for the members where some change named no key: all rows are to be taken in


@dataclass(frozen=True)
class Tree:
    """A captured table's members as they were taken in, and as they are."""

    log: str
    key: tuple[str, ...]
    before: frozenset[str]
    now: frozenset[str]

    @property
    def replaced(self) -> bool:
        """Whether the table itself is another than the one that was captured."""
        return any(member.endswith(_ROOT) for member in self.now - self.before)

    @property
    def outdated(self) -> bool:
        """Whether the log lacks changes, or is not one of this key: it is to be replaced."""
        return not self.before or _keys(self.before) != _keys(self.now)


def tree(driver: psycopg.Connection[Any], channel: str, table: str) -> Tree:
    """Read both; the table is captured."""
    [(before, now, log, key, lost)] = driver.execute(_BOTH.encode(), (channel, table)).fetchall()
    lost = lost or table in _lost(driver, channel) or any(member.startswith(_LOST) for member in before)
    return Tree(log, tuple(key), frozenset(() if lost else before), frozenset(now))


def _lost(driver: psycopg.Connection[Any], channel: str) -> dict[str, str]:
    """Tables of which triggers could not log a change, with why."""
    if not own.there(driver, "losses"):
        return {}
    return dict(driver.execute(_LOST_OF.encode(), (channel,)).fetchall())


def _keys(found: Collection[str]) -> set[str]:
    return {member for member in found if member.startswith(_KEY)}


def record(driver: psycopg.Connection[Any], channel: str, table: str) -> None:
    """The copy that follows reads all of what the table is now."""
    sql = f"UPDATE {SCHEMA}.captures AS c SET members = {_NOW} WHERE c.channel = %s AND c.table_name = %s"
    driver.execute(sql.encode(), (channel, table))


def take_in(driver: psycopg.Connection[Any], channel: str, table: str, found: Tree) -> None:
    """Log what the other tree changed: a marker for rows that went with a member, the keys of those that came."""
    fresh = found.now - found.before - _keys(found.now)
    if not fresh and found.before == found.now:
        return
    if found.before - found.now or not found.before:  # nothing is known of what an earlier version captured
        driver.execute(f"INSERT INTO {found.log} (truncated) VALUES (true)".encode())
    keys = listed([f"k{i}" for i in range(len(found.key))])
    columns = listed([quoting.ident(column) for column in found.key])
    for member in sorted(fresh):
        for kind, name in driver.execute(_CALLED, (member.split()[0],)).fetchall():
            only = "" if kind == "p" else "ONLY "  # children by inheritance are none of its rows
            driver.execute(f"INSERT INTO {found.log} ({keys}) SELECT {columns} FROM {only}{name}".encode())
    sql = f"UPDATE {SCHEMA}.captures SET members = %s WHERE channel = %s AND table_name = %s"
    driver.execute(sql.encode(), (sorted(found.now), channel, table))


def begin_again(driver: psycopg.Connection[Any], channel: str, table: str) -> None:
    """All of the table is to be taken in; whoever wrote to it before has ended."""
    sql = f"UPDATE {SCHEMA}.captures SET members = '{{}}' WHERE channel = %s AND table_name = %s"
    driver.execute(sql.encode(), (channel, table))
    driver.execute(f"DELETE FROM {SCHEMA}.losses WHERE channel = %s AND table_name = %s".encode(), (channel, table))


def lose(driver: psycopg.Connection[Any], channel: str, log: str, why: str) -> None:
    """Record that the log lacks a change: the table is incomplete until all of it is taken in."""
    sql = f"UPDATE {SCHEMA}.captures SET members = ARRAY[%s] WHERE channel = %s AND log = %s"
    driver.execute(sql.encode(), (_LOST + why, channel, log))


def replaced(driver: psycopg.Connection[Any], channel: str) -> dict[str, str]:
    """Tables whose rows are not those that were copied and logged, with why."""
    found = driver.execute(_REPLACED.encode(), (channel,)).fetchall()
    whys = {
        table: "its log is gone" if logless else _why(driver, set(before or ()), set(now))
        for table, before, now, logless in found
    }
    return _lost(driver, channel) | whys


def _why(driver: psycopg.Connection[Any], before: set[str], now: set[str]) -> str:
    fresh, gone = sorted(now - before - _keys(now)), before - now
    if lost := [member for member in gone if member.startswith(_LOST)]:
        return lost[0].removeprefix(_LOST)
    if not before:
        return "its rows are to be taken in again"
    if any(member.endswith(_ROOT) for member in gone):
        return "it is another table than the one that was copied" if fresh else "it was dropped or renamed"
    if keys := sorted(_keys(gone)):
        [table] = [member.split()[0] for member in now if member.endswith(_ROOT)]
        return "; ".join(_rekeyed(driver, table, member) for member in keys)
    names = [name for member in fresh for _, name in driver.execute(_CALLED, (member.split()[0],)).fetchall()]
    said = [f"partition {name} was attached or made" for name in names]
    return "; ".join([*said, *([f"{len(gone)} of its partitions were detached or dropped"] if gone else [])])


def key_types(recorded: Collection[str]) -> dict[str, int]:
    """Column of the key → OID of its type, of what was recorded of a capture; integers are all alike."""
    parts = (member.removeprefix(_KEY).rsplit(" ", 2) for member in recorded if member.startswith(_KEY))
    return {name: int(oid) for name, _, oid in parts}


def alike(oid: int) -> int:
    """A type's OID as it is recorded."""
    return 20 if oid in (21, 23) else oid


def _rekeyed(driver: psycopg.Connection[Any], table: str, member: str) -> str:
    """What a column of the key is now."""
    name, number, _ = member.removeprefix(_KEY).rsplit(" ", 2)
    [(now, dropped)] = driver.execute(_COLUMN, (table, number)).fetchall()
    what = (
        "was dropped"
        if dropped
        else "has another type"
        if now == name
        else f"is called {now} (rename it at the other side, too)"
    )
    return f"column {name} of its key {what}, so that changes were not logged"
