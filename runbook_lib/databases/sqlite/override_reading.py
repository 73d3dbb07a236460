"""Stored values read as a type that was told: times as Go and .NET write them, numbers of seconds or ticks.

Nothing is guessed: a number is a moment only where its unit was declared (`timestamp from milliseconds`), and what is
in no known form stays as it is, so that whoever needs the type names the row.

Rules: fractions are rounded to six digits, half up; a moment without a zone is in UTC, as SQLite's own are; a type
without a zone keeps the moment's time in UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from runbook_lib.databases import canonical
from runbook_lib.databases.canonical import canonical_type
from runbook_lib.databases.sqlite.types import kind_of

# Units of a number, as parts of a second, and where it begins.
UNITS = {
    "seconds": (Decimal(1), 0),
    "milliseconds": (Decimal(10) ** -3, 0),
    "microseconds": (Decimal(10) ** -6, 0),
    "nanoseconds": (Decimal(10) ** -9, 0),
    "ticks": (Decimal(10) ** -7, -62_135_596_800),  # .NET: since the year 1
}
_EPOCH = dt.datetime(1970, 1, 1)
# `2024-01-02T15:04:05.123456789Z`, `2024-01-02 15:04:05.9 +0000 UTC m=+0.1`, `2024-01-02 15:04`
_TEXT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(\.\d+)?)?\s*(Z|[+-]\d\d:?(?:\d\d)?)?(?:\s+[A-Z]{1,5}|\s+[+-]\d{2,4})?"
    r"(?:\s+m=[+-][\d.]+)?"
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def read_as(value: Any, type_text: str, unit: str) -> Any:
    """The SQL function runbook_read: a stored value in the form that the type's own column would have; or as it is."""
    kind = _tag(type_text)
    if value is None or isinstance(value, bytes):
        return value
    try:
        if kind in (canonical.LOCAL, canonical.INSTANT, canonical.DATE):
            return _moment(value, kind, unit)
        if kind == canonical.TEXT:
            return value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
        if kind == canonical.NUMBER and isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value):
            return int(value)
    except (ValueError, OverflowError, InvalidOperation):
        return value
    return value


@lru_cache(maxsize=256)
def _tag(type_text: str) -> str:
    return canonical_type(kind_of(type_text).type).tag  # as another engine writes it, too


def _moment(value: Any, kind: str, unit: str) -> Any:
    if unit and (isinstance(value, int | float) or _NUMBER.fullmatch(value)):
        part, start = UNITS[unit]
        found = _at(_EPOCH, Decimal(str(value)) * part + start)
    elif isinstance(value, str) and (text := _TEXT.fullmatch(value.strip())):
        found = _at(
            dt.datetime.fromisoformat(f"{text[1]} {text[2] or '00:00'}{text[3] or ':00'}"), Decimal(text[4] or 0)
        )
        found -= _offset(text[5] or "Z")
    else:
        return value
    if kind == canonical.DATE:
        return found.strftime("%Y-%m-%d") if found.time() == dt.time() else value
    shown = f"{found:%Y-%m-%d %H:%M:%S.%f}".rjust(26, "0").rstrip("0").rstrip(".")
    return f"{shown}+00" if kind == canonical.INSTANT else shown


def _at(start: dt.datetime, seconds: Decimal) -> dt.datetime:
    micros = (seconds * 1_000_000).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return start + dt.timedelta(microseconds=int(micros))


def _offset(zone: str) -> dt.timedelta:
    if zone == "Z":
        return dt.timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset
