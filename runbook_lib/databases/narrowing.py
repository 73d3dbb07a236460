"""Whether a column of one type can hold everything that another one holds; types as the engine writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TYPE = re.compile(
    r"\s*([a-z][a-z0-9_ ]*?)\s*(?:\(([^)]*)\))?\s*((?:unsigned|zerofill|with(?:out)? time zone|\s)*)$", re.I
)
_INTEGERS = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "integer": 4, "bigint": 8}
_DIGITS = {1: 3, 2: 5, 3: 8, 4: 10, 8: 19}
_TEXTS = {"tinytext": 2**8, "text": 2**16, "mediumtext": 2**24, "longtext": 2**32}
_LETTERS = ("varchar", "character varying", "char", "character", "bpchar", "varbinary", "binary")
_MOMENTS = ("timestamp", "timestamptz", "datetime", "time", "timetz")
_UNBOUNDED = 10**9


@dataclass(frozen=True)
class _Room:
    """What a type has room for. `size`: length, bytes or digits before the point; `scale`: digits behind it."""

    family: str
    size: int = 0
    scale: int = 0
    labels: frozenset[str] = frozenset()
    signed: bool = True


def narrows(before: str, after: str, dialect: str) -> str:
    """How values may be lost or refused when a column changes its type; empty: all fit, or nobody can say.

    Args:
        before: As the catalog writes it, e.g. `numeric(8,2)`, `int(10) unsigned`, `enum('a','b')`.
    """
    here, there = _room(before, dialect), _room(after, dialect)
    if here is None or there is None or before == after:
        return ""
    change = f"{before} becomes {after}"
    if here.labels - there.labels and there.family == "enum":
        return f"{change}: rows with {', '.join(sorted(here.labels - there.labels))} are refused or emptied"
    if here.family == there.family:
        return f"{change}: {_LOST[here.family]}" if _smaller(here, there) else ""
    if there.family == "text":
        return "" if there.size >= _UNBOUNDED or there.size >= 64 else f"{change}: longer values are refused or cut"
    if here.family == "integer" and there.family in ("number", "float"):
        return f"{change}: greater values are refused" if there.size < _DIGITS[_bytes(here)] else ""
    if here.family == "enum" or there.family == "enum":
        return f"{change}: rows with other values are refused or emptied" if there.family == "enum" else ""
    return f"{change}: {_CHANGED.get((here.family, there.family), 'values that do not fit are refused or cut')}"


_LOST = {
    "integer": "greater values are refused",
    "text": "longer values are refused or cut",
    "number": "greater values are refused, or digits rounded away",
    "float": "digits are rounded away",
    "moment": "fractions of a second are rounded away",
    "date": "",
    "enum": "",
}
_CHANGED = {
    ("number", "integer"): "digits behind the point are rounded away",
    ("float", "integer"): "digits behind the point are rounded away",
    ("number", "float"): "digits are rounded away",
    ("float", "number"): "digits are rounded away, greater values refused",
    ("moment", "date"): "the time of day is lost",
}


def _smaller(here: _Room, there: _Room) -> bool:
    if here.family == "integer" and here.signed != there.signed:
        return here.signed or _bytes(there) <= _bytes(here)
    return there.size < here.size or there.scale < here.scale


def _bytes(room: _Room) -> int:
    return room.size


def _room(text: str, dialect: str) -> _Room | None:
    found = _TYPE.match(text)
    if not found:
        return None
    name, arguments, more = found[1].lower(), found[2], (found[3] or "").lower()
    name = {"timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz"}.get(name, name)
    if name in ("enum", "set"):
        return _Room("enum", labels=frozenset(re.findall(r"'(?:[^']|'')*'", arguments or "")))
    numbers = [int(part) for part in (arguments or "").split(",") if part.strip().lstrip("-").isdigit()]
    if name in _INTEGERS:
        return _Room("integer", _INTEGERS[name], signed="unsigned" not in more)
    if name in _TEXTS:
        return _Room("text", _UNBOUNDED if dialect == "postgresql" else _TEXTS[name])
    if name in _LETTERS:
        return _Room("text", numbers[0] if numbers else _UNBOUNDED if "var" in name else 1)
    if name in ("numeric", "decimal"):
        return _number(numbers, dialect)
    if name in ("real", "float", "double precision", "double"):
        return _Room("float", 4 if name in ("real", "float") else 8)
    if name in _MOMENTS:
        return _Room("moment", 1, numbers[0] if numbers else 6 if dialect == "postgresql" else 0)
    return _Room("date", 1) if name == "date" else None


def _number(numbers: list[int], dialect: str) -> _Room:
    if not numbers and dialect == "postgresql":
        return _Room("number", _UNBOUNDED, _UNBOUNDED)
    precision, scale = (*numbers, 0)[:2] if numbers else (10, 0)
    return _Room("number", precision - scale, scale)
