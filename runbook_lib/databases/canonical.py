"""The canonical encoding of values and rows: the same bytes from every engine, so that hashes compare.

See docs/correctness.md#canonical-rows.
The reference implementation. Adapters render the same in SQL; docs/canonical-values.md is the published description.

    row    = field*                                 in the order of the columns
    field  = "-"                                    NULL
           | tag text ";"                           families whose text never holds a semicolon: nfxbdtlz
           | tag length ":" text                    the others, suoj; length: bytes of the text in UTF-8, decimal
    hash   = first 64 bits of SHA-256(row), big-endian, unsigned
    digest = sum of the rows' hashes, decimal       never xor: two equal rows would cancel; the row count goes with it
"""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import hashlib
import json
import re
import struct
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# One letter a family of types; a family, not a type: integer 5 and numeric 5.00 are the same number.
NUMBER, FLOAT, TEXT, BYTES, BOOLEAN, DATE, TIME, LOCAL, INSTANT, UUID, JSON, OTHER = "nfsxbdtlzujo"
MEASURED = (TEXT, UUID, JSON, OTHER)  # their text may hold anything, so its length goes before it

_FAMILIES: dict[str, tuple[str, ...]] = {
    NUMBER: ("smallint", "integer", "int", "bigint", "tinyint", "mediumint", "numeric", "decimal"),
    FLOAT: ("real", "double precision", "double", "float"),
    TEXT: ("text", "character varying", "varchar", "character", "char", "bpchar", "tinytext", "mediumtext", "longtext"),
    BYTES: ("bytea", "binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob"),
    BOOLEAN: ("boolean",),
    DATE: ("date",),
    TIME: ("time", "time without time zone"),
    LOCAL: ("timestamp", "timestamp without time zone", "datetime"),
    INSTANT: ("timestamptz", "timestamp with time zone"),
    UUID: ("uuid",),
    JSON: ("json", "jsonb"),
}
_TAGS = {name: tag for tag, names in _FAMILIES.items() for name in names}
_DECIMALS = ("numeric", "decimal")
_MANY = decimal.Context(prec=200_000)  # no rounding but the declared one


@dataclass(frozen=True)
class CanonicalType:
    """What the canonical encoding needs of a type's text.

    Attributes:
        tag: Its family's letter.
        name: The type's name without modifiers, lower case.
        modifiers: The numbers in its parentheses, e.g. (12, 2).
        padded: Fixed length: trailing spaces do not belong to the value (docs/correctness.md#padded-text).
    """

    tag: str
    name: str
    modifiers: tuple[int, ...] = ()
    padded: bool = False


@lru_cache(maxsize=4096)
def canonical_type(type_text: str) -> CanonicalType:
    """Read a type as an engine prints it; whatever is not known (enums, domains, arrays, …) is `OTHER`, its text."""
    found = re.search(r"\(([\d ,-]+)\)", type_text)
    modifiers = tuple(int(part) for part in found[1].split(",")) if found else ()
    name = " ".join(re.sub(r"\([^)]*\)", " ", type_text).lower().replace(" unsigned", "").split())
    if type_text.lower().replace(" ", "") == "tinyint(1)":
        return CanonicalType(BOOLEAN, "boolean")
    return CanonicalType(_TAGS.get(name, OTHER), name, modifiers, name in ("character", "char", "bpchar"))


def canonical_text(value: Any, type_text: str) -> str | None:
    """A value's canonical text, None for NULL.

    Args:
        value: A Python value, or the engine's own text. A JSON value: JSON text, or parsed into dict or list.
        type_text: The written column's type as its engine prints it, e.g. `numeric(12,2)`.
    """
    kind = canonical_type(type_text)
    return None if value is None else _RENDER[kind.tag](value, kind)


def encode_row(values: Sequence[Any], types: Sequence[str]) -> bytes:
    """A row's canonical bytes."""
    fields = []
    for value, type_text in zip(values, types, strict=True):
        text = canonical_text(value, type_text)
        if text is None:
            fields.append(b"-")
        else:
            fields.append(field(canonical_type(type_text).tag, text).encode())
    return b"".join(fields)


def field(tag: str, text: str) -> str:
    """A value's field of the row: no two rows of values give the same bytes."""
    return f"{tag}{len(text.encode())}:{text}" if tag in MEASURED else f"{tag}{text};"


def integer_key(types: Sequence[str]) -> bool:
    """Whether a key of these (written) types is one integer of at most 64 signed bits: its low bits are its bucket."""
    name = canonical_type(types[0]).name if len(types) == 1 and "unsigned" not in types[0].lower() else ""
    return name in ("smallint", "integer", "int", "bigint", "tinyint", "mediumint")


def bucket_of(key: Sequence[Any], types: Sequence[str], count: int) -> int:
    """The bucket of a key among `count` (a power of two)."""
    if integer_key(types):
        return int(key[0]) & (count - 1)
    return int(row_hash(key, types)[:8], 16) & (count - 1)


def hash_bucket(digest: str, count: int) -> int:
    """The bucket of a row without a key among `count` (a power of two): the last bits of its hash."""
    return int(digest, 16) & (count - 1)


def row_hash(values: Sequence[Any], types: Sequence[str]) -> str:
    """A row's hash as 16 hexadecimal digits."""
    return hashlib.sha256(encode_row(values, types)).hexdigest()[:16]


def digest_of(hashes: Iterable[str]) -> str:
    """The digest of a set of rows: the sum of their hashes, as decimal text."""
    return str(sum(int(each, 16) for each in hashes))


