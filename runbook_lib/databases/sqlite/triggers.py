"""Write without firing triggers: SQLite has no replica role.

Our own triggers (capture, fence) look for a row in `runbook_session`. Only the transaction that put it there can see
it, and it is gone before the commit. The user's triggers are dropped and made again in the same transaction, which
nobody else sees either; a kill in between rolls everything back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runbook_lib.databases.sqlite import catalog, own, quoting

if TYPE_CHECKING:
    from runbook_lib.databases.sqlite.adapter_port import SQLitePort

SESSION = f"{quoting.OWN}session"
NOT_OURS = f"NOT EXISTS (SELECT 1 FROM {SESSION})"


def ensure_session(driver: sqlite3.Connection) -> None:
    """The table that holds a row while a transaction of ours writes."""
    own.require_free(driver, "SQLite", SESSION)
    driver.execute(f"CREATE TABLE IF NOT EXISTS {SESSION} (sync INTEGER NOT NULL)")


@contextmanager
def silenced(db: SQLitePort, driver: sqlite3.Connection, tables: Sequence[str]) -> Iterator[None]:
    """Within a write transaction: no trigger of these tables fires. An error must roll the transaction back."""
    marked, theirs = catalog.has_own(db, driver, SESSION), catalog.triggers_of(db, driver, tables)
    if theirs:  # what is read from here on may be rolled back, and the schema's number comes again
        db.memo.pop(("master",), None)
    if marked:
        driver.execute(f"INSERT INTO {SESSION} VALUES (1)")
    for name, _ in theirs:
        driver.execute(f"DROP TRIGGER {quoting.ident(name)}")
    yield
    for _, sql in theirs:
        driver.execute(sql)
    if theirs:
        db.memo.pop(("master",), None)
    if marked:
        driver.execute(f"DELETE FROM {SESSION}")
