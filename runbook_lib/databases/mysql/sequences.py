"""AUTO_INCREMENT as a sequence: moved forwards only (trap 20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runbook_lib.databases.mysql import names, retry
from runbook_lib.databases.port import Sequence_

if TYPE_CHECKING:
    from runbook_lib.databases.mysql import MySQL

_SEQUENCES = """
SELECT t.table_name, c.column_name, t.auto_increment, @@auto_increment_increment, @@auto_increment_offset
FROM information_schema.tables AS t JOIN information_schema.columns AS c USING (table_schema, table_name)
WHERE t.table_schema = database() AND c.extra LIKE '%auto_increment%' ORDER BY 1
"""


def sequences(db: MySQL, tables: Sequence[str]) -> list[Sequence_]:
    """The counter of each of these tables that has one, with the last value it gave; None: it gave none yet."""
    return [
        Sequence_(
            f"{table}.{column}", table, column, int(next_) - 1 if int(next_ or 1) > 1 else None, int(step), int(start)
        )
        for table, column, next_, step, start in db.rows(_SEQUENCES)
        if table in tables
    ]


def set_sequence(db: MySQL, sequence: Sequence_, last: int) -> None:
    """Make the next value the one after `last`; never backwards. A short metadata lock, no copy of the table."""
    now = next((found.last for found in sequences(db, [sequence.table])), None)
    if (now or 0) < last:
        statement = f"ALTER TABLE {names.ident(sequence.table)} AUTO_INCREMENT = {int(last) + 1}"
        retry.in_transaction(
            db, lambda driver: retry.run(driver, statement), doing=f"moving sequence {sequence.name} to {last}"
        )
