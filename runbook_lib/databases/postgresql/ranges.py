"""Cut a selection into key ranges, and say a range as an SQL condition that an index can serve.

Order is the engine's binary order: text compares under COLLATE "C", so that two servers with different locales cut
alike (docs/correctness.md#text-keys). Where the column's own collation is already bytewise the clause is left out: only
then can the column's index serve it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases.adapter_helpers import between, even_bounds, require_advancing
from runbook_lib.databases.identifiers import split
from runbook_lib.databases.port import KeyRange, Selection
from runbook_lib.databases.postgresql import small
from runbook_lib.databases.postgresql.quoting import literal

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

INTEGERS = ("smallint", "integer", "bigint")
SORTED_RANGES = 16  # a range no index can serve costs a scan of the table: few of them

_BYTEWISE = ("C", "POSIX", "ucs_basic", "pg_c_utf8", "C.UTF-8", "C.utf8", "PG_UNICODE_FAST")


@dataclass(frozen=True)
class KeyPart:
    """One expression of a key: how it is compared, and its type for casting bounds back."""

    ordered: str
    type: str
    bytewise: bool  # no COLLATE needed: the column's index serves the order


def condition(db: PostgreSQLPort, selection: Selection, key_range: KeyRange) -> str:
    """The rows of one range of a selection as an SQL condition ("true" when both ends are open and there is no WHERE).

    Values are inlined with a cast to the key's type: COPY takes no parameters.
    """
    bounds = _blocks(key_range) if key_range.kind == "blocks" else _keys(db, selection, key_range)
    where = [f"({selection.where})"] if selection.where else []
    return " AND ".join([*where, *bounds]) or "true"


def ranges(db: PostgreSQLPort, selection: Selection, rows_per_range: int) -> list[KeyRange]:
    """Cut a selection into ranges of about `rows_per_range` rows, without gaps or overlaps.

    Integer keys without big holes: even steps between the least and greatest. Other keys: every n-th key, found in
    one ordered pass over the index. No key: blocks of the table, which hold only while nobody writes
    (docs/correctness.md#tables-without-a-key).

    Raises:
        KeyNotAdvancing: two boundaries are equal, so the key is not unique.
    """
    estimate = estimated_rows(db, selection)
    if not selection.key:
        return _block_ranges(db, selection, rows_per_range, estimate)
    parts = key_parts(db, selection)
    if len(parts) == 1 and parts[0].type in INTEGERS:
        even = even_bounds(db, selection, rows_per_range, estimate)
        if even is not None:
            return between([(bound,) for bound in even], estimate)
    if not all(part.bytewise for part in parts):
        rows_per_range = max(rows_per_range, -(-estimate // SORTED_RANGES))
    bounds = _walked_bounds(db, selection, parts, rows_per_range)
    require_advancing(selection, bounds)
    return between(bounds, estimate)


def key_parts(db: PostgreSQLPort, selection: Selection) -> tuple[KeyPart, ...]:
    """Types and order of a selection's key, looked up once a selection."""
    asked = ("key", selection.relation, selection.key)
    if asked not in db.memo:
        db.memo[asked] = _look_up(db, selection) if selection.key else ()
    found: tuple[KeyPart, ...] = db.memo[asked]
    return found


def _look_up(db: PostgreSQLPort, selection: Selection) -> tuple[KeyPart, ...]:
    columns = [small.key_column(db, selection.relation, expression) for expression in selection.key]
    if all(columns):
        known = [column for column in columns if column]
        return tuple(_part(db, sql, *column) for sql, column in zip(selection.key, known, strict=True))
    types = db.expression_types(selection.relation, selection.key)
    flag = "(SELECT typcollation <> 0 FROM pg_type WHERE oid = {}::regtype)"
    collatable = db.rows("SELECT " + ", ".join(flag.format(literal(kind)) for kind in types))[0]
    asked = ", ".join(f"pg_collation_for(r.k{i})" if has else "NULL" for i, has in enumerate(collatable))
    inner = ", ".join(f"{sql} AS k{i}" for i, sql in enumerate(selection.key))
    one = f"(SELECT {inner} FROM {selection.relation} LIMIT 1) AS r"
    # The join keeps one row when the relation is empty: a collation is known without any row.
    collations = db.rows(f"SELECT {asked} FROM (SELECT 1) AS one LEFT JOIN {one} ON true")[0]
    called = [split(str(name or ""))[-1] for name in collations]
    found = zip(selection.key, types, collatable, called, strict=True)
    return tuple(_part(db, *each) for each in found)


def _part(db: PostgreSQLPort, expression: str, kind: str, collatable: bool, collation: str) -> KeyPart:
    bytewise = not collatable or collation in _BYTEWISE or (collation == "default" and _default_is_bytewise(db))
    return KeyPart(expression if bytewise else f'({expression} COLLATE "C")', kind, bytewise)


def _default_is_bytewise(db: PostgreSQLPort) -> bool:
    if "bytewise" not in db.memo:
        db.memo["bytewise"] = _ask_bytewise(db)
    return bool(db.memo["bytewise"])


def _ask_bytewise(db: PostgreSQLPort) -> bool:
    provider, locale = db.rows(
        "SELECT datlocprovider::text, datcollate FROM pg_database WHERE datname = current_database()"
        if _has_providers(db)
        else "SELECT 'c', datcollate FROM pg_database WHERE datname = current_database()"
    )[0]
    return provider == "b" or (provider == "c" and locale in _BYTEWISE)


def _has_providers(db: PostgreSQLPort) -> bool:
    return int(db.rows("SELECT current_setting('server_version_num')")[0][0]) >= 150000


def _blocks(key_range: KeyRange) -> list[str]:
    bounds = []
    if key_range.after is not None:
        bounds.append(f"ctid >= '({int(key_range.after[0]) + 1},0)'::tid")
    if key_range.upto is not None:
        bounds.append(f"ctid < '({int(key_range.upto[0]) + 1},0)'::tid")
    return bounds


def _keys(db: PostgreSQLPort, selection: Selection, key_range: KeyRange) -> list[str]:
    if key_range.after is None and key_range.upto is None:
        return []
    parts = key_parts(db, selection)
    left = _tuple([part.ordered for part in parts])
    bounds = []
    for sign, bound in ((">", key_range.after), ("<=", key_range.upto)):
        if bound is not None:
            values = [literal(value, part.type) for value, part in zip(bound, parts, strict=True)]
            bounds.append(f"{left} {sign} {_tuple(values)}")
    return bounds


def _tuple(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"({', '.join(items)})"


def estimated_rows(db: PostgreSQLPort, selection: Selection) -> int:
    """The planner's estimate of a selection's rows: statistics times the table's size of now."""
    where = f" WHERE {selection.where}" if selection.where else ""
    plan = db.rows(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {selection.relation}{where}")[0][0]
    return int(plan[0]["Plan"]["Plan Rows"])


def _walked_bounds(
    db: PostgreSQLPort, selection: Selection, parts: Sequence[KeyPart], rows_per_range: int
) -> list[tuple[Any, ...]]:
    """Every n-th key in order; integers as int, the rest in the server's text form.

    Where an index gives the order: step by step along it (1 M rows: 0.07 s). Otherwise one sort (0.3 to 0.9 s).
    """
    out = ", ".join(p.ordered if p.type in INTEGERS else f"CAST({p.ordered} AS text)" for p in parts)
    order = ", ".join(part.ordered for part in parts)

    def step(last: tuple[Any, ...] | None) -> str:
        where = condition(db, selection, KeyRange(0, last))
        return (
            f"SELECT {out} FROM {selection.relation} WHERE {where} ORDER BY {order} OFFSET {rows_per_range - 1} LIMIT 1"
        )

    if '"Sort"' in str(db.rows(f"EXPLAIN (FORMAT JSON) {step(None)}")[0][0]).replace("'", '"'):
        return _sorted_bounds(db, selection, parts, rows_per_range)
    bounds: list[tuple[Any, ...]] = []
    while found := db.rows(step(bounds[-1] if bounds else None)):
        bounds.append(found[0])
        require_advancing(selection, bounds[-2:])
    return bounds


def _sorted_bounds(
    db: PostgreSQLPort, selection: Selection, parts: Sequence[KeyPart], rows_per_range: int
) -> list[tuple[Any, ...]]:
    inner = ", ".join(f"{part.ordered} AS k{i}" for i, part in enumerate(parts))
    order = ", ".join(part.ordered for part in parts)
    out = ", ".join(f"k{i}" if part.type in INTEGERS else f"CAST(k{i} AS text)" for i, part in enumerate(parts))
    where = f" WHERE {selection.where}" if selection.where else ""
    sql = (
        f"SELECT {out} FROM (SELECT {inner}, row_number() OVER (ORDER BY {order}) AS n"
        f" FROM {selection.relation}{where}) AS walk WHERE n % {int(rows_per_range)} = 0 ORDER BY n"
    )
    return db.rows(sql)


def _block_ranges(db: PostgreSQLPort, selection: Selection, rows_per_range: int, estimate: int) -> list[KeyRange]:
    blocks = _block_count(db, selection)
    count = min(blocks, -(-estimate // rows_per_range))
    if count <= 1:
        return [KeyRange(0, None, None, estimate, "blocks")]
    step = -(-blocks // count)
    edges = [None, *((block,) for block in range(step - 1, blocks - 1, step)), None]
    each = estimate // (len(edges) - 1)
    pairs = pairwise(edges)
    return [KeyRange(i, after, upto, each, "blocks") for i, (after, upto) in enumerate(pairs)]


def _block_count(db: PostgreSQLPort, selection: Selection) -> int:
    """Blocks of the largest partition; 0 where rows have no place of their own (views, joins)."""
    try:
        with db.raw() as driver:
            found = driver.execute(
                f"SELECT tableoid FROM {selection.relation} WHERE ctid IS NOT NULL LIMIT 1"
            ).fetchone()
            if found is None:
                return 0
            sizes = driver.execute(
                "SELECT max(pg_relation_size(t.relid)) / current_setting('block_size')::int"
                " FROM (SELECT relid FROM pg_partition_tree(pg_partition_root(%s)) UNION SELECT %s) AS t(relid)",
                (found[0], found[0]),
            ).fetchone()
    except (psycopg.errors.UndefinedColumn, psycopg.errors.AmbiguousColumn):
        return 0
    return int(sizes[0] or 0) if sizes else 0
