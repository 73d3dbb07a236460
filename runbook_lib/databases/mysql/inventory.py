"""Everything that a database has: so far its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook_lib.databases.port import CatalogObject, Inventory

if TYPE_CHECKING:
    from runbook_lib.databases.mysql import MySQL


def inventory(db: MySQL) -> Inventory:
    """See Database.inventory."""
    tables = db.tables()
    return Inventory(tuple(CatalogObject("table", name, name) for name in tables), {"table": len(tables)})
