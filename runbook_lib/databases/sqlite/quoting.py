"""Quote identifiers and literals for SQLite: the only place where text becomes SQL."""

from __future__ import annotations

from typing import Any

from runbook_lib.databases import identifiers
from runbook_lib.databases.identifiers import ident as ident
from runbook_lib.databases.identifiers import quote as quote
from runbook_lib.databases.identifiers import split as split

OWN = "runbook_"  # everything of ours begins like this: SQLite has no schema to keep it in


def bare(name: str) -> str:
    """The table's own name, as sqlite_master has it."""
    return split(name)[-1]


def readable(name: str) -> str:
    """The plan's way to write a table's name: bare where `split` reads it back, quoted otherwise."""
    return name if split(name) == (name,) else ident(name)


def literal(value: Any) -> str:
    """A value as SQL text."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


def own_name(kind: str, *parts: str) -> str:
    """A name for one of our objects: readable, different for different parts."""
    return OWN + identifiers.own_name(kind, *parts)
