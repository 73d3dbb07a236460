"""Expand and contract: a table has its old and its new columns side by side, and triggers keep them in step.

While both are there, clients of both versions work: whoever writes one shape, the other follows in the same row and the
same transaction. One trigger BEFORE each row sets the other shape, so nothing loops. The way back is open until the
contract, and the contract can be taken back too: the old columns are filled from the new ones.

    names = Split(
        "people",
        old={"name": Column("text", "first || ' ' || last")},
        new={"first": Column("text", "split_part(name, ' ', 1)"), "last": Column("text", "split_part(name, ' ', 2)")},
    )

A revision is split in two: `expand(names)` and `take_back(names)` are one's up and down, `contract(names)` and
`restore(names)` the other's, run when no client of the old version is left. A row that is inserted with every new
column NULL is taken for an old client's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runbook_lib.databases.shared import own_name
from runbook_lib.schema.batches import RANGE, ROWS
from runbook_lib.schema.online import emit, not_null, null, quoted

NOTHING_MAY_BE_FOUND = "-- nothing may be found"


@dataclass(frozen=True)
class Column:
    """A column of one shape.

    Attributes:
        kind: Its type, as the engine writes it.
        expression: SQL over the other shape's columns that gives its value.
        nullable: False: NOT NULL as long as its shape is the only one.
        default: SQL of its default, as long as its shape is the only one; empty: none.
    """

    kind: str
    expression: str
    nullable: bool = True
    default: str = ""


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


def expand(split: Split) -> None:
    """Add the new columns, keep both shapes in step from now on, fill what is there."""
    emit(lambda dialect: expanding(split, dialect))


def take_back(split: Split) -> None:
    """Drop the new columns: the old ones have every write."""
    emit(lambda dialect: taking_back(split, dialect))


def contract(split: Split) -> None:
    """Drop the old columns, once no row is out of step."""
    emit(lambda dialect: contracting(split, dialect))


def restore(split: Split) -> None:
    """Bring the old columns back, filled from the new ones, both in step again."""
    emit(lambda dialect: restoring(split, dialect))


def out_of_step(split: Split, dialect: str) -> str:
    """The query for rows of which neither shape follows from the other."""
    follows = [_same(dialect, {n: column.expression for n, column in side.items()}) for side in (split.new, split.old)]
    key, table = quoted(split.key, dialect), quoted(split.table, dialect)
    return f"SELECT {key} FROM {table} WHERE NOT ({follows[0]}) AND NOT ({follows[1]}) ORDER BY {key} LIMIT 5"


def expanding(split: Split, dialect: str) -> list[str]:
    """The statements of `expand`."""
    return [*_added(split, split.new, dialect), *_triggers(split, dialect), _filled(split, split.new, dialect)]


def taking_back(split: Split, dialect: str) -> list[str]:
    """The statements of `take_back`."""
    return [*_apart(split, dialect), *_dropped(split, split.new, dialect)]


def contracting(split: Split, dialect: str) -> list[str]:
    """The statements of `contract`: a new client's row must not meet NOT NULL of an old column that nobody fills."""
    guard = f"{NOTHING_MAY_BE_FOUND}\n{out_of_step(split, dialect)}"
    firm, loose = _firm(split, split.new, dialect), _loosened(split, split.old, dialect)
    # A default of a new column would make an old client's row look like a new one's: not before the triggers are gone.
    last = [*_apart(split, dialect), *_defaults(split, split.new, dialect), *_dropped(split, split.old, dialect)]
    return [guard, *firm, *loose, *last]


def restoring(split: Split, dialect: str) -> list[str]:
    """The statements of `restore`."""
    loose, filled = _loosened(split, split.new, dialect), _filled(split, split.old, dialect)
    tight = [*_firm(split, split.old, dialect), *_defaults(split, split.old, dialect)]
    return [*_added(split, split.old, dialect), *_triggers(split, dialect), *loose, filled, *tight]


def revision_files(split: Split, name: str, revises: str, dialects: Sequence[str]) -> dict[str, str]:
    """The two revisions as `.sql` files: file name to text.

    Args:
        name: Of both versions: `<name>_expand` and `<name>_contract`.
        revises: The version that the first one follows.
    """
    return {
        f"{name}_expand.sql": _file(
            (f"{name}_expand", revises, f"{split.table} gets {', '.join(split.new)} beside {', '.join(split.old)}"),
            {d: (expanding(split, d), [out_of_step(split, d)], taking_back(split, d)) for d in dialects},
        ),
        f"{name}_contract.sql": _file(
            (f"{name}_contract", f"{name}_expand", f"{split.table} loses {', '.join(split.old)}"),
            {d: (contracting(split, d), [], restoring(split, d)) for d in dialects},
        ),
    }


def _file(head: tuple[str, str, str], sections: Mapping[str, tuple[list[str], list[str], list[str]]]) -> str:
    lines = [f"-- revision: {head[0]}", f"-- revises: {head[1]}", f"-- {head[2]}", "-- transaction: no", ""]
    for dialect, parts in sections.items():
        for name, statements in zip(("up", "verify", "down"), parts, strict=True):
            if statements:
                lines += [f"-- {name} ({dialect})", *(f"{statement};" for statement in statements), ""]
    return "\n".join(lines)


