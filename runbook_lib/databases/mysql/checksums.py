"""Checksums inside the database: a sum of 64-bit row hashes per key range, with the count of rows.

docs/canonical-values.md says what is hashed. JSON alone is parsed here and hashed by the reference implementation:
MariaDB keeps its documents as they were written, and no SQL of it gives the canonical text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pymysql

from runbook_lib.databases import adapter_helpers, copy_text
from runbook_lib.databases import canonical as values
from runbook_lib.databases.canonical import CanonicalType, canonical_type
from runbook_lib.databases.mysql import catalog, neutral_text
from runbook_lib.databases.mysql import ranges as key_ranges
from runbook_lib.databases.mysql.copy import copy_out
from runbook_lib.databases.mysql.neutral_text import kind_of
from runbook_lib.databases.mysql.quoting import listed
from runbook_lib.databases.port import Buckets, KeyRange, RangeSum, Selection
from runbook_lib.errors import DatabaseError

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

# A key leaves as a number only where PostgreSQL's adapter says so too: both sides must name a row alike.
_NUMBERED = ("smallint", "integer", "bigint")


def count(db: MySQLPort, selection: Selection) -> int:
    """The rows of a selection."""
    where = f" WHERE {selection.where}" if selection.where else ""
    [(rows,)] = _query(db, f"SELECT count(*) FROM {selection.relation}{where}", selection)
    return int(rows)


def range_sums(
    db: MySQLPort, selection: Selection, types: Sequence[str], ranges: Sequence[KeyRange], *, canonical: bool
) -> list[RangeSum]:
    """Checksum each range; one short statement a range where an index serves it, otherwise one for all of them."""
    if parsed(types, canonical=canonical):
        return [_parsed_sum(db, selection, types, each) for each in ranges]
    parts = key_ranges.key_parts(db, selection)
    if len(ranges) > 1 and not all(part.bytewise for part in parts) and adapter_helpers.contiguous(ranges):
        return _all_in_one(db, selection, types, ranges)
    found = []
    for each in ranges:
        where = key_ranges.condition(db, selection, each)
        hashing = row_hash(db, selection, types)
        sql = f"SELECT {_SUMS} FROM (SELECT {hashing} AS h FROM {selection.relation} WHERE {where}) AS hashed"
        found.append(_sum_of(selection, _query(db, sql, selection)[0]))
    return found


# Each use of h computes it again, so it is used once: a row without a hash counts 2^128, more than all hashes together.
_LOST = 1 << 128
_SUMS = f"count(*), coalesce(sum(coalesce(cast(conv(left(h, 16), 16, 10) AS unsigned), {_LOST})), 0)"


def _sum_of(selection: Selection, row: Sequence[Any]) -> RangeSum:
    rows, digest = row
    lost, digest = divmod(int(digest), _LOST)
    if lost:
        raise DatabaseError(
            f"checksum of {selection.relation}",
            f"{lost} row(s) are longer than the server's max_allowed_packet",
            action="SET GLOBAL max_allowed_packet = 1073741824",
        )
    return RangeSum(int(rows), str(int(digest)))


def _all_in_one(
    db: MySQLPort, selection: Selection, types: Sequence[str], ranges: Sequence[KeyRange]
) -> list[RangeSum]:
    number, whole = adapter_helpers.numbered_ranges(selection, ranges, partial(key_ranges.condition, db))
    where = key_ranges.condition(db, selection, whole)
    inner = f"SELECT {row_hash(db, selection, types)} AS h, {number} AS r"
    sql = f"SELECT r, {_SUMS} FROM ({inner} FROM {selection.relation} WHERE {where}) AS hashed GROUP BY r"
    sums = {int(index): _sum_of(selection, row) for index, *row in _query(db, sql, selection)}
    return [sums.get(index, RangeSum(0, "0")) for index in range(len(ranges))]


def bucket_sums(
    db: MySQLPort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    count: int,
    *,
    canonical: bool,
    within: Buckets | None = None,
) -> dict[int, RangeSum]:
    """Checksum a range by buckets of its keys, in one pass; without a key, by the last bits of the rows' hashes."""
    if parsed(types, canonical=canonical):
        return _parsed_sums(db, selection, types, key_range, count, within)
    selection = _chosen(db, selection, types, within)
    bucket = _bucket(db, selection, types, count)
    where = key_ranges.condition(db, selection, key_range)
    inner = f"SELECT {row_hash(db, selection, types)} AS h, {bucket} AS r FROM {selection.relation} WHERE {where}"
    sql = f"SELECT r, {_SUMS} FROM ({inner}) AS hashed GROUP BY r"
    return {int(index): _sum_of(selection, row) for index, *row in _query(db, sql, selection)}


