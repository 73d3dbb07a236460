"""How many objects each catalog has, counted without the walk and its readers: what they miss shows in the account.

Nothing of the walk's text is used here but what is not the user's (`hidden`, `part`): neither its list of catalogs nor
what it leaves to other lines. A catalog that PostgreSQL will have, or a reader that somebody removes, is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

CATALOGS = """
SELECT c.relname::text FROM pg_class c
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'oid' AND NOT a.attisdropped)
  AND has_table_privilege(c.oid, 'SELECT')
"""

# Rows that are told by the line of what they belong to: an enum's labels, a column's default, a family's members.
_TOLD_WITHIN = frozenset(("pg_enum", "pg_attrdef", "pg_amop", "pg_amproc"))
# Read by queries of their own, which name each right, and count the large objects.
_READ_APART = frozenset(("pg_default_acl", "pg_largeobject_metadata"))
_NOT_THEIRS = {
    "pg_constraint": "AND t.contype <> ALL ('{n,t}')",
    "pg_trigger": "AND NOT t.tgisinternal",
}
_ONE = """
SELECT '{name}', count(*) FROM pg_catalog.{name} t WHERE t.oid >= 16384 {less}
  AND NOT EXISTS (SELECT FROM hidden h WHERE h.catalog = '{name}'::regclass AND h.oid = t.oid)
  AND NOT EXISTS (SELECT FROM part p WHERE p.catalog = '{name}'::regclass AND p.oid = t.oid)
"""


def query(hidden: str, catalogs: list[str]) -> str:
    """Catalog and how many objects a user made in it (count).

    Args:
        hidden: The beginning of a query that knows what is not the user's.
    """
    counted = sorted({*catalogs} - _TOLD_WITHIN - _READ_APART)
    return hidden + " UNION ALL ".join(_ONE.format(name=name, less=_NOT_THEIRS.get(name, "")) for name in counted)


def missed(counted: Mapping[str, int], described: Counter[str]) -> dict[str, int]:
    """Kind → how many objects of a catalog no reader described (count)."""
    lost = {catalog: count - described[catalog] for catalog, count in counted.items()}
    return {f"object of {catalog}": count for catalog, count in lost.items() if count > 0}
