"""The server's own hash of a row: exact, and cheaper than a record's.

Each column is hashed by its type's function with a seed of the column's own, NULL is a number of the column's own,
and the numbers are combined by xor. As xor is linear, the result goes once more through a hash: rows that swap a value
do not have the sum of hashes that they had before. The forms are those whose hash is exact (`_part`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from runbook_lib.databases import values
from runbook_lib.databases.postgresql.relations import INTEGERS
from runbook_lib.databases.values import CanonicalType, canonical_type

_SENT = {  # types whose own hash folds 64 bits to 32 or calls different values equal: the binary form is hashed
    "numeric": "numeric_send",
    "decimal": "numeric_send",
    "timestamp without time zone": "timestamp_send",
    "timestamp with time zone": "timestamptz_send",
    "time without time zone": "time_send",
    "time with time zone": "timetz_send",
    "interval": "interval_send",
    "money": "cash_send",
}
HASHES_BYTES = 18  # the first version whose SQL can hash bytea and date without a record around them
# Columns combined by xor before the next hash. Numbers that stand for NULL, true and false are fixed: of so few
# columns no choice of them cancels out (a test proves it), of a hundred some would.
TOGETHER = 16


def own_hash(columns: Sequence[str], types: Sequence[str], version: int) -> str:
    """SQL of a row's hash (bigint); alike on two servers of one major version.

    Args:
        columns: Expressions.
        types: The written types: the choice follows from them alone, so that both sides choose alike.
        version: The server's major version.
    """
    parts, recorded = [], []
    for number, (sql, type_text) in enumerate(zip(columns, types, strict=True)):
        exact = _part(sql, type_text, number, version)
        if exact is None:
            recorded.append(_bytes(sql, type_text))
        else:
            parts.append(exact)
    if recorded:
        parts.append(f"hash_record_extended(ROW({', '.join(recorded)}), {constant('record')})")
    mixed = ["0"]
    for start in range(0, len(parts), TOGETHER):
        mixed = [f"hashint4extended({start}, {' # '.join([*mixed, *parts[start : start + TOGETHER]])})"]
    return mixed[0]


def constant(*what: object) -> int:
    """A fixed 64-bit number (signed) of this name."""
    digest = hashlib.sha256(" ".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _part(sql: str, type_text: str, number: int, version: int) -> str | None:
    """A column as a bigint; None where this version can hash it only inside a record.

    -0.0 and 0.0 are the same float, and so is every NaN; texts are hashed as bytes, whatever their collation calls
    equal; an enum's own hash is its OID, an array's ignores its dimensions: their text is hashed.
    """
    kind, seed, null = canonical_type(type_text), constant(number, "seed"), constant(number, "null")
    if kind.tag == values.BOOLEAN:
        true, false = f"CAST({sql} AS boolean)", constant(number, "false")
        return f"CASE WHEN {true} THEN {seed} WHEN NOT {true} THEN {false} ELSE {null} END"
    if kind.name in INTEGERS:  # bigint's own hash folds 64 bits to 32; as a seed all of them count
        hashed = f"hashint4extended({number}, CAST({sql} AS bigint) # {seed})"
    elif kind.tag == values.UUID:
        hashed = f"uuid_hash_extended(CAST({sql} AS uuid), {seed})"
    elif kind.tag == values.FLOAT:
        hashed = f"hashfloat8extended(CAST(CAST({sql} AS {type_text}) AS double precision), {seed})"
    elif kind.name not in _SENT and kind.tag not in (values.BYTES, values.DATE):
        hashed = f'hashtextextended({as_text(sql, kind, type_text)} COLLATE "C", {seed})'
    elif version < HASHES_BYTES:
        return None
    else:
        function = "hashdateextended" if kind.tag == values.DATE else "hashbyteaextended"
        hashed = f"{function}({_bytes(sql, type_text)}, {seed})"
    return f"coalesce({hashed}, {null})"


def _bytes(sql: str, type_text: str) -> str:
    typed = f"CAST({sql} AS {type_text})"
    name = canonical_type(type_text).name
    return f"{_SENT[name]}({typed})" if name in _SENT else typed


def as_text(sql: str, kind: CanonicalType, type_text: str) -> str:
    """Text form; only types that exist on every server are cast to first, since an enum may be this side's own."""
    if kind.padded:
        return f"CAST(CAST({sql} AS bpchar) AS text)"
    return f"CAST(CAST({sql} AS {type_text}) AS text)" if kind.tag == values.JSON else f"CAST({sql} AS text)"
