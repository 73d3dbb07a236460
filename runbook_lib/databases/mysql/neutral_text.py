"""Neutral text: values as PostgreSQL prints them, rendered by the read column's type, read by the written column's.

Both directions are SQL, so that a bulk copy never touches a value in Python; `literal` is the same for single rows.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import re
import struct
from dataclasses import dataclass
from typing import Any

from runbook_lib.databases.mysql import quoting
from runbook_lib.errors import DatabaseError

INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
# Kept as the server keeps them: a geometry is its SRID and its WKB, a vector its floats. It takes the same bytes back.
_PLANE = ("geometry", "point", "linestring", "polygon")
_MANY = ("multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection")
BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", *_PLANE, *_MANY, "vector")
TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json")
MOMENTS = ("datetime", "timestamp", "time")
PLAIN = (*INTEGERS, "decimal", "numeric", "double", "year", "date")  # MySQL prints and reads them as PostgreSQL does

# The shortest text of the farthest single-precision numbers is, read as a double, beyond them: MySQL refuses it.
_FARTHEST = {f"{sign}3.4028235e+38": f"{sign}3.4028234663852886e+38" for sign in ("", "-")}
_WIDTH = re.compile(r"^(smallint|mediumint|int|bigint|tinyint)\((\d+)\)")


@dataclass(frozen=True)
class Kind:
    """A MySQL type taken apart: `int(10) unsigned` → name int, size 10."""

    name: str
    size: int
    text: str

    @property
    def boolean(self) -> bool:
        return self.text == "tinyint(1)"

    @property
    def integer(self) -> bool:
        return self.name in INTEGERS


def kind_of(type_text: str) -> Kind:
    """Take a type apart, as the catalog writes it."""
    text = plain_type(type_text)
    found = re.match(r"(\w+)(?:\((\d+))?", text)
    if not found:
        raise DatabaseError(f"type {type_text}", "cannot be read")
    return Kind(found[1], int(found[2] or 0), text)


def plain_type(type_text: str) -> str:
    """A type as MySQL 8.0.19 and newer print it: no display width but that of tinyint(1)."""
    text = type_text.strip()
    lower = text.lower()
    if lower.startswith(("enum", "set")):
        return text
    if (width := _WIDTH.match(lower)) and not (width[0] == "tinyint(1)" and lower == "tinyint(1)"):
        lower = width[1] + lower[width.end() :]
    return lower.replace(" zerofill", "").replace("year(4)", "year")


def render(sql: str, type_text: str, *, escaped: bool) -> str:
    """SQL that gives an expression's neutral text (NULL for NULL).

    Args:
        escaped: As a field of the COPY text format, not as the bare text.
    Raises:
        DatabaseError: a type without a neutral text.
    """
    kind = kind_of(type_text)
    if kind.boolean:  # any other number shows itself, and is refused where only booleans fit
        return f"CASE {sql} WHEN 0 THEN 'f' WHEN 1 THEN 't' ELSE CAST({sql} AS CHAR) END"
    if kind.integer or kind.name in ("decimal", "numeric", "year"):
        return f"({sql} + 0)" if "zerofill" in type_text.lower() else sql
    if kind.name == "float":
        return f"({sql} + 0e0)"  # a FLOAT prints six digits; widened, all that matter
    if kind.name in BYTES:
        return f"CONCAT('{_BACK * 2 if escaped else _BACK}x', LOWER(HEX({sql})))"
    if kind.name == "bit":
        return f"LPAD(BIN({sql} + 0), {kind.size or 1}, '0')"
    if kind.name in MOMENTS:
        short = f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({sql} AS CHAR)))" if kind.size else sql
        return f"CONCAT({short}, '+00')" if kind.name == "timestamp" else short
    if kind.name in ("double", "date"):
        return sql
    body = as_bytes(sql)
    return _escape(body) if escaped and kind.name in TEXTS else body


_BACK = "\\\\"  # one backslash in a MySQL string


def _escape(sql: str) -> str:
    """COPY's escapes. On bytes: nothing of UTF-8 looks like them, and comparing bytes is cheap."""
    for raw, shown in ((_BACK, _BACK * 2), ("\\n", _BACK + "n"), ("\\t", _BACK + "t"), ("\\r", _BACK + "r")):
        sql = f"REPLACE({sql}, '{raw}', '{shown}')"
    return sql


