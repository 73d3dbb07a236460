"""A script carried out and undone: SQLite's DDL is transactional, so it is tried in the file itself and rolled back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runbook_lib.databases.port import Refusal
from runbook_lib.databases.sqlite import quoting
from runbook_lib.databases.sqlite.schema import statements
from runbook_lib.databases.statement_names import named
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort


def try_scripts(
    db: SQLitePort,
    scripts: Sequence[str],
    gone: Sequence[str] = (),
    undo: str = "",
    tell: Callable[[str], object] = lambda text: None,  # noqa: ARG001  everything can be tried
) -> list[Refusal]:
    """See Database.try_scripts."""
    refused = []
    with db.writing("trying the schema") as driver:
        for statement in statements(undo if gone else ""):
            driver.execute(statement)
        for table in gone:
            driver.execute(f"DROP TABLE IF EXISTS {quoting.ident(table)}")
        for statement in (statement for script in scripts for statement in statements(script)):
            try:
                driver.execute(statement)
            except sqlite3.Error as error:
                what = named(statement)
                refused.append(Refusal(*(what or ("statement", one_line(statement, 60), "")), str(error)))
        driver.execute("ROLLBACK")
        driver.execute("BEGIN")  # what `writing` commits: nothing
    return refused
