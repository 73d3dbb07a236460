"""Quote identifiers and literals: the only place where text becomes SQL."""

from __future__ import annotations

import re
from typing import Any

_PART = re.compile(r'"((?:[^"]|"")+)"(?:\.|$)|([^."]+)(?:\.|$)')


def ident(name: str) -> str:
    """Quote one identifier, whatever it holds (dots too)."""
    return '"' + name.replace('"', '""') + '"'


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


def quote(name: str) -> str:
    """Quote one identifier, or each part of `schema.table`; parts that hold a dot come in double quotes."""
    return ".".join(ident(part) for part in split(name))


def readable(*parts: str) -> str:
    """The plan's way to write a name: bare parts where `split` reads them back, quoted ones otherwise."""
    return ".".join(part if split(part) == (part,) and '"' not in part else ident(part) for part in parts)


def literal(value: Any, kind: str = "") -> str:
    """A value as SQL: integers bare, bytes as hex, everything else in its text form, cast to `kind` where given."""
    if value is None:
        text = "NULL"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int):
        text = str(value)
    elif isinstance(value, bytes | bytearray | memoryview):
        text = f"'\\x{bytes(value).hex()}'"
    else:
        body = str(value).replace("'", "''")
        text = f"E'{body.replace(chr(92), chr(92) * 2)}'" if "\\" in body else f"'{body}'"
    return f"CAST({text} AS {kind})" if kind else text
