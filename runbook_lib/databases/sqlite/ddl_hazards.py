"""What SQLite itself says of statements before they run: they are tried on a copy of the schema in memory."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from runbook_lib.databases import sql_text
from runbook_lib.databases.adapter_helpers import duplicate_values, hazards_of_words, without_comments
from runbook_lib.databases.model import Hazard
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

_REBUILD = "rewrites the whole table while every writer of the file waits"
_WORDS = {
    "ban-drop-column": (
        r"ALTER\s+TABLE\b.*\bDROP\s+(?!CONSTRAINT\b)",
        "dropping a column may break existing clients",
        "",
    ),
    "ban-drop-table": (r"DROP\s+TABLE\b", "dropping a table may break existing clients", ""),
    "renaming-column": (
        r"ALTER\s+TABLE\s+\S+\s+RENAME\s+(?!TO\b)",
        "renaming a column may break existing clients",
        "",
    ),
    "renaming-table": (r"ALTER\s+TABLE\s+\S+\s+RENAME\s+TO\b", "renaming a table may break existing clients", ""),
    "table-rewrite": (r"ALTER\s+TABLE\b.*\bDROP\s+(?!CONSTRAINT\b)|VACUUM\b", _REBUILD, "choose a quiet time"),
}
# Other errors are no answer: what the statement needs may be made by a revision before it.
_NEVER = re.compile(r"syntax error|incomplete input|unrecognized token|^Cannot add ", re.IGNORECASE)
_UNIQUE = re.compile(
    r"CREATE\s+UNIQUE\s+INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?\S+\s+ON\s+([^\s(]+)\s*\((.*?)\)\s*(?:WHERE\s+(.*))?;?\s*$",
    re.IGNORECASE | re.DOTALL,
)
_HARMLESS = re.compile(r"(?:ALTER|CREATE|DROP)\b", re.IGNORECASE)
_ORDER = re.compile(r"\s+(?:ASC|DESC)\s*$", re.IGNORECASE)
_MISSING = "create the new table, copy its rows, drop the old one, rename"


def hazards(
    db: SQLitePort,
    statements: Sequence[str],
    *,
    alone: bool,  # noqa: ARG001  one writer only
    back: Sequence[str] = (),  # noqa: ARG001  no column changes its type
) -> list[Hazard]:
    """What may hold others up or break them, and what SQLite cannot do without a new table."""
    found: list[Hazard] = []
    settled = True  # no statement so far changes rows, so that today's say something
    with closing(sqlite3.connect(":memory:")) as memory:
        for (definition,) in db.rows("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'"):
            with suppress(sqlite3.Error):  # what only the application has, a module, a function: the rest answers
                memory.execute(str(definition))
        for number, statement in enumerate(statements, 1):
            try:
                memory.execute(statement)
            except sqlite3.Error as error:
                if _NEVER.search(str(error)):
                    found.append(Hazard("syntax-error", number, one_line(str(error)), _MISSING))
            if settled and (index := _UNIQUE.match(without_comments(statement))):
                found += _twice(db, number, index[1], index[2], index[3] or "")
            settled = settled and _HARMLESS.match(without_comments(statement)) is not None
    found += hazards_of_words(statements, _WORDS, "sqlite")
    return sorted({*found}, key=lambda hazard: (hazard.statement, hazard.rule))


def _twice(db: SQLitePort, number: int, table: str, listed: str, where: str) -> list[Hazard]:
    """Rows that would be equal under a new unique index."""
    keys = [_ORDER.sub("", key.strip()) for key in _columns(listed)]
    filled = " AND ".join([f"({key}) IS NOT NULL" for key in keys] + ([f"({where})"] if where else []))
    listed = ", ".join(keys)
    grouped = f"SELECT {listed}, count(*) AS n FROM {table} WHERE {filled} GROUP BY {listed} HAVING count(*) > 1"
    try:
        [(many,)] = db.rows(f"SELECT count(*) FROM ({grouped})")
        example = db.rows(f"{grouped} LIMIT 1") if many else []
    except DatabaseError:  # a column or table that only the revisions make
        return []
    shown = [f"({', '.join(map(str, row[:-1]))}) in {row[-1]} rows" for row in example]
    return [duplicate_values(number, table, keys, many, shown[0])] if shown else []


def _columns(listed: str) -> list[str]:
    """The parts between commas that are in no bracket and no quote."""
    found: list[str] = []
    part = ""
    code = list(sql_text.tokens(listed, "sqlite"))
    for token, depth in zip(code, sql_text.depths(code), strict=True):
        if token.text == "," and depth == 0:
            found, part = [*found, part], ""
        else:
            part += token.text
    return [*found, part]
