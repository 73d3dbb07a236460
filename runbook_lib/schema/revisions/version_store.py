"""What is remembered in the database itself: the shape after each version, and how far a revision has come.

Both belong to the database, not to a run: they go with it into a backup, and whoever comes next finds them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, TextClause, inspect, text

from runbook_lib.databases.dialect import dialect_of
from runbook_lib.databases.own_objects import make
from runbook_lib.databases.port import Database
from runbook_lib.errors import DatabaseError
from runbook_lib.schema.revisions.graph import VERSION_TABLE
from runbook_lib.schema.snapshot import Shape, differences, shape_of

DONE = "done"
shape = partial(shape_of, without=(VERSION_TABLE,))


def prepare(database: Database) -> None:
    """Make the tables of versions, shapes and marks where they are missing."""
    long = dialect_of(database.dialect).long_text
    database.execute(
        f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version_num varchar(32) NOT NULL,"  # as Alembic makes it
        f" CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))",
        f"CREATE TABLE IF NOT EXISTS {_marks(database)} (version varchar(32) NOT NULL, direction varchar(4) NOT NULL,"
        " number int NOT NULL, state varchar(64) NOT NULL, PRIMARY KEY (version, direction, number))",
    )
    shape = f"version varchar(32) NOT NULL PRIMARY KEY, shape {long} NOT NULL, recorded_at varchar(40) NOT NULL"
    make(database, "schema_shapes", shape)


def record(database: Database, version: str) -> None:
    """Remember the schema as it is now as that of this version."""
    values = {"version": version, "shape": json.dumps(shape(database)), "at": datetime.now(UTC).isoformat()}

    def work(connection: Connection) -> None:
        table = _shapes(database)
        connection.execute(text(f"DELETE FROM {table} WHERE version = :version"), {"version": version})
        connection.execute(text(f"INSERT INTO {table} VALUES (:version, :shape, :at)"), values)

    database.transaction(work)


def recorded(database: Database, version: str) -> Shape | None:
    """The schema's shape when it was last brought to this version; None: never by us."""
    if not remembers(database):
        return None
    found = database.rows(f"SELECT shape FROM {_shapes(database)} WHERE version = :version", {"version": version})
    return json.loads(found[0][0]) if found else None


def drift(database: Database, version: str) -> list[tuple[str, str, str]] | None:
    """What differs from the shape recorded for this version; None: none was recorded, so nobody can say."""
    before = recorded(database, version)
    return None if before is None else differences(before, shape(database))


def begun(database: Database, version: str = "") -> list[tuple[str, str, int]]:
    """(version, direction, statements begun) of revisions that are half-way."""
    if not remembers(database):
        return []
    sql = f"SELECT version, direction, count(*) FROM {_marks(database)} GROUP BY version, direction ORDER BY version"
    return [(str(v), str(d), int(n)) for v, d, n in database.rows(sql) if version in ("", v)]


class Marks:
    """How far one revision has come in one direction: statement number to DONE, or to the shape before it."""

    def __init__(self, database: Database, version: str, direction: str) -> None:
        self.database, self.table = database, _marks(database)
        self._key = {"version": version, "direction": direction}
        self.clearing = f"DELETE FROM {self.table} WHERE version = '{version}' AND direction = '{direction}'"

    def read(self) -> dict[int, str]:
        """All of them."""
        sql = f"SELECT number, state FROM {self.table} WHERE version = :version AND direction = :direction"
        return {int(number): str(state) for number, state in self.database.rows(sql, self._key)}

    def set(self, number: int, state: str) -> None:
        """Set one, in a transaction of its own."""

        def work(connection: Connection) -> None:
            connection.execute(text(f"{self.clearing} AND number = {number}"))
            connection.execute(*self.setting(number, state))

        self.database.transaction(work)

    def forget(self, number: int) -> None:
        """Forget one."""
        self.database.execute(f"{self.clearing} AND number = {number}")

    def setting(self, number: int, state: str) -> tuple[TextClause, dict[str, Any]]:
        """The statement that sets one, for the transaction of what it stands for."""
        sql = f"INSERT INTO {self.table} VALUES (:version, :direction, :number, :state)"
        return text(sql), {**self._key, "number": number, "state": state}

    def clear(self) -> None:
        """Forget them."""
        self.database.execute(self.clearing)


def _shapes(database: Database) -> str:
    return database.own_table("schema_shapes")


def _marks(database: Database) -> str:
    return database.own_table("schema_marks")


def remembers(database: Database) -> bool:
    """Whether our tables are there; looking must not make them, nor need the right to."""
    look = inspect(database.engine)
    if not look.has_table(VERSION_TABLE):
        return False  # it is made together with them
    try:
        parts = _shapes(database).replace("`", '"').split('"')[1::2]
    except DatabaseError:  # their place cannot be made by this login, so it is not there
        return False
    return look.has_table(parts[-1], schema=parts[0] if len(parts) > 1 else None)
