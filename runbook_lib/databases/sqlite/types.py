"""Types as SQLite declares them, and values between SQLite and neutral text (PostgreSQL's text form of each value).

SQLite's types are those of values, not of columns: what a column promises is its *declared* type. It is read here into
the standard's name (`REAL` is a double, so it reads `double precision`), and a value that does not keep the promise is
a `Misfit`. Affinity follows SQLite's own rules; it decides what SQLite makes of a value that is stored.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runbook_lib.databases import canonical
from runbook_lib.databases.as_stored import Native
from runbook_lib.databases.canonical import canonical_type, plain

INTEGERS = frozenset({"smallint", "integer", "bigint"})
EXACT_DIGITS = 15  # decimal digits that an IEEE double keeps

_NAMES = {
    "int": "integer", "integer": "integer", "int2": "smallint", "smallint": "smallint", "tinyint": "smallint",
    "int4": "integer", "mediumint": "integer", "int8": "bigint", "bigint": "bigint", "big int": "bigint",
    "char": "character", "character": "character", "nchar": "character", "native character": "character",
    "varchar": "character varying", "character varying": "character varying", "nvarchar": "character varying",
    "varying character": "character varying", "text": "text", "clob": "text", "blob": "bytea", "binary": "bytea",
    "varbinary": "bytea", "real": "double precision", "double": "double precision", "float8": "double precision",
    "double precision": "double precision", "float": "double precision", "float4": "real", "numeric": "numeric",
    "decimal": "numeric", "numeric text": "numeric", "decimal text": "numeric", "boolean": "boolean", "bool": "boolean",
    "date": "date", "time": "time without time zone", "time without time zone": "time without time zone",
    "datetime": "timestamp without time zone", "timestamp": "timestamp without time zone",
    "timestamp without time zone": "timestamp without time zone", "timestamptz": "timestamp with time zone",
    "timestamp with time zone": "timestamp with time zone", "uuid": "uuid", "guid": "uuid", "json": "json",
    "jsonb": "json", "json text": "json", "": "any", "any": "any",
}  # fmt: skip
_SIZED = ("character", "character varying", "numeric")


class IncompatibleValue(ValueError):
    """A value that its column's type does not have."""


@dataclass(frozen=True)
class Kind:
    """A column's or expression's type: the standard's text, what SQLite does to values, and the declared text."""

    type: str
    affinity: str  # integer | text | blob | real | numeric
    declared: str = ""


@lru_cache(maxsize=4096)
def kind_of(declared: str) -> Kind:
    """Read a declared type."""
    modifiers = re.search(r"\(\s*([+-]?\d+)\s*(?:,\s*([+-]?\d+)\s*)?\)", declared)
    name = " ".join(re.sub(r"\([^)]*\)", " ", declared).lower().split())
    known = _NAMES.get(name) or _NAMES.get(name.replace(" unsigned", "").replace("unsigned ", ""))
    if known is None:
        known = "bigint" if affinity_of(declared) == "integer" and "interval" not in name else name
    if modifiers and known in _SIZED:
        known += f"({modifiers[1]},{modifiers[2] or 0})" if known == "numeric" else f"({modifiers[1]})"
    elif modifiers and known.startswith(("time", "timestamp")):
        known = known.replace(" ", f"({modifiers[1]}) ", 1)
    return Kind(known, affinity_of(declared), declared)


def affinity_of(declared: str) -> str:
    """SQLite's rules, in its order (datatype3.html, 3.1)."""
    text = declared.upper()
    for words, affinity in ((("INT",), "integer"), (("CHAR", "CLOB", "TEXT"), "text")):
        if any(word in text for word in words):
            return affinity
    if "BLOB" in text or not text or text == "ANY":
        return "blob"
    return "real" if any(word in text for word in ("REAL", "FLOA", "DOUB")) else "numeric"


@lru_cache(maxsize=4096)
def renderer(type_text: str) -> Callable[[Any], str | None]:
    """The function from a stored value to its neutral text (None for NULL); it raises `Misfit`."""
    kind = canonical_type(type_text)
    if kind.tag == canonical.NUMBER and kind.name in ("numeric", "decimal"):
        scale = canonical.scale_of(kind)
        inner: Callable[[Any], str] = lambda value: _numeric(value, scale)  # noqa: E731  it holds the scale
    elif kind.tag == canonical.FLOAT:
        inner = _single if kind.name == "real" else _double
    else:
        inner = _RENDER.get(kind.tag, _any)

    def render(value: Any) -> str | None:
        return None if value is None else inner(value)

    return render


