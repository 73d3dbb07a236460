"""Checksums inside the database: SQL functions on the connection hash each row, SQLite sums and groups.

The canonical hash is the reference of `databases/canonical.py` itself, over the neutral text of each value. SQLite's
own hash (two SQLite databases) takes the stored values with their storage classes: 1 and '1' differ there.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from runbook_lib.databases import canonical as values
from runbook_lib.databases.as_stored import AsStored
from runbook_lib.databases.canonical import both_decimal, canonical_text, canonical_type
from runbook_lib.databases.port import Buckets, KeyRange, RangeSum, Selection
from runbook_lib.databases.sqlite import ranges as key_ranges
from runbook_lib.databases.sqlite.catalog import is_column, kinds
from runbook_lib.databases.sqlite.copy import locate
from runbook_lib.databases.sqlite.stored import any_text, key_form
from runbook_lib.databases.sqlite.types import INTEGERS, IncompatibleValue, as_single, renderer

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

Hash = Callable[[Sequence[Any]], str]


def count(db: SQLitePort, selection: Selection) -> int:
    """The rows of a selection."""
    where = f" WHERE {selection.where}" if selection.where else ""
    with db.reading(f"counting {selection.relation}") as driver:
        return int(driver.execute(f"SELECT count(*) FROM {selection.relation}{where}").fetchone()[0])


def range_sums(
    db: SQLitePort, selection: Selection, types: Sequence[str], ranges: Sequence[KeyRange], *, canonical: bool
) -> list[RangeSum]:
    """Checksum each range, one short transaction a range.

    Raises:
        RowRejected: a value does not fit its declared type, so it has no canonical form.
    """
    row_hash = hash_of_rows(db, selection, types, canonical=canonical)
    found = []
    for key_range in ranges:
        rows = digest = 0
        for row in read_rows_of(db, selection, key_range, ()):
            rows, digest = rows + 1, digest + _hashed(db, selection, key_range, row_hash, row)
        found.append(RangeSum(rows, str(digest)))
    return found


def bucket_sums(
    db: SQLitePort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    count: int,
    *,
    canonical: bool,
    within: Buckets | None = None,
) -> dict[int, RangeSum]:
    """Checksum a range by buckets of its keys, in one pass; without a key, by the last bits of the rows' hashes."""
    found: dict[int, tuple[int, int]] = {}
    bucket = _bucket(db, selection, types, count)
    for key, row_hash in _within(db, selection, types, key_range, within, canonical=canonical):
        index = bucket(key) if key else row_hash & (count - 1)
        rows, digest = found.get(index, (0, 0))
        found[index] = rows + 1, digest + row_hash
    return {index: RangeSum(rows, str(digest)) for index, (rows, digest) in found.items()}


def _within(
    db: SQLitePort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    within: Buckets | None,
    *,
    canonical: bool,
) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Key as it is stored, and hash, of the rows of these buckets. A key's bucket spares its row the hash."""
    row_hash, width = hash_of_rows(db, selection, types, canonical=canonical), len(selection.columns)
    last = within.count - 1 if within is not None else 0
    chosen = frozenset(within.chosen if within is not None else (0,))
    bucket = _bucket(db, selection, types, last + 1)
    for row in read_rows_of(db, selection, key_range, selection.key):
        key = row[width:]
        if key and bucket(key) not in chosen:
            continue
        digest = _hashed(db, selection, key_range, row_hash, row[:width])
        if key or digest & last in chosen:
            yield key, digest


def _bucket(db: SQLitePort, selection: Selection, types: Sequence[str], count: int) -> Callable[[Sequence[Any]], int]:
    """`values.bucket_of` for the key as it is stored."""
    written = dict(zip(selection.columns, types, strict=True))
    found = kinds(db, selection.relation, selection.key)
    wanted = [written.get(sql, kind.type) for sql, kind in zip(selection.key, found, strict=True)]
    if values.integer_key(wanted):
        return lambda key: int(key[0]) & (count - 1) if isinstance(key[0], int) else 0
    only_key = Selection(selection.relation, (), selection.key, as_stored=selection.as_stored)
    key_hash = hash_of_rows(db, only_key, wanted, canonical=True)
    return lambda key: int(key_hash(key)[:8], 16) & (count - 1)