def _added(split: Split, columns: Mapping[str, Column], dialect: str) -> list[str]:
    """In one statement, as they are dropped in one: half of a shape is nobody's."""
    added = ", ".join(f"ADD COLUMN {quoted(name, dialect)} {column.kind} NULL" for name, column in columns.items())
    return [f"ALTER TABLE {quoted(split.table, dialect)} {added}"]


def _dropped(split: Split, columns: Mapping[str, Column], dialect: str) -> list[str]:
    dropped = ", ".join(f"DROP COLUMN {quoted(name, dialect)}" for name in columns)
    return [f"ALTER TABLE {quoted(split.table, dialect)} {dropped}"]


def _firm(split: Split, columns: Mapping[str, Column], dialect: str) -> list[str]:
    """NOT NULL of the shape that is going to be the only one."""
    return [s for n, c in columns.items() if not c.nullable for s in not_null(dialect, split.table, n, c.kind)]


def _defaults(split: Split, columns: Mapping[str, Column], dialect: str) -> list[str]:
    change = f"ALTER TABLE {quoted(split.table, dialect)} ALTER COLUMN"
    given = {name: column.default for name, column in columns.items() if column.default}
    return [f"{change} {quoted(name, dialect)} SET DEFAULT {value}" for name, value in given.items()]


def _loosened(split: Split, columns: Mapping[str, Column], dialect: str) -> list[str]:
    """Without NOT NULL and defaults: a client that does not know these columns leaves them out."""
    change, statements = f"ALTER TABLE {quoted(split.table, dialect)} ALTER COLUMN", []
    for name, column in columns.items():
        statements += null(dialect, split.table, name, column.kind) if not column.nullable else []
        statements += [f"{change} {quoted(name, dialect)} DROP DEFAULT"] if column.default else []
    return statements


def _filled(split: Split, columns: Mapping[str, Column], dialect: str) -> str:
    """Touching a row whose shape is empty makes the trigger fill it, from whatever the row holds by then."""
    key = quoted(split.key, dialect)
    return (
        f"-- batches of {split.table} by {split.rows}\n"
        f"UPDATE {quoted(split.table, dialect)} SET {key} = {key} WHERE {RANGE} AND {_empty(columns, dialect)}"
    )


def _empty(columns: Mapping[str, Column], dialect: str, row: str = "") -> str:
    return " AND ".join(f"{row}{quoted(name, dialect)} IS NULL" for name in columns)


def _same(dialect: str, pairs: Mapping[str, str]) -> str:
    """Columns against expressions, NULL like NULL, byte by byte: 'a' and 'A' are two values in every collation."""
    if dialect == "postgresql":
        return " AND ".join(f"{quoted(name, dialect)} IS NOT DISTINCT FROM ({sql})" for name, sql in pairs.items())
    return " AND ".join(
        f"CAST({quoted(name, dialect)} AS BINARY) <=> CAST(({sql}) AS BINARY)" for name, sql in pairs.items()
    )


def _trigger(split: Split, event: str = "") -> str:
    """PostgreSQL fires triggers in the order of their names: ours sees what the others made of the row."""
    facts = [(name, column.expression) for side in (split.old, split.new) for name, column in side.items()]
    return own_name(f"zz_in_step{event}", split.table, repr(facts))


def _apart(split: Split, dialect: str) -> list[str]:
    if dialect == "mysql":
        return [f"DROP TRIGGER IF EXISTS {quoted(_trigger(split, event), dialect)}" for event in ("_ins", "_upd")]
    name = quoted(_trigger(split), dialect)
    return [f"DROP TRIGGER IF EXISTS {name} ON {quoted(split.table, dialect)}", f"DROP FUNCTION IF EXISTS {name}()"]


def _triggers(split: Split, dialect: str) -> list[str]:
    return _mysql_triggers(split) if dialect == "mysql" else _postgresql_trigger(split)


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
  WHEN TG_OP = 'INSERT' THEN CASE WHEN {_empty(split.new, dialect, "NEW.")} THEN 'old' ELSE 'new' END
  WHEN {changed["new"]} THEN 'new'
  WHEN {changed["old"]} THEN 'old'
  WHEN {_empty(split.new, dialect, "NEW.")} THEN 'old'
  WHEN {_empty(split.old, dialect, "NEW.")} THEN 'new' END;
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
        same = (
            f"CAST(NEW.{quoted(name, dialect)} AS BINARY) <=> CAST(OLD.{quoted(name, dialect)} AS BINARY)"
            for name in columns
        )
        return f"NOT ({' AND '.join(same)})"

    def follow(columns: Mapping[str, Column], others: Mapping[str, Column], side: str) -> str:
        written = ", ".join(f"NEW.{quoted(name, dialect)} AS {quoted(name, dialect)}" for name in others)
        return ", ".join(
            f"NEW.{quoted(name, dialect)} = IF(@runbook_side <=> '{side}',"
            f" (SELECT {column.expression} FROM (SELECT {written}) AS written), NEW.{quoted(name, dialect)})"
            for name, column in columns.items()
        )

    new_empty, old_empty = (_empty(columns, dialect, "NEW.") for columns in (split.new, split.old))
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
