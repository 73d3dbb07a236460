"""Cut a selection into key ranges, and say a range as an SQL condition that an index can serve.

Order is that of bytes: texts compare by their UTF-8, so that two engines cut alike (docs/correctness.md#text-keys). An
index serves that only where the column's own collation is bytewise and does not pad. Tuples are compared column by
column: MySQL's row comparison uses no index (docs/correctness.md#keys-of-several-columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbook_lib.databases.adapter_helpers import between, even_bounds, require_advancing
from runbook_lib.databases.mysql import catalog, neutral_text
from runbook_lib.databases.mysql.neutral_text import kind_of
from runbook_lib.databases.port import KeyRange, Selection

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

SORTED_RANGES = 16  # a range no index can serve costs a scan of the table: few of them
_OWN_TEXT = ("enum", "set", "uuid", "inet4", "inet6")  # compared by their text, not by their number or storage


@dataclass(frozen=True)
class KeyPart:
    """One expression of a key: how it is written, how it is compared, and its type."""

    expression: str
    ordered: str
    type: str
    bytewise: bool  # the column's own index serves the order

    @property
    def integer(self) -> bool:
        return kind_of(self.type).integer

    def bound(self, value: Any) -> str:
        """A value as SQL, to compare with `ordered`."""
        if self.ordered == self.expression:
            return neutral_text.literal(value, self.type)
        text = neutral_text.text_form(value)
        text = text.rstrip(" ") if kind_of(self.type).name == "char" else text  # as the server gives it
        return f"x'{text.encode().hex()}'"

    @property
    def out(self) -> str:
        """The key as the port wants it: a number, or neutral text."""
        return (
            self.expression
            if self.integer
            else f"CONCAT({neutral_text.render(self.expression, self.type, escaped=False)})"
        )


def condition(db: MySQLPort, selection: Selection, key_range: KeyRange) -> str:
    """The rows of one range of a selection as an SQL condition ("true" when both ends are open and no WHERE)."""
    where = [f"({selection.where})"] if selection.where else []
    parts = key_parts(db, selection) if key_range.kind == "key" else ()
    for bound, last in ((key_range.after, False), (key_range.upto, True)):
        if bound is not None:
            where.append(_compare(parts, bound, upto=last))
    return " AND ".join(where) or "true"


def _compare(parts: Sequence[KeyPart], bound: Sequence[Any], *, upto: bool) -> str:
    """(a, b) > (x, y) as a >= x AND (a > x OR b > y), which an index on (a, b) serves; the same with <=."""
    part, value = parts[0], parts[0].bound(bound[0])
    sign = "<" if upto else ">"
    if len(parts) == 1:
        return f"{part.ordered} {sign}{'=' if upto else ''} {value}"
    rest = _compare(parts[1:], bound[1:], upto=upto)
    return f"({part.ordered} {sign}= {value} AND ({part.ordered} {sign} {value} OR {rest}))"


def ranges(db: MySQLPort, selection: Selection, rows_per_range: int) -> list[KeyRange]:
    """Cut a selection into ranges of about `rows_per_range` rows, without gaps or overlaps.

    Integer keys without big holes: even steps between the least and greatest. Other keys: every n-th key. No key: one
    range, since MySQL rows have no address (docs/correctness.md#tables-without-a-key).

    Raises:
        KeyNotAdvancing: two boundaries are equal, so the key is not unique.
    """
    estimate = estimated_rows(db, selection)
    if not selection.key:
        return [KeyRange(0, None, None, estimate, "blocks")]
    parts = key_parts(db, selection)
    if len(parts) == 1 and parts[0].integer:
        even = even_bounds(db, selection, rows_per_range, estimate)
        if even is not None:
            return between([(bound,) for bound in even], estimate)
    if all(part.bytewise for part in parts) and _indexed(db, selection, parts):
        bounds = _walked_bounds(db, selection, parts, rows_per_range)
    else:
        bounds = _sorted_bounds(db, selection, parts, max(rows_per_range, -(-estimate // SORTED_RANGES)))
    require_advancing(selection, bounds)
    return between(bounds, estimate)


def key_parts(db: MySQLPort, selection: Selection) -> tuple[KeyPart, ...]:
    """Types and order of a selection's key, looked up once a selection."""
    asked = ("key", selection.relation, selection.key)
    if asked not in db.memo:
        facts = catalog.expression_facts(db, selection.relation, selection.key)
        db.memo[asked] = tuple(_part(sql, *fact) for sql, fact in zip(selection.key, facts, strict=True))
    found: tuple[KeyPart, ...] = db.memo[asked]
    return found


def _part(sql: str, kind: str, collation: str) -> KeyPart:
    name = kind_of(kind).name
    bytewise = not collation or collation in ("binary", "utf8mb4_0900_bin") or collation == "utf8mb4_nopad_bin"
    if (collation and not bytewise) or name in _OWN_TEXT:
        return KeyPart(sql, neutral_text.as_bytes(sql), kind, False)
    return KeyPart(sql, sql, kind, True)


def estimated_rows(db: MySQLPort, selection: Selection) -> int:
    """The optimizer's estimate of a selection's rows; of a join, its largest table's."""
    where = f" WHERE {selection.where}" if selection.where else ""
    plan = db.rows(f"EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM {selection.relation}{where}")
    return max((int(row[-3 if db.flavour[0] == "MySQL" else -2] or 0) for row in plan), default=0)


def _indexed(db: MySQLPort, selection: Selection, parts: Sequence[KeyPart]) -> bool:
    """Whether an index gives the key's order, so that no step of a walk has to sort."""
    where = f" WHERE {selection.where}" if selection.where else ""
    order = ", ".join(part.ordered for part in parts)
    plan = db.rows(
        f"EXPLAIN FORMAT=TRADITIONAL SELECT {order} FROM {selection.relation}{where} ORDER BY {order} LIMIT 1"
    )
    return not any("filesort" in str(row[-1]) for row in plan)


def _walked_bounds(
    db: MySQLPort, selection: Selection, parts: Sequence[KeyPart], rows_per_range: int
) -> list[tuple[Any, ...]]:
    """Every n-th key, step by step along the index."""
    out, order = ", ".join(part.out for part in parts), ", ".join(part.ordered for part in parts)
    bounds: list[tuple[Any, ...]] = []
    while True:
        where = condition(db, selection, KeyRange(0, bounds[-1] if bounds else None))
        sql = f"SELECT {out} FROM {selection.relation} WHERE {where} ORDER BY {order} LIMIT {rows_per_range - 1}, 1"
        found = db.rows(sql)
        if not found:
            return bounds
        bounds.append(as_key(parts, found[0]))
        require_advancing(selection, bounds[-2:])


def _sorted_bounds(
    db: MySQLPort, selection: Selection, parts: Sequence[KeyPart], rows_per_range: int
) -> list[tuple[Any, ...]]:
    # Long names: MariaDB takes a short alias for a column of the same name in the window's ORDER BY.
    inner = ", ".join(f"{part.out} AS runbook_k{i}" for i, part in enumerate(parts))
    order = ", ".join(part.ordered for part in parts)
    where = f" WHERE {selection.where}" if selection.where else ""
    out = ", ".join(f"runbook_k{i}" for i in range(len(parts)))
    sql = (
        f"SELECT {out} FROM (SELECT {inner}, row_number() OVER (ORDER BY {order}) AS runbook_n"
        f" FROM {selection.relation}{where}) AS walk WHERE runbook_n % {int(rows_per_range)} = 0 ORDER BY runbook_n"
    )
    return [as_key(parts, row) for row in db.rows(sql)]


def matching(parts: Sequence[KeyPart], keys: Sequence[Sequence[Any]]) -> str:
    """Exactly the rows with these keys: an equality that the index serves, and the bytes where a collation is blind."""
    if len(parts) == 1:
        part = parts[0]
        exact = f"{part.expression} IN ({', '.join(neutral_text.literal(key[0], part.type) for key in keys)})"
        if part.bytewise:
            return exact
        return f"({exact} AND {part.ordered} IN ({', '.join(part.bound(key[0]) for key in keys)}))"
    return "(" + " OR ".join(_one_key(parts, key) for key in keys) + ")"


def _one_key(parts: Sequence[KeyPart], key: Sequence[Any]) -> str:
    same = []
    for part, value in zip(parts, key, strict=True):
        same.append(f"{part.expression} = {neutral_text.literal(value, part.type)}")
        if not part.bytewise:
            same.append(f"{part.ordered} = {part.bound(value)}")
    return f"({' AND '.join(same)})"


def as_key(parts: Sequence[KeyPart], row: Sequence[Any]) -> tuple[Any, ...]:
    """A row of `out` expressions as a key: integers as int, everything else as text."""
    return tuple(int(value) if part.integer else as_text(value) for part, value in zip(parts, row, strict=True))


def as_text(value: Any) -> str | None:
    """What the driver made of a rendered value, as text again."""
    if value is None:
        return None
    return bytes(value).decode() if isinstance(value, bytes | bytearray) else str(value)
