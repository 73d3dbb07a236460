"""The triggers of a `Move` on PostgreSQL: `forth` follows the old columns, `back` follows the new table.

Each writes only where neither shape follows from the other, so the second finds nothing to do. They have their owner's
rights, for a client of one version need not know the other's table, and the search path of whoever made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runbook_lib.databases.identifiers import own_name
from runbook_lib.schema.expand_contract.two_shapes import Column, empty, has_nothing, nothing, same
from runbook_lib.schema.online import quoted
from runbook_lib.schema.revisions.batched_update import RANGE

if TYPE_CHECKING:
    from runbook_lib.schema.expand_contract.extraction import Extraction

_DIALECT = "postgresql"


def filled(move: Extraction) -> str:
    """Locked first: a row that somebody writes or deletes is read as it is then, and who came first has filled it."""
    return (
        f"-- batches of {move.table} by {move.rows}\n"
        f"INSERT INTO {_name(move.into)} ({_into(move)}) SELECT {_name(move.key)}, {_values(move.new)}"
        f" FROM {_name(move.table)} WHERE {RANGE} FOR NO KEY UPDATE ON CONFLICT ({_name(move.reference)}) DO NOTHING"
    )


def forward_triggers(move: Extraction) -> list[str]:
    """Whoever writes the old columns, the new table follows."""
    old, new = _row("OLD", move.old), _row("NEW", move.old)
    wrong = f"NOT ((SELECT {_alike('NEW.', move.old)} FROM (SELECT there.*) AS written))"
    given = ", ".join(f"{_name(name)} = excluded.{_name(name)}" for name in move.new)
    body = f"""
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF {empty(move.old, _DIALECT, "NEW.")} THEN RETURN NULL; END IF;
  ELSIF {new} IS NOT DISTINCT FROM {old} THEN
    RETURN NULL;
  ELSIF {has_nothing(move.old, _DIALECT, "NEW.")} THEN
    UPDATE {_name(move.into)} AS there SET {_assigned(move.new)}
     WHERE {_name(move.reference)} = NEW.{_name(move.key)} AND {wrong};
    RETURN NULL;
  END IF;
  INSERT INTO {_name(move.into)} AS there ({_into(move)})
   SELECT NEW.{_name(move.key)}, {_values(move.new)} FROM (SELECT NEW.*) AS written
   ON CONFLICT ({_name(move.reference)}) DO UPDATE SET {given} WHERE {wrong};
  RETURN NULL;
END"""
    return _trigger(_forward_trigger(move), body, f"AFTER INSERT OR UPDATE ON {_name(move.table)}")


def back(move: Extraction) -> list[str]:
    """Whoever writes the new table, the old columns follow; an INSERT locks both rows in the others' order.

    Where the cascade changes a key this trigger comes after the other table's, which may have written the row again.
    """
    into, table, key, reference = map(_name, (move.into, move.table, move.key, move.reference))
    read, now = (", ".join(f"{record}{_name(name)}" for name in move.new) for record in ("", "NEW."))
    gone = ", ".join(f"{_name(name)} = {value}" for name, value in nothing(move.old).items())
    body = f"""
BEGIN
  IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND NEW.{reference} IS DISTINCT FROM OLD.{reference}) THEN
    UPDATE {table} SET {gone} WHERE {key} = OLD.{reference} AND NOT ({has_nothing(move.old, _DIALECT)});
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.{reference} IS DISTINCT FROM OLD.{reference} THEN
    SELECT {read} INTO {now} FROM {into} WHERE {reference} = NEW.{reference};
  END IF;
  IF TG_OP <> 'DELETE' THEN
    UPDATE {table} SET {_assigned(move.old)} WHERE {key} = NEW.{reference} AND NOT ({_alike("NEW.", move.new)});
  END IF;
  RETURN NULL;
END"""
    lock = f"""
BEGIN
  PERFORM 1 FROM {table} WHERE {key} = NEW.{reference} FOR NO KEY UPDATE;
  RETURN NEW;
END"""
    return [
        *_trigger(_lock(move), lock, f"BEFORE INSERT ON {into}"),
        *_trigger(_back(move), body, f"AFTER INSERT OR UPDATE OR DELETE ON {into}"),
    ]


def drop_forward(move: Extraction) -> list[str]:
    """Nothing follows the old columns any more."""
    return _no_trigger(_forward_trigger(move), move.table)


def no_back(move: Extraction) -> list[str]:
    """Nothing follows the new table any more."""
    return [*_no_trigger(_lock(move), move.into), *_no_trigger(_back(move), move.into)]


def _name(name: str) -> str:
    return quoted(name, _DIALECT)


def _forward_trigger(move: Extraction) -> str:
    return own_name("zz_in_step", move.table, move.into, move.facts)


def _back(move: Extraction) -> str:
    return own_name("zz_in_step", move.into, move.table, move.facts)


def _lock(move: Extraction) -> str:
    return own_name("aa_in_step", move.into, move.table, move.facts)


def _row(record: str, columns: Mapping[str, Column]) -> str:
    return f"ROW({', '.join(f'{record}.{_name(name)}' for name in columns)})"


def _into(move: Extraction) -> str:
    return ", ".join(_name(name) for name in (move.reference, *move.new))


def _values(columns: Mapping[str, Column]) -> str:
    return ", ".join(f"({column.expression})" for column in columns.values())


def _assigned(columns: Mapping[str, Column]) -> str:
    """A trigger's row of the other shape decides."""
    return f"({', '.join(map(_name, columns))}) = (SELECT {_values(columns)} FROM (SELECT NEW.*) AS written)"


def _alike(row: str, columns: Mapping[str, Column]) -> str:
    """The columns of a row are what the other shape, found by bare names, makes of them."""
    return same(_DIALECT, {f"{row}{_name(name)}": column.expression for name, column in columns.items()})


def _trigger(name: str, body: str, when: str) -> list[str]:
    return [
        f"CREATE OR REPLACE FUNCTION {_name(name)}() RETURNS trigger LANGUAGE plpgsql"
        f" SECURITY DEFINER SET search_path FROM CURRENT AS $step${body} $step$",
        f"CREATE OR REPLACE TRIGGER {_name(name)} {when} FOR EACH ROW EXECUTE FUNCTION {_name(name)}()",
    ]


def _no_trigger(name: str, table: str) -> list[str]:
    return [f"DROP TRIGGER IF EXISTS {_name(name)} ON {_name(table)}", f"DROP FUNCTION IF EXISTS {_name(name)}()"]