def _bucket(db: MySQLPort, selection: Selection, types: Sequence[str], count: int) -> str:
    """SQL of `values.bucket_of`; without a key, of the row's hash."""
    if not selection.key:
        return f"(CAST(CONV(SUBSTR({row_hash(db, selection, types)}, 9, 8), 16, 10) AS unsigned) & {count - 1})"
    written = dict(zip(selection.columns, types, strict=True))
    parts = key_ranges.key_parts(db, selection)
    kinds = [written.get(sql, part.type) for sql, part in zip(selection.key, parts, strict=True)]
    if values.integer_key(kinds):
        return f"({selection.key[0]} & {count - 1})"
    key = Selection(selection.relation, (), selection.key)
    return f"(CAST(CONV(SUBSTR({row_hash(db, key, kinds)}, 1, 8), 16, 10) AS unsigned) & {count - 1})"


def _chosen(db: MySQLPort, selection: Selection, types: Sequence[str], within: Buckets | None) -> Selection:
    """The rows of these buckets."""
    if within is None:
        return selection
    chosen = f"{_bucket(db, selection, types, within.count)} IN ({listed([str(each) for each in within.chosen])})"
    return adapter_helpers.also(selection, chosen)


def row_sums(
    db: MySQLPort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    *,
    canonical: bool,
    within: Buckets | None = None,
) -> dict[tuple[Any, ...], str]:
    """The hash of each row of a small range by its key; without a key: (hash,) → how many rows have it."""
    if not selection.key:
        return _counted(db, selection, types, key_range, within, canonical=canonical)
    selection = _chosen(db, selection, types, within)
    parts = key_ranges.key_parts(db, selection)
    written = dict(zip(selection.columns, types, strict=True))
    numbered = [written.get(part.expression, part.type) in _NUMBERED for part in parts]
    if parsed(types, canonical=canonical):
        found = parsed_rows(db, selection, types, key_range, [part.expression for part in parts])
    else:
        out = [neutral_text.render(part.expression, part.type, escaped=False) for part in parts]
        where = key_ranges.condition(db, selection, key_range)
        sql = f"SELECT {listed([*out, row_hash(db, selection, types)])} FROM {selection.relation} WHERE {where}"
        found = ((tuple(map(key_ranges.as_text, row[:-1])), hash_of(row[-1])) for row in _query(db, sql, selection))
    return {
        tuple(int(v) if number and v is not None else v for v, number in zip(key, numbered, strict=True)): digest
        for key, digest in found
    }


def _counted(
    db: MySQLPort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    within: Buckets | None,
    *,
    canonical: bool,
) -> dict[tuple[Any, ...], str]:
    if parsed(types, canonical=canonical):
        hashes = (digest for _, digest in parsed_rows(db, selection, types, key_range, ()))
        counted = Counter(digest for digest in hashes if _hash_within(digest, within))
        return {(digest,): str(number) for digest, number in counted.items()}
    selection = _chosen(db, selection, types, within)
    where, hashing = key_ranges.condition(db, selection, key_range), row_hash(db, selection, types)
    sql = f"SELECT LEFT({hashing}, 16) AS h, count(*) FROM {selection.relation} WHERE {where} GROUP BY 1"
    return {(hash_of(digest),): str(number) for digest, number in _query(db, sql, selection)}


def _hash_within(digest: str, within: Buckets | None) -> bool:
    return within is None or values.hash_bucket(digest, within.count) in within.chosen


def hash_of(value: Any) -> str:
    """The sixteen digits of a row's hash that count."""
    return str(key_ranges.as_text(value))[:16]


def parsed(types: Sequence[str], *, canonical: bool) -> bool:
    """Whether rows are hashed here, and not by the server: those with JSON."""
    return canonical and any(canonical_type(each).tag == values.JSON for each in types)


def _parsed_sum(db: MySQLPort, selection: Selection, types: Sequence[str], key_range: KeyRange) -> RangeSum:
    hashes = [digest for _, digest in parsed_rows(db, selection, types, key_range, ())]
    return RangeSum(len(hashes), values.digest_of(hashes))


def _parsed_sums(
    db: MySQLPort, selection: Selection, types: Sequence[str], key_range: KeyRange, count: int, within: Buckets | None
) -> dict[int, RangeSum]:
    """By buckets; without a key each row's follows from the hash computed here."""
    hashes: dict[int, list[str]] = {}
    if selection.key:
        selection = _chosen(db, selection, types, within)
        bucket = (_bucket(db, selection, types, count),)
        for (index,), digest in parsed_rows(db, selection, types, key_range, bucket):
            hashes.setdefault(int(index), []).append(digest)
    else:
        for _, digest in parsed_rows(db, selection, types, key_range, ()):
            if _hash_within(digest, within):
                hashes.setdefault(values.hash_bucket(digest, count), []).append(digest)
    return {index: RangeSum(len(each), values.digest_of(each)) for index, each in hashes.items()}


