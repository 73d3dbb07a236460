"""What SQLite itself says of statements before they run: they are tried on a copy of the schema in memory."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from runbook_lib.databases.shapes import Hazard
from runbook_lib.databases.shared import hazards_of_words, one_line

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite import SQLite

_REBUILD = "writes the whole table anew while every writer of the file waits"
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
_MISSING = "create the new table, copy its rows, drop the old one, rename"


def hazards(db: SQLite, statements: Sequence[str], *, alone: bool) -> list[Hazard]:  # noqa: ARG001  one writer only
    """What may hold others up or break them, and what SQLite cannot do without a new table."""
    found: list[Hazard] = []
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
    return sorted({*found, *hazards_of_words(statements, _WORDS)}, key=lambda hazard: (hazard.statement, hazard.rule))
