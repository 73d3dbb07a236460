"""A script carried out and undone: what the server refuses of it, before anything is made.

PostgreSQL's DDL is transactional: the trial is one transaction on the database itself, always rolled back, so names
that are taken there show too, and nothing is left behind by a kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg

from runbook_lib.databases.port import Refusal
from runbook_lib.databases.postgresql import dropping, retry
from runbook_lib.databases.postgresql.catalog import find
from runbook_lib.databases.shared import one_line
from runbook_lib.databases.statement_names import named, pieces

if TYPE_CHECKING:
    from runbook_lib.databases.postgresql import PostgreSQL


def try_scripts(db: PostgreSQL, scripts: Sequence[str], gone: Sequence[str] = (), undo: str = "") -> list[Refusal]:
    """See Database.try_scripts."""
    tables = find(db, gone) if gone else {}

    def run(driver: psycopg.Connection) -> list[Refusal]:
        if tables:
            driver.execute(undo.encode())
            dropping.drop(driver, tables, "CASCADE")  # with their types and functions, as the real one does
        found = [refusal for script in scripts if script.strip() for refusal in _tried(driver, script)]
        driver.rollback()
        return found

    return retry.in_transaction(db, run, doing="trying the schema")


def _tried(driver: psycopg.Connection, script: str) -> list[Refusal]:
    head, objects = pieces(script)
    try:
        with driver.transaction():
            driver.execute(script.encode())
    except retry.TRANSIENT:
        raise
    except psycopg.Error as error:
        if len(objects) > 1:  # which of them
            return [refusal for text in objects for refusal in _tried(driver, head + text)]
        what = named(script)
        why = f"{error.diag.message_primary or one_line(str(error))} ({error.sqlstate})"
        return [Refusal(*what, why) if what else Refusal("script", one_line(script, 60), "", why)]
    return []
