"""A column's type as the plan tells it: for the target, and for how SQLite's values are read."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runbook_lib.databases.dialect import dialect_of

_FROM = re.compile(r"(?is)^(.*\S)\s+from\s+(seconds|milliseconds|microseconds|nanoseconds|ticks)$")


def parse_override(text: str, source: str) -> tuple[str, str]:
    """The type, and the unit of numbers that are moments (`timestamp from milliseconds`; SQLite's values only)."""
    found = _FROM.match(text.strip()) if dialect_of(source).loose_types else None
    return (found[1], found[2].lower()) if found else (text, "")


def override_of(types: Mapping[str, str], table: str, column: str, declared: str) -> str:
    """What the plan says of a column, by its name or by its type; "": nothing."""
    return types.get(f"{table}.{column}") or types.get(declared, "")


def reading(sql: str, written: str, told: str, source: str) -> str:
    """A column of SQLite as it is read where its type was told: its values in the form of that type.

    Args:
        sql: The column, quoted.
        written: Its type at the target.
    """
    if not told or not dialect_of(source).loose_types:
        return sql
    unit = parse_override(told, source)[1]
    return f"runbook_read({sql}, '{written}', '{unit}')" if "'" not in written else sql
