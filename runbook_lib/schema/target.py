"""Make the schema that a service's tables have at the target.

Another engine: the DDL is translated (`across`). The same: the engine itself works out what depends on what. The
source's tables are made at the (empty) target with everything that belongs to them, omitted columns are dropped there
with all that hangs on them, derived tables are added, and the result is dumped again in two parts. The first part
(tables) is made now; the second (indexes, constraints, triggers) is kept in the target and run after the bulk load.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text

from runbook_lib.databases.port import Database, Table
from runbook_lib.errors import TransferError
from runbook_lib.plan.model import Service, TableMapping
from runbook_lib.schema import across
from runbook_lib.transfer.flow import forward_expressions

BEING_MADE = "-- being made"  # a kill in the middle leaves this mark, and the next attempt clears up


def create_tables(
    service: Service, source: Database, target: Database, types: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Create the service's tables at the target, without indexes and constraints; the tables created.

    Idempotent: tables that this function made before are left as they are.

    Args:
        types: The plan's `types:`, for a target of another engine.
    Raises:
        TransferError: the target has a table of this name that was not made by this function.
        PlanError: something cannot be translated, and the plan does not say what becomes of it.
    """
    wanted = tuple(mapping.target for mapping in service.tables)
    later = _later(target, service.name)
    if later and later["objects"].startswith(BEING_MADE):
        _clear(service, target, later["objects"])
    elif later and set(_present(service, target)) >= set(wanted):
        return ()
    if present := _present(service, target):
        raise TransferError(
            f"{target.name}: {', '.join(present)}",
            "already there, and not made by this run",
            expected="a database without the service's tables",
            state="nothing was created",
            action="drop them, or give the service an empty database",
        )
    _keep_later(target, service.name, BEING_MADE)
    before, objects, keys = (
        _shape(service, source, target)
        if source.dialect == target.dialect
        else across.scripts(service, source, target, types or {})
    )
    _keep_later(target, service.name, f"{BEING_MADE}\n{objects}")
    target.run_script(before)
    _keep_later(target, service.name, objects, keys)
    return wanted


def build_indexes(service: Service, target: Database) -> int:
    """Run what was kept for after the load, but for the foreign keys: indexes, constraints, triggers; the indexes.

    Idempotent: a script that ran is emptied in the same transaction.
    """
    _run_later(service, target, "objects")
    target.analyze([mapping.target for mapping in service.tables])
    return sum(len(table.indexes) for table in target.catalog([m.target for m in service.tables]).values())


def add_foreign_keys(service: Service, target: Database) -> None:
    """Add the foreign keys within the service, proven over all rows. Idempotent.

    Raises:
        DatabaseError: parents and children do not agree now; nothing was added.
    """
    _run_later(service, target, "keys")


def drop_tables(service: Service, target: Database) -> tuple[str, ...]:
    """Drop what `create_tables` made, and nothing when it made nothing; the tables dropped."""
    later = _later(target, service.name)
    if later is None:
        return ()
    present = _clear(service, target, later["objects"])
    with target.engine.begin() as connection:
        connection.execute(text(f"DELETE FROM {_table(target)} WHERE service = :s"), {"s": service.name})
    return tuple(present)


def _clear(service: Service, target: Database, objects: str) -> list[str]:
    """Drop the service's tables and all that came with them; the tables dropped.

    What belongs to a table is read from the catalog, where a trigger's function belongs to it only once the trigger is
    there: what was kept for later is made first (in no time: the tables are emptied).
    """
    present = _present(service, target)
    if present and "FUNCTION" in objects:
        target.run_script(f"TRUNCATE {', '.join(target.quote(table) for table in present)};\n{objects}")
    target.drop_tables(present)
    return present


