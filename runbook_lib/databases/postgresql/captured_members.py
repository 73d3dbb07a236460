"""Which tables a capture's log and the copied rows speak of: a captured table and its partitions, each by its identity.

No trigger fires and nothing is published when rows come or go with a whole table: ATTACH, DETACH and DROP of a
partition, another table under the captured one's name. So what a capture covers is recorded with it, in the transaction
that makes it; when the tree is another, the capture is not complete until `take_in` has logged what that changed.

A member is its OID and the transaction that attached it: one that was detached, written to and attached again is
another. A rewrite (TRUNCATE, CLUSTER) leaves it what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from runbook_lib.databases.postgresql import quoting
from runbook_lib.databases.postgresql.table_facts import SCHEMA, listed

COLUMN = f"ALTER TABLE {SCHEMA}.captures ADD COLUMN IF NOT EXISTS members text[] NOT NULL DEFAULT '{{}}'"
# Of the table called `c.relation`, as it is now.
_NOW = """ARRAY(SELECT m FROM (
  SELECT to_regclass(c.relation)::oid || ' 0' WHERE to_regclass(c.relation) IS NOT NULL
  UNION ALL SELECT p.relid::oid || ' ' || i.xmin FROM pg_partition_tree(to_regclass(c.relation)) AS p
    JOIN pg_inherits AS i ON i.inhrelid = p.relid WHERE p.level > 0) AS a(m) ORDER BY m COLLATE "C")"""
# A condition on a row of `captures`; an earlier version's had no such column: not the same, and taken in again.
_SAME = f"to_jsonb(c) -> 'members' = to_jsonb({_NOW})"
# The OIDs whose changes are a captured table's, of a row of `captures`: as they were taken in, and as they are.
MEMBERS = """(
  SELECT split_part(m, ' ', 1)::oid AS relid FROM jsonb_array_elements_text(to_jsonb(c) -> 'members') AS m
    WHERE m ~ '^[0-9]'
  UNION SELECT to_regclass(c.relation)::oid WHERE to_regclass(c.relation) IS NOT NULL
  UNION SELECT relid::oid FROM pg_partition_tree(to_regclass(c.relation)))"""
_BOTH = f"""
SELECT c.members, {_NOW}, c.log, c.key_columns FROM {SCHEMA}.captures AS c WHERE c.channel = %s AND c.table_name = %s
"""
_CALLED = """
SELECT c.relkind::text, format('%%I.%%I', n.nspname, c.relname) FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %s
"""
_REPLACED = f"""
SELECT c.table_name, to_jsonb(c) -> 'members', {_NOW} FROM {SCHEMA}.captures AS c
WHERE c.channel = %s AND NOT coalesce({_SAME}, false)
"""
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


def tree(driver: psycopg.Connection[Any], channel: str, table: str) -> Tree:
    """Read both; the table is captured."""
    [(before, now, log, key)] = driver.execute(_BOTH.encode(), (channel, table)).fetchall()
    return Tree(log, tuple(key), frozenset(before), frozenset(now))


def record(driver: psycopg.Connection[Any], channel: str, table: str) -> None:
    """The copy that follows reads all of what the table is now."""
    sql = f"UPDATE {SCHEMA}.captures AS c SET members = {_NOW} WHERE c.channel = %s AND c.table_name = %s"
    driver.execute(sql.encode(), (channel, table))


def take_in(driver: psycopg.Connection[Any], channel: str, table: str, found: Tree) -> None:
    """Log what the other tree changed: a marker for rows that went with a member, the keys of those that came."""
    fresh = found.now - found.before
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


def lose(driver: psycopg.Connection[Any], channel: str, log: str, why: str) -> None:
    """Record that the log lacks a change: the table is incomplete until all of it is taken in."""
    sql = f"UPDATE {SCHEMA}.captures SET members = ARRAY[%s] WHERE channel = %s AND log = %s"
    driver.execute(sql.encode(), (_LOST + why, channel, log))


def replaced(driver: psycopg.Connection[Any], channel: str) -> dict[str, str]:
    """Tables whose rows came or went with a whole table since the capture, with what that was."""
    found = driver.execute(_REPLACED.encode(), (channel,)).fetchall()
    return {table: _why(driver, set(before or ()), set(now)) for table, before, now in found}


def _why(driver: psycopg.Connection[Any], before: set[str], now: set[str]) -> str:
    fresh, gone = sorted(now - before), before - now
    if lost := [member for member in gone if member.startswith(_LOST)]:
        return lost[0].removeprefix(_LOST)
    if any(member.endswith(_ROOT) for member in gone):
        return "it is another table than the one that was copied" if fresh else "it was dropped or renamed"
    names = [name for member in fresh for _, name in driver.execute(_CALLED, (member.split()[0],)).fetchall()]
    said = [f"partition {name} was attached or made" for name in names]
    return "; ".join([*said, *([f"{len(gone)} of its partitions were detached or dropped"] if gone else [])])
