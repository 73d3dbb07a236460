"""Checksums inside the database: a sum of 64-bit row hashes per key range, with the count of rows.

PostgreSQL's `hash_record` alone is not fit for this. It is linear in the columns' hashes, so the sum over rows does
not change when two rows swap a value; numeric's hash ignores the sign and holds NaN for Infinity, bigint's folds 1
onto 2^32, an array's ignores its dimensions, an enum's is its OID. Our own row hash (`own_hash`) calls the server's
hash functions for each column in a form whose hash is exact, and mixes them: it is also faster than making a record
of them. Figures in docs/canonical-values.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from runbook_lib.databases import adapter_helpers
from runbook_lib.databases import canonical as values
from runbook_lib.databases.canonical import CanonicalType, canonical_type
from runbook_lib.databases.port import Buckets, KeyRange, RangeSum, Selection
from runbook_lib.databases.postgresql import connection
from runbook_lib.databases.postgresql import ranges as key_ranges
from runbook_lib.databases.postgresql.row_hash import as_text, own_hash
from runbook_lib.databases.postgresql.table_facts import INTEGERS, as_key, listed

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql.adapter_port import PostgreSQLPort

BYTES_AS_NUMBERS = 18  # the first version that casts bytea to bigint
# Strings first, so that digits in them are left alone; then zeros at the end of a fraction, or all of it.
_JSON_ZEROS = r"""("([^"\\]|\\.)*")|(\.[0-9]*[1-9])0+(?![0-9])|\.0+(?![0-9])"""


def count(db: PostgreSQLPort, selection: Selection) -> int:
    """The rows of a selection."""
    where = f" WHERE {selection.where}" if selection.where else ""
    [(rows,)] = _query(db, f"SELECT count(*) FROM {selection.relation}{where}", selection)
    return int(rows)


def range_sums(
    db: PostgreSQLPort, selection: Selection, types: Sequence[str], ranges: Sequence[KeyRange], *, canonical: bool
) -> list[RangeSum]:
    """Checksum each range; one short statement a range where an index serves it, otherwise one for all of them.

    Callers run both sides, and parts of the ranges, in threads.
    """
    parts = key_ranges.key_parts(db, selection)
    if len(ranges) > 1 and not all(part.bytewise for part in parts) and adapter_helpers.contiguous(ranges):
        return _grouped_sums(db, selection, types, ranges, canonical=canonical)
    sums = _sums(canonical=canonical)
    found = []
    for key_range in ranges:
        rows = hashed(db, selection, types, key_range, (), canonical=canonical)
        found += _query(db, f"SELECT count(*), {sums} FROM {rows}", selection)
    return [RangeSum(rows, digest) for rows, digest in found]


def small_sums(
    db: PostgreSQLPort, asked: Sequence[tuple[Selection, Sequence[str]]], *, canonical: bool
) -> list[RangeSum]:
    """See Database.small_sums: one statement, one snapshot."""
    sums, whole = _sums(canonical=canonical), KeyRange(0)
    each = [
        f"SELECT {number}, count(*), {sums} FROM {hashed(db, selection, types, whole, (), canonical=canonical)}"
        for number, (selection, types) in enumerate(asked)
    ]
    found = {
        number: RangeSum(rows, digest) for number, rows, digest in _query(db, " UNION ALL ".join(each), asked[0][0])
    }
    return [found[number] for number in range(len(each))]


def _grouped_sums(
    db: PostgreSQLPort, selection: Selection, types: Sequence[str], ranges: Sequence[KeyRange], *, canonical: bool
) -> list[RangeSum]:
    """All ranges in one pass: without an index each range would cost a scan of the table."""
    bucket, whole = adapter_helpers.numbered_ranges(selection, ranges, partial(key_ranges.condition, db))
    rows = hashed(db, selection, types, whole, (f"{bucket} AS bucket",), canonical=canonical)
    found = _query(db, f"SELECT bucket, count(*), {_sums(canonical=canonical)} FROM {rows} GROUP BY bucket", selection)
    sums = {index: RangeSum(rows, digest) for index, rows, digest in found}
    return [sums.get(index, RangeSum(0, "0")) for index in range(len(ranges))]


def bucket_sums(
    db: PostgreSQLPort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    count: int,
    *,
    canonical: bool,
    within: Buckets | None = None,
) -> dict[int, RangeSum]:
    """Checksum a range by buckets of its keys, in one pass; without a key, by the last bits of the rows' hashes."""
    selection, chosen = _chosen(db, selection, types, within, canonical=canonical)
    bucket = _bucket(db, selection, types, count, canonical=canonical)
    rows = hashed(
        db, selection, types, key_range, (f"{bucket} AS bucket",) if selection.key else (), canonical=canonical
    )
    # OFFSET 0: the planner knows nothing of its columns then, expects few groups and hashes them. It would sort.
    alone = rows if canonical else f"(SELECT * FROM {rows} OFFSET 0) AS each"
    shown = "bucket" if selection.key else bucket
    sql = f"SELECT {shown}, count(*), {_sums(canonical=canonical)} FROM {alone}{chosen} GROUP BY 1"
    return {int(index): RangeSum(rows, digest) for index, rows, digest in _query(db, sql, selection)}


