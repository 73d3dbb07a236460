"""Our own tables and triggers in a MySQL database: known by their shape, not by their names alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases import own_objects
from runbook_lib.databases.mysql import quoting

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# A trigger of the capture or the fence: such a name alone, or such a beginning alone, is a user's.
TRIGGER = r"""(trigger_name LIKE 'runbook\\_%' AND action_statement LIKE 'IF @runbook\\_sync IS NULL THEN %'
  AND (action_statement LIKE '%INSERT INTO `runbook\\_log\\_%'
       OR action_statement LIKE '%FROM runbook\\_fences WHERE %'))"""
TRIGGERS = f"""
SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database() AND {TRIGGER}
"""
_NAMED = """
SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = database()
"""
_COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = database() AND table_name IN ({})
ORDER BY table_name, ordinal_position
"""


def tables(db: MySQLPort) -> frozenset[str]:
    """The names of our own tables, with their prefix."""
    relations = dict(db.rows(_NAMED))
    named = [name for name, kind in relations.items() if kind == "BASE TABLE" and name.startswith(own_objects.PREFIX)]
    if not named:
        return frozenset()
    columns: dict[str, list[str]] = {name: [] for name in named}
    for table, column in db.rows(_COLUMNS.format(quoting.listed([quoting.text(name) for name in named]))):
        columns[table].append(column)
    return own_objects.own_tables(columns, relations)


def triggers(db: MySQLPort) -> frozenset[str]:
    """The names of our own triggers."""
    return frozenset(name for (name,) in db.rows(TRIGGERS))


def there(db: MySQLPort, name: str) -> bool:
    """Whether our own table of this name (without prefix) is there."""
    return own_objects.PREFIX + name in tables(db)


def table(db: MySQLPort, name: str) -> str:
    """The quoted name of one of our own tables.

    Raises:
        DatabaseError: a user's object has that name; nothing was made.
    """
    full = own_objects.PREFIX + name
    if ("own", name) not in db.memo:
        asked = "SELECT 1 FROM information_schema.tables WHERE table_schema = database() AND table_name = :name"
        if db.rows(asked, {"name": full}) and not there(db, name):
            raise own_objects.taken(db.name, full)
        db.memo["own", name] = True
    return quoting.ident(full)
