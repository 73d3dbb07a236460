"""MySQL's indexes over the first characters of a column: the same rule elsewhere is an index over an expression."""

from __future__ import annotations

import re

from runbook_lib.databases.port import Index

_PART = re.compile(r"`((?:[^`]|``)+)`\((\d+)\)")


def prefixes(index: Index) -> dict[str, int]:
    """Column → how many of its characters (of bytes: bytes) a MySQL index holds; only those that it cuts."""
    return {name.replace("``", "`"): int(length) for name, length in _PART.findall(index.definition)}


def cut_columns(index: Index) -> tuple[str, ...]:
    """The columns of a MySQL index as PostgreSQL's catalog shows those that are cut."""
    lengths = prefixes(index)
    return tuple(f"left({name}, {lengths[name]})" if name in lengths else name for name in index.columns)


def plain(column: str) -> str:
    """An index's column; an expression without casts, quotes and parentheses, in small letters."""
    if "(" not in column:
        return column
    bare = re.sub(r"::[a-z]+(?: [a-z]+)*|[\"()\s]", "", column).lower()
    return re.sub(r"^substring(.*?)(?:from1for|,1,)", r"left\1,", bare)
