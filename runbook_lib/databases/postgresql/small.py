"""Many small tables: what they cost is round trips and transactions, so these are shared."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.postgresql.ranges import ranges

if TYPE_CHECKING:
    import psycopg

    from runbook_lib.databases.postgresql import PostgreSQL

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


class One(threading.local):
    """The session whose transaction this thread's loads share, if any."""

    session: psycopg.Connection | None = None


@contextmanager
def together(db: PostgreSQL) -> Iterator[None]:
    """See Database.together."""
    with db.raw() as session:
        db.one.session = session
        try:
            yield
        finally:
            db.one.session = None


def ranges_of_each(db: PostgreSQL, selections: Sequence[Selection], rows_per_range: int) -> list[list[KeyRange]]:
    """See Database.ranges_of_each. A table whose pages cannot hold more rows than a range is one range."""
    plain = {
        selection.relation: found[1] for selection in selections if (found := _PLAIN.fullmatch(selection.relation))
    }
    rows: dict[str, int] = {}
    for name, blocks, scale, density in db.rows(_SIZES, {"names": sorted(set(plain.values()))}) if plain else ():
        if blocks * float(scale) * _BLOCK_ROWS <= rows_per_range:
            rows[name] = round(blocks * (density if density is not None else _GUESSED_ROWS * float(scale)))
    return [
        [KeyRange(0, None, None, rows[name], "key" if selection.key else "blocks")]
        if (name := plain.get(selection.relation, "")) in rows
        else ranges(db, selection, rows_per_range)
        for selection in selections
    ]
