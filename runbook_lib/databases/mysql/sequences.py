"""AUTO_INCREMENT and MariaDB's sequences: moved forwards only (docs/correctness.md#sequences)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runbook_lib.databases.mysql import lock_retry, quoting
from runbook_lib.databases.port import Sequence_

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

_SEQUENCES = """
SELECT t.table_name, c.column_name, t.auto_increment, @@auto_increment_increment, @@auto_increment_offset
FROM information_schema.tables AS t JOIN information_schema.columns AS c USING (table_schema, table_name)
WHERE t.table_schema = database() AND c.extra LIKE '%auto_increment%' ORDER BY 1
"""


_NAMES = """
SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_type = 'SEQUENCE' ORDER BY 1
"""
_DEFAULT = re.compile(r"nextval\((?:`(?:[^`]|``)+`\.)?`((?:[^`]|``)+)`\)")
_FEEDING = """
SELECT table_name, column_name, column_default FROM information_schema.columns
WHERE table_schema = database() AND column_default LIKE 'nextval(%)' AND numeric_scale = 0 ORDER BY 1, ordinal_position
"""


def sequences(db: MySQLPort, tables: Sequence[str]) -> list[Sequence_]:
    """What numbers these tables' columns, with the last value given; None: none yet.

    Counters, and sequences that are all of a column's default: a sequence in an expression gives no value that is the
    column's (`standalone_sequences`).
    """
    asked = set(tables)
    counters = [
        Sequence_(
            f"{table}.{column}", table, column, int(next_) - 1 if int(next_ or 1) > 1 else None, int(step), int(start)
        )
        for table, column, next_, step, start in db.rows(_SEQUENCES)
        if table in asked
    ]
    places = {name: place for name, place in fed(db).items() if place[0] in asked}
    states = _standalone(db, list(places))
    feeding = [replace(each, table=places[each.name][0], column=places[each.name][1]) for each in states]
    return counters + feeding


def standalone_sequences(db: MySQLPort) -> list[Sequence_]:
    """MariaDB's sequences that are no column's whole default."""
    feeding = fed(db)
    return _standalone(db, [name for name in names_of(db) if name not in feeding])


def names_of(db: MySQLPort) -> list[str]:
    """The names of MariaDB's sequences."""
    return [str(name) for (name,) in db.rows(_NAMES)]


def options(db: MySQLPort) -> dict[str, str]:
    """MariaDB's sequences and their options (how they count, not how far), in one query."""
    counts = "concat_ws(' ', minimum_value, maximum_value, start_value, increment, cache_size, cycle_option)"
    asked = " UNION ALL ".join(
        f"SELECT {quoting.text(name)}, {counts} FROM {quoting.ident(name)}" for name in names_of(db)
    )
    return {_text(name): _text(text) for name, text in (db.rows(asked) if asked else ())}


def create(db: MySQLPort, name: str) -> str:
    """The statement that makes a sequence with its options, where it is not there."""
    made = str(db.rows(f"SHOW CREATE SEQUENCE {quoting.ident(name)}")[0][1])
    return made.replace("CREATE SEQUENCE ", "CREATE SEQUENCE IF NOT EXISTS ", 1)


def fed(db: MySQLPort) -> dict[str, tuple[str, str]]:
    """The sequences (by name) that feed exactly one column by themselves, and which."""
    if not (known := set(names_of(db))):
        return {}
    places: dict[str, list[tuple[str, str]]] = {}
    for table, column, default in db.rows(_FEEDING):
        if (found := _DEFAULT.fullmatch(str(default))) and (name := found[1].replace("``", "`")) in known:
            places.setdefault(name, []).append((str(table), str(column)))
    return {name: listed[0] for name, listed in places.items() if len(listed) == 1}


def _standalone(db: MySQLPort, listed: Sequence[str]) -> list[Sequence_]:
    """The state of these sequences, in one query; what a server has in its cache counts as given."""
    asked = " UNION ALL ".join(
        f"SELECT {quoting.text(name)}, next_not_cached_value, increment, start_value, cycle_count"
        f" FROM {quoting.ident(name)}"
        for name in listed
    )
    return [
        Sequence_(
            _text(name),
            "",
            "",
            None if next_ == start and not cycles else int(next_) - int(step),
            int(step),
            int(start),
        )
        for name, next_, step, start, cycles in (db.rows(asked) if asked else ())
    ]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def set_sequence(db: MySQLPort, sequence: Sequence_, last: int) -> None:
    """Make the next value the one after `last`; never backwards. A short metadata lock, no copy of the table."""
    doing = f"moving sequence {sequence.name} to {last}"
    if sequence.name != f"{sequence.table}.{sequence.column}":
        statement = f"SELECT setval({quoting.ident(sequence.name)}, {int(last)}, 1)"
        lock_retry.in_transaction(db, lambda driver: lock_retry.run(driver, statement), doing=doing)
        return
    now = next((found.last for found in sequences(db, [sequence.table]) if found.name == sequence.name), None)
    if (now or 0) < last:
        statement = f"ALTER TABLE {quoting.ident(sequence.table)} AUTO_INCREMENT = {int(last) + 1}"
        lock_retry.in_transaction(db, lambda driver: lock_retry.run(driver, statement), doing=doing)