@lru_cache(maxsize=4096)
def parser(kind: Kind) -> Callable[[Any], Any]:
    """The function from neutral text (or an int) to the value to be stored; it raises `Misfit`."""
    wanted = canonical_type(kind.type)
    if kind.type == "any":
        return lambda value: value.native if isinstance(value, Native) else value
    if wanted.tag == canonical.NUMBER:
        inner = _store_numeric(kind.affinity) if wanted.name == "numeric" else _store_integer
    elif wanted.tag == canonical.FLOAT:
        inner = _store_single if wanted.name == "real" else _store_double
    elif wanted.tag in (canonical.BYTES, canonical.BOOLEAN):
        inner = _store_bytes if wanted.tag == canonical.BYTES else _store_boolean
    elif kind.affinity in ("text", "blob"):
        inner = _store_instant if wanted.tag == canonical.INSTANT else str
    else:
        inner = _store_unchanged

    def parse(value: Any) -> Any:
        return None if value is None else value.native if isinstance(value, Native) else inner(value)

    return parse


# -- stored value to neutral text ---
_INTEGER = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_YEAR = r"\d{4,7}-\d\d-\d\d"
_DATE = re.compile(rf"{_YEAR}( BC)?|-?infinity")
_TIME = re.compile(r"(\d\d:\d\d)(:\d\d)?(\.\d{1,6})?0*")
_STAMP = re.compile(rf"({_YEAR})(?:[T ](\d\d:\d\d)(:\d\d)?(?:(\.\d{{1,6}})0*)?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?( BC)?")


def _integer(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return str(int(value))
    raise IncompatibleValue("not an integer")


def _numeric(value: Any, scale: int) -> str:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return value
    if isinstance(value, bytes) or (isinstance(value, str) and not _DECIMAL.fullmatch(value)):
        raise IncompatibleValue("not a number")
    if type(value) is int:
        return f"{value}.{'0' * scale}" if scale else str(value)
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return _double(value)
    short = scale and isinstance(value, float) and 1e-4 < abs(value) < 10.0 ** (EXACT_DIGITS - scale)
    if short and float(text := f"{value:.{scale}f}") == value:
        return text  # the common case at a quarter of the time; of more digits it would print the double's own
    text = plain(decimal.Decimal(repr(value) if isinstance(value, float) else value))
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(scale, '0')}" if scale else text


def _double(value: Any) -> str:
    if not isinstance(value, int | float):
        raise IncompatibleValue("not a number")
    number = float(value)
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return _shortest(repr(number), 15)


def _single(value: Any) -> str:
    if not isinstance(value, int | float):
        raise IncompatibleValue("not a number")
    number = float(value)
    for digits in range(6, 10):
        text = f"{number:.{digits}g}"
        if number.is_integer() and abs(number) < 1e6:
            return str(int(number))
        if float(text) == number or as_single(float(text)) == number:
            return _shortest(text, 6)
    return _double(value)  # more than a single holds


def _shortest(text: str, limit: int) -> str:
    """Digits as PostgreSQL prints them: an exponent below 1e-4 and from the limit on."""
    mantissa, _, power = text.partition("e")
    if power or abs(float(text)) < 10**limit:
        exponent = f"e{power[0]}{power[1:].lstrip('0').rjust(2, '0')}" if power else ""
        return f"{mantissa.removesuffix('.0')}{exponent}"
    sign, digits, shift = decimal.Decimal(text).normalize().as_tuple()
    body = "".join(map(str, digits))
    fraction = f".{body[1:]}" if len(body) > 1 else ""
    return f"{'-' if sign else ''}{body[0]}{fraction}e+{len(body) - 1 + int(shift):02d}"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        raise IncompatibleValue("bytes where text is declared")
    return value if isinstance(value, str) else _any(value)


def _bytes(value: Any) -> str:
    if not isinstance(value, bytes):
        raise IncompatibleValue(f"{_class(value)} where bytes are declared")
    return "\\x" + value.hex()


def _boolean(value: Any) -> str:
    if value in (1, "t", "true", "1") or value in (0, "f", "false", "0"):
        return "t" if value in (1, "t", "true", "1") else "f"
    raise IncompatibleValue("neither 0 nor 1")


def _date(value: Any) -> str:
    if isinstance(value, str) and _DATE.fullmatch(value):
        return _real_day(value)
    raise IncompatibleValue("not a date YYYY-MM-DD")


def _real_day(text: str) -> str:
    """Refuses 2026-02-30 and 0000-00-00, which no other engine takes."""
    if text[:1].isdigit() and not text.endswith("BC") and len(text.partition("-")[0]) == 4:
        try:
            dt.date.fromisoformat(text[:10])
        except ValueError as error:
            raise IncompatibleValue("no such day") from error
    return text


def _time(value: Any) -> str:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise IncompatibleValue("not a time HH:MM:SS")
    return _trimmed(f"{found[1]}{found[2] or ':00'}{found[3] or ''}")


def _local(value: Any) -> str:
    found = _stamp(value)
    if isinstance(found, str):
        return found
    if found[5]:
        raise IncompatibleValue("a time zone where the declared type has none")
    return _suffixed(found, "")