def parsed_rows(
    db: MySQLPort, selection: Selection, types: Sequence[str], key_range: KeyRange, key: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Key and hash of each row, computed here from the neutral text."""
    wide = Selection(selection.relation, selection.key, (*key, *selection.columns), selection.where)
    width = len(key)
    zoned = {i + width for i, each in enumerate(types) if canonical_type(each).tag == values.LOCAL}
    for row in copy_text.decode(copy_out(db, wide, key_range, binary=False)):
        told = [v.removesuffix("+00") if i in zoned and v else v for i, v in enumerate(row)]
        yield row[:width], values.row_hash(told[width:], types)


def row_hash(db: MySQLPort, selection: Selection, types: Sequence[str]) -> str:
    """SQL of `values.row_hash`: all of its hexadecimal digits, of which sixteen count."""
    fields = []
    for sql, (own, collation), written in zip(selection.columns, _facts(db, selection), types, strict=True):
        kind = canonical_type(written)
        shown = sql if _utf8_text(own, collation, kind) else canonical_sql(sql, own, kind)
        told = f"LENGTH({shown}), ':', {shown}" if kind.tag in values.MEASURED else f"{shown}, ';'"
        # A text over max_allowed_packet must make the hash NULL, not look like one; short ones are rendered once.
        long = kind.tag in (*values.MEASURED, values.BYTES)
        whole = f"CONCAT('{kind.tag}', {told})"
        fields.append(f"IF({sql} IS NULL, '-', {whole})" if long else f"COALESCE({whole}, '-')")
    # Binary: bytes as they are, whatever the columns' collations.
    return f"sha2(concat(_binary'', {listed(fields)}), 256)"


def _facts(db: MySQLPort, selection: Selection) -> tuple[tuple[str, str], ...]:
    """Type and collation of each column, looked up once a selection."""
    asked = ("facts", selection.relation, selection.columns)
    if asked not in db.memo:
        db.memo[asked] = catalog.expression_facts(db, selection.relation, selection.columns)
    found: tuple[tuple[str, str], ...] = db.memo[asked]
    return found


def _utf8_text(own: str, collation: str, kind: CanonicalType) -> bool:
    """A text whose stored bytes are its canonical text: converting it would cost a third of the row's time."""
    text = kind_of(own).name in ("varchar", "tinytext", "text", "mediumtext", "longtext")
    return text and kind.tag == values.TEXT and not kind.padded and collation.startswith(("utf8", "ascii"))


def canonical_sql(sql: str, own: str, kind: CanonicalType) -> str:
    """SQL of `values.canonical_text` for an expression of type `own` that is written as `kind`."""
    read = kind_of(own)
    if kind.tag == values.NUMBER:
        return _number(sql, read, kind)
    if kind.tag == values.FLOAT:
        single = kind.name in ("real", "float") and read.name != "float"
        wide = f"(CAST({sql} AS float) + 0e0)" if single else f"({sql} + 0e0)"
        return f"LOWER(HEX(REVERSE(SUBSTR(ST_AsBinary(POINT({wide}, 0)), 6, 8))))"
    if kind.tag == values.BYTES:
        return f"LOWER(HEX({sql}))"
    if kind.tag == values.BOOLEAN:
        return f"({sql} + 0)"
    if kind.tag == values.DATE:
        return sql if read.name == "date" else f"CAST({sql} AS date)"
    if kind.tag in (values.TIME, values.LOCAL, values.INSTANT):
        moment = f"CAST({sql} AS datetime)" if read.name == "date" else sql
        return _short(moment) if read.size else moment
    if kind.tag == values.UUID and read.name == "binary":
        hexed = f"LOWER(HEX({sql}))"
        pieces = [f"SUBSTR({hexed}, {start}, {size})" for start, size in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))]
        return f"CONCAT_WS('-', {listed(pieces)})"
    if kind.tag == values.UUID:
        return f"LOWER(CAST({sql} AS CHAR))"
    text = neutral_text.render(sql, own, escaped=False)
    return f"TRIM(TRAILING ' ' FROM {text})" if kind.padded else text


def _short(sql: str) -> str:
    """Text without zeros at the end of its fraction. Of bytes: to trim characters costs 180 ns more a value."""
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({sql} AS BINARY)))"


def _number(sql: str, read: neutral_text.Kind, kind: CanonicalType) -> str:
    if read.integer:
        return f"({sql} + 0)"
    if kind.name in ("numeric", "decimal"):
        if read.text.partition(" ")[0] == f"decimal({','.join(map(str, kind.modifiers))})" and kind.modifiers[-1]:
            return _short(sql)  # its own scale already
        scale = kind.modifiers[1] if len(kind.modifiers) > 1 else 0 if kind.modifiers else 30
        sql = f"CAST({sql} AS decimal(65, {min(scale, 30)}))"
        return _short(sql) if scale else sql
    return f"CAST({sql} AS decimal(65, 0))"


def _query(db: MySQLPort, sql: str, selection: Selection) -> list[tuple[Any, ...]]:
    try:
        with db.raw() as driver, driver.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())
    except pymysql.MySQLError as error:
        raise db.explain(error, f"computing checksums of {selection.relation}") from error
