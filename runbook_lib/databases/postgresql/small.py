"""Many small tables: what they cost is round trips and transactions, so these are shared."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.postgresql import quoting

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

# A table by itself; joins, views and expressions are cut one by one.
_PLAIN = re.compile(r'(?:ONLY )?((?:"(?:[^"]|"")+"\.)?"(?:[^"]|"")+")')
_BLOCK_ROWS = 291  # of 8 KiB: a row is 28 bytes at least
_GUESSED_ROWS = 60  # of 8 KiB, where nothing was counted yet

# Plain tables only: a parent's rows are in its children.
_SIZES = """
SELECT n, pg_relation_size(c.oid) / current_setting('block_size')::int,
       current_setting('block_size')::int / 8192.0,
       CASE WHEN c.relpages > 0 AND c.reltuples >= 0 THEN c.reltuples / c.relpages END::float8
FROM unnest(CAST(:names AS text[])) AS n JOIN pg_class AS c ON c.oid = to_regclass(n)
WHERE c.relkind = 'r' AND NOT c.relhassubclass
"""


@contextmanager
def together(db: PostgreSQLPort) -> Iterator[None]:
    """See Database.together."""
    with db.raw() as session:
        db.one.session = session
        try:
            yield
        finally:
            db.one.session = None


def only_ranges(db: PostgreSQLPort, wanted: Sequence[tuple[Selection, int]]) -> list[KeyRange | None]:
    """See Database.only_ranges: all of a table whose pages cannot hold more rows than a range."""
    plain = {each.relation: found[1] for each, _ in wanted if (found := _PLAIN.fullmatch(each.relation))}
    sizes: dict[str, tuple[float, int]] = {}  # blocks of 8 KiB, rows
    for name, blocks, scale, density in db.rows(_SIZES, {"names": sorted(set(plain.values()))}) if plain else ():
        rows = density * blocks if density is not None else _GUESSED_ROWS * blocks * float(scale)
        sizes[name] = blocks * float(scale), round(rows)

    def only(selection: Selection, most: int) -> KeyRange | None:
        blocks, rows = sizes.get(plain.get(selection.relation, ""), (most, 0))
        kind = "key" if selection.key else "blocks"
        return KeyRange(0, None, None, rows, kind) if blocks * _BLOCK_ROWS <= most else None

    return [only(selection, most) for selection, most in wanted]


# Columns of unique indexes: what a key can be made of.
_KEY_COLUMNS = """
SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), a.attname, format_type(a.atttypid, a.atttypmod),
       a.attcollation <> 0, coalesce(l.collname, '')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey))
"""
_KNOWN_S = 60.0  # tables made or altered since are asked by themselves


def key_column(db: PostgreSQLPort, relation: str, expression: str) -> tuple[str, bool, str] | None:
    """A column of a unique index: its type, whether it has a collation, and which; None where it is not known.

    Read for all tables at once: a table by itself takes five statements.
    """
    at, columns = db.memo.get("key columns", (-_KNOWN_S, {}))
    if time.monotonic() - at > _KNOWN_S:
        columns = {}
        for schema, table, visible, column, kind, collatable, collation in db.rows(_KEY_COLUMNS):
            facts = (kind, collatable, collation)
            columns[f"{quoting.ident(schema)}.{quoting.ident(table)}", quoting.ident(column)] = facts
            if visible:
                columns[quoting.ident(table), quoting.ident(column)] = facts
        db.memo["key columns"] = time.monotonic(), columns
    found: tuple[str, bool, str] | None = columns.get((relation.removeprefix("ONLY "), expression))
    return found
