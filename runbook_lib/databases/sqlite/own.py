"""Our own tables and triggers in an SQLite database: known by their shape, not by their names alone."""

from __future__ import annotations

import sqlite3

from runbook_lib.databases import own_objects
from runbook_lib.databases.sqlite import quoting

# A trigger of the capture or the fence asks for our session: such a name alone is a user's.
_ASKS = f"NOT EXISTS (SELECT 1 FROM {quoting.OWN}session)"
_COLUMNS = """
SELECT m.name, p.name FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS p
WHERE m.type = 'table' AND m.name LIKE 'runbook\\_%' ESCAPE '\\' ORDER BY m.name, p.cid
"""


def tables(driver: sqlite3.Connection) -> frozenset[str]:
    """The names of our own tables, with their prefix."""
    columns: dict[str, list[str]] = {}
    for table, column in driver.execute(_COLUMNS):
        columns.setdefault(table, []).append(column)
    return own_objects.own_tables(columns)


def is_trigger(name: str, sql: str) -> bool:
    """Whether a trigger is ours."""
    return name.startswith(quoting.OWN) and _ASKS in sql


def require_free(driver: sqlite3.Connection, database: str, name: str) -> None:
    """Refuse where a user's object has the name (with prefix) of one of our own tables.

    Raises:
        DatabaseError: it has; nothing was made.
    """
    if driver.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() and name not in tables(driver):
        raise own_objects.taken(database, name)
