"""Expand and contract in one table: it has its old and its new columns side by side, and a trigger keeps them equal.

Whoever writes one shape, the other follows in the same row: a trigger BEFORE each row sets it, so nothing loops. A row
that is inserted with every new column NULL is taken for an old client's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.identifiers import own_name
from runbook_lib.schema.expand_contract.two_shapes import (
    NOTHING_MAY_BE_FOUND,
    Column,
    Stages,
    defaults,
    dropped,
    empty,
    firm,
    follows,
    same,
    without_not_null,
)
from runbook_lib.schema.online import quoted
from runbook_lib.schema.revisions.batched_update import RANGE, ROWS


@dataclass(frozen=True)
class Split:
    """One table in two shapes.

    Attributes:
        old: Columns that are there, and go with the contract.
        new: Columns that come, and stay.
        key: A column that is never NULL, whose value names a row in messages.
    """

    table: str
    old: Mapping[str, Column]
    new: Mapping[str, Column]
    key: str = "id"
    rows: int = ROWS  # in a batch (count)

    @property
    def texts(self) -> tuple[str, str]:
        """What each revision does, for people."""
        new, old = ", ".join(self.new), ", ".join(self.old)
        return f"{self.table} gets {new} beside {old}", f"{self.table} loses {old}"

    def stages(self, dialect: str) -> Stages:
        """The statements of each stage."""
        asked = _out_of_step(self, dialect)
        return Stages(
            expand=[*_added(self, self.new, dialect), *_triggers(self, dialect), _filled(self, self.new, dialect)],
            take_back=[*_one_by_one(self, dialect), *dropped(self.table, self.new, dialect)],
            contract=[f"{NOTHING_MAY_BE_FOUND}\n{asked}", *_contracting(self, dialect)],
            restore=_restoring(self, dialect),
            out_of_step=asked,
        )


def _contracting(split: Split, dialect: str) -> list[str]:
    """A new client's row must not meet NOT NULL of an old column that nobody fills."""
    tight, loose = firm(split.table, split.new, dialect), _loosened(split, split.old, dialect)
    # A default of a new column would make an old client's row look like a new one's: not before the triggers are gone.
    given = defaults(split.table, split.new, dialect)
    return [*tight, *loose, *_one_by_one(split, dialect), *given, *dropped(split.table, split.old, dialect)]


def _restoring(split: Split, dialect: str) -> list[str]:
    loose, filled = _loosened(split, split.new, dialect), _filled(split, split.old, dialect)
    tight = [*firm(split.table, split.old, dialect), *defaults(split.table, split.old, dialect)]
    return [*_added(split, split.old, dialect), *_triggers(split, dialect), *loose, filled, *tight]


def _out_of_step(split: Split, dialect: str) -> str:
    sides = (
        same(dialect, {quoted(n, dialect): c.expression for n, c in side.items()}) for side in (split.new, split.old)
    )
    key, table = quoted(split.key, dialect), quoted(split.table, dialect)
    return f"SELECT {key} FROM {table} WHERE NOT ({next(sides)}) AND NOT ({next(sides)}) ORDER BY {key} LIMIT 5"


def _added(split: Split, columns: Mapping[str, Column], dialect: str) -> list[str]:
    added = ", ".join(f"ADD COLUMN {quoted(name, dialect)} {column.kind} NULL" for name, column in columns.items())
    return [f"ALTER TABLE {quoted(split.table, dialect)} {added}"]


def _loosened(split: Split, columns: Mapping[str, Column], dialect: str) -> list[str]:
    """Without NOT NULL and defaults: a client that does not know these columns leaves them out."""
    change, statements = f"ALTER TABLE {quoted(split.table, dialect)} ALTER COLUMN", []
    without = dialect_of(dialect).no_default
    for name, column in columns.items():
        statements += without_not_null(split.table, {name: column}, dialect)
        statements += [f"{change} {quoted(name, dialect)} {without}"] if column.default else []
    return statements


def _filled(split: Split, columns: Mapping[str, Column], dialect: str) -> str:
    """Touching a row whose shape is empty makes the trigger fill it, from whatever the row holds by then."""
    key = quoted(split.key, dialect)
    return (
        f"-- batches of {split.table} by {split.rows}\n"
        f"UPDATE {quoted(split.table, dialect)} SET {key} = {key} WHERE {RANGE} AND {empty(columns, dialect)}"
    )


