"""Names of tables and columns: quoted, split at their dots, shortened."""

from __future__ import annotations

import hashlib
import re


def own_name(kind: str, *parts: str) -> str:
    """A name for one of our objects: readable, at most 63 bytes, different for different parts; not quoted."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    words = re.sub(r"[^A-Za-z0-9_]+", "_", "_".join((kind, *parts)))
    return f"{words[:54]}_{digest}"


# -- identifiers in double quotes, as the standard has them: PostgreSQL and SQLite quote alike, MySQL by another mark -
_PART = re.compile(r'"((?:[^"]|"")+)"(?:\.|$)|([^."]+)(?:\.|$)')


def ident(name: str, mark: str = '"') -> str:
    """Quote one identifier, whatever it holds (dots too)."""
    return mark + name.replace(mark, mark * 2) + mark


def split(name: str) -> tuple[str, ...]:
    """The parts of `table`, `schema.table` or `"odd.schema".table`; a text that is no such list is one part."""
    parts, position = [], 0
    while position < len(name):
        match = _PART.match(name, position)
        if match is None:
            return (name,)
        parts.append(match[1].replace('""', '"') if match[1] is not None else match[2])
        position = match.end()
    return tuple(parts) if parts and not name.endswith(".") else (name,)


def parts_of(name: str, dialect: str) -> tuple[str, ...]:
    """A table's name, with its schema before it where the dialect has schemas: MySQL's dot is part of a name."""
    return (name,) if dialect == "mysql" else split(name)


def respelled(name: str, source: str, target: str) -> str:
    """What a table of one dialect is called at another: a dot is part of a name, and so is the schema before it.

    MySQL's tables have no schema, and are never quoted; the others write a name that holds a dot in quotes.
    """
    if source == target:
        return name
    own = ".".join(parts_of(name, source))
    return own if target == "mysql" or split(own) == (own,) else ident(own)


def quote(name: str) -> str:
    """Quote one identifier, or each part of `schema.table`; parts that hold a dot come in double quotes."""
    return ".".join(ident(part) for part in split(name))