def _number(value: Any, kind: CanonicalType) -> str:
    number = value if isinstance(value, decimal.Decimal) else decimal.Decimal(str(value))
    if number.is_nan():
        return "NaN"
    if number.is_infinite():
        return "Infinity" if number > 0 else "-Infinity"
    if kind.name in _DECIMALS and kind.modifiers:
        number = _rounded(number, kind)
    return plain(number)


def at_scale(value: Any, kind: CanonicalType) -> str:
    """A number with its declared digits, as its server prints it: of numeric(12,2) 5.25 and 5.2500 are one."""
    number = decimal.Decimal(str(value))
    return format(_MANY.plus(_rounded(number, kind)), "f") if number.is_finite() else str(value)


def both_decimal(stored: str, written: str) -> bool:
    """Whether both types are decimals of a declared scale."""
    kinds = (canonical_type(stored), canonical_type(written))
    return all(kind.tag == NUMBER and kind.name in _DECIMALS and kind.modifiers for kind in kinds)


def kept_digits(value: Any, stored: str, written: str) -> str:
    """A decimal as it is compared: rounded as it was written, but never what is more than its own column declares.

    Only SQLite keeps such values. Rounded they would be equal to what they are not.

    Args:
        stored: The type of the column that it is read from, a decimal with a scale (as `written` is).
    """
    return excess_digits(value, stored) or _number(value, canonical_type(written))


def excess_digits(value: Any, stored: str) -> str:
    """The text of a decimal that has more digits than its own column's type declares, else ""."""
    number = decimal.Decimal(str(value))
    return plain(number) if number.is_finite() and number != _rounded(number, canonical_type(stored)) else ""


def scale_of(kind: CanonicalType) -> int:
    """The digits behind the point of a decimal with modifiers (count)."""
    return kind.modifiers[1] if len(kind.modifiers) > 1 else 0


def _rounded(number: decimal.Decimal, kind: CanonicalType) -> decimal.Decimal:
    return number.quantize(decimal.Decimal(1).scaleb(-scale_of(kind)), decimal.ROUND_HALF_UP, _MANY)


def plain(number: decimal.Decimal) -> str:
    """A finite decimal without exponent, trailing zeros or negative zero."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _float(value: Any, _: CanonicalType) -> str:
    """The IEEE 754 bits of the double, big-endian: exact on every engine; negative zero and NaN have one form each."""
    number = float(value)
    if number != number:
        return "7ff8000000000000"
    return struct.pack(">d", number + 0.0).hex()


def shortest(value: Any, *, single: bool) -> str:
    """A float as its shortest text: the same of every text that an engine prints of it; negative zero has no sign."""
    number = float(value) + 0.0
    if single and number == number:
        with contextlib.suppress(OverflowError):  # a single that holds more is its engine's own: as the double it is
            bits = struct.pack(">f", number)
            texts = (f"{number:.{digits}g}" for digits in range(1, 10))
            return repr(float(next(text for text in texts if _packed(text) == bits)))
    return repr(number)


def _packed(text: str) -> bytes:
    try:
        return struct.pack(">f", float(text))
    except OverflowError:
        return b""


def _text(value: Any, kind: CanonicalType) -> str:
    return str(value).rstrip(" ") if kind.padded else str(value)


def _bytes(value: Any, _: CanonicalType) -> str:
    if isinstance(value, str):
        return value.removeprefix("\\x").lower()
    return bytes(value).hex()


def _boolean(value: Any, _: CanonicalType) -> str:
    return "1" if value in (True, 1, "1", "t", "true", b"\x01") else "0"


def _date(value: Any, _: CanonicalType) -> str:
    return value if isinstance(value, str) else f"{value.year:04d}-{value.month:02d}-{value.day:02d}"


def _time(value: Any, _: CanonicalType) -> str:
    if isinstance(value, str):
        return _trimmed(value)
    return _trimmed(f"{value.hour:02d}:{value.minute:02d}:{value.second:02d}.{value.microsecond:06d}")


def _local(value: Any, kind: CanonicalType) -> str:
    if isinstance(value, str):  # of an instant's text the moment in UTC; PostgreSQL prints an era behind the zone
        return _trimmed(re.sub(r"\+00( BC)?$", r"\1", value))
    return f"{_date(value, kind)} {_time(value, kind)}"


def _instant(value: Any, kind: CanonicalType) -> str:
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        value = value.astimezone(dt.UTC)
    return _local(value, kind)


def _trimmed(text: str) -> str:
    """Seconds without trailing zeros of their fraction: engines print 0, 3 or 6 digits of it."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _uuid(value: Any, _: CanonicalType) -> str:
    return str(value if isinstance(value, uuid.UUID) else uuid.UUID(value))


def _json(value: Any, _: CanonicalType) -> str:
    if isinstance(value, str | bytes):
        value = json.loads(value, parse_float=decimal.Decimal, parse_int=decimal.Decimal)
    return json_text(value)


def json_text(value: Any) -> str:
    """Parsed JSON as canonical text: keys by length, then bytes (as PostgreSQL and MySQL keep them), plain numbers."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode()))
        return "{" + ", ".join(f"{_quoted(key)}: {json_text(item)}" for key, item in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(json_text(item) for item in value) + "]"
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return plain(value if isinstance(value, decimal.Decimal) else decimal.Decimal(repr(value)))


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPES |= {chr(code): f"\\u{code:04x}" for code in range(32) if chr(code) not in _ESCAPES}


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'


def _other(value: Any, _: CanonicalType) -> str:
    return str(value)


_RENDER = {
    NUMBER: _number,
    FLOAT: _float,
    TEXT: _text,
    BYTES: _bytes,
    BOOLEAN: _boolean,
    DATE: _date,
    TIME: _time,
    LOCAL: _local,
    INSTANT: _instant,
    UUID: _uuid,
    JSON: _json,
    OTHER: _other,
}