def _bucket(db: PostgreSQLPort, selection: Selection, types: Sequence[str], count: int, *, canonical: bool) -> str:
    """SQL of `values.bucket_of`; where both sides hash records alike, of a cheaper hash. Without a key, of `h`."""
    if not selection.key:
        return f"(h & {count - 1})"
    kinds = _key_kinds(db, selection, types)
    if values.integer_key(kinds):
        return f"(CAST({selection.key[0]} AS bigint) & {count - 1})"
    if not canonical:
        return f"({own_hash(selection.key, kinds, _version(db))} & {count - 1})"
    keys = [canonical_type(kind) for kind in kinds]
    fields = zip([_canonical(s, k, t) for s, k, t in zip(selection.key, keys, kinds, strict=True)], keys, strict=True)
    digest = _digest(list(fields), 4, utf8=_is_utf8(db))
    return f"({_bits(digest)}::bit(32)::bigint & {count - 1})"


def _chosen(
    db: PostgreSQLPort, selection: Selection, types: Sequence[str], within: Buckets | None, *, canonical: bool
) -> tuple[Selection, str]:
    """A selection of these buckets' rows; without a key they are known by their hash only, outside of it."""
    if within is None:
        return selection, ""
    bucket = _bucket(db, selection, types, within.count, canonical=canonical)
    chosen = f"{bucket} IN ({listed([str(each) for each in within.chosen])})"
    if not selection.key:
        return selection, f" WHERE {chosen}"
    return adapter_helpers.also(selection, chosen), ""


def row_sums(
    db: PostgreSQLPort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    *,
    canonical: bool,
    within: Buckets | None = None,
) -> dict[tuple[Any, ...], str]:
    """The hash of each row of a small range by its key; without a key: (hash,) → how many rows have it."""
    selection, chosen = _chosen(db, selection, types, within, canonical=canonical)
    shown = shown_hash(canonical=canonical)
    if not selection.key:
        rows = hashed(db, selection, types, key_range, (), canonical=canonical)
        sql = f"SELECT {shown}, count(*)::text FROM {rows}{chosen} GROUP BY 1"
        return {(digest,): number for digest, number in _query(db, sql, selection)}
    kinds = _key_kinds(db, selection, types)
    pairs = zip(selection.key, kinds, strict=True)
    typed = [f"CAST({sql} AS {kind})" if kind in INTEGERS else as_key(sql, kind) for sql, kind in pairs]
    key = [f"{sql} AS k{i}" for i, sql in enumerate(typed)]
    rows = hashed(db, selection, types, key_range, key, canonical=canonical)
    names = listed([f"k{i}" for i in range(len(key))])
    return {tuple(row[:-1]): row[-1] for row in _query(db, f"SELECT {names}, {shown} FROM {rows}", selection)}


def shown_hash(*, canonical: bool) -> str:
    """SQL of the hash `h` as the port gives it."""
    return "lpad(to_hex(h), 16, '0')" if canonical else "h::text"


def _key_kinds(db: PostgreSQLPort, selection: Selection, types: Sequence[str]) -> list[str]:
    """The written type of each key expression, so that both sides give a key in the same form."""
    written = dict(zip(selection.columns, types, strict=True))
    return [
        written.get(part, found.type)
        for part, found in zip(selection.key, key_ranges.key_parts(db, selection), strict=True)
    ]


def hashed(
    db: PostgreSQLPort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    more: Sequence[str],
    *,
    canonical: bool,
) -> str:
    """A sub-select with the hash `h` of each row, and more columns."""
    where = key_ranges.condition(db, selection, key_range)
    if not canonical:
        row_hash = own_hash(selection.columns, types, _version(db), selection.never_null)
        return f"(SELECT {listed([f'{row_hash} AS h', *more])} FROM {selection.relation} WHERE {where}) AS hashed"
    kinds = [canonical_type(each) for each in types]
    fields = [f"{_canonical(sql, k, t)} AS c{i}" for i, (sql, k, t) in enumerate(_zip(selection, kinds, types))]
    # OFFSET 0: the renderings are computed once each, not once for each use; 2.8 times faster.
    inner = f"SELECT {listed([*fields, *more])} FROM {selection.relation} WHERE {where} OFFSET 0"
    taken = [column.rpartition(" AS ")[2] for column in more]
    row_hash = _row_hash(kinds, utf8=_is_utf8(db), version=_version(db))
    return f"(SELECT {listed([f'{row_hash} AS h', *taken])} FROM ({inner}) AS c OFFSET 0) AS hashed"