def as_bytes(sql: str) -> str:
    """A text's UTF-8 bytes, whatever its character set; collations no longer clash."""
    return f"CAST(CONVERT({sql} USING utf8mb4) AS BINARY)"


def parse(variable: str, type_text: str) -> str:
    """SQL that turns neutral text in a user variable into a value of the written type; "" when MySQL reads it itself.

    Where a text is not of the type the result is an error or NULL with a warning, which is an error too.
    """
    kind = kind_of(type_text)
    if kind.boolean:
        return f"CASE {variable} WHEN 't' THEN 1 WHEN 'f' THEN 0 ELSE {variable} END"
    if kind.name == "bit":
        bits = f"CAST(CONV({variable}, 2, 10) AS UNSIGNED)"
        known = f"CASE WHEN {variable} = 't' THEN 1 WHEN {variable} = 'f' THEN 0"
        return f"{known} WHEN {variable} REGEXP '^[01]+$' THEN {bits} WHEN {variable} IS NOT NULL THEN 1 DIV 0 END"
    if kind.name in BYTES:
        hexed = f"UNHEX(IF({variable} LIKE '{_BACK * 2}x%', SUBSTR({variable}, 3), REPLACE({variable}, '-', '')))"
        return f"COALESCE({hexed}, IF({variable} IS NULL, NULL, 1 DIV 0))"
    if kind.name in ("datetime", "timestamp"):
        return f"IF(RIGHT({variable}, 3) = '+00', LEFT({variable}, CHAR_LENGTH({variable}) - 3), {variable})"
    if kind.name == "float":
        farthest = " ".join(f"WHEN '{short}' THEN '{exact}'" for short, exact in _FARTHEST.items())
        return f"CASE {variable} {farthest} ELSE {variable} END"
    return ""


def literal(value: Any, type_text: str) -> str:
    """A value (neutral text, or a plain Python value) as SQL for a column of this type."""
    if value is None:
        return "NULL"
    kind = kind_of(type_text)
    if kind.name in BYTES and (raw := _bytes(value)) is not None:
        return f"x'{raw.hex()}'"
    text = text_form(value)
    if (kind.boolean or text_form(value) in ("t", "f")) and (kind.integer or kind.name == "bit"):
        text = {"t": "1", "f": "0"}.get(text, text)
        if text in ("0", "1"):
            return text
    if kind.name == "bit" and re.fullmatch("[01]+", text):
        return f"b'{text}'"
    if kind.integer and re.fullmatch(r"-?\d+", text):
        return text
    if kind.name in ("datetime", "timestamp"):
        text = text.removesuffix("+00:00").removesuffix("+00")
    return quoting.text(_widened(text) if kind.name == "float" else text)


def _widened(text: str) -> str:
    """A single's text as the double with its value: a FLOAT column equals 0.10000000149011612, never 0.1."""
    try:
        return repr(struct.unpack("f", struct.pack("f", float(text)))[0])
    except (ValueError, OverflowError):
        return text


def text_form(value: Any) -> str:
    """A plain Python value as neutral text; text stays as it is."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return repr(value) if isinstance(value, float) else str(value)


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    text = str(value)
    body = text[2:] if text.startswith("\\x") else text.replace("-", "")
    return bytes.fromhex(body) if re.fullmatch("(?:[0-9A-Fa-f]{2})*", body) else None


def printed_float(text: str, *, single: bool) -> str:
    """A float as PostgreSQL prints it: the shortest text that gives it back, exponents with sign and two digits."""
    number = float(text)
    digits = repr(number)
    if single:
        shorter = (f"{number:.{n}g}" for n in range(1, 10))
        digits = next((s for s in shorter if struct.pack("f", float(s)) == struct.pack("f", number)), digits)
    sign, body, exponent = decimal.Decimal(digits).as_tuple()
    if not any(body):
        return "-0" if sign else "0"
    shown = "".join(map(str, body)).rstrip("0")
    power = len(body) + int(exponent) - 1
    minus = "-" if sign else ""
    if -5 < power < (6 if single else 15):
        plain = format(decimal.Decimal(digits), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"{minus}{shown[0]}{'.' + shown[1:] if shown[1:] else ''}e{'-' if power < 0 else '+'}{abs(power):02d}"
