"""Quote identifiers and literals for SQLite: the only place where text becomes SQL."""

from __future__ import annotations

import hashlib
import re
from typing import Any

OWN = "runbook_"  # everything of ours begins like this: SQLite has no schema to keep it in

_PART = re.compile(r'"((?:[^"]|"")+)"(?:\.|$)|([^."]+)(?:\.|$)')


def ident(name: str) -> str:
    """Quote one identifier, whatever it holds (dots too)."""
    return '"' + name.replace('"', '""') + '"'


def split(name: str) -> tuple[str, ...]:
    """The parts of `table`, `main.table` or `"odd.name"`; a text that is no such list is one part."""
    parts, position = [], 0
    while position < len(name):
        match = _PART.match(name, position)
        if match is None:
            return (name,)
        parts.append(match[1].replace('""', '"') if match[1] is not None else match[2])
        position = match.end()
    return tuple(parts) if parts and not name.endswith(".") else (name,)


def quote(name: str) -> str:
    """Quote one identifier, or each part of `main.table`; parts that hold a dot come in double quotes."""
    return ".".join(ident(part) for part in split(name))


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
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    words = re.sub(r"[^A-Za-z0-9_]+", "_", "_".join((kind, *parts)))
    return f"{OWN}{words[:54]}_{digest}"
