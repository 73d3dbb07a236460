"""Everything that a database has: a walk over all catalogs that have OIDs, then what has none of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.own_objects import SCHEMA, is_own
from runbook_lib.databases.port import CatalogObject, Inventory
from runbook_lib.databases.postgresql import inventory_counts as counting
from runbook_lib.databases.postgresql import inventory_extras as extras
from runbook_lib.databases.postgresql import inventory_sql as sql
from runbook_lib.databases.postgresql import own
from runbook_lib.databases.postgresql.catalog import called

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

OWN = f"SELECT '{SCHEMA}'::name WHERE {own.OURS} IS NOT NULL"  # the schemas of our own objects
# Definitions name every object with its schema, whatever the login's search_path is.
_PATH = "SELECT set_config('search_path', 'pg_catalog', true)"


@dataclass(frozen=True)
class CatalogEntry:
    """One object that the walk found."""

    catalog: str
    oid: int
    kind: str
    name: str


def inventory(db: PostgreSQLPort) -> Inventory:
    """See Database.inventory."""
    catalogs, tables = [name for (name,) in db.rows(sql.CATALOGS)], _tables(db)
    found = [CatalogEntry(*row) for row in db.rows_of_each((_PATH, sql.walk(OWN, catalogs)), {})[1]]
    details = _details(db, found)
    refers = _refers(db, tables)
    objects = [
        _described(each, details.get((each.catalog, each.oid)), tables, refers.get((each.catalog, each.oid), ()))
        for each in found
    ]
    _, *more = db.rows_of_each((_PATH, *extras.queries(sql.hidden(OWN), sql.SEQUENCE)), {})
    objects += [_extra(row, tables) for rows in more for row in rows]
    outside = frozenset(text for (text,) in db.rows(extras.OUTSIDE))
    rows = db.rows(extras.OWN_TABLES)
    own = frozenset(name for name, columns in rows if is_own(name, columns))
    described = Counter(each.catalog for each in found if _is_described(each, details))
    asked = counting.query(sql.hidden(OWN), [name for (name,) in db.rows(counting.CATALOGS)])
    counts = {**Counter(each.kind for each in objects), **counting.missed(dict(db.rows(asked)), described)}
    return Inventory(tuple(objects), counts, outside, db.rows("SELECT current_user")[0][0], own)


def _is_described(each: CatalogEntry, details: Mapping[tuple[str, int], tuple[Any, ...]]) -> bool:
    return (each.catalog, each.oid) in details or each.catalog in sql.KINDS


def _tables(db: PostgreSQLPort) -> dict[int, str]:
    """OID → what `catalog` calls the table; a partition's is its root's."""
    rows = db.rows(sql.NAMES)
    called_ = {oid: called(schema, name, visible=visible) for oid, schema, name, visible, _ in rows}
    return {oid: called_.get(root, called_[oid]) for oid, _, _, _, root in rows}


def _details(db: PostgreSQLPort, found: Iterable[CatalogEntry]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """(catalog, OID) → kind, table's OID, definition, columns (of a policy: roles), from one query a catalog."""
    oids: dict[str, list[int]] = {}
    for each in found:
        if each.catalog in sql.DETAILS:
            oids.setdefault(each.catalog, []).append(each.oid)
    details = {}
    for catalog, numbers in oids.items():
        _, rows = db.rows_of_each((_PATH, sql.DETAILS[catalog]), {"oids": numbers})
        details.update({(catalog, row[0]): row[1:] for row in rows})
    return details


def _refers(db: PostgreSQLPort, tables: Mapping[int, str]) -> dict[tuple[str, int], list[str]]:
    """(catalog, OID) → the tables that it cannot be without."""
    found: dict[tuple[str, int], list[str]] = {}
    for catalog, oid, table in db.rows_of_each((_PATH, sql.REFERS), {})[1]:
        if table in tables:
            found.setdefault((catalog, oid), []).append(tables[table])
    return found


def _described(
    each: CatalogEntry, detail: tuple[Any, ...] | None, tables: Mapping[int, str], refers: Sequence[str]
) -> CatalogObject:
    if detail is None:
        return CatalogObject(sql.KINDS.get(each.catalog, each.kind), each.name)
    kind, table, definition, more = detail
    outside = tuple(text for text in more if text) if kind in ("policy", "extension") else ()
    columns = () if outside else tuple(more)
    own = tables.get(table, "")
    others = tuple(sorted(set(refers) - {own}))
    return CatalogObject(kind, each.name, own, definition or "", needs=outside, columns=columns, refers=others)


def _extra(row: tuple[Any, ...], tables: Mapping[int, str]) -> CatalogObject:
    kind, name, table, definition, statement, needs = row
    return CatalogObject(kind, name, tables.get(table, ""), definition, statement, tuple(needs))
