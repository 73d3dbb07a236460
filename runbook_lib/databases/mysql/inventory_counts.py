"""How much of each kind a MySQL or MariaDB database has, counted without the inventory's readers.

Besides what `inventory_sql.COUNTS` counts by the catalogs' own types: every table of information_schema that belongs to
a schema, and that nobody here has heard of. A server that has a new kind of object has a new such table.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from runbook_lib.databases.mysql import quoting
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# Read by the inventory's queries, or part of what is read there, or about the server's work and nothing that is made.
KNOWN = frozenset((
    "CHECK_CONSTRAINTS", "COLUMNS", "COLUMNS_EXTENSIONS", "COLUMN_PRIVILEGES", "COLUMN_STATISTICS", "EVENTS", "FILES",
    "GEOMETRY_COLUMNS", "INDEX_STATISTICS", "KEY_COLUMN_USAGE", "KEY_PERIOD_USAGE", "PARAMETERS", "PARTITIONS",
    "PERIODS", "REFERENTIAL_CONSTRAINTS", "ROLE_COLUMN_GRANTS", "ROLE_ROUTINE_GRANTS", "ROLE_TABLE_GRANTS", "ROUTINES",
    "SCHEMATA", "SCHEMATA_EXTENSIONS", "SCHEMA_PRIVILEGES", "SEQUENCES", "STATISTICS", "ST_GEOMETRY_COLUMNS", "TABLES",
    "TABLES_EXTENSIONS", "TABLE_CONSTRAINTS", "TABLE_CONSTRAINTS_EXTENSIONS", "TABLE_PRIVILEGES", "TABLE_STATISTICS",
    "TRIGGERED_UPDATE_COLUMNS", "TRIGGERS", "VIEWS", "VIEW_ROUTINE_USAGE", "VIEW_TABLE_USAGE",
))  # fmt: skip
_CATALOGS = r"""
SELECT upper(table_name), min(column_name) FROM information_schema.columns
WHERE upper(table_schema) = 'INFORMATION_SCHEMA' AND upper(column_name) REGEXP '^[A-Z]+_SCHEMA$|^SCHEMA_NAME$'
  AND upper(column_name) NOT LIKE 'REFERENCED%' GROUP BY 1
"""


def unheard_of(db: MySQLPort) -> dict[str, int]:
    """Kind → how many (count) of what no query here knows; without a right to look at one nothing is known of it."""
    found = dict[str, int]()
    for catalog, column in db.rows(_CATALOGS):
        if catalog in KNOWN:
            continue
        name, own = quoting.ident(catalog), quoting.ident(column)
        with suppress(DatabaseError):
            [(count,)] = db.rows(f"SELECT count(*) FROM information_schema.{name} WHERE {own} = database()")
            found |= {f"object of {catalog.lower()}": int(count)} if count else {}
    return found
