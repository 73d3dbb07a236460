"""One schema change that lets writers continue: the server is asked not to copy the table and not to lock it.

INSTANT is asked for first, then INPLACE with LOCK=NONE; where the server would have to copy, it says so and the
statement is not run. A foreign key can be added in place only while keys are not checked: its rows are checked then.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pymysql

from runbook_lib.databases.adapter_helpers import without_comments
from runbook_lib.databases.mysql import connection, lock_retry, quoting
from runbook_lib.databases.mysql.streaming import Connection
from runbook_lib.errors import DatabaseError
from runbook_lib.util.text import one_line

if TYPE_CHECKING:
    from runbook_lib.databases.mysql.adapter_port import MySQLPort

NOT_SUPPORTED = (1845, 1846)  # the algorithm or the lock that was asked for is not possible here
_NAME = r"(`(?:[^`]|``)+`|[\w$]+)"
ALTER = re.compile(rf"ALTER\s+(?:ONLINE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?{_NAME}\s*", re.IGNORECASE)
INDEX = re.compile(
    rf"(?:CREATE\s+(?:OR\s+REPLACE\s+)?(?:UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?|DROP\s+)INDEX\s+"
    rf"(?:IF\s+(?:NOT\s+)?EXISTS\s+)?{_NAME}(?:\s+USING\s+\w+)?\s+ON\s+{_NAME}\s*",
    re.IGNORECASE,
)
_DROPPED = re.compile(rf"DROP\s+INDEX\s+(IF\s+EXISTS\s+)?{_NAME}\s+ON\s+{_NAME}\s*$", re.IGNORECASE)
_SAID = re.compile(r"\b(?:ALGORITHM|LOCK)\s*=?\s*(?:INSTANT|NOCOPY|INPLACE|COPY|NONE|SHARED|EXCLUSIVE|DEFAULT)\b", re.I)
_COPY = re.compile(r"\b(?:ALGORITHM\s*=?\s*COPY|LOCK\s*=?\s*(?:SHARED|EXCLUSIVE))\b", re.IGNORECASE)
FOREIGN = re.compile(rf"ADD\s+CONSTRAINT\s+{_NAME}\s+FOREIGN\s+KEY\b", re.IGNORECASE)
_TEXT = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"", re.DOTALL)
# Clauses that allow no ALGORITHM beside them.
_ALONE = re.compile(
    r"\b(?:RENAME\s+(?:TO|AS)\b|(?:DIS|EN)ABLE\s+KEYS|TABLESPACE\b|PARTITION\s+BY\b|REMOVE\s+PARTITIONING\b"
    r"|(?:ADD|DROP|TRUNCATE|REORGANIZE|EXCHANGE|COALESCE|REBUILD|ANALYZE|CHECK|OPTIMIZE|REPAIR|CONVERT)\s+PARTITION\b)",
    re.IGNORECASE,
)
_LINK = """
SELECT table_name, referenced_table_name, column_name, referenced_column_name FROM information_schema.key_column_usage
WHERE constraint_schema = database() AND table_name = :table AND constraint_name = :name
  AND referenced_table_name IS NOT NULL ORDER BY ordinal_position
