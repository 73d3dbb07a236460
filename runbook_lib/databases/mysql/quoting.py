"""Quote identifiers and texts: the only place where text becomes SQL."""

from __future__ import annotations

from collections.abc import Sequence


def ident(name: str) -> str:
    """Quote one identifier, whatever it holds (dots too)."""
    return "`" + name.replace("`", "``") + "`"


def quote(name: str) -> str:
    """Quote one identifier; a table is always one of the connected database, so a dot belongs to its name."""
    return ident(name)


def text(value: str) -> str:
    """A text as SQL that no sql_mode and no connection character set reads differently."""
    return f"_utf8mb4 x'{value.encode().hex()}'" if value else "_utf8mb4''"


def literal(value: str) -> str:
    """A text as the server itself writes it in a default, under our sql_mode."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def listed(texts: Sequence[str]) -> str:
    """Joined by commas."""
    return ", ".join(texts)
