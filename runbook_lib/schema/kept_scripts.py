"""Scripts that wait at the target for the bulk load to end, and how far its tables are.

They are kept in the database that they are for: a kill anywhere leaves what is still to be done, and a script is
forgotten in the transaction that runs it.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import text

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.own_objects import is_there, make
from runbook_lib.databases.port import Database
from runbook_lib.databases.statement_names import pieces, shared_settings
from runbook_lib.errors import DatabaseError

# Kinds of what is kept at the target. A kill in the middle leaves BEING_MADE, and the next attempt clears up.
BEING_MADE, MADE, OBJECTS, KEYS, REST = "being made", "made", "objects", "keys", "rest"
PORTION = 1_000  # objects made in one transaction: a table and its keys are up to five locks, of 6,400 by default
TRIGGERS = "triggers"  # the user's, waiting until their side gets the writers
TOLD = "told"  # the types that the tables were made by
RAN = "rest made"  # objects beside the tables that were made one by one: what an attempt after it may replace
_LATER = "runbook_later"
_NARROW = (
    "SELECT 1 FROM information_schema.columns WHERE table_schema = database() AND table_name = :t"
    " AND column_name = 'script' AND data_type = 'text'"
)
ACCOUNT = "account"  # how everything that the source had was handled, as JSON
LEFT = "left behind"  # why an object could not be made, as JSON


@dataclass(frozen=True)
class Part:
    """A script kept for after the load; parts of one stage may run side by side."""

    kind: str
    stage: int = 0
    ordinal: int = 0
    script: str = ""


def run_part(target: Database, service: str, part: Part, *, as_ran: bool = False) -> None:
    """Run a part and forget it, in one transaction where the engine has DDL in transactions.

    Args:
        as_ran: It is not forgotten but known as RAN.
    """
    where = f"service = '{service}' AND kind = '{part.kind}' AND stage = {part.stage} AND ordinal = {part.ordinal}"
    mark = f"UPDATE {_table(target)} SET kind = '{RAN}'" if as_ran else f"DELETE FROM {_table(target)}"
    target.run_script(f"{part.script}\n;{mark} WHERE {where};", again=True)


def run_together(target: Database, service: str, parts: Sequence[Part]) -> dict[Part, DatabaseError]:
    """Run parts as one script, in one transaction where DDL has them; those that failed.

    Where that fails each is run by itself, so that one keeps no other back.
    """
    if len(parts) > 1:
        table, where = _table(target), "service = '{}' AND kind = '{}' AND stage = {} AND ordinal = {}"
        places = (where.format(service, part.kind, part.stage, part.ordinal) for part in parts)
        done = "".join(f"DELETE FROM {table} WHERE {place};\n" for place in places)
        with suppress(DatabaseError):
            target.run_script(f"{_joined([part.script for part in parts])}\n;{done}", again=True)
            return {}
    failed = {}
    for part in parts:
        try:
            run_part(target, service, part)
        except DatabaseError as error:
            failed[part] = error
    return failed


def _joined(scripts: Sequence[str]) -> str:
    """Several scripts as one; pg_dump's settings once where all of them have the same."""
    head = shared_settings(scripts)
    return head + "\n".join(script[len(head) :] for script in scripts)


def portions(script: str) -> list[str]:
    """A script of pg_dump's in its order, cut so that no transaction holds more locks than a server has."""
    head, objects = pieces(script)
    if len(objects) <= PORTION:
        return [script]
    return [head + "".join(objects[start : start + PORTION]) for start in range(0, len(objects), PORTION)]


def _table(target: Database) -> str:
    return target.own_table("later")


def cut(target: Database, kind: str, script: str) -> list[Part]:
    """Indexes side by side; of pg_dump's scripts keys and the rest all at once, others one by one."""
    if not script.strip():
        return []
    whole = kind != OBJECTS and script != "".join(pieces(script)[1])
    if whole and kind == KEYS:
        return [Part(kind, 0, n, text) for n, text in enumerate(portions(script))]
    stages = [[script]] if whole else target.stages(script)
    return [Part(kind, i, n, text) for i, stage in enumerate(stages) for n, text in enumerate(stage)]


