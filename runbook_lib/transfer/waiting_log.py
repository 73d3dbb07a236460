"""What a sync holds back, written beside the log it waits in: a comparison reads there that nobody carries it over.

A record is written before the sync continues without the table, and removed when all that waits has been applied. One
that a killed sync leaves is removed by the next, which tries the table at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.own_objects import is_there, make
from runbook_lib.databases.port import Database
from runbook_lib.transfer.links import Link
from runbook_lib.transfer.quarantine import Refused, as_text

KEYS = 1_000  # refused rows that a record names; where more are refused it is said of all that wait

Key = tuple[str, ...]


@dataclass(frozen=True)
class WaitingLog:
    """Why the log of a captured table waits.

    Attributes:
        keys: Written table → keys of the rows that are refused; None: no change of the table can be applied.
    """

    reason: str
    keys: Mapping[str, frozenset[Key]] | None = field(default=None)

    def holds(self, table: str, key: Sequence[object]) -> bool:
        """Whether this row, whose change waits, is one that cannot be applied."""
        return self.keys is None or as_text(key) in self.keys.get(table, ())


def write(link: Link, table: str, reason: str, refused: Sequence[Refused] = ()) -> None:
    """Record why a captured table is held back, in place of what was recorded of it before."""
    from sqlalchemy import text

    keys = dict[str, list[Key]]()
    for row in refused:
        keys.setdefault(row.table, []).append(as_text(row.key))
    said = json.dumps(keys if 0 < len(refused) <= KEYS else None, ensure_ascii=False)
    long = dialect_of(link.reader.dialect).long_text
    texts = f"table_name {long} NOT NULL, reason {long} NOT NULL, refused {long} NOT NULL"
    relation = make(link.reader, "held", f"channel VARCHAR(100) NOT NULL, {texts}")
    _remove(link, table)
    values = {"c": link.channel, "t": table, "r": reason, "k": said}
    with link.reader.engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {relation} VALUES (:c, :t, :r, :k)"), values)


def remove(link: Link, table: str = "") -> None:
    """Remove the record of a table, or all of a link."""
    if is_there(link.reader, "held"):
        _remove(link, table)


def read(database: Database, channel: str) -> dict[str, WaitingLog]:
    """Captured table → why it is held back. The capture of this name must be installed."""
    if not is_there(database, "held"):
        return {}
    sql = f"SELECT table_name, reason, refused FROM {database.own_table('held')} WHERE channel = :c ORDER BY 1"
    return {table: WaitingLog(reason, _keys(keys)) for table, reason, keys in database.rows(sql, {"c": channel})}


def _keys(said: str) -> dict[str, frozenset[Key]] | None:
    found = json.loads(said)
    return None if found is None else {table: frozenset(map(tuple, keys)) for table, keys in found.items()}


def _remove(link: Link, table: str) -> None:
    from sqlalchemy import text

    where = "channel = :c AND table_name = :t" if table else "channel = :c"
    with link.reader.engine.begin() as connection:
        connection.execute(
            text(f"DELETE FROM {link.reader.own_table('held')} WHERE {where}"), {"c": link.channel, "t": table}
        )