def _trigger(split: Split, event: str = "") -> str:
    """PostgreSQL fires triggers in the order of their names: ours sees what the others made of the row."""
    facts = [(name, column.expression) for side in (split.old, split.new) for name, column in side.items()]
    return own_name(f"zz_in_step{event}", split.table, repr(facts))


def _one_by_one(split: Split, dialect: str) -> list[str]:
    if not dialect_of(dialect).trigger_functions:
        return [f"DROP TRIGGER IF EXISTS {quoted(_trigger(split, event), dialect)}" for event in ("_ins", "_upd")]
    name = quoted(_trigger(split), dialect)
    return [f"DROP TRIGGER IF EXISTS {name} ON {quoted(split.table, dialect)}", f"DROP FUNCTION IF EXISTS {name}()"]


def _triggers(split: Split, dialect: str) -> list[str]:
    return _postgresql_trigger(split) if dialect_of(dialect).trigger_functions else _mysql_triggers(split)


def _postgresql_trigger(split: Split) -> list[str]:
    """`side` is the shape that was written and that the other one follows; NULL: neither was."""
    dialect, name = "postgresql", quoted(_trigger(split), "postgresql")

    def row(record: str, columns: Mapping[str, Column]) -> str:
        return f"ROW({', '.join(f'{record}.{quoted(column, dialect)}' for column in columns)})"

    def follow(columns: Mapping[str, Column]) -> str:
        values = ", ".join(f"({column.expression})" for column in columns.values())
        into = ", ".join(f"NEW.{quoted(column, dialect)}" for column in columns)
        return f"SELECT {values} INTO {into} FROM (SELECT NEW.*) AS written;"

    changed = {
        side: f"{row('NEW', columns)} IS DISTINCT FROM {row('OLD', columns)}"
        for side, columns in (("new", split.new), ("old", split.old))
    }
    body = f"""
DECLARE side text := CASE
  WHEN TG_OP = 'INSERT' THEN CASE WHEN {empty(split.new, dialect, "NEW.")} THEN 'old' ELSE 'new' END
  WHEN {changed["new"]} THEN 'new'
  WHEN {changed["old"]} THEN 'old'
  WHEN {empty(split.new, dialect, "NEW.")} THEN 'old'
  WHEN {empty(split.old, dialect, "NEW.")} THEN 'new' END;
BEGIN
  IF side = 'new' THEN {follow(split.old)}
  ELSIF side = 'old' THEN {follow(split.new)} END IF;
  RETURN NEW;
END"""
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $step${body} $step$",
        f"CREATE OR REPLACE TRIGGER {name} BEFORE INSERT OR UPDATE ON {quoted(split.table, dialect)}"
        f" FOR EACH ROW EXECUTE FUNCTION {name}()",
    ]


def _mysql_triggers(split: Split) -> list[str]:
    """One SET each: a body without semicolons can stand in any script. The sync's own writes are left as they are."""
    dialect, table = "mysql", quoted(split.table, "mysql")

    def changed(columns: Mapping[str, Column]) -> str:
        names = [quoted(name, dialect) for name in columns]
        return f"NOT ({same(dialect, {f'NEW.{name}': f'OLD.{name}' for name in names})})"

    def follow(columns: Mapping[str, Column], others: Mapping[str, Column], side: str) -> str:
        values = zip([quoted(name, dialect) for name in columns], follows(columns, others, dialect), strict=True)
        return ", ".join(f"NEW.{n} = IF(@runbook_side <=> '{side}', {sql}, NEW.{n})" for n, sql in values)

    new_empty, old_empty = (empty(columns, dialect, "NEW.") for columns in (split.new, split.old))
    sides = {  # UPDATE first: a row that INSERT's has filled must never meet an update without a trigger
        "UPDATE": f"WHEN {changed(split.new)} THEN 'new' WHEN {changed(split.old)} THEN 'old'"
        f" WHEN {new_empty} THEN 'old' WHEN {old_empty} THEN 'new'",
        "INSERT": f"WHEN {new_empty} THEN 'old' ELSE 'new'",
    }
    names = {event: quoted(_trigger(split, f"_{event[:3].lower()}"), dialect) for event in sides}
    return [
        f"CREATE TRIGGER {names[event]} BEFORE {event} ON {table} FOR EACH ROW"
        f" SET @runbook_side = CASE WHEN @runbook_sync IS NOT NULL THEN NULL {side} END,"
        f" {follow(split.old, split.new, 'new')}, {follow(split.new, split.old, 'old')}"
        for event, side in sides.items()
    ]
