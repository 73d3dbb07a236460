"""Everything that a database has: so far its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.port import CatalogObject, Inventory

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite import SQLite


def inventory(db: SQLite) -> Inventory:
    """See Database.inventory."""
    tables = db.tables()
    return Inventory(tuple(CatalogObject("table", name, name) for name in tables), {"table": len(tables)})