def _instant(value: Any) -> str:
    found = _stamp(value)
    if isinstance(found, str):
        return found
    zone = (found[5] or "Z").replace("Z", "+00").replace(":", "")
    if not found[5]:
        raise IncompatibleValue("no time zone where the declared type has one")
    if zone in ("+00", "-00", "+0000"):
        return _suffixed(found, "+00")
    shifted = dt.datetime.fromisoformat(_suffixed(found, "") + (zone if len(zone) > 3 else zone + "00")).astimezone(
        dt.UTC
    )
    return _trimmed(shifted.strftime("%Y-%m-%d %H:%M:%S.%f")) + "+00"


def _stamp(value: Any) -> re.Match[str] | str:
    if value in ("infinity", "-infinity"):
        return str(value)
    found = _STAMP.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise IncompatibleValue("not a timestamp YYYY-MM-DD HH:MM:SS")
    return found


def _suffixed(found: re.Match[str], zone: str) -> str:
    day = _real_day(found[1]) if not found[6] else found[1]
    return _trimmed(f"{day} {found[2] or '00:00'}{found[3] or ':00'}{found[4] or ''}") + zone + (found[6] or "")


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _uuid(value: Any) -> str:
    try:
        return str(uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(value))
    except (ValueError, AttributeError, TypeError) as error:
        raise IncompatibleValue("not a UUID") from error


def _any(value: Any) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return _double(value) if isinstance(value, float) else str(value)


def _class(value: Any) -> str:
    return {int: "an integer", float: "a float", str: "text", bytes: "bytes"}[type(value)]


_RENDER: dict[str, Callable[[Any], str]] = {
    canonical.NUMBER: _integer,
    canonical.TEXT: _text,
    canonical.BYTES: _bytes,
    canonical.BOOLEAN: _boolean,
    canonical.DATE: _date,
    canonical.TIME: _time,
    canonical.LOCAL: _local,
    canonical.INSTANT: _instant,
    canonical.UUID: _uuid,
    canonical.JSON: _text,
}


# -- neutral text to stored value ---
def _store_integer(value: Any) -> int:
    try:
        number = int(value)
    except ValueError as error:
        number = _whole(str(value), error)
    if not -(2**63) <= number < 2**63:
        raise IncompatibleValue("more than the 64 bits of an SQLite integer")
    return number


def _whole(text: str, error: Exception) -> int:
    if text in ("t", "f"):
        return int(text == "t")
    if _DECIMAL.fullmatch(text) and decimal.Decimal(text) == (whole := int(decimal.Decimal(text))):
        return whole
    raise IncompatibleValue("not an integer") from error


def _store_numeric(affinity: str) -> Callable[[Any], Any]:
    def store(value: Any) -> Any:
        text = str(value)
        if affinity in ("text", "blob"):
            return text
        if not _DECIMAL.fullmatch(text):
            raise IncompatibleValue("SQLite has no such number")
        number = decimal.Decimal(text).normalize()
        if number == number.to_integral_value() and abs(number) < 2**63:
            return int(number)
        if len(number.as_tuple().digits) > EXACT_DIGITS:
            raise IncompatibleValue(f"more than {EXACT_DIGITS} digits: only a column declared DECIMAL TEXT keeps them")
        return float(number)

    return store


def _store_double(value: Any) -> float:
    try:
        number = float(value)
    except ValueError as error:
        raise IncompatibleValue("not a number") from error
    if number != number:
        raise IncompatibleValue("SQLite stores NaN as NULL")
    return number


def _store_single(value: Any) -> float:
    return as_single(_store_double(value))


def as_single(number: float) -> float:
    """The nearest single-precision number, as a double; raises `Misfit` beyond its range."""
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError as error:
        raise IncompatibleValue("more than a single-precision float holds") from error


def _store_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not str(value).startswith("\\x"):
        raise IncompatibleValue("not bytes in hexadecimal")
    return bytes.fromhex(value[2:])


def _store_boolean(value: Any) -> int:
    if str(value).lower() in ("t", "true", "1"):
        return 1
    if str(value).lower() in ("f", "false", "0"):
        return 0
    raise IncompatibleValue("neither true nor false")


def _store_instant(value: Any) -> str:
    found = _STAMP.fullmatch(str(value))  # another engine's moment without a zone is in UTC
    return str(value) if found is None or found[5] else _suffixed(found, "+00")


def _store_unchanged(value: Any) -> str:
    """Text for a column whose affinity would make a number of it: only where that number prints alike."""
    text = str(value)
    if _DECIMAL.fullmatch(text.strip()):
        try:
            same = str(int(text)) == text and abs(int(text)) < 2**63
        except ValueError:
            same = repr(float(text)) == text
        if not same:
            raise IncompatibleValue("the column's affinity would turn this text into another number")
    return text
