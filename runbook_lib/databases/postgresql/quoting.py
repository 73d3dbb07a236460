"""Quote identifiers and literals: the only place where text becomes SQL."""

from __future__ import annotations

from typing import Any

from runbook_lib.databases.identifiers import ident as ident
from runbook_lib.databases.identifiers import quote as quote
from runbook_lib.databases.identifiers import split as split


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
