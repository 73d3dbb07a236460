"""Names that a schema takes and a database has already for something else: a scratch database does not show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runbook_lib.databases.port import Refusal
from runbook_lib.databases.statement_names import NamedObject

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# Tables, views and sequences share their names; triggers and foreign keys have theirs across all tables.
_TAKEN = """
SELECT 'relation', table_name, '', lower(table_type) FROM information_schema.tables WHERE table_schema = database()
UNION ALL
SELECT 'trigger', trigger_name, event_object_table, 'trigger' FROM information_schema.triggers
WHERE trigger_schema = database()
UNION ALL
SELECT 'foreign key', constraint_name, table_name, 'foreign key' FROM information_schema.referential_constraints
WHERE constraint_schema = database()
"""
_KINDS = {"table": "relation", "view": "relation", "sequence": "relation"}
_BASE = ("base table", "system versioned")


def name_collisions(db: MySQLPort, made: Sequence[NamedObject], gone: Sequence[str]) -> list[Refusal]:
    """Of these objects those whose name another object has that is not to go; of the same kind only beside a table.

    A view that is there by the same name is compared elsewhere, and may be an earlier attempt's.
    """
    taken = {(kind, str(name).casefold()): (str(table), str(what)) for kind, name, table, what in db.rows(_TAKEN)}
    return [
        Refusal(*each, f"the name is taken by {found[1]} {each.name}{f' of {found[0]}' if found[0] else ''}")
        for each in made
        if (found := taken.get((_KINDS.get(each.kind, each.kind), each.name.casefold())))
        and not _same(each, found, gone)
    ]


def _same(each: NamedObject, found: tuple[str, str], gone: Sequence[str]) -> bool:
    table, what = found
    if each.kind in ("trigger", "foreign key"):
        return table in gone or table == each.table
    return each.kind == what or (what in _BASE and (each.kind == "table" or each.name in gone))
