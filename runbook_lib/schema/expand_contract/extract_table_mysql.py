"""The triggers of a `Move` on MySQL and MariaDB: `forth` follows the old columns, `back` follows the new table.

A trigger may not write the table of the statement that invoked it (error 1442), however few rows that would change. So
whoever follows notes the statement's time, which its triggers share, and the other does not even try. The time, not a
flag: one that a killed statement left behind would silence every write after it.

The sync's own writes are left as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.identifiers import own_name
from runbook_lib.schema.expand_contract.two_shapes import empty, follows, has_nothing, nothing, same
from runbook_lib.schema.online import quoted
from runbook_lib.schema.revisions.batched_update import RANGE

if TYPE_CHECKING:
    from runbook_lib.schema.expand_contract.extraction import Extraction

_DIALECT = "mysql"
_THIS = "(NOW(6) + 0)"
_FIRST = f"@runbook_sync IS NULL AND NOT (@runbook_follows <=> {_THIS})"


def filled(move: Extraction) -> str:
    """Locked first: a row that somebody writes or deletes is read as it is then, and who came first has filled it."""
    reference, values = _name(move.reference), ", ".join(f"({column.expression})" for column in move.new.values())
    return (
        f"-- batches of {move.table} by {move.rows}\n"
        f"INSERT INTO {_name(move.into)} ({_into(move)}) SELECT {_name(move.key)}, {values}"
        f" FROM {_name(move.table)} WHERE {RANGE} LOCK IN SHARE MODE"
        f" ON DUPLICATE KEY UPDATE {reference} = {_name(move.into)}.{reference}"
    )


def forward_triggers(move: Extraction) -> list[str]:
    """Whoever writes the old columns, the new table follows; UPDATE first: what INSERT's makes has to be kept up."""
    changed = same(_DIALECT, {f"NEW.{_name(name)}": f"OLD.{_name(name)}" for name in move.old})
    into, reference, key = _name(move.into), _name(move.reference), _name(move.key)
    values = follows(move.new, move.old, _DIALECT)
    assigned = ", ".join(f"{_name(name)} = {value}" for name, value in zip(move.new, values, strict=True))
    # Another unique key that it meets must not have its row overwritten: NULL in the key is an error.
    kept = f"{reference} = IF({into}.{reference} = NEW.{key}, {into}.{reference}, NULL)"
    upsert = (
        f"INSERT INTO {into} ({_into(move)}) VALUES (NEW.{key}, {', '.join(values)})"
        f" ON DUPLICATE KEY UPDATE {kept}, {assigned}"
    )
    update = f"UPDATE {into} SET {assigned} WHERE {reference} = NEW.{key}"
    silent = empty(move.old, _DIALECT, "NEW.")
    either = f"IF {has_nothing(move.old, _DIALECT, 'NEW.')} THEN {update}; ELSE {upsert}; END IF"
    return [
        _trigger(move, "fu", f"AFTER UPDATE ON {_name(move.table)}", f"NOT ({changed})", either),
        _trigger(move, "fi", f"AFTER INSERT ON {_name(move.table)}", f"NOT ({silent})", upsert),
    ]


def back(move: Extraction) -> list[str]:
    """Whoever writes the new table, the old columns follow; an INSERT locks both rows in the others' order.

    The count gives a row where there is no user, too: without one there would be a warning before the key's error.
    """
    table, key, reference = _name(move.table), _name(move.key), _name(move.reference)
    values = zip(move.old, follows(move.old, move.new, _DIALECT), strict=True)
    assigned = ", ".join(f"{_name(name)} = {value}" for name, value in values)
    alike = same(_DIALECT, {f"NEW.{_name(name)}": column.expression for name, column in move.new.items()})
    empty_now = ", ".join(f"{_name(name)} = {value}" for name, value in nothing(move.old).items())
    here = f"UPDATE {table} SET {assigned} WHERE {key} = NEW.{reference} AND NOT ({alike})"
    gone = f"UPDATE {table} SET {empty_now} WHERE {key} = OLD.{reference} AND NOT ({has_nothing(move.old, _DIALECT)})"
    left = f"IF NOT (NEW.{reference} <=> OLD.{reference}) THEN {gone}; END IF"
    events = {"INSERT": here, "UPDATE": f"{left}; {here}", "DELETE": gone}
    lock = f"SELECT count(*) INTO @runbook_locked FROM {table} WHERE {key} = NEW.{reference} FOR UPDATE"
    before = f"BEFORE INSERT ON {_name(move.into)} FOR EACH ROW\nBEGIN\n  IF {_FIRST} THEN {lock}; END IF;\nEND"
    return [
        f"CREATE TRIGGER {_name(_own(move, 'bl'))} {before}",
    ] + [
        _trigger(move, f"b{event[0].lower()}", f"AFTER {event} ON {_name(move.into)}", "TRUE", body)
        for event, body in events.items()
    ]


def drop_forward(move: Extraction) -> list[str]:
    """Nothing follows the old columns any more."""
    return [f"DROP TRIGGER IF EXISTS {_name(_own(move, mark))}" for mark in ("fu", "fi")]


def no_back(move: Extraction) -> list[str]:
    """Nothing follows the new table any more."""
    return [f"DROP TRIGGER IF EXISTS {_name(_own(move, mark))}" for mark in ("bl", "bi", "bu", "bd")]


def _name(name: str) -> str:
    return quoted(name, _DIALECT)


def _own(move: Extraction, mark: str) -> str:
    return own_name(f"in_step_{mark}", move.table, move.into, move.facts)


def _into(move: Extraction) -> str:
    return ", ".join(_name(name) for name in (move.reference, *move.new))


def _trigger(move: Extraction, mark: str, when: str, condition: str, body: str) -> str:
    return (
        f"CREATE TRIGGER {_name(_own(move, mark))} {when} FOR EACH ROW\nBEGIN\n"
        f"  IF {_FIRST} AND {condition} THEN\n    SET @runbook_follows = {_THIS};\n    {body};\n"
        "    SET @runbook_follows = NULL;\n  END IF;\nEND"
    )