def row_sums(
    db: SQLitePort,
    selection: Selection,
    types: Sequence[str],
    key_range: KeyRange,
    *,
    canonical: bool,
    within: Buckets | None = None,
) -> dict[tuple[Any, ...], str]:
    """The hash of each row of a small range by its key; without a key: (hash,) → how many rows have it."""
    found = _within(db, selection, types, key_range, within, canonical=canonical)
    if not selection.key:
        counted = Counter(row_hash for _, row_hash in found)
        return {(f"{row_hash:016x}",): str(number) for row_hash, number in counted.items()}
    written = dict(zip(selection.columns, types, strict=True))
    key_kinds = kinds(db, selection.relation, selection.key)
    wanted = [written.get(sql, kind.type) for sql, kind in zip(selection.key, key_kinds, strict=True)]
    sums: dict[tuple[Any, ...], str] = {}
    if selection.as_stored:
        forms = [key_form(kind, selection.as_stored) for kind in key_kinds]
        return {tuple(f(v) for f, v in zip(forms, key, strict=True)): f"{row_hash:016x}" for key, row_hash in found}
    for key, row_hash in found:
        texts = [renderer(kind.type)(value) for kind, value in zip(key_kinds, key, strict=True)]
        named = tuple(int(t) if k in INTEGERS and t else t for t, k in zip(texts, wanted, strict=True))
        sums[named] = f"{row_hash:016x}"
    return sums


