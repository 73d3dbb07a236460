"""What the messages of a slot mean for a capture's logs: which keys changed, and when.

Nothing here decides how far to read (spool.py does): it is given the messages of visible transactions, in their order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from runbook_lib.databases.postgresql import captured_members
from runbook_lib.databases.postgresql.table_facts import SCHEMA
from runbook_lib.databases.postgresql.wal import pgoutput

MARK = "runbook"  # of a transaction of our own: see `mark`
KEYS = 50_000  # as many keys are written together, each once

# A table that was renamed or dropped is logged as the one that was captured.
_LOGS = f"""
SELECT m.relid::int8, c.log, c.key_columns, k.relkind = 'p', c.members FROM {SCHEMA}.captures AS c
CROSS JOIN LATERAL {captured_members.MEMBERS} AS m
LEFT JOIN pg_class AS k ON k.oid = to_regclass(c.relation) WHERE c.channel = %s AND to_regclass(c.log) IS NOT NULL
"""


class Gap(Exception):
    """Some change's key cannot be known: the log of its table has a gap from here on."""


def mark(driver: psycopg.Connection[Any]) -> None:
    """Mark this transaction as ours before it writes anything: no capture takes it, so nothing goes in circles."""
    driver.execute(f"SELECT pg_logical_emit_message(true, '{MARK}', '')".encode())


@dataclass(frozen=True)
class _Log:
    """A log with the width of its key, and where that stands in a table's tuples; None: any change means all keys."""

    name: str
    width: int
    positions: tuple[int, ...] | None


@dataclass
class Keys:
    """One read of a slot: what is known of it, and the keys that are still to be written."""

    channel: str
    driver: psycopg.Connection[Any]
    reached: int
    logs: dict[int, list[_Log]] = field(default_factory=dict)
    lines: dict[str, dict[bytes, str]] = field(default_factory=dict)  # log → key as COPY has it → when
    at: str = ""
    ours: bool = False
    written: int = 0
    gaps: dict[str, str] = field(default_factory=dict)  # log → why it lacks a change; the other tables go on

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
            try:
                for key in _keys(message, log.positions):
                    self._add(log.name, b"f\t" + b"\t".join(map(_escaped, key)))
            except Gap as gap:
                self.gaps[log.name] = str(gap)

    def write(self) -> None:
        """Write the keys that are remembered into their logs."""
        for log, keys in self.lines.items():
            width = next(iter(keys)).count(b"\t")
            columns = "".join(f", k{i}" for i in range(width))
            with self.driver.cursor() as cursor, cursor.copy(f"COPY {log} (at, truncated{columns}) FROM STDIN") as copy:
                copy.write(b"".join(at.encode() + b"\t" + key + b"\n" for key, at in keys.items()))
            self.written += len(keys)
        self.written += len(self.gaps)
        for log, why in self.gaps.items():
            captured_members.lose(self.driver, self.channel, log, why)
        self.lines, self.gaps = {}, {}

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
        if own := [(log, key, seen) for relid, log, key, _, seen in found if relid == relation.oid]:
            try:
                self.logs[relation.oid] = [
                    _Log(log, len(key), _positions(relation, key, captured_members.key_types(seen)))
                    for log, key, seen in own
                ]
            except Gap as gap:
                self.logs[relation.oid] = []
                self.gaps |= {log: str(gap) for log, *_ in own}
            return
        # A partition that nobody has seen and that is gone. Where its root is gone too, all of that is taken in.
        roots = {log: len(key) for _, log, key, partitioned, _ in found if partitioned}
        self.logs[relation.oid] = [_Log(log, width, None) for log, width in roots.items()]


def _positions(relation: pgoutput.Relation, key: Sequence[str], types: Mapping[str, int]) -> tuple[int, ...]:
    """Where the key stands in the tuples.

    Args:
        types: What the log was made for, where that is known.
    Raises:
        Gap: a change of such a row does not say which key it had, or the log cannot have it.
    """
    place = {column: number for number, (column, *_) in enumerate(relation.columns)}
    named = {column for column, of_identity, _ in relation.columns if of_identity or relation.identity == "f"}
    found = {column: captured_members.alike(oid) for column, _, oid in relation.columns}
    if gone := [column for column, oid in types.items() if found.get(column) != oid]:
        raise Gap(
            f"column {gone[0]} of its key has another name (rename it at the other side, too) or type, "
            "so that changes were not logged"
        )
    if not set(key) <= named:
        raise Gap(f"the replica identity of {relation.name} does not hold its key ({', '.join(key)})")
    return tuple(place[column] for column in key)


def _keys(change: pgoutput.Change, positions: Sequence[int]) -> Iterator[list[bytes | None]]:
    """The key of the row as it is, and as it was where that is another."""
    old = [change.old[i] for i in positions] if change.old is not None else None
    if change.new is not None:
        # A long value that was not touched stands in the old row only.
        new = [change.new[i] for i in positions]
        kept = [o if n == pgoutput.UNCHANGED else n for n, o in zip(new, old or new, strict=True)]
        if pgoutput.UNCHANGED in kept:
            raise Gap("a changed row did not name its key")
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