def _shape(service: Service, source: Database, target: Database) -> tuple[str, str, str]:
    """The three scripts of the service's tables as the plan wants them (nothing of it stays at the target)."""
    plain = [mapping for mapping in service.tables if not mapping.derived]
    origin = source.catalog([mapping.source for mapping in service.tables])
    before, after = source.dump_schema([mapping.source for mapping in plain])
    try:
        target.run_script(f"{before}\n{after}")  # one transaction: a trigger's function never stays without it
        for mapping in plain:
            _trim(mapping, target)
        for mapping in service.tables:
            if mapping.derived:
                target.run_script(_derived(service, mapping, source, target, origin[mapping.source]))
        before, after = target.dump_schema([mapping.target for mapping in service.tables])
        return before, *target.split_references(after)
    finally:
        target.drop_tables(_present(service, target))


def _trim(mapping: TableMapping, target: Database) -> None:
    table = target.quote(mapping.source)
    for column in mapping.omit:
        target.execute(f"ALTER TABLE {table} DROP COLUMN {target.quote(column)} CASCADE")
    if mapping.target != mapping.source:
        target.execute(f"ALTER TABLE {table} RENAME TO {target.quote(mapping.target)}")


def _derived(service: Service, mapping: TableMapping, source: Database, target: Database, origin: Table) -> str:
    """A derived table: types from its expressions; its key refers to the table it was taken from, if that moves too."""
    expressions = forward_expressions(mapping, source, origin)
    types = source.expression_types(source.quote(mapping.source), tuple(expressions.values()))
    key = tuple(mapping.key) or origin.key
    lines = [f"{target.quote(c)} {kind}" for c, kind in zip(expressions, types, strict=True)]
    names = ", ".join(target.quote(column) for column in key)
    lines.append(f"PRIMARY KEY ({names})")
    main = next((m for m in service.tables if not m.derived and m.source == mapping.source), None)
    referenced = tuple(mapping.key.get(column, column) for column in key)
    if main and set(referenced) == set(origin.key):
        columns = ", ".join(target.quote(column) for column in referenced)
        lines.append(f"FOREIGN KEY ({names}) REFERENCES {target.quote(main.target)} ({columns}) ON DELETE CASCADE")
    return f"CREATE TABLE {target.quote(mapping.target)} ({', '.join(lines)})"


def _present(service: Service, target: Database) -> list[str]:
    """The service's tables that are there, under the source's or their own names."""
    names = dict.fromkeys(name for m in service.tables for name in (m.target, *(() if m.derived else (m.source,))))
    catalog = target.catalog()
    return [name for name in names if name in catalog]


def _run_later(service: Service, target: Database, part: str) -> None:
    found = _later(target, service.name)
    if found and found[part]:
        mark = f"UPDATE {_table(target)} SET {target.quote(part)} = '' WHERE service = '{service.name}'"
        target.run_script(f"{found[part]}\n;{mark};")


def _table(target: Database) -> str:
    return target.own_table("later")


def _keep_later(target: Database, service: str, objects: str, keys: str = "") -> None:
    row = {"s": service, "o": objects, "k": keys}
    keys = target.quote("keys")  # a reserved word in MySQL
    with target.engine.begin() as connection:
        connection.execute(text(f"DELETE FROM {_table(target)} WHERE service = :s"), row)
        connection.execute(text(f"INSERT INTO {_table(target)} (service, objects, {keys}) VALUES (:s, :o, :k)"), row)


def _later(target: Database, service: str) -> dict[str, str] | None:
    """The parts still to be run ("" when they ran), or None when the tables were never made here."""
    target.execute(
        f"CREATE TABLE IF NOT EXISTS {_table(target)}"
        f" (service VARCHAR(100) PRIMARY KEY, objects TEXT NOT NULL, {target.quote('keys')} TEXT NOT NULL)"
    )
    found = target.rows(
        f"SELECT objects, {target.quote('keys')} FROM {_table(target)} WHERE service = :s", {"s": service}
    )
    return {"objects": found[0][0], "keys": found[0][1]} if found else None