def store(target: Database, service: str, mark: str, parts: Sequence[Part] = ()) -> None:
    """Keep the parts for later, and how far the tables are, in place of what was kept before."""
    rows = [{"s": service, "k": p.kind, "g": p.stage, "o": p.ordinal, "t": p.script} for p in (*parts, Part(mark))]
    with target.engine.begin() as connection:
        connection.execute(text(f"DELETE FROM {_table(target)} WHERE service = :s"), {"s": service})
        connection.execute(text(f"INSERT INTO {_table(target)} VALUES (:s, :k, :g, :o, :t)"), rows)


def replace_parts(target: Database, service: str, gone: Sequence[Part], new: Sequence[Part]) -> None:
    """Keep these parts in place of those."""
    where = "service = :s AND kind = :k AND stage = :g AND ordinal = :o"
    with target.engine.begin() as connection:
        for part in gone:
            place = {"s": service, "k": part.kind, "g": part.stage, "o": part.ordinal}
            connection.execute(text(f"DELETE FROM {_table(target)} WHERE {where}"), place)
        for part in new:
            row = {"s": service, "k": part.kind, "g": part.stage, "o": part.ordinal, "t": part.script}
            connection.execute(text(f"INSERT INTO {_table(target)} VALUES (:s, :k, :g, :o, :t)"), row)


def forget(target: Database, service: str) -> None:
    """Forget all that was kept for a service."""
    with target.engine.begin() as connection:
        connection.execute(text(f"DELETE FROM {_table(target)} WHERE service = :s"), {"s": service})


def state(target: Database, service: str) -> str:
    """MADE, BEING_MADE (an attempt was killed), or "" when the tables were never made here."""
    kind = f"script {dialect_of(target.dialect).long_text} NOT NULL"
    make(
        target,
        "later",
        "service VARCHAR(100) NOT NULL, kind VARCHAR(20) NOT NULL, stage INTEGER NOT NULL, ordinal INTEGER NOT NULL,"
        f" {kind}, PRIMARY KEY (service, kind, stage, ordinal)",
    )
    if dialect_of(target.dialect).states_columns_whole and target.rows(_NARROW, {"t": _LATER}):  # by an earlier version
        target.execute(f"ALTER TABLE {_table(target)} MODIFY {kind}")
    kinds = target.rows(f"SELECT kind FROM {_table(target)} WHERE service = :s", {"s": service})
    return next((kind for (kind,) in kinds if kind in (MADE, BEING_MADE)), "")


def overrides_at(target: Database, services: Sequence[str]) -> dict[str, str]:
    """The types that a copy was given; none where this database keeps nothing. Nothing is made.

    Args:
        services: Its possible names, the likeliest first. Where the target knows none of them (other tables were
            chosen, or there are more by now) all that any copy was given counts.
    """
    if not keeps(target):
        return {}
    rows = target.rows(f"SELECT service, script FROM {_table(target)} WHERE kind = :k ORDER BY 1", {"k": TOLD})
    known: dict[str, dict[str, str]] = {service: json.loads(script) for service, script in rows}
    found = next((known[service] for service in services if service in known), None)
    return found if found is not None else dict(ChainMap(*known.values()))


def keeps(target: Database) -> bool:
    """Whether this database keeps anything of a copy. Nothing is made."""
    return is_there(target, "later")


def kept(target: Database, service: str, kind: str) -> list[Part]:
    """What is kept of one kind, in order."""
    sql = f"SELECT kind, stage, ordinal, script FROM {_table(target)} WHERE service = :s AND kind = :k ORDER BY 2, 3"
    return [Part(*row) for row in target.rows(sql, {"s": service, "k": kind})]