def read_rows_of(
    db: SQLitePort, selection: Selection, key_range: KeyRange, more: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """The rows of one range as they are stored, with more expressions behind the columns."""
    where, bound = key_ranges.condition(db, selection, key_range)
    listed = ", ".join((*selection.columns, *more))
    try:
        with db.raw() as driver:
            rows = partial(driver.execute, f"SELECT {listed} FROM {selection.relation} WHERE {where}", bound)
            done = 0
            try:
                for row in rows():
                    done += 1
                    yield row
            except sqlite3.OperationalError as error:  # text that is no UTF-8
                if not selection.as_stored or "decode" not in str(error):
                    raise
                with any_text(driver, selection):  # slower: only from here on; the same snapshot in the same order
                    yield from islice(rows(), done, None)
    except sqlite3.Error as error:
        doing = f"computing checksums of {selection.relation}"
        raise (locate(db, selection, where, bound) or db.explain(error, doing)) from error


def _hashed(db: SQLitePort, selection: Selection, key_range: KeyRange, row_hash: Hash, row: Sequence[Any]) -> int:
    try:
        return int(row_hash(row), 16)
    except IncompatibleValue as error:
        where, bound = key_ranges.condition(db, selection, key_range)
        raise (locate(db, selection, where, bound) or error) from error


def hash_of_rows(db: SQLitePort, selection: Selection, types: Sequence[str], *, canonical: bool) -> Hash:
    """The function from a row as it is stored to its hash."""
    if not canonical:
        return own_hash
    found = kinds(db, selection.relation, selection.columns)
    own = [is_column(sql) for sql in selection.columns]
    fields = [_field(kind.type, written, own=of) for kind, written, of in zip(found, types, own, strict=True)]
    marked = [_or_marked(one) for one in fields]

    def row_hash(row: Sequence[Any]) -> str:
        try:
            body = "".join([one(value) for one, value in zip(fields, row, strict=True)]).encode()
        except ValueError:
            if not selection.as_stored:
                raise
            body = "".join([one(value) for one, value in zip(marked, row, strict=True)]).encode(
                errors="surrogateescape"
            )
        return hashlib.sha256(body).hexdigest()[:16]

    return row_hash


def _field(stored: str, written: str, *, own: bool) -> Callable[[Any], str]:
    """A stored value as a field of the canonical row, as `values.encode_row` makes it.

    Args:
        own: The type is the column's own: what it has beyond that type is not rounded away.
    """
    if own and both_decimal(stored, written):
        return _decimal_field(stored, written)
    tag, render = canonical_type(written).tag, renderer(stored)
    same = canonical_type(stored).tag == tag  # otherwise the value must first show that it fits its own type
    plain_text = same and tag == values.TEXT and not canonical_type(written).padded
    plain_number = same and tag == values.NUMBER and not canonical_type(written).modifiers

    measured = tag in values.MEASURED
    single = tag == values.FLOAT and canonical_type(written).name in ("real", "float")

    def field(value: Any) -> str:
        if value is None:
            return "-"
        if plain_number and type(value) is int:  # the common cases at a third of the time
            text: str | None = str(value)
        elif plain_text and type(value) is str:
            text = value
        else:
            text = canonical_text(_single(render(value)) if single else render(value), written)
        if not measured:
            return f"{tag}{text};"
        size = len(text or "") if (text or "").isascii() else len((text or "").encode())
        return f"{tag}{size}:{text}"

    return field


def _or_marked(field: Callable[[Any], str]) -> Callable[[Any], str]:
    """The field, and of a value that the type does not have one that no value of any type has."""

    def marked(value: Any) -> str:
        try:
            return field(value)
        except ValueError:
            return f"!{AsStored(value)};"

    return marked


def _decimal_field(stored: str, written: str) -> Callable[[Any], str]:
    """A decimal of a column that promises no more than `stored`; most need no decimal arithmetic."""
    render, scale = renderer(stored), values.scale_of(canonical_type(written))

    def field(value: Any) -> str:
        text = render(value)
        if text is None:
            return "-"
        shown = text.rstrip("0").rstrip(".") if "." in text else text
        if len(shown.partition(".")[2]) > scale:
            shown = values.kept_digits(text, stored, written)
        return f"{values.NUMBER}{shown};"

    return field


def _single(text: str | None) -> float | None:
    """A single's text as the double that equals it: 0.1 is 0.10000000149011612 then."""
    return None if text is None else as_single(float(text))


def own_hash(row: Sequence[Any]) -> str:
    """The hash of stored values: storage class, length and bytes of each; negative zero as zero."""
    parts = []
    for value in row:
        if value is None:
            parts.append(b"-")
        elif isinstance(value, float):
            parts.append(b"f" + struct.pack(">d", value + 0.0))
        else:
            kind = b"i" if isinstance(value, int) else b"s" if isinstance(value, str) else b"x"
            body = value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")
            parts.append(b"%b%d:%b" % (kind, len(body), body))
    return hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()[:16]


def canonical_field(value: Any, stored: str, written: str) -> str:
    """The SQL function runbook_canonical: a value as a field of the canonical row, for an operator's queries."""
    return _field(stored, written, own=True)(value)


def register(driver: sqlite3.Connection) -> None:
    """Make the canonical encoding known to SQL on this connection."""
    driver.create_function("runbook_canonical", 3, canonical_field, deterministic=True)
    driver.create_function("runbook_unreadable", 1, unreadable, deterministic=True)
    driver.create_function("runbook_shown", 1, shown, deterministic=True)
    driver.create_function("runbook_folded", 1, folded, deterministic=True)
    driver.create_function("runbook_without_nul", 1, without_nul, deterministic=True)


def unreadable(value: Any) -> bool:
    """The SQL function runbook_unreadable: whether bytes are no UTF-8."""
    try:
        bytes(value or b"").decode()
    except UnicodeDecodeError:
        return True
    return False


def shown(value: bytes) -> str:
    """The SQL function runbook_shown: a text's bytes as a person may read them, whatever they are."""
    text = value.decode(errors="backslashreplace")
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def folded(value: Any) -> Any:
    """The SQL function runbook_folded: text without case and accents; SQLite's lower() knows ASCII only."""
    if not isinstance(value, str):
        return value
    bare = unicodedata.normalize("NFD", value)
    return "".join(c for c in bare if not unicodedata.combining(c)).casefold()


def without_nul(value: Any) -> Any:
    """The SQL function runbook_without_nul; SQLite's own replace() takes a NUL for the end of its pattern."""
    return value.replace("\0", "") if isinstance(value, str) else value
