"""Expand and contract across two tables: columns of one table go into a table of their own, one row for one row.

    settings = Move(
        "users",
        into="preferences",
        reference="user_id",
        kind="bigint",
        old={"theme": Column("text", "theme"), "notifications_enabled": Column("boolean", "notifications")},
        new={"theme": Column("text", "theme"), "notifications": Column("boolean", "notifications_enabled")},
    )

Triggers on both tables keep them equal: AFTER a row of one is written, the row of the other follows in the same
transaction, unless it fits already; so nothing loops. A row of the first table that has nothing in the old columns
needs none in the second; the trigger makes one as soon as there is a value, and a default is one.

Both rows are locked, first the one that was written, but an INSERT into the second table (an upsert is one) locks the
first table's before. Where both versions UPDATE the same row at the same moment, each may wait for the other: the
server ends one with a deadlock, which its client repeats as any other. Why no trigger can help: docs/decisions/0039.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.schema.expand_contract import extract_table_mysql, extract_table_postgresql
from runbook_lib.schema.expand_contract.extraction import Extraction
from runbook_lib.schema.expand_contract.two_shapes import (
    AT_ANY_TIME,
    NOTHING_MAY_BE_FOUND,
    Column,
    Stages,
    defaults,
    dropped,
    firm,
    nothing,
    same,
    without_not_null,
)
from runbook_lib.schema.online import quoted
from runbook_lib.schema.revisions.batched_update import RANGE


@dataclass(frozen=True)
class Move(Extraction):
    """Columns of a table that go into a table of their own, with the statements of each stage."""

    def stages(self, dialect: str) -> Stages:
        """The statements of each stage.

        What is filled meets no trigger that would carry it back: the other direction's are made after it.
        """
        parts = extract_table_postgresql if dialect_of(dialect).trigger_functions else extract_table_mysql
        forward_triggers, back = parts.forward_triggers(self), parts.back(self)
        drop_forward, no_back = parts.drop_forward(self), parts.no_back(self)
        asked = _out_of_step(self, dialect)
        gone = f"DROP TABLE IF EXISTS {quoted(self.into, dialect)}"
        contract = [
            *firm(self.into, self.new, dialect),
            *drop_forward,
            *no_back,
            *dropped(self.table, self.old, dialect),
        ]
        nullable = {name: column for name, column in self.old.items() if column.nullable}
        restore = [
            _brought_back(self, dialect),
            *without_not_null(self.into, self.new, dialect),
            *back,
            _touched(self, dialect),
            *defaults(self.table, nullable, dialect),
            *forward_triggers,
            f"{NOTHING_MAY_BE_FOUND}\n{AT_ANY_TIME}\n{asked}",
        ]
        return Stages(
            expand=[_made(self, dialect), *forward_triggers, parts.filled(self), *back],
            take_back=[*drop_forward, gone, *no_back],
            contract=[f"{NOTHING_MAY_BE_FOUND}\n{asked}", *contract],
            restore=restore,
            out_of_step=asked,
        )


def _made(move: Extraction, dialect: str) -> str:
    def column(name: str, facts: Column) -> str:
        return f"{quoted(name, dialect)} {facts.kind} NULL" + (f" DEFAULT {facts.default}" if facts.default else "")

    reference, parent = quoted(move.reference, dialect), f"{quoted(move.table, dialect)} ({quoted(move.key, dialect)})"
    lines = [
        f"{reference} {move.kind} NOT NULL PRIMARY KEY",
        *(column(name, facts) for name, facts in move.new.items()),
        f"FOREIGN KEY ({reference}) REFERENCES {parent} ON UPDATE CASCADE ON DELETE CASCADE",
    ]
    return f"CREATE TABLE {quoted(move.into, dialect)} ({', '.join(lines)})"


def _brought_back(move: Extraction, dialect: str) -> str:
    """A column that cannot be NULL comes with its default: what a row without one of the new table has."""

    def column(name: str, facts: Column) -> str:
        tail = "NULL" if facts.nullable else f"NOT NULL DEFAULT {facts.default}"
        return f"ADD COLUMN {quoted(name, dialect)} {facts.kind} {tail}"

    added = ", ".join(column(name, facts) for name, facts in move.old.items())
    return f"ALTER TABLE {quoted(move.table, dialect)} {added}"


def _touched(move: Extraction, dialect: str) -> str:
    """Touching a row of the new table makes the trigger bring the old columns up to it, whoever writes meanwhile."""
    reference = quoted(move.reference, dialect)
    return (
        f"-- batches of {move.into} by {move.rows}\n{AT_ANY_TIME}\n"
        f"UPDATE {quoted(move.into, dialect)} SET {reference} = {reference} WHERE {RANGE}"
    )


def _out_of_step(move: Extraction, dialect: str) -> str:
    """Each side works out in a place of its own what the other should be: a name may be in both tables."""
    old = _side(move.table, move.key, (move.old, move.new), "o", dialect)
    new = _side(move.into, move.reference, (move.new, move.old), "n", dialect)
    new_follows = same(dialect, {f"n.runbook_n{i}": f"o.runbook_o_{i}" for i in range(len(move.new))})
    old_follows = same(dialect, {f"o.runbook_o{i}": f"n.runbook_n_{i}" for i in range(len(move.old))})
    empty = same(dialect, {f"o.runbook_o{i}": value for i, value in enumerate(nothing(move.old).values())})
    return (
        f"SELECT o.runbook_key FROM {old} AS o LEFT JOIN {new} AS n ON n.runbook_key = o.runbook_key\n"
        f"WHERE CASE WHEN n.runbook_key IS NULL THEN NOT ({empty})"
        f" ELSE NOT ({new_follows}) AND NOT ({old_follows}) END\nORDER BY o.runbook_key LIMIT 5"
    )


def _side(table: str, key: str, shapes: tuple[Mapping[str, Column], Mapping[str, Column]], mark: str, d: str) -> str:
    """A table's key, its own columns, and what they make of the other shape's."""
    own = [f"{quoted(name, d)} AS runbook_{mark}{n}" for n, name in enumerate(shapes[0])]
    made = [f"({column.expression}) AS runbook_{mark}_{n}" for n, column in enumerate(shapes[1].values())]
    return f"(SELECT {', '.join([f'{quoted(key, d)} AS runbook_key', *own, *made])} FROM {quoted(table, d)})"