"""


def run_online(db: MySQLPort, statement: str, *, again: bool = False) -> None:
    """Carry out one statement without copying or locking its table; statements that are no such change run as they are.

    Args:
        again: An attempt before was cut off after it had changed the schema: the rows of a foreign key are checked,
            everything else is taken for done.
    Raises:
        DatabaseError: the server would have to copy or lock the table (nothing was changed), or anything else it says.
    """
    ways = worded(statement)
    foreign = FOREIGN.search(statement)
    if foreign and len(ways) > 1:
        _add_foreign_key(db, statement, again=again)
        return
    for number, way in enumerate([] if again else ways, 1):
        try:
            lock_retry.in_transaction(db, partial(_run, statement=way), doing=one_line(way, 60))
            return
        except DatabaseError as error:
            if not refused(error):
                raise
            if number == len(ways):
                raise _would_copy(db, error, statement) from error


def _run(driver: Connection, statement: str) -> None:
    lock_retry.run(driver, statement)


def worded(statement: str) -> list[str]:
    """The statement with each way of carrying it out, the lightest first; as it is when it says how itself."""
    bare = without_comments(statement).rstrip().rstrip(";")
    kind = ALTER.match(bare) or INDEX.match(bare)
    if not kind or said(bare) or alone(bare):
        return [statement]
    if dropped := _DROPPED.match(bare):  # MariaDB's DROP INDEX cannot say how
        bare = f"ALTER TABLE {dropped[3]} DROP INDEX {dropped[1] or ''}{dropped[2]}"
    if not ALTER.match(bare):
        return [f"{bare} ALGORITHM=INPLACE LOCK=NONE"]
    return [f"{bare}, ALGORITHM=INSTANT", f"{bare}, ALGORITHM=INPLACE, LOCK=NONE"]


def said(statement: str) -> bool:
    """Whether the statement says itself how it is to be carried out."""
    return _SAID.search(_TEXT.sub("''", statement)) is not None


def says_copy(statement: str) -> bool:
    """Whether the statement itself asks for a copy, or for a lock that writers wait for."""
    return _COPY.search(_TEXT.sub("''", statement)) is not None


def alone(statement: str) -> bool:
    """Whether the statement has a clause that nothing about the way can be said beside."""
    return _ALONE.search(_TEXT.sub("''", statement)) is not None


def refused(error: BaseException) -> bool:
    """Whether the server would carry it out only by copying or locking the table."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return isinstance(cause, pymysql.MySQLError) and connection.code(cause) in NOT_SUPPORTED


def _would_copy(db: MySQLPort, error: DatabaseError, statement: str) -> DatabaseError:
    return DatabaseError(
        f"database {db.name}",
        f"`{one_line(statement, 80)}` would copy or lock its table: {error.observed}",
        expected="a change in place",
        state="nothing was changed",
        action="split it (expand and contract), or write ALGORITHM=COPY where the table is small",
    )


def _add_foreign_key(db: MySQLPort, statement: str, *, again: bool) -> None:
    """In place, unchecked, then its rows checked: a key that rows break is dropped again."""
    found, here = FOREIGN.search(statement), ALTER.match(without_comments(statement))
    if not found or not here:
        raise DatabaseError(f"database {db.name}", f"no foreign key in `{one_line(statement, 80)}`")
    name, table = _bare(found[1]), _bare(here[1])

    def add(driver: Connection) -> None:
        lock_retry.run(driver, "SET SESSION foreign_key_checks = 0")
        try:
            lock_retry.run(driver, worded(statement)[-1])
        finally:
            if driver.open:
                lock_retry.run(driver, "SET SESSION foreign_key_checks = 1")

    if not (again and db.rows(_LINK, {"table": table, "name": name})):
        try:
            lock_retry.in_transaction(db, add, doing=one_line(statement, 60))
        except DatabaseError as error:
            if refused(error):
                raise _would_copy(db, error, statement) from error
            raise
    if orphan := _orphan(db, name, table):
        db.execute(f"ALTER TABLE {quoting.ident(table)} DROP FOREIGN KEY {quoting.ident(name)}")
        raise DatabaseError(
            f"foreign key {name} of {table}",
            f"rows without a parent, e.g. ({orphan})",
            state="it was dropped again",
            action="correct these rows, then run again",
        )


def _orphan(db: MySQLPort, name: str, table: str) -> str:
    """The values of one row that the key does not hold for; "" when there is none."""
    columns = db.rows(_LINK, {"table": table, "name": name})
    child = [f"c.{quoting.ident(row[2])}" for row in columns]
    same = " AND ".join(f"p.{quoting.ident(row[3])} = {column}" for row, column in zip(columns, child, strict=True))
    filled = " AND ".join(f"{column} IS NOT NULL" for column in child)
    found = db.rows(
        f"SELECT {quoting.listed(child)} FROM {quoting.ident(table)} AS c WHERE {filled} AND NOT EXISTS"
        f" (SELECT 1 FROM {quoting.ident(columns[0][1])} AS p WHERE {same}) LIMIT 1"
    )
    return ", ".join(str(value) for value in found[0]) if found else ""


def _bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
