"""The server's own hash of a row: exact, and cheaper than a record's.

Each column is hashed by its type's function with a seed of the column's own, NULL is a number of the column's own,
and the numbers are combined by xor. As xor is linear, the result goes once more through a hash: rows that swap a value
do not have the sum of hashes that they had before. The forms are those whose hash is exact (`_hashed`).

Two whole numbers that are never NULL need no hash of their own: the last hash takes one in its seed, one as its value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from runbook_lib.databases import canonical
from runbook_lib.databases.canonical import CanonicalType, canonical_type
from runbook_lib.databases.postgresql.table_facts import INTEGERS

_SENT = {  # types whose own hash folds 64 bits to 32 or calls different values equal: the binary form is hashed
    "numeric": "numeric_send",
    "decimal": "numeric_send",
    "timestamp without time zone": "timestamp_send",
    "timestamp with time zone": "timestamptz_send",
    "time without time zone": "time_send",
    "time with time zone": "timetz_send",
    "interval": "interval_send",
    "money": "cash_send",
    "date": "date_send",
}
_SINCE = {  # seconds between two instants as a float, by value: sooner than the binary form, five times before 18
    "timestamp without time zone": "tsrange_subdiff",
    "timestamp with time zone": "tstzrange_subdiff",
}
MILLISECONDS = 3  # digits of a second; so many make all instants before 2200 differ as floats
HASHES_BYTES = 18  # the first version whose SQL can hash bytea and date by themselves
# Columns combined by xor before the next hash. Numbers that stand for NULL, true and false are fixed: of so few
# columns no choice of them cancels out (a test proves it), of a hundred some would.
TOGETHER = 16


def own_hash(columns: Sequence[str], types: Sequence[str], version: int, never_null: Collection[str] = ()) -> str:
    """SQL of a row's hash (bigint); alike on two servers of one major version.

    Args:
        columns: Expressions.
        types: The written types: the choice follows from them alone, so that both sides choose alike.
        version: The server's major version.
        never_null: Those of the columns that are of exactly these types and hold no NULL; where one does, the row is
            hashed without knowing.
    """
    every = [_part(*column, number, version) for number, column in enumerate(zip(columns, types, strict=True))]
    names = [canonical_type(each).name for each in types]
    whole = [number for number, sql in enumerate(columns) if sql in never_null and names[number] in INTEGERS]
    if not whole:
        return _mixed(every, "0")
    value = next((number for number in whole if names[number] != "bigint"), None)
    seed = next((number for number in whole if number != value), None)
    parts = [part for number, part in enumerate(every) if number not in (value, seed)]
    if seed is not None:
        parts.insert(0, f"CAST({columns[seed]} AS bigint)")
    quick = _mixed(parts, "0" if value is None else f"CAST({columns[value]} AS integer)")
    return f"coalesce({quick}, {_mixed(every, '0')})"


def constant(*what: object) -> int:
    """A fixed 64-bit number (signed) of this name."""
    digest = hashlib.sha256(" ".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _mixed(parts: Sequence[str], value: str) -> str:
    """The parts by xor as the seed of a hash of `value`; of many parts, sixteen at a time."""
    mixed = f"hashint4extended({value}, {' # '.join(parts[:TOGETHER]) or 0})"
    for start in range(TOGETHER, len(parts), TOGETHER):
        mixed = f"hashint4extended({start}, {' # '.join([mixed, *parts[start : start + TOGETHER]])})"
    return mixed


def _part(sql: str, type_text: str, number: int, version: int) -> str:
    """A column as a bigint, NULL or not."""
    kind, null = canonical_type(type_text), constant(number, "null")
    if kind.tag == canonical.BOOLEAN:
        true, false = f"CAST({sql} AS boolean)", constant(number, "false")
        return f"CASE WHEN {true} THEN {constant(number, 'seed')} WHEN NOT {true} THEN {false} ELSE {null} END"
    return f"coalesce({_hashed(sql, kind, type_text, number, version)}, {null})"


def _hashed(sql: str, kind: CanonicalType, type_text: str, number: int, version: int) -> str:
    """A column's hash, NULL of NULL.

    -0.0 and 0.0 are the same float, and so is every NaN; texts are hashed as bytes, whatever their collation calls
    equal; an enum's own hash is its OID, an array's ignores its dimensions: their text is hashed. A number's hash is
    that of its digits by xor with its magnitude, which would meet a neighbour's, or a key in the seed: it is hashed
    once more, with the sign.
    """
    seed, typed = constant(number, "seed"), f"CAST({sql} AS {type_text})"
    if kind.name in INTEGERS:  # bigint's own hash folds 64 bits to 32; as a seed all of them count
        return f"hashint4extended({number}, CAST({sql} AS bigint) # {seed})"
    if kind.tag == canonical.UUID:
        return f"uuid_hash_extended(CAST({sql} AS uuid), {seed})"
    if kind.tag == canonical.FLOAT:
        return f"hashfloat8extended(CAST({typed} AS double precision), {seed})"
    if kind.name in _SINCE and kind.modifiers and kind.modifiers[0] <= MILLISECONDS:
        return _hashed_instant(typed, kind.name, seed, f"< {_instant(kind.name, 2200)}")
    if version >= HASHES_BYTES:
        if kind.tag == canonical.DATE:
            return f"hashdateextended({typed}, {seed})"
        if kind.name == "bytea" or kind.name in _SENT:
            return f"hashbyteaextended({f'{_SENT[kind.name]}({typed})' if kind.name in _SENT else typed}, {seed})"
        return _hashed_text(as_text(sql, kind, type_text), seed)
    if kind.name in _SINCE:
        within = f"BETWEEN {_instant(kind.name, 1800)} AND {_instant(kind.name, 2200)}"
        return _hashed_instant(typed, kind.name, seed, within)
    if kind.name == "bytea":  # an array of one is hashed as what is in it
        return f"CASE WHEN {sql} IS NOT NULL THEN hash_array_extended(ARRAY[{typed}], {seed}) END"
    if kind.tag == canonical.NUMBER and kind.modifiers:  # one scale and no infinity: its own hash lacks but the sign
        return f"hashint4extended(CASE WHEN {typed} < 0 THEN 1 ELSE 0 END, hash_numeric_extended({typed}, {seed}))"
    if kind.tag == canonical.NUMBER:  # the text holds what the binary form does, and is made sooner
        return _hashed_text(f"CAST({typed} AS text)", seed)
    if kind.name in _SENT:
        return _hashed_text(f"encode({_SENT[kind.name]}({typed}), 'hex')", seed)
    return _hashed_text(as_text(sql, kind, type_text), seed)


def _hashed_text(sql: str, seed: int) -> str:
    return f'hashtextextended({sql} COLLATE "C", {seed})'


def _instant(name: str, year: int) -> str:
    return f"timestamptz '{year}-01-01+00'" if name == "timestamp with time zone" else f"timestamp '{year}-01-01'"


def _hashed_instant(typed: str, name: str, seed: int, within: str) -> str:
    """A timestamp as seconds since 2000 where all differ as floats: microseconds for 272 years both ways (2^33 s)."""
    seconds = f"{_SINCE[name]}({typed}, {_instant(name, 2000)})"
    sent = _hashed_text(f"encode({_SENT[name]}({typed}), 'hex')", seed)
    return f"CASE WHEN {typed} {within} THEN hashfloat8extended({seconds}, {seed}) ELSE {sent} END"


def as_text(sql: str, kind: CanonicalType, type_text: str) -> str:
    """Text form; only types that exist on every server are cast to first, since an enum may be this side's own."""
    if kind.padded:
        return f"CAST(CAST({sql} AS bpchar) AS text)"
    return f"CAST(CAST({sql} AS {type_text}) AS text)" if kind.tag == canonical.JSON else f"CAST({sql} AS text)"