def _zip(
    selection: Selection, kinds: Sequence[CanonicalType], types: Sequence[str]
) -> list[tuple[str, CanonicalType, str]]:
    return list(zip(selection.columns, kinds, types, strict=True))


def _sums(*, canonical: bool) -> str:
    if not canonical:
        return "coalesce(sum(h), 0)::text"
    # The hash is unsigned, bigint is not: each negative one is 2^64 short.
    return "(coalesce(sum(h), 0) + 18446744073709551616 * count(*) FILTER (WHERE h < 0))::text"


def _canonical(sql: str, kind: CanonicalType, type_text: str) -> str:
    """SQL of `values.canonical_text`."""
    if kind.tag == values.NUMBER:
        if kind.name in ("numeric", "decimal"):
            own = type_text.lower().replace(" unsigned", "")  # a MySQL table is the written one
            return f"trim_scale(CAST({sql} AS {own}))::text"
        wide = "numeric" if "unsigned" in type_text.lower() else "bigint"
        return f"CAST(CAST({sql} AS {wide}) AS text)"
    if kind.tag == values.FLOAT:
        own = "real" if kind.name in ("real", "float") else "double precision"
        number = f"coalesce(nullif(CAST(CAST({sql} AS {own}) AS double precision), 'NaN'), CASE WHEN {sql} IS NOT NULL"
        return f"encode(float8send({number} THEN 'NaN'::double precision END) + 0.0::double precision), 'hex')"
    if kind.tag == values.BYTES:
        return f"encode(CAST({sql} AS bytea), 'hex')"
    if kind.tag == values.BOOLEAN:
        return f"CAST(CAST(CAST({sql} AS boolean) AS integer) AS text)"
    if kind.tag == values.INSTANT:
        return f"CAST(CAST({sql} AS {type_text}) AT TIME ZONE 'UTC' AS text)"
    if kind.tag in (values.LOCAL, values.DATE, values.TIME, values.UUID):
        own = type_text.replace("datetime", "timestamp")
        return f"CAST(CAST({sql} AS {own}) AS text)"
    if kind.tag == values.JSON:
        return f"regexp_replace(CAST(CAST({sql} AS jsonb) AS text), '{_JSON_ZEROS}', '\\1\\3', 'g')"
    return as_text(sql, kind, type_text)


def _row_hash(kinds: Sequence[CanonicalType], *, utf8: bool, version: int) -> str:
    """SQL of `values.row_hash` over the rendered columns c0, c1, …"""
    digest = _digest([(f"c{i}", kind) for i, kind in enumerate(kinds)], 8, utf8=utf8)
    if version >= BYTES_AS_NUMBERS:  # an eighth of the row's time less
        return f"CAST({digest} AS bigint)"
    return f"{_bits(digest)}::bit(64)::bigint"


def _bits(sql: str) -> str:
    return f"('x' || encode({sql}, 'hex'))"


def _digest(rendered: Sequence[tuple[str, CanonicalType]], size: int, *, utf8: bool) -> str:
    """The first bytes (`size`, count) of SHA-256 of the canonical row of these rendered values."""
    fields = []
    for sql, kind in rendered:
        length = f"octet_length({sql})" if utf8 else f"octet_length(convert_to({sql}, 'UTF8'))"
        told = f"{length} || ':' || {sql}" if kind.tag in values.MEASURED else f"{sql} || ';'"
        fields.append(f"coalesce('{kind.tag}' || {told}, '-')")
    # `||` takes a tenth less time than concat(), but copies what is there at each step; a function takes 100 arguments.
    few = [" || ".join(fields[start : start + 8]) for start in range(0, len(fields), 8)]
    row = " || ".join(f"concat({listed(few[start : start + 99])})" for start in range(0, len(few), 99))
    return f"substr(sha256(convert_to({few[0] if len(few) == 1 else row}, 'UTF8')), 1, {size})"


def _version(db: PostgreSQLPort) -> int:
    """The server's major version, which the connection knows."""
    if "version" not in db.memo:
        with db.raw() as driver:
            db.memo["version"] = driver.info.server_version // 10000
    return int(db.memo["version"])


def _is_utf8(db: PostgreSQLPort) -> bool:
    if "encoding" not in db.memo:
        db.memo["encoding"] = db.rows("SELECT current_setting('server_encoding')")[0][0]
    return bool(db.memo["encoding"] == "UTF8")


def _query(db: PostgreSQLPort, sql: str, selection: Selection) -> list[tuple[Any, ...]]:
    try:
        with db.raw() as driver:
            return driver.execute(sql.encode()).fetchall()
    except psycopg.Error as error:
        raise connection.explain(db.name, error, f"computing checksums of {selection.relation}") from error
