"""Old versions of rows of MariaDB's system-versioned tables, from one server to another.

MariaDB 10.11 takes the times of a row's version as they are given (`system_versioning_insert_history`). All versions,
the current ones too, are loaded in one transaction in place of the rows that were copied: a kill leaves those. It needs
the right DELETE HISTORY at the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import pymysql

from runbook_lib.databases.mysql import copy, lock_retry, quoting
from runbook_lib.databases.port import Column, Connected, KeyRange, Selection
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

LARGEST = 2_000_000  # versions of one table (count): they go in one transaction
SINCE = (10, 11)
_VERSIONED = """
SELECT t.table_name, coalesce(s.column_name, 'row_start'), coalesce(e.column_name, 'row_end')
FROM information_schema.tables AS t
LEFT JOIN information_schema.columns AS s ON s.table_schema = t.table_schema AND s.table_name = t.table_name
  AND s.generation_expression = 'ROW START'
LEFT JOIN information_schema.columns AS e ON e.table_schema = t.table_schema AND e.table_name = t.table_name
  AND e.generation_expression = 'ROW END'
WHERE t.table_schema = database() AND t.table_type = 'SYSTEM VERSIONED' AND coalesce(s.data_type, '') <> 'bigint'
"""


@dataclass(frozen=True)
class History:
    """The versions of a table's rows: all and current ones (counts), the first one's beginning, and the columns."""

    versions: int
    rows: int
    since: str
    start: str
    end: str

    @property
    def text(self) -> str:
        """What two tables with the same history have in common."""
        return f"{self.versions} versions of {self.rows} rows since {self.since}"


def insertable(db: MySQLPort) -> bool:
    """Whether the server takes the times of versions as they are given."""
    kind, version = db.flavour
    return kind == "MariaDB" and version >= SINCE


def histories(db: MySQLPort) -> dict[str, History]:
    """The histories of all tables that are versioned by time; those versioned by transactions have none to move."""
    if db.flavour[0] != "MariaDB":
        return {}
    columns = {str(table): (str(start), str(end)) for table, start, end in db.rows(_VERSIONED)}
    asked = " UNION ALL ".join(
        f"SELECT {quoting.text(table)}, count(*), (SELECT count(*) FROM {quoting.ident(table)}),"
        f" min({quoting.ident(start)}) FROM {quoting.ident(table)} FOR SYSTEM_TIME ALL"
        for table, (start, _) in columns.items()
    )
    found = {}
    for name, versions, rows, since in db.rows(asked) if asked else ():
        table = name.decode() if isinstance(name, bytes) else str(name)
        found[table] = History(int(versions), int(rows), str(since), *columns[table])
    return found


def take_history(db: MySQLPort, reader: Connected, tables: Mapping[str, str]) -> dict[str, str]:
    """See Database.take_history. A table that has old versions already is left alone: they are its own."""
    other = cast("MySQLPort", reader)  # a copy takes histories within one engine only
    theirs = histories(other)
    if not insertable(db) or not set(theirs) & set(tables):
        return {}
    ours, refused = histories(db), {}
    for source, target in tables.items():
        there, here = theirs.get(source), ours.get(target)
        if there is None or here is None or here.versions > here.rows or here.text == there.text:
            continue
        if there.versions > LARGEST:
            refused[target] = f"{there.versions:,} versions are more than go in one transaction ({LARGEST:,})"
            continue
        try:
            _load(db, other, source, target, there, here)
        except pymysql.MySQLError as error:
            refused[target] = one_line(str(error.args[-1]))
    return refused


def _load(db: MySQLPort, reader: MySQLPort, source: str, target: str, there: History, here: History) -> None:
    """Replace the rows of a table by all versions that the source's has, in one transaction."""
    described = db.described(target)
    columns = [column.name for column in described.columns if not column.generated]
    moments = [Column(name, "timestamp(6)") for name in (here.start, here.end)]
    table = replace(described, columns=(*described.columns, *moments))
    relation = f"{quoting.ident(source)} FOR SYSTEM_TIME ALL"
    read = Selection(relation, (), tuple(quoting.ident(name) for name in (*columns, there.start, there.end)))
    blocks = copy.copy_out(reader, read, KeyRange(0), binary=False)
    with db.raw() as driver:
        try:
            lock_retry.run(driver, copy.SILENT, "SET SESSION system_versioning_insert_history = 1")
            lock_retry.run(
                driver, f"DELETE FROM {quoting.ident(target)}", f"DELETE HISTORY FROM {quoting.ident(target)}"
            )
            statement = copy.load_sql(table, [*columns, here.start, here.end])
            _, warnings = driver.load(statement, copy.unescaped(blocks))
            if warnings:
                raise pymysql.DataError(0, f"the server would change {warnings} versions")
        finally:
            if driver.open:
                lock_retry.run(driver, "SET SESSION system_versioning_insert_history = 0", copy.LOUD)
